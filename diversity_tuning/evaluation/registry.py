"""The registry of metrics: what each is called, which way is better, where it is shown, and what it is.

To add a metric of a prompt's responses, write its function into :mod:`~.metrics` and an entry with ``function`` here. It is
then computed by `scripts_eval.generation_eval1_2` and is in prompts.csv, metrics.json, the tables, the figures, the
results folder and the glossary of report.html (an example is in CONTRIBUTING.md). A metric of single responses, or one that
needs a model, is computed in :mod:`~.scoring.run`; its entry has no ``function``. What only one data set has is registered by
its study (:mod:`~.diagnostics`).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from diversity_tuning.data.schema import REDDIT_REWARD, SEMANTIC_DIVERSITY, STYLE_DIVERSITY
from diversity_tuning.deviation_types import TYPES
from diversity_tuning.evaluation import metrics

LOG_PROB = "log_prob"
TABLES = ("main", "further", "auxiliary", "other", "counts")
OfResponses = Callable[[Sequence[str]], float]


@dataclass(frozen=True)
class Metric:
    """One metric. ``table``: main metrics open a report and make the index of results/; counts are sums."""

    column: str  # in prompts.csv, metrics.json and the tables' .csv; of counts: key in metrics.json
    label: str  # in tables and figures, a few words at most
    definition: str  # one sentence, for the glossary
    unit: str
    table: str  # one of TABLES; other: of a diagnostics module
    better: Literal["higher", "lower"] | None = None  # None: neither, and not drawn
    gain: str = "more varied"  # what the better direction means
    function: OfResponses | None = None  # the responses to one prompt -> value
    released: OfResponses | None = None  # the same as the released code computed it, where that differs
    rouge: OfResponses | None = None  # the same with the words of the package rouge-score, where those differ
    short: str = ""  # label for narrow tables and lines; default: the label
    equal_length_of: str | None = None  # this is that column at the runs' common length
    quality: bool = False  # what diversity is bought with: a row of the figures of quality against diversity
    figure: str = ""  # the figure of quality against diversity that has this as a column

    def __post_init__(self):
        for name, known in (("table", TABLES), ("better", ("higher", "lower", None))):
            if getattr(self, name) not in known:
                raise ValueError(f"metric '{self.column}': {name} is one of {known}, not {getattr(self, name)!r}")

    @property
    def arrow(self) -> str:
        """``↑`` where higher is better, ``↓`` where lower is, else nothing."""
        return {"higher": "↑", "lower": "↓"}.get(self.better or "", "")

    @property
    def anchor(self) -> str:
        """The id of its entry in the glossary of a page."""
        return f"metric-{self.column}"

    @property
    def heading(self) -> str:
        """Short label and arrow."""
        return f"{self.short or self.label} {self.arrow}".rstrip()


METRICS = [
    Metric(
        REDDIT_REWARD, "reward", "Score that the reward model gives a response for its prompt, mean over responses.",
        "predicted votes, transformed to [−1, 1]", "main", "higher", gain="better", quality=True,
    ),
    Metric(
        SEMANTIC_DIVERSITY, "semantic diversity",
        "Mean cosine distance between the semantic embeddings of the responses to one prompt.",
        "cosine distance, 0 to 2", "main", "higher", short="semantic", figure="reward_diversity",
    ),
    Metric(
        STYLE_DIVERSITY, "style diversity",
        "Mean cosine distance between the style embeddings of the responses to one prompt.",
        "cosine distance, 0 to 2", "main", "higher", short="style", figure="reward_diversity",
    ),
    Metric(
        "distinct_k", "distinct samples",
        "Number of groups that the responses to one prompt fall into when responses nearer than the distance threshold, or"
        " called the same by the classifier, are joined.",
        "groups, 1 to the number of responses", "main", "higher", short="distinct",
    ),
    Metric(
        "semantic_equal_length", "semantic, equal length",
        "Semantic diversity moved to the runs' common mean length along the slope of diversity on log words within runs.",
        "cosine distance", "further", "higher", equal_length_of=SEMANTIC_DIVERSITY,
    ),
    Metric(
        "style_equal_length", "style, equal length",
        "Style diversity moved to the runs' common mean length along the slope of diversity on log words within runs.",
        "cosine distance", "further", "higher", equal_length_of=STYLE_DIVERSITY,
    ),
    Metric(
        "good", "share good", "Share of responses whose reward reaches the quality threshold.", "share, 0 to 1",
        "further", "higher", gain="better",
    ),
    Metric(
        "semantic_diversity_good", "semantic, good samples",
        "Semantic diversity among the good responses to a prompt, over prompts with at least two.",
        "cosine distance, 0 to 2", "further", "higher",
    ),
    Metric(
        "style_diversity_good", "style, good samples",
        "Style diversity among the good responses to a prompt, over prompts with at least two.",
        "cosine distance, 0 to 2", "further", "higher",
    ),
    Metric(
        "distinct_k_good", "distinct good samples",
        "Distinct samples among the good responses to a prompt.", "groups, 0 to the number of responses", "further", "higher",
    ),
    Metric(
        "utility_k", "utility",
        "Mean over the samples i in their order, weighed by .8^(i−1), of the reward on a scale of 1 to 10, or 0 where an"
        " earlier one is of the same group (NoveltyBench).",
        "rating, 0 to 10", "further", "higher", gain="better or more varied",
    ),
    Metric(
        "words", "words a response",
        "Mean number of words in a response, split at white space; characters in scripts without spaces.", "words", "further",
    ),
    Metric(
        LOG_PROB, "log-probability a token",
        "Mean log-probability of a response's tokens under a language model, best the base model: far below that of other"
        " models' responses, the text is garbled, and its diversity is no gain.",
        "nats, at most 0", "further", short="log-prob",
    ),
    Metric(
        "compression_ratio", "compression ratio",
        "Bytes of the responses to one prompt, joined, over their bytes after gzip.",
        "ratio, above 0", "auxiliary", "lower", function=metrics.compression_ratio,
    ),
    Metric(
        "homogenization_score", "homogenization (ROUGE-L)",
        "Mean ROUGE-L F over the pairs of responses to one prompt.",
        "F score, 0 to 1", "auxiliary", "lower", function=metrics.homogenization_score,
        released=partial(metrics.homogenization_score, variant="released"),
        rouge=partial(metrics.homogenization_score, variant="rouge"),
    ),
    Metric(
        "ngram_diversity_score", "n-gram diversity",
        "Share of different n-grams among all n-grams of the responses to one prompt, summed over n = 1 to 4.",
        "sum of four shares, 0 to 4", "auxiliary", "higher", function=metrics.ngram_diversity_score,
        released=partial(metrics.ngram_diversity_score, variant="released"),
    ),
    Metric("responses", "responses", "Responses that were scored.", "responses", "counts"),
    Metric("failed", "failed", "Responses that were asked for and not got.", "responses", "counts"),
    Metric("duplicates", "duplicates", "Word for word an earlier response to the same prompt.", "responses", "counts"),
    Metric("unfinished", "unfinished", "No end token before the limit of new tokens.", "responses", "counts"),
    Metric("rating_cut", "rating cut", "Reward outside [−1, 1], cut for the utility.", "responses", "counts"),
    Metric("empty", "empty", "No text but white space.", "responses", "counts"),
    Metric(
        f"truncated_for_{SEMANTIC_DIVERSITY}", "truncated, semantic",
        "Longer than the semantic encoder reads, so that the rest of the text does not count.", "responses", "counts",
    ),
    Metric(
        f"truncated_for_{STYLE_DIVERSITY}", "truncated, style",
        "Longer than the style encoder reads, so that the rest of the text does not count.", "responses", "counts",
    ),
]  # fmt: skip
TRUNCATED = {one.column: f"truncated_for_{one.column}" for one in TYPES.values()}  # 1: longer than read
DIVERSITIES = tuple(TRUNCATED)  # against quality in the main figure and at equal quality
_OF_STUDIES: dict[str, Metric] = {}  # column -> what a study means by it (:mod:`~.diagnostics`)


def register(metric: Metric) -> None:
    """Add a metric for this process, as a notebook would. :class:`ValueError` when its column is taken."""
    if find(metric.column):
        raise ValueError(f"column '{metric.column}' is registered already")
    METRICS.append(metric)


def take_in(metric: Metric) -> None:
    """Add a study's metric; it replaces another study's of that column. :class:`ValueError` when the library has the column."""
    if any(metric.column == one.column for one in METRICS):
        raise ValueError(f"column '{metric.column}' is a metric of the library; give the study's another name")
    _OF_STUDIES[metric.column] = metric


def every() -> list[Metric]:
    """The library's metrics, then those of the studies that were read."""
    return [*METRICS, *_OF_STUDIES.values()]


def find(column: str) -> Metric | None:
    """The metric of a column, or None: a diagnostics module may bring columns that are not registered."""
    return next((metric for metric in every() if metric.column == column), None)


def in_table(*tables: str) -> list[Metric]:
    """The metrics of these tables, in the order of the registry."""
    return [metric for metric in every() if metric.table in tables]


def qualities() -> list[str]:
    """What diversity is bought with: the reward first. Reward models see a part of quality, and popularity besides."""
    return [metric.column for metric in every() if metric.quality]


def tradeoffs() -> dict[str, list[str]]:
    """Figure of quality against diversity -> its columns: the library's, then those that studies have."""
    found: dict[str, list[str]] = {}
    for metric in every():
        if metric.figure:
            found.setdefault(metric.figure, []).append(metric.column)
    return found


def diversities() -> list[str]:
    """The columns of all these figures. Those of studies lead: embeddings also move apart where a text is garbled."""
    return [column for columns in reversed(tradeoffs().values()) for column in columns]


def columns(selected: Iterable[Metric]) -> list[str]:
    """Their columns."""
    return [metric.column for metric in selected]


def computed() -> list[Metric]:
    """The metrics that a function of a prompt's responses gives."""
    return [metric for metric in METRICS if metric.function]


def equal_length() -> dict[str, str]:
    """Column of a diversity -> column of the same at equal length."""
    return {metric.equal_length_of: metric.column for metric in METRICS if metric.equal_length_of}


def label(column: str) -> str:
    """What a column is called; unregistered columns go by their own name."""
    metric = find(column)
    return metric.label if metric else column


def short(column: str) -> str:
    """The same in a word or two."""
    metric = find(column)
    return (metric.short or metric.label) if metric else column


def heading(column: str) -> str:
    """The column's short label with an arrow in the better direction."""
    metric = find(column)
    return metric.heading if metric else column
