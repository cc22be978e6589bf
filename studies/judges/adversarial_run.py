"""Path B from files to ``judge.yaml``: rounds until the last or until none is better, saved after each, resumed when killed."""

import contextlib
import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from diversity_tuning.errors import UserError
from diversity_tuning.flags import flag
from diversity_tuning.generation.engine import EngineConfig, engine_settings, make_engine
from diversity_tuning.generation.requests import Engine, SamplingSettings
from diversity_tuning.judging.agreement import shown
from diversity_tuning.judging.principles import SAMPLING, JudgeFile
from diversity_tuning.judging.roles import LANGUAGES, prompt_hash
from diversity_tuning.locks import release
from diversity_tuning.next_steps import register_next
from diversity_tuning.outputs import forget_retired
from diversity_tuning.ranges import Flags
from diversity_tuning.runs import open_output, provenance, write_json_lines, write_provenance, write_text
from studies.judges import adversarial
from studies.judges.adversarial import STEPS, Asker, Check, Data, Rules, Stopped
from studies.judges.round_scores import FIGURES, selected, verdict_scores
from studies.judges.stages import RESPONSE_FORMAT, RESPONSE_FORMATS, with_response_format

JUDGE_FILE = "judge.yaml"
ROUNDS = "rounds.jsonl"  # a line a round: the state that a killed run goes on from
FILES = (ROUNDS, JUDGE_FILE, "curve.png", "report.md", "report.html", "provenance.json")
_NOT_KEPT = ("max_requests", "max_cost", "device", "cache")  # of one run or one machine
_HOPELESS = 4  # replies of the optimizer without one of use
DRAWS = 1000
CHECKED_BATCHES = 6  # how many batches of labelled rows new principles are checked on

register_next(
    "adversarial",
    "python -m scripts_eval.judge_agreement --reward {output}/judge.yaml --labels OTHER_LABELS --output {beside}/agreement",
)


@dataclass(frozen=True)
class AdversarialConfig(Flags):
    """What is read, who answers and how long it goes on. ``early_stop``: rounds without a better one; 0 goes on to the last."""

    labels: str = flag("what people said: rows of prompt, response, label")
    output: str = flag("folder for judge.yaml, rounds.jsonl, report")
    held_out: str | None = flag("labels that rounds are compared by; default: a share of the prompts of --labels", default=None)
    held_out_share: float = flag("share of the prompts, without --held_out", default=0.5, above=0, below=1)
    queries: str | None = flag(
        "prompts to write flawed responses to; default: those of the labels that are learned from", default=None
    )
    language: str = flag("language of the roles' prompts", default="en", choices=LANGUAGES)
    task: str = flag("rubric: stories, greetings, or one of --prompts", default="stories")
    prompts: str | None = flag("folder of your own ROLE.txt and rubrics/TASK.txt; ours for what it has not", default=None)
    principles: str | None = flag("text file with the principles to begin with, one a line; may be empty", default=None)
    strategies: str | None = flag("text file with the strategies to begin with, one a line; may be empty", default=None)
    rounds: int = flag("rounds; 0 only judges the principles to begin with", default=10, least=0)
    batch: int = flag("queries, and labelled rows, of a round", default=16, least=1)
    early_stop: int = flag("stop after so many rounds without a better one; 0: never", default=3, least=0)
    update: str = flag("rewrite rules once a step, or for each item", default="batch", choices=("batch", "item"))
    steps: tuple[str, ...] = flag("of a round", default=STEPS, choices=STEPS)
    accept: str = flag(
        "new principles: always, as in the paper, or unless they judge six batches of labelled rows worse than the old",
        default="always", choices=adversarial.ACCEPT,
    )  # fmt: skip
    engine: EngineConfig = field(default_factory=EngineConfig)
    sampling: SamplingSettings = SAMPLING  # of all roles but the generator
    writing_temperature: float = flag("of the generator; --temperature is that of all other roles", default=1.0, above=0)
    response_format: str = flag(RESPONSE_FORMAT, default="none", choices=RESPONSE_FORMATS)
    seed: int = flag("decides the held-out part, the batches and what servers are sent", default=0, least=0)
    overwrite: bool = flag("redo what is there", default=False)

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "steps", tuple(step for step in STEPS if step in self.steps))  # in their order, each once
        object.__setattr__(self, "engine", with_response_format(self.engine, self.response_format))

    @property
    def writing(self) -> SamplingSettings:
        """How the generator samples."""
        return dataclasses.replace(self.sampling, temperature=self.writing_temperature)


def find_principles(config: AdversarialConfig, engine: Engine | None = None, say=print) -> list[dict]:
    """Play the rounds that are missing and return all, the first being round 0, the principles to begin with.

    Writes ``rounds.jsonl`` and ``judge.yaml`` after each round, ``curve.png`` and the report at the end. A :class:`UserError`
    when it cannot go on; what has been written stays, and the same configuration goes on from it. ``engine``: in place of the
    configuration's.
    """
    from studies.judges.adversarial_report import write_report  # pandas: --help does without

    roles = adversarial.load_roles(config.language, config.task, config.prompts)
    record = _record(config, prompt_hash(roles.values()))
    made = open_output(config.output, record, config.overwrite, "made by this command", files=FILES, form="names")
    rounds = read_rounds(config.output) if made else []
    _check_optimizer(rounds, config.output, _HOPELESS)
    if _is_over(rounds, config):
        say(f"{config.output}: round {len(rounds) - 1} was the last, skipped")
        _check_optimizer(rounds, config.output)
        if not (Path(config.output) / "report.html").exists():  # killed before it was written
            write_report(rounds, best_round(rounds), Path(config.output), record["arguments"])
        return rounds
    kinds = ("principles", "strategies")
    first = Rules(*(adversarial.start_rules(kind, config.language, getattr(config, kind)) for kind in kinds))
    data = adversarial.read_data(config.labels, config.queries, config.held_out, config.held_out_share, DRAWS, config.seed)
    say(f"{len(data.queries)} queries, {len(data.train)} labelled rows, {len(data.held_out.responses)} held out")
    with contextlib.ExitStack() as stack:
        if engine is None:
            engine = make_engine(config.engine, log=f"{config.output.rstrip('/')}.vllm.log")
            if hasattr(engine, "close"):
                stack.enter_context(contextlib.closing(engine))
        asker = Asker(engine, roles, config.sampling, config.writing, config.seed, check=_check(config, data, rounds))
        try:
            while not _is_over(rounds, config):
                rounds.append(_next_round(config, asker, data, rounds, first))
                _save(config, record, rounds, prompt_hash([roles["detector"]]))
                say(summary(rounds[-1]))
                _check_optimizer(rounds, config.output, _HOPELESS)
            _check_optimizer(rounds, config.output)
        except Stopped as error:
            kept = f"{len(rounds)} rounds are kept" if rounds else "no round is complete"
            raise UserError(
                f"{config.output}: stopped in round {len(rounds)} ({error}); {kept}, the same command goes on"
            ) from None
        finally:
            if rounds:
                write_report(rounds, best_round(rounds), Path(config.output), record["arguments"])
    forget_retired(Path(config.output))
    release(Path(config.output))
    return rounds


def _check_optimizer(rounds: list[dict], output: str, least: int = 2) -> None:
    """:class:`UserError` where the optimizer was asked ``least`` times or more and never gave rules: nothing was searched."""
    asked, failed = (sum(one[part].get("optimizer", 0) for one in rounds) for part in ("asked", "failed"))
    if asked == failed >= least:
        why = next(one["reasons"]["optimizer"] for one in reversed(rounds) if "optimizer" in one["reasons"])
        raise UserError(
            f"{output}: no reply of the optimizer was of use ({failed} asked for, the last: {why}), so that {JUDGE_FILE} holds "
            "the principles to begin with; another --model or --response_format, then --overwrite"
        )


def _check(config: AdversarialConfig, data: Data, rounds: list[dict]) -> Check | None:
    """The check of new principles, on labelled rows to learn from: the same ones in every round."""
    if config.accept == "always":
        return None
    check = Check(adversarial.drawn(data.train, min(len(data.train), CHECKED_BATCHES * config.batch), 1, config.seed + 1))
    check.known |= {tuple(one["principles"]): one["checked"] for one in rounds}
    return check


def _next_round(config: AdversarialConfig, asker: Asker, data: Data, rounds: list[dict], first: Rules) -> dict:
    """Play the next round, judge the held-out rows by its principles, and return its line."""
    number = len(rounds)
    for counts in (asker.asked, asker.failed, asker.reasons):
        counts.clear()
    asker.left_out = 0
    calls, tokens = asker.usage.calls, (asker.usage.tokens_in, asker.usage.tokens_out)
    rules, told = first, {"attempts": [], "errors": [], "judged": 0, "rejected": 0}
    if rounds:
        before = Rules(rounds[-1]["principles"], rounds[-1]["strategies"])
        queries, rows = (
            adversarial.drawn(part, config.batch, number, config.seed) if step in config.steps else []
            for step, part in zip(STEPS, (data.queries, data.train), strict=True)
        )
        rules, told = adversarial.play_round(asker, before, queries, rows, number, config.update)
    same = [one["scores"] for one in rounds[-1:] if one["principles"] == rules.principles]
    if not same:
        held_out = data.held_out
        judged = asker.verdicts(rules.principles, list(zip(held_out.prompts, held_out.responses, strict=True)))
        if all(one is None for one in judged):
            raise UserError(f"none of {len(judged)} held-out rows has a verdict")
        found = [one and one["verdict"] for one in judged]
        same = [verdict_scores(found, held_out.labels, data.strata, data.weights)]
    return {
        "round": number,
        "principles": rules.principles,
        "strategies": rules.strategies,
        "scores": same[0],
        "fooled": sum(one["verdict"] for one in told["attempts"]),
        "written": len(told["attempts"]),
        "erred": len(told["errors"]),
        "judged": told["judged"],
        "rejected": told["rejected"],
        "checked": asker.check(asker, rules.principles) if asker.check else None,
        "asked": dict(asker.asked),
        "failed": dict(+asker.failed),
        "reasons": dict(asker.reasons),
        "rules_left_out": asker.left_out,
        "calls": asker.usage.calls - calls,
        "tokens_in": asker.usage.tokens_in - tokens[0],
        "tokens_out": asker.usage.tokens_out - tokens[1],
        "attempts": told["attempts"],
        "errors": told["errors"],
    }


def best_round(rounds: list[dict]) -> int:
    """The number of the round that agrees best with the held-out labels, the first of equal ones."""
    return max(range(len(rounds)), key=lambda i: (selected(rounds[i]["scores"]), -i))


def _is_over(rounds: list[dict], config: AdversarialConfig) -> bool:
    if len(rounds) > config.rounds:
        return True
    return bool(rounds) and 0 < config.early_stop <= len(rounds) - 1 - best_round(rounds)


def summary(one: dict) -> str:
    """A round in one line."""
    found = [f"{name.replace('_', ' ')} {shown(one['scores'][name])}" for name in ("accuracy", "accuracy_by_length", "f1")]
    told = f"fooled {one['fooled']}/{one['written']}, erred {one['erred']}/{one['judged']}, " if one["round"] else ""
    told += f"{one['rejected']} changes rejected, " if one["rejected"] else ""
    told += f"{one['rules_left_out']} rules beyond the tenth left out, " if one["rules_left_out"] else ""
    for role, count in one["failed"].items():
        told += f"{role}: {count} of {one['asked'][role]} replies of no use ({one['reasons'][role]}), "
    return f"round {one['round']}: {', '.join(found)}, {told}{len(one['principles'])} principles, {one['calls']} calls"


def _record(config: AdversarialConfig, prompts: str) -> dict:
    """What decides the result. Where the server is does not, nor how many rounds are asked for."""
    names = ("held_out_share", "language", "task", "batch", "update", "steps", "accept", "seed")
    settings = {name: getattr(config, name) for name in names} | {"prompt_hash": prompts}
    for part in ("sampling", "writing"):
        settings |= {f"{part}_{name}": value for name, value in dataclasses.asdict(getattr(config, part)).items()}
    settings |= {name: value for name, value in engine_settings(config.engine).items() if name != "base_url"}
    inputs = {name: getattr(config, name) for name in ("labels", "queries", "held_out", "principles", "strategies")}
    if config.engine.engine in ("local", "vllm"):
        inputs |= {"base_model": config.engine.base_model, "adapter": config.engine.adapter}
    return provenance("adversarial", settings, inputs)


def read_rounds(folder: str | Path) -> list[dict]:
    """The rounds of a run, round 0 first."""
    path = Path(folder) / ROUNDS
    if not path.is_file():
        return []
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except ValueError as error:
        raise UserError(f"{path}: not as it was written ({error}); give --overwrite or another folder") from None


def _save(config: AdversarialConfig, record: dict, rounds: list[dict], detector: str) -> None:
    """The state and the best judge so far, each file whole or not at all."""
    folder, best = Path(config.output), best_round(rounds)
    folder.mkdir(parents=True, exist_ok=True)
    write_provenance(folder, record, rounds=len(rounds) - 1, best=best, files=list(FILES))
    write_json_lines(folder / ROUNDS, rounds)
    history = [{"round": one["round"], "principles": len(one["principles"])} | _values(one) for one in rounds]
    judge = JudgeFile(
        rounds[best]["principles"], config.language, config.task, config.engine, config.sampling, config.seed,
        config.prompts, detector, best, history,
    )  # fmt: skip
    write_judge(folder / JUDGE_FILE, judge)


def write_judge(path: str | Path, judge: JudgeFile) -> None:
    """Write the file whole or not at all, without fields that have their default value."""
    content = {
        "principles": judge.principles, "language": judge.language, "task": judge.task,
        "engine": {"engine": judge.engine.engine} | _changed(judge.engine, _NOT_KEPT),
        "sampling": dataclasses.asdict(judge.sampling), "seed": judge.seed, "prompts": judge.prompts,
        "prompt_hash": judge.prompt_hash, "principles_hash": judge.principles_hash, "round": judge.round,
        "history": judge.history,
    }  # fmt: skip
    content = {name: value for name, value in content.items() if value is not None}
    text = yaml.safe_dump(content, allow_unicode=True, sort_keys=False, width=120)
    write_text(path, f"# A judge for --reward; see docs/RLAIF.md\n{text}")


def _changed(config, left_out: tuple[str, ...] = ()) -> dict:
    fields = [one for one in dataclasses.fields(config) if one.name not in left_out]
    return {one.name: getattr(config, one.name) for one in fields if getattr(config, one.name) != one.default}


def _values(one: dict) -> dict[str, float | None]:
    """A round's figures, three decimals; their intervals are in its line of ``rounds.jsonl``."""
    found = {f"{name}{end}": one["scores"][f"{name}{end}"]["value"] for name in FIGURES for end in ("", "_by_length")}
    return {name: None if value is None else round(value, 3) for name, value in found.items()}
