"""The data's own responses, measured like a model's samples."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from diversity_tuning.data.schema import (
    COMMENT_TEXTS,
    FILTERED_COMMENT_TEXTS,
    FILTERED_TRANSFORMED_SCORES,
    PROMPT,
    PROMPT_ID,
    REDDIT_REWARD,
    RESPONSE,
    SEMANTIC_DIVERSITY,
    STYLE_DIVERSITY,
    TRANSFORMED_SCORE,
)
from diversity_tuning.data.tables import read_split
from diversity_tuning.errors import UserError
from diversity_tuning.evaluation import files
from diversity_tuning.evaluation.csvfiles import write_csv
from diversity_tuning.evaluation.sampling.samples import select_prompts
from diversity_tuning.evaluation.scoring import run as scoring
from diversity_tuning.evaluation.scoring import summary
from diversity_tuning.flags import flag
from diversity_tuning.ranges import Flags
from diversity_tuning.runs import is_finished

# As published; the responses' own votes, mapped to [-1, 1], are the reference for quality.
GOLD = {
    SEMANTIC_DIVERSITY: "data_semantic_diversity",
    STYLE_DIVERSITY: "data_style_diversity",
    REDDIT_REWARD: "gold_reddit_reward",
}
VOTE = "gold_vote"
NOTE = (
    "semantic and style diversity are over all responses of a prompt: the mean pairwise distance has the same expectation for"
    " any number of responses, so it compares with that of a model's samples; counts of distinct labels do not, and are of a"
    " seeded draw of {drawn} responses, for prompts that have as many"
)


@dataclass(frozen=True)
class ReferenceConfig(Flags):
    """Which of the data's responses are measured: those to ``num_prompts`` rows of a split of ``source``, from ``start`` on."""

    source: str = flag("folder with the cleaned data: output of data stage 0 or 1")
    scoring: scoring.ScoringConfig
    split: str = flag("split of it", default="test")
    start: int = flag("first row", default=1000, least=0)
    num_prompts: int = flag("rows from there on; fewer where the split ends", default=1000, least=1)
    draw: int = flag("responses a prompt that distinct labels are counted among", default=4, least=1)
    max_responses: int | None = flag("of more responses to a prompt so many are drawn; default: all", default=None, least=1)
    seed: int = flag("decides both draws", default=42, least=0)

    def __post_init__(self):
        super().__post_init__()
        if self.max_responses and self.max_responses < self.draw:
            raise UserError(f"--max_responses {self.max_responses}: too few to draw --draw {self.draw} among; lower both")


def gold_run(config: ReferenceConfig) -> None:
    """Write the run folder of the data's responses: gold.csv with the published names, and the files of any other run."""
    output = Path(config.scoring.output)
    record = scoring.scoring_record(config.scoring, "gold", {"source": config.source}, seed=None)
    record["arguments"] |= {name: getattr(config, name) for name in ("split", "start", "num_prompts", "draw", "seed")}
    if config.max_responses:
        record["arguments"]["max_responses"] = config.max_responses
    if not summary.was_killed(output) and is_finished(output, record, config.scoring.overwrite):
        return
    rows = read_responses(config.source, config.split, config.start, config.num_prompts)
    note = NOTE.format(drawn=config.draw)
    if config.max_responses:
        whole, rows = len(rows), at_most(rows, config.max_responses, config.seed)
        note = f"{len(rows)} of {whole} responses, drawn, at most {config.max_responses} a prompt; {note}"
        print(f"{config.source}: {note.partition(';')[0]}", flush=True)
    drawn = sample_rows(rows[PROMPT_ID].to_numpy(), config.draw, config.seed)
    rows[summary.DRAWN] = 0
    rows.loc[np.concatenate(list(drawn.values())), summary.DRAWN] = 1
    scores = scoring.score_responses(rows, config.scoring)
    scores[VOTE], scores[summary.DRAWN] = rows[VOTE], rows[summary.DRAWN]
    own = scoring.registered_by(config.scoring.diagnostics).metrics
    prompts, results = summary.summarise(scores, config.scoring.diagnostics, config.draw, own)
    summary.begin(output, record)
    write_csv(output / files.GOLD_ROWS, scores.rename(columns=GOLD))
    header = {**scoring.header_of(config.scoring), "samples_per_prompt": None, "draw": config.draw, "note": note}
    header["split"] = {name: getattr(config, name) for name in ("split", "start", "num_prompts")}
    summary.write_results(output, record, header, scores, prompts, results)


def read_responses(source: str, split: str, start: int, num_prompts: int) -> pd.DataFrame:
    """One row per response of the data to the selected prompts: those that stage 1 kept or, before it, all."""
    prompts = select_prompts(source, split, start, num_prompts)
    data = read_split(source, split)
    filtered = FILTERED_COMMENT_TEXTS in data.column_names
    texts = FILTERED_COMMENT_TEXTS if filtered else COMMENT_TEXTS
    transformed = FILTERED_TRANSFORMED_SCORES if filtered else TRANSFORMED_SCORE
    missing = [name for name in (texts, transformed) if name not in data.column_names]
    if missing:
        raise UserError(f"{source}: no column '{missing[0]}'; --source is the output of data stage 0 or 1")
    table = [
        {PROMPT_ID: i, PROMPT: prompt, "sample": number, RESPONSE: response, VOTE: vote}
        for i, prompt in prompts.items()
        for row in (data[i],)
        for number, (response, vote) in enumerate(zip(row[texts], row[transformed], strict=True))
    ]
    if not table:
        raise UserError(f"{source}, split '{split}': no response to the selected prompts")
    return pd.DataFrame(table)


def at_most(rows: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    """The rows of up to ``count`` responses a prompt (column ``prompt_id``), as :func:`sample_rows` draws them."""
    drawn = sample_rows(rows[PROMPT_ID].to_numpy(), count, seed)
    return rows.loc[np.concatenate(list(drawn.values()))].reset_index(drop=True)


def sample_rows(prompt_ids: np.ndarray, count: int, seed: int) -> dict[int, np.ndarray]:
    """Up to ``count`` row numbers per prompt, drawn without replacement; each prompt's draw depends on it and the seed only."""
    drawn = {}
    for prompt_id in np.unique(prompt_ids):
        rows = np.flatnonzero(prompt_ids == prompt_id)
        rng = np.random.default_rng([seed, int(prompt_id)])
        drawn[int(prompt_id)] = rows if len(rows) < count else np.sort(rng.choice(rows, count, replace=False))
    return drawn
