"""The miniature: synthetic posts, stories and votes, a tokenizer and a base model small enough for a laptop."""
