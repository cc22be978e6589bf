"""Real votes that anyone can get: the sources' own files as rows of a prompt, its responses and their votes."""
