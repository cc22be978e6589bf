"""The tables of the captions report."""

import numpy as np

from diversity_tuning.evaluation.rendering import Table, interval, t_words
from diversity_tuning.evaluation.report.styles import number_of_seeds
from diversity_tuning.evaluation.statistics import mean_interval, paired_difference
from studies.captions.copies import NEAR
from studies.captions.measure import MEASURES
from studies.captions.report_data import REWARDS, Results
from studies.report import titled
from studies.results.statistics import family

LABELS = {
    "people": "people (test captions)", "sft": "SFT", "sft-t0.7": "SFT, T .7", "sft-t1.3": "SFT, T 1.3", "dpo": "DPO",
    "dpo-t0.7": "DPO, T .7", "dpo-t1.3": "DPO, T 1.3", "ddpo": "DDPO", "ddpo-permuted": "DDPO, δ permuted",
}  # fmt: skip
COMPARED = (
    ("dpo", "sft"), ("ddpo", "dpo"), ("ddpo-permuted", "dpo"), ("ddpo", "ddpo-permuted"), ("dpo-t1.3", "dpo"),
    ("ddpo", "dpo-t1.3"), ("sft-t0.7", "sft"), ("sft-t0.7", "dpo"), ("dpo-t0.7", "dpo"), ("dpo", "people"),
)  # fmt: skip
_KINDS = {"reward": "reward", "ngrams": "its n-grams", "vectors": "its MiniLM head", "length": "length (characters)"}


def tables(results: Results) -> list[Table]:
    """Models, differences, accuracy of the rewards."""
    return [models(results), differences(results), rewards(results)]


def models(results: Results) -> Table:
    """Every measure of every model."""
    rows = [
        [label(model), *(interval(mean_interval(values[name])) for name in MEASURES)]
        for model, values in results.values.items()
    ]
    return titled(
        __file__, "measures", ["model", *MEASURES.values()], rows, contests=len(results.contests), captions=results.captions,
        seeds=number_of_seeds(len(results.seeds)), near=NEAR, resampled=results.resampled,
    )  # fmt: skip


def differences(results: Results) -> Table:
    """Paired differences of models, contest by contest."""
    rows, of, apart = [], results.values, []
    for one, other in COMPARED:
        if one in of and other in of:
            apart += [of[one][name] - of[other][name] for name in MEASURES]
            found = (paired_difference(of[one][name], of[other][name]) for name in MEASURES)
            rows.append([f"{label(one)} − {label(other)}", *(interval(row, sign="+") + t_words(row) for row in found)])
    header = ["models", *MEASURES.values()]
    return titled(__file__, "differences", header, rows, resampled=results.resampled, family=family(apart))


def rewards(results: Results) -> Table:
    """Spearman's correlation with real votes on held-out captions."""
    rows = []
    for which in REWARDS:
        for kind, name in _KINDS.items():
            values = results.accuracy[which][kind]
            means = values.mean(axis=0)
            rows.append([which.upper(), name, interval(mean_interval(values)), f"{means.min():.2f} to {means.max():.2f}"])
    votes = mean_interval(np.asarray(results.votes))
    header = ["reward", "part", "Spearman", "range over contests"]
    return titled(__file__, "rewards", header, rows, votes=interval(votes, sign="+"))


def label(model: str) -> str:
    """What tables and the figure call a model."""
    return LABELS.get(model, model)
