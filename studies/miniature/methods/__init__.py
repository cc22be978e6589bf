"""The methods of the field side by side: which strength of each is taken to the test prompts."""
