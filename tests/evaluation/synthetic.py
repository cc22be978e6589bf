"""Run folders with drawn numbers, for tests of the report."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from diversity_tuning.evaluation.diagnostics import KEY, Registered
from studies.miniature.recognise import METRICS


def write_run(folder: Path, method: str, strength: str | None, seed: int | None, reward: float, diversity: float) -> Path:
    """A scored run of 60 prompts whose means lie near ``reward`` and ``diversity``; prompts differ alike in every run."""
    rng = np.random.default_rng([abs(hash_of(method)), seed or 0])
    effect = np.random.default_rng(0).normal(size=60)
    words = 70 + 5 * effect + rng.normal(0, 4, 60)
    prompts = pd.DataFrame(
        {
            "prompt_id": range(60),
            "prompt": [f"prompt {i}" for i in range(60)],
            "reddit_reward": reward + 0.2 * effect + rng.normal(0, 0.1, 60),
            "semantic_diversity": diversity - 0.05 * effect + rng.normal(0, 0.03, 60),
            "style_diversity": 0.5 + diversity + rng.normal(0, 0.05, 60),
            "words": words,
            "finished": 1.0,
            "distinct_voice": rng.integers(1, 5, 60),
            "responses": 4,
            "duplicates": 0,
        }
    )
    folder.mkdir(parents=True)
    prompts.to_csv(folder / "prompts.csv", index=False)
    counts = {"prompts": 60, "responses": 240, "duplicates": 0, "unfinished": 3, "empty": 0}
    content = {"name": method, "method": method, "strength": strength, "seed": seed, "means": {}, "counts": counts}
    content[KEY] = Registered(tuple(METRICS)).record()  # of data that nothing is said of
    (folder / "metrics.json").write_text(json.dumps(content))
    return folder


def hash_of(text: str) -> int:
    """The same number in every process."""
    return int.from_bytes(text.encode(), "little") % 2**31


def write_study(root: Path, seeds: tuple[int, ...] = (0, 1)) -> Path:
    """Gold, SFT, and two weighted and unweighted methods at several strengths."""
    write_run(root / "gold", "gold", None, None, -0.1, 0.36)
    for seed in seeds:
        write_run(root / f"sft-{seed}", "sft", None, seed, 0.2, 0.37)
        for i, strength in enumerate(("0.5", "1.0", "2.0")):
            write_run(root / f"dpo-{strength}-{seed}", "dpo", strength, seed, 0.5 + 0.25 * i, 0.34 - 0.03 * i)
            write_run(root / f"ddpo-{strength}-{seed}", "ddpo-both", strength, seed, 0.45 + 0.2 * i, 0.36 - 0.015 * i)
        write_run(root / f"orpo-{seed}", "orpo", "1.0", seed, 0.85, 0.31)
        write_run(root / f"dorpo-{seed}", "dorpo-both", "1.0", seed, 0.53, 0.36)
    return root
