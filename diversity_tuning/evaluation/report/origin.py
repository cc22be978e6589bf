"""Whether a run's texts answer synthetic prompts, and what the data's own responses are called where they are shown."""

from pathlib import Path

from diversity_tuning.outputs import read_provenance

REFERENCE = "gold"  # method and default name of the data's own responses: no model, so never the best, nor on the Pareto front
SYNTHETIC = "synthetic data"
_LABELS = "studies.miniature."  # diagnostics modules that label the generator's stories alone


def is_synthetic(run: Path) -> bool:
    """Whether a run folder was scored with the rules for the miniature's synthetic stories, by its provenance."""
    arguments = read_provenance(run).get("arguments")
    return str(isinstance(arguments, dict) and arguments.get("diagnostics")).startswith(_LABELS)


def shown_name(run: Path, content: dict) -> str | None:
    """A run's name in tables and figures: its own (``content``: metrics.json), but for the data's responses by default."""
    name = content.get("name")
    if name != REFERENCE or content.get("method") != REFERENCE:
        return name
    return "synthetic authors" if is_synthetic(run) else "references"
