"""--folds --dial, after the plan of a fold: the same texts with votes that favour the common more and more.

What is made of texts alone is the fold's own: the split, style features, embeddings, and the SFT adapter, which is trained on
every kept response whatever its votes, with its samples. So are reward A and the ridge beside it, of the votes as people gave
them. Made anew, in a folder below the fold's: votes, pairs, their deviations, reward B, DPO, DDPO, and the control with
deviations permuted within a prompt. λ = 0 is the fold itself.
"""

import dataclasses

from studies.real.dial import UNITS
from studies.reproduce.commands import Run, settings
from studies.reproduce.stages import FOLDS, Lanes, Stage, lanes, stage

VALUES = (0.0, 0.3, 0.6)
_SHARED = ("sft", "sft-t1.1")  # whose samples are the fold's


def folder_of(main: str, value: float) -> str:
    """The folder of one λ below the fold's."""
    return f"{main}/dial-{value:g}"


def rows(value: float, run: Run) -> tuple[Stage | Lanes, ...]:
    """What a λ other than 0 needs, for a run in :func:`folder_of`. Votes are in thousandths there, and so is stage 2's gap."""
    (pairs,) = FOLDS.stages("2_pairs")
    gap = settings(pairs, run).number("gap", 0)
    gap = gap if gap < 0 else UNITS * gap
    return (
        stage("dial", f"{value:g}"),
        *FOLDS.stages("1_filtering"),
        dataclasses.replace(pairs, command=f"{pairs.command} --gap {gap:.15g}"),
        *FOLDS.stages("3_weights_both", "3_weights_permuted", "reward_b"),
        lanes(
            FOLDS.stages("train_dpo", "sample_dpo", "sample_dpo-t1.1"),
            FOLDS.stages("train_ddpo", "train_ddpo-permuted", "sample_ddpo", "sample_ddpo-t1.1", "sample_ddpo-permuted"),
        ),
        stage("measure", " ".join(f"{{main}}/samples{{suffix}}/{name}" for name in _SHARED)),
    )


REPORT = (stage("report_dial"),)
