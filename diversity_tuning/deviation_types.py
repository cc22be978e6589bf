"""The types of deviation: by what encoder two responses are far apart. A type is added here, with its flag NAME_model."""

from dataclasses import dataclass

from diversity_tuning.data import schema


@dataclass(frozen=True)
class DeviationType:
    """``encoder``: the default of ``--NAME_model``; ``column``: of scores; ``label``: in a line or a narrow table."""

    encoder: str
    column: str
    label: str

    def __post_init__(self):
        if not self.column.endswith("_diversity"):
            raise ValueError(f"the column of a type ends with _diversity, not {self.column}")


TYPES = {
    "semantic": DeviationType("jinaai/jina-embeddings-v3-hf", schema.SEMANTIC_DIVERSITY, "semantic"),
    "style": DeviationType("AnnaWegmann/Style-Embedding", schema.STYLE_DIVERSITY, "style"),
}


def models_of(config) -> dict[str, str]:
    """Each type's encoder, of the settings ``semantic_model``, ``style_model``, … of a configuration."""
    return {name: getattr(config, f"{name}_model") for name in TYPES}
