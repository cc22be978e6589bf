r"""Score responses that were sampled elsewhere: a table of prompts and responses, with or without a reward model.

python -m scripts_eval.score_texts --texts published.csv --reward_model runs/reward --output runs/published --name gpt-4o
python -m scripts_eval.score_texts --texts stories.jsonl --semantic_model builtin:minilm \
    --style_model builtin:stylometry:runs/stylometry --output runs/stories --split_by system

Columns prompt, response, perhaps prompt_id, and any others. With --split_by each value of that column gets a run folder;
diversities stay those of all responses to a prompt together.
Writes scores.csv, prompts.csv and metrics.json, as scripts_eval.score does.
"""

from diversity_tuning.cli import command
from diversity_tuning.evaluation.scoring.texts import TextsConfig, score_texts
from diversity_tuning.flags import parse_flags


@command
def main(argv=None) -> None:
    score_texts(parse_flags(TextsConfig, "scripts_eval.score_texts", __doc__, argv, extra="evaluation"))
