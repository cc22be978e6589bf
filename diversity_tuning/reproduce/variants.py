"""--variants, after SEED: other uses of the deviations on the same pairs, to find out whether DDPO can lose less (docs/LOG.md).

Floors, a power of δ, the mean of DPO's and DDPO's loss, pairs drawn by δ instead of weighted, and log-ratios per token of a
response. The floors are those of --controls, under the same names. The report says which variant meets the rule of
:mod:`~diversity_tuning.evaluation.report.gain_kept`.
"""

from diversity_tuning.reproduce import controls
from diversity_tuning.reproduce.stages import REPORT as MAIN_REPORT
from diversity_tuning.reproduce.stages import SFT, Lanes, Stage, lanes, sample, train, weigh

UNUSED = ("orpo", "gold", "reward_check")  # stages of a seed that the rule has no need of
TOKENS = 83  # of a response, on average over the miniature's pairs: β per token is β times this
# Method -> (strength, flags of stage 3). `ddpo-per-token` trains on DDPO's own pairs.
WEIGHTS = {
    "ddpo-power": ("0.5", "--weight_power 0.5"),
    "ddpo-mix": ("0.5", "--weight_mix 0.5"),
    "ddpo-resampled": ("1", "--resample --resample_seed 1"),
}
PER_TOKEN = "ddpo-per-token"
METHODS = ("floor", *WEIGHTS, PER_TOKEN)


def floors() -> tuple[Stage | Lanes, ...]:
    """The floors of --controls: the same stages, with the same outputs."""
    names = [(f"floor-{strength}", "floor", strength) for strength in controls.FLOORS]
    return (
        *(controls.weigh_control(*row[1:]) for row in names),
        lanes(*([controls.train_control(*row)] for row in names)),
        lanes(*([sample(*row)] for row in names)),
    )


def rows(beta: float) -> tuple[Stage | Lanes, ...]:
    """The other variants of one seed. ``beta``: of the recipe's DDPO."""
    trained = [
        *(train(name, "ddpo", f"data/pairs-{name}", SFT) for name in WEIGHTS),
        train(PER_TOKEN, "ddpo", "data/pairs-both", f"{SFT} --loss_type sigmoid_norm --beta {beta * TOKENS:.3g}"),
    ]
    sampled = [*(sample(name, name, strength) for name, (strength, _) in WEIGHTS.items()), sample(PER_TOKEN)]
    return (
        *(weigh(name, "semantic style", flags) for name, (_, flags) in WEIGHTS.items()),
        lanes(trained[:2], trained[2:]),
        lanes(sampled[:2], sampled[2:]),
    )


REPORT = (
    *MAIN_REPORT[1:],
    Stage("gain_kept", "eval1_1", "python -m scripts_eval.gain_kept --runs {results} --output {report}/gain_kept"),
)
