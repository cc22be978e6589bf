"""--popularity, after the paper's plan: the same texts with votes that favour common plots and voices less, or not at all.

Texts depend on seed and edition only, so whatever is made of texts alone is that of the main run of the seed: tokenizer, style
features, base model, threshold of distinct samples, embeddings, and the SFT adapter, which is trained on every kept response
whatever its votes. What is made of votes is made anew in a folder below the main run's: pairs, their deviations, the reward
model, DPO, DDPO. docs/RESULTS.md says what the sweep answers.
"""

import dataclasses

from studies.reproduce.stages import PAPER, SFT, Lanes, Stage, lanes, sample, serve, stage, train, weigh

VALUES = (0.0, 0.5, 1.0, 1.5)
UNUSED = ("orpo",)  # words in the names of that plan's stages that the sweep does not need
METHODS = ("sft", "dpo", "ddpo-both", "gold")
MARKS = "results/popularity"  # correlations of real data, from describe --correlation: marks on the axis


def folder_of(main: str, value: float) -> str:
    """The folder of one popularity below the main run's."""
    return f"{main}/popularity-{value:g}"


def rows(value: float) -> tuple[Stage | Lanes, ...]:
    """What a popularity other than the recipe's needs, for a run in :func:`folder_of`."""
    world, *before = PAPER.stages("world", "0_scoring", "1_filtering", "2_pairs")
    return (
        dataclasses.replace(world, command=f"{world.command} --popularity {value:g}"),
        *before,
        weigh("both", "semantic style"),
        lanes(
            [train("dpo", "dpo", "data/pairs-both", SFT), train("ddpo-both", "ddpo", "data/pairs-both", SFT)],
            [train("reward", "reward", "data/filtered")],
        ),
        serve("samples", "dpo", "ddpo-both"),
        lanes(
            [sample("dpo"), sample("ddpo-both")],
            [
                stage("copy", "sft", "sft"),
                sample("sft", adapter="{main}/generation"),  # scores the copy: the samples are there
                *PAPER.stages("reward_check", "eval_gold"),
            ],
        ),
    )


REPORT = (stage("report_popularity"),)
