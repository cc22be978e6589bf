"""Horror stories from specifications: synthetic data, constraint checks, a model to play with (docs/HORROR.md)."""
