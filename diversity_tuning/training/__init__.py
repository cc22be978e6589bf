"""Training commands: arguments, data, the life cycle of a run, curves and the model card."""
