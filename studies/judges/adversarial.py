"""One round of Path B, the adversarial search for a judge's principles.

A generator tries to fool a detector, a reflector examines the detector's errors on labelled rows, and an optimizer rewrites the
principles S_D, by which the detector judges, and the strategies S_G, by which the generator writes. Source: Wei et al. 2025,
arXiv 2508.21476.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from diversity_tuning import judging
from diversity_tuning.data import schema
from diversity_tuning.data.tables import open_split
from diversity_tuning.errors import UserError
from diversity_tuning.generation.requests import Engine, SamplingSettings
from diversity_tuning.judging.agreement import length_strata
from diversity_tuning.judging.read import QUERY, Judged, read_labels, text_in
from diversity_tuning.judging.roles import Answer, Failed, Role, Usage, ask, load_role

ROLES = ("generator", "detector", "reflector", "optimizer")
STEPS = ("adversarial", "reflection")
ACCEPT = ("always", "not_worse")
_HOPELESS = 4  # so many replies, all of no use, of a role without which nothing can be learned
_STARTS = Path(judging.__file__).parent / "prompts"


class Stopped(UserError):
    """The engine asks for nothing more: a cap, or a server that is gone. What was answered before is kept."""


@dataclass(frozen=True)
class Rules:
    """S_D and S_G: at most ten sentences each."""

    principles: list[str]
    strategies: list[str]


@dataclass(frozen=True)
class Labelled:
    """A response with what people said of it: 1 good, 0 bad."""

    query: str
    response: str
    label: int


@dataclass
class Asker:
    """The four roles at one engine. ``writing``: how the generator samples; ``seed`` that of all others.

    ``asked``, ``failed`` and ``reasons`` (the last one), by role, and ``usage`` count over all that was asked;
    ``left_out``: rules beyond the ten of a list.
    """

    engine: Engine
    roles: dict[str, Role]
    sampling: SamplingSettings
    writing: SamplingSettings
    seed: int = 0
    asked: Counter = field(default_factory=Counter)
    failed: Counter = field(default_factory=Counter)
    reasons: dict[str, str] = field(default_factory=dict)
    left_out: int = 0
    usage: Usage = field(default_factory=Usage)
    progress: Callable[[int], object] | None = None
    check: "Check | None" = None  # of new principles; None: they are always accepted

    def ask(self, name: str, inputs: list[dict], seed: int | None = None) -> list[dict | None]:
        """What the role replied to each, None where that was of no use. :class:`Stopped` when there is no more to be had."""
        settings = self.writing if name == "generator" else self.sampling
        seed = self.seed if seed is None else seed
        answers = ask(self.engine, self.roles[name], inputs, settings, seed, progress=self.progress)
        for answer in answers:
            self.usage.add(answer.usage)
        failed = [answer for answer in answers if isinstance(answer, Failed)]
        bad = [one for one in failed if not one.stopped]
        if name in ("generator", "detector") and len(failed) == len(answers) and len(bad) >= _HOPELESS:
            raise UserError(f"all {len(bad)} replies of the {name} were of no use, the last: {bad[-1].reason}")
        stopped = next((one.reason for one in failed if one.stopped), None)
        if stopped:
            raise Stopped(stopped)
        self.asked[name] += len(answers)
        self.failed[name] += len(failed)
        if failed:
            self.reasons[name] = failed[-1].reason
        return [answer.value if isinstance(answer, Answer) else None for answer in answers]

    def verdicts(self, principles: list[str], rows: list[tuple[str, str]]) -> list[dict | None]:
        """The detector's reply to each (query, response) under these principles."""
        return self.ask("detector", [{"query": q, "response": r, "principles": principles} for q, r in rows])


class Check:
    """How many labelled rows the detector judges rightly by some principles; each set of principles is tried once."""

    def __init__(self, rows: list[Labelled]):
        self.rows = rows
        self.known: dict[tuple[str, ...], float] = {}

    def __call__(self, asker: Asker, principles: list[str]) -> float:
        """The share of the rows, those without a verdict counting as wrong."""
        if tuple(principles) not in self.known:
            found = asker.verdicts(principles, [(row.query, row.response) for row in self.rows])
            right = [one is not None and one["verdict"] == row.label for row, one in zip(self.rows, found, strict=True)]
            self.known[tuple(principles)] = sum(right) / len(right)
        return self.known[tuple(principles)]


def load_roles(language: str, task: str, prompts: str | None = None) -> dict[str, Role]:
    """The four roles."""
    return {name: load_role(name, language, task, prompts) for name in ROLES}


def start_rules(kind: str, language: str, file: str | None = None) -> list[str]:
    """The ``principles`` or ``strategies`` to begin with: the lines of a file, or ours, which name no flaw."""
    path = Path(file) if file else _STARTS / language / "start" / f"{kind}.txt"
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--{kind} {path}: cannot be read ({error}); give a text file with one rule a line") from None
    rules = [line.strip() for line in lines if line.strip()]
    if len(rules) > 10:
        raise UserError(f"--{kind} {path}: {len(rules)} rules; at most 10")
    return rules


def play_round(
    asker: Asker, rules: Rules, queries: list[str], rows: list[Labelled], number: int, update: str = "batch"
) -> tuple[Rules, dict]:
    """The rules after one round, and what happened in it.

    ``update="batch"``: all feedback of a step goes into one call of the optimizer. ``"item"``: the rules are rewritten after
    each query and each row, as the released code does.
    """
    told: dict = {"attempts": [], "errors": [], "judged": 0, "rejected": 0}
    size = 1 if update == "item" else None
    for part in _parts(queries, size):
        rules = _adversarial_step(asker, rules, part, number, told)
    for part in _parts(rows, size):
        rules = _reflection_step(asker, rules, part, told)
    return rules, told


def _parts(items: list, size: int | None) -> Iterator[list]:
    size = size or max(len(items), 1)
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _adversarial_step(asker: Asker, rules: Rules, queries: list[str], number: int, told: dict) -> Rules:
    """The generator writes flawed responses. Where the detector sees it, S_G is improved by its suggestion, else S_D."""
    inputs = [{"query": query, "strategies": rules.strategies} for query in queries]
    # A query that comes again in a later round gets another response.
    written = asker.ask("generator", inputs, asker.seed + number)
    tried = [(query, text) for query, text in zip(queries, written, strict=True) if text is not None]
    found = asker.verdicts(rules.principles, [(query, text["response"]) for query, text in tried])
    for_writer, for_judge = [], []
    for (query, text), judged in zip(tried, found, strict=True):
        if judged is None:
            continue
        told["attempts"].append({"query": query, **text, "verdict": judged["verdict"], "reason": judged["reason"]})
        if judged["verdict"]:
            for_judge.append(text["explanation"])
        else:
            for_writer.append(judged["suggestion"])
    strategies = _improved(asker, "strategies", rules.strategies, for_writer)
    return Rules(_principles(asker, rules.principles, for_judge, told), strategies)


def _reflection_step(asker: Asker, rules: Rules, rows: list[Labelled], told: dict) -> Rules:
    """The detector judges labelled rows; for each error the reflector says what S_D lacks or has wrong."""
    found = asker.verdicts(rules.principles, [(row.query, row.response) for row in rows])
    judged = [(row, one) for row, one in zip(rows, found, strict=True) if one is not None]
    told["judged"] += len(judged)
    wrong = [(row, one) for row, one in judged if one["verdict"] != row.label]
    inputs = [
        {
            "query": row.query, "response": row.response, "principles": rules.principles, "label": row.label,
            "verdict": {"verdict": one["verdict"], "reason": one["reason"]},
        }
        for row, one in wrong
    ]  # fmt: skip
    feedback = []
    for (row, one), thought in zip(wrong, asker.ask("reflector", inputs), strict=True):
        why = thought or {}
        error = {"query": row.query, "response": row.response, "label": row.label, "reason": one["reason"]}
        told["errors"].append(error | why)
        if thought:
            feedback.append(f"{thought['missing']} (Why: {thought['why']})")
    return Rules(_principles(asker, rules.principles, feedback, told), rules.strategies)


def _principles(asker: Asker, principles: list[str], feedback: list[str], told: dict) -> list[str]:
    """The improved principles, or the old ones where the check finds the new ones worse."""
    new = _improved(asker, "principles", principles, feedback)
    if asker.check and new != principles and asker.check(asker, new) < asker.check(asker, principles):
        told["rejected"] += 1
        return principles
    return new


def _improved(asker: Asker, kind: str, rules: list[str], feedback: list[str]) -> list[str]:
    """The optimizer's new list; the old one where there is no feedback or no usable reply."""
    feedback = [" ".join(one.split()) for one in feedback if one.strip()]
    if not feedback:
        return rules
    (answer,) = asker.ask("optimizer", [{"kind": kind, "rules": rules, "feedback": feedback}])
    if answer is None:
        return rules
    asker.left_out += answer["left_out"]
    return answer["rules"]


@dataclass(frozen=True)
class Data:
    """Queries to write for, labelled rows to learn from, and held-out ones to compare rounds by, with no prompt in common."""

    queries: list[str]
    train: list[Labelled]
    held_out: Judged
    strata: np.ndarray
    weights: np.ndarray


def read_data(
    labels_file: str, queries_file: str | None, held_out_file: str | None, share: float, draws: int, seed: int
) -> Data:
    """The labelled rows in two parts by prompt, and the queries; :class:`UserError` where a part is of no use."""
    from diversity_tuning.evaluation.statistics import cluster_weights  # SciPy: --help does without

    labels = read_labels(labels_file)
    held_out = read_labels(held_out_file) if held_out_file else None
    if held_out:
        apart = set(held_out.prompts)
    else:  # a share of the prompts, at least one
        names = sorted(set(labels.prompts))
        order = np.random.default_rng(seed).permutation(len(names))
        apart = {names[i] for i in order[: max(1, round(share * len(names)))]}
    keep = np.array([prompt not in apart for prompt in labels.prompts])
    held_out, train = held_out or labels.select(~keep), labels.select(keep)
    for part, rows in (("held-out", held_out), ("other", train)):
        good = int(rows.labels.sum())
        if good in (0, len(rows.labels)):
            raise UserError(
                f"{labels_file}: of {len(rows.labels)} {part} rows {good} are good; both parts, which have no prompt "
                "in common, need good and bad ones"
            )
    rows = [Labelled(*row) for row in zip(train.prompts, train.responses, map(int, train.labels), strict=True)]
    asked = read_queries(queries_file) if queries_file else list(dict.fromkeys(train.prompts))
    queries = [query for query in asked if query not in set(held_out.prompts)]
    if not queries:
        raise UserError(f"--queries {queries_file}: all {len(asked)} are prompts of held-out rows")
    weights = cluster_weights(held_out.prompts, draws, seed)
    return Data(queries, rows, held_out, length_strata(held_out.responses), weights)


def drawn(items: list, batch: int, number: int, seed: int) -> list:
    """The ``batch`` items of round ``number``, from 1: every one comes once before any comes again, in an order by ``seed``."""
    found = []
    for place in range((number - 1) * batch, number * batch):
        turn, i = divmod(place, len(items))
        found.append(items[np.random.default_rng([seed, turn]).permutation(len(items))[i]])
    return found


def read_queries(source: str) -> list[str]:
    """The different prompts of rows with a column prompt or query, or of posts (title and text), in their order."""
    rows = open_split(source, schema.TRAIN)
    columns = rows.column_names
    if schema.POST_TITLE in columns and schema.POST_TEXT in columns:
        posts = zip(rows[schema.POST_TITLE][:], rows[schema.POST_TEXT][:], strict=True)
        found = [schema.prompt_text(title, text) for title, text in posts]
    else:
        name = next((name for name in (schema.PROMPT, QUERY) if name in columns), None)
        if name is None:
            raise UserError(f"{source}: no column '{schema.PROMPT}' or '{QUERY}'; it has {', '.join(columns)}")
        found = [text_in(value, f"{source}: row {n}, column '{name}'", True) for n, value in enumerate(rows[name][:], start=1)]
    found = [query for query in dict.fromkeys(found) if query.strip()]
    if not found:
        raise UserError(f"{source}: no queries")
    return found
