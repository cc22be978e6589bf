"""Writing stories with a trained model in a terminal or a pipe (``python -m scripts_eval.play_model``)."""
