"""The four stages of Path A that ask an LLM: positive, negative, judge, reflect. One row per response, a field more per stage.

Source: Wei et al. 2025, arXiv 2508.21476. What differs from their code: docs/FIDELITY.md.
"""

import contextlib
import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from tqdm import tqdm

from diversity_tuning.errors import UserError
from diversity_tuning.flags import flag
from diversity_tuning.generation import engine as engines
from diversity_tuning.generation.engine import EngineConfig, extra_body
from diversity_tuning.generation.requests import Engine, SamplingSettings
from diversity_tuning.judging import roles
from diversity_tuning.judging.read import read_jsonl
from diversity_tuning.judging.roles import SETTINGS, Answer, Failed, Role, Usage
from diversity_tuning.locks import hold, release
from diversity_tuning.next_steps import register_next
from diversity_tuning.outputs import LineFile, forget_retired, read_provenance
from diversity_tuning.ranges import Flags
from diversity_tuning.runs import difference, open_output, provenance, write_provenance, write_text

ANSWERS, RESPONSES = "answers.jsonl", "responses.jsonl"
RESPONSE_FORMATS = ("none", "json_object", "json_schema")
RESPONSE_FORMAT = (
    "json_object: servers of OpenAI's kind are told to reply with JSON; json_schema: with the keys and types of the role;"
    " one that refuses it is asked without, which is said"
)


class Journal(LineFile):
    """``answers.jsonl``: a line for every answer, by the prompt that was sent; of several to one prompt the last counts.

    So an answer belongs to what was asked, not to a row's place: rows may come in another order, go, or be added.
    """

    def __init__(self, folder: str | Path):
        super().__init__(Path(folder) / ANSWERS)
        self._answers: dict[str, Answer | Failed] = {}
        for number, line in enumerate(self.lines(), start=1):
            try:
                self._read(json.loads(line))
            except (ValueError, KeyError, TypeError):
                raise UserError(f"{self.path}, line {number}: not an answer; delete the line, or give --overwrite") from None

    def _read(self, line: dict) -> None:
        usage = Usage(**line["usage"])
        failed = line.get("failed")
        self._answers[line["key"]] = (
            Answer(line["value"], usage) if failed is None else Failed(failed["reason"], failed["reply"], usage, line["tried"])
        )

    def get(self, key: str) -> Answer | Failed | None:
        """What is known of a prompt."""
        return self._answers.get(key)

    def add(self, key: str, answer: Answer | Failed) -> None:
        """Put an answer on the disk before anything else happens; its usage is added to that of the ones before."""
        if key in self._answers:
            answer.usage.add(self._answers[key].usage)
        line = {"key": key, "usage": asdict(answer.usage)}
        if isinstance(answer, Failed):
            line |= {"failed": {"reason": answer.reason, "reply": answer.raw}, "tried": answer.tried}
        else:
            line |= {"value": answer.value}
        self.append([line])
        self._answers[key] = answer


EXAMPLES, FAILED, USAGE = "examples", "failed", "usage"
FILES = [ANSWERS, RESPONSES, "summary.json", "summary.md", "verdicts.png"]  # the last three of the last stage
_SOURCE = ("source",)  # rows may go, come, or stand in another order
_LONGEST_REPLY = 2000  # characters of a bad reply that a failed row keeps


@dataclass(frozen=True)
class Stage:
    """A role that answers for every response: the name of its command, the fields it reads and the one it adds."""

    name: str
    role: str
    reads: tuple[str, ...]
    adds: str


RETRIEVAL = "0_retrieval_agent"
POSITIVE = Stage("1_positive_agent", "positive", (EXAMPLES,), "strengths")
NEGATIVE = Stage("2_negative_agent", "negative", (EXAMPLES,), "weaknesses")
JUDGE = Stage("3_judge_agent", "judge", (EXAMPLES, "strengths", "weaknesses"), "judge")
REFLECT = Stage("4_reflect_agent", "reflect", (*JUDGE.reads, "judge"), "reflect")
STAGES = (POSITIVE, NEGATIVE, JUDGE, REFLECT)
_DEBATE = (POSITIVE.adds, NEGATIVE.adds)
FIELDS = (EXAMPLES, *(stage.adds for stage in STAGES), FAILED, USAGE)  # what a source may not have already

for one, two in itertools.pairwise(("0_retrieval", "1_positive", "2_negative", "3_judge", "4_reflect")):
    line = (
        f"python -m scripts_multi_agent.{two}_agent --source {{output}} --output {{beside}}/{two} --engine openai --model MODEL"
    )
    register_next(f"{one}_agent", line)
register_next(
    "4_reflect_agent", "python -m scripts_multi_agent.5_verdicts_to_preference --source {output} --output {beside}/pairs"
)


def with_response_format(config: EngineConfig, name: str) -> EngineConfig:
    """The engine that asks its server for ``name`` of :data:`RESPONSE_FORMATS`; :class:`UserError` where it cannot."""
    if name == "none":
        return config
    if config.engine in ("local", "anthropic"):
        raise UserError(f"--response_format {name}: only servers of OpenAI's kind take it, not --engine {config.engine}")
    extra = {"response_format": {"type": name}}
    given = extra_body(config)
    if given.get("response_format", extra["response_format"]) != extra["response_format"]:
        raise UserError(f"--response_format {name}: --extra_body has another response_format")
    return replace(config, extra_body={**given, **extra})


@dataclass(frozen=True)
class StageConfig(Flags):
    """What a stage reads, who answers and how. ``debate`` False: the judge sees neither strengths nor weaknesses."""

    source: str = flag("output folder of the stage before")
    output: str = flag("output folder")
    language: str = flag("language of the prompts", default="en", choices=roles.LANGUAGES)
    task: str = flag("rubric: stories, greetings, or one of --prompts", default="stories")
    prompts: str | None = flag("folder of your own ROLE.txt and rubrics/TASK.txt; ours for what it has not", default=None)
    retry_failed: bool = flag("ask again about responses whose reply was of no use", default=False)
    debate: bool = flag("show strengths and weaknesses to the role", default=True)
    label_column: str | None = flag("0 or 1, to compare the verdicts with; default: label, where there is one", default=None)
    engine: EngineConfig = field(default_factory=EngineConfig)
    settings: SamplingSettings = SETTINGS
    response_format: str = flag(RESPONSE_FORMAT, default="none", choices=RESPONSE_FORMATS)
    seed: int = flag("decides every reply of the local engine, and what servers are sent", default=0, least=0)
    overwrite: bool = flag("redo what is there", default=False)

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "engine", with_response_format(self.engine, self.response_format))


def run_stage(stage: Stage, config: StageConfig, engine: Callable[[], Engine] | None = None) -> list[dict]:
    """Ask the stage's role of every row of ``config.source`` that has not failed before, and return all rows.

    Writes ``responses.jsonl``, the rows in their order with the stage's field, and ``answers.jsonl``, from which a killed run
    goes on. Rows whose reply is of no use get ``failed`` and are left out from then on. ``engine``: makes the engine, when
    first needed. A :class:`UserError` where answers are missing, every one failed, or the folder holds those of other settings.
    """
    role = roles.load_role(stage.role, config.language, config.task, config.prompts)
    record = stage_record(stage, config, role)
    output = Path(config.output)
    rows = read_rows(config.source, stage.reads if config.debate else tuple(set(stage.reads) - set(_DEBATE)))
    made = _opened(output, record, config.overwrite)
    failed_before = made.get("rows", {}).get("failed_here", 0)
    if made.get("finished") and made["inputs"] == record["inputs"] and not (config.retry_failed and failed_before):
        print(f"{output}: already made with these settings, skipped", flush=True)
        return _usable(read_jsonl(output / RESPONSES), output)
    inputs = {row: inputs_of(stage, one, config.debate) for row, one in enumerate(rows) if FAILED not in one}
    prompts = {row: roles.filled(role, one).encode("utf-8", "surrogatepass") for row, one in inputs.items()}
    keys = {row: hashlib.sha256(prompt).hexdigest()[:32] for row, prompt in prompts.items()}
    with Journal(output) as journal:
        stopped = _ask_missing(stage, config, role, inputs, keys, journal, engine)
        answers = {row: journal.get(key) for row, key in keys.items()}
    missing = sum(answer is None for answer in answers.values())
    if missing:
        why = f" ({stopped.most_common(1)[0][0]})" if stopped else ""
        advice = "the same command goes on"
        if any(isinstance(one, Failed) for one in answers.values()) and not any(
            isinstance(one, Answer) for one in answers.values()
        ):
            advice = "see --model, --response_format, --prompts; --retry_failed asks again"
        raise UserError(f"{output}: {missing} of {len(rows)} responses have no answer yet{why}; {advice}")
    rows = [with_answer(stage, one, answers.get(row)) for row, one in enumerate(rows)]
    _finish(stage, output, record, config, rows)
    return _usable(rows, output)


def stage_record(stage: Stage, config: StageConfig, role: Role) -> dict:
    """Settings and fingerprints that decide the answers. Where a server is does not: it may have moved."""
    settings = {"seed": config.seed, "prompt_hash": roles.prompt_hash([role]), **({} if config.debate else {"debate": False})}
    settings |= engines.engine_settings(config.engine)
    settings.pop("base_url", None)
    inputs = {"source": source_file(config.source)}
    if config.engine.engine in engines.OWN_MODELS:
        settings |= asdict(config.settings) | {"dtype": config.engine.dtype}
        return provenance(
            stage.name, settings, {**inputs, "base_model": config.engine.base_model, "adapter": config.engine.adapter}
        )
    sent = engines.sent_settings(config.engine, config.settings, config.seed)
    words = {name: getattr(config.settings, name) for name in ("max_new_tokens", "system_prompt")}
    return provenance(stage.name, settings | words | sent, inputs)


def read_rows(source: str, fields: tuple[str, ...]) -> list[dict]:
    """The rows of a stage, a folder or its ``responses.jsonl``; each has these ``fields`` or has failed."""
    path = source_file(source)
    if not path.is_file():
        raise UserError(f"{source}: no {RESPONSES} here; give the output of the stage before (--source)")
    rows = read_jsonl(path)
    if not rows:
        raise UserError(f"{path}: no rows")
    for number, row in enumerate(rows, start=1):
        missing = [name for name in ("prompt", "response", *fields) if name not in row]
        if missing and FAILED not in row:
            before = next((one.name for one in STAGES if one.adds == missing[0]), RETRIEVAL)
            raise UserError(f"{path}: row {number}: no field '{missing[0]}'; run {before} first")
    return rows


def source_file(source: str) -> Path:
    """The rows in a stage's folder, or the file that was given."""
    return Path(source) / RESPONSES if Path(source).is_dir() else Path(source)


def inputs_of(stage: Stage, row: dict, debate: bool = True) -> dict:
    """What the role reads of a row, by the names of its slots."""
    examples = [{"query": one["prompt"], "response": one["response"]} for one in row[EXAMPLES]]
    inputs = {"query": row["prompt"], "response": row["response"], EXAMPLES: examples}
    for name in _DEBATE:
        if name in stage.reads:
            inputs[name] = row[name] if debate else {}
    return {**inputs, "judge_verdict": row["judge"]} if "judge" in stage.reads else inputs


def with_answer(stage: Stage, row: dict, answer: Answer | Failed | None) -> dict:
    """The row with the stage's field, or with why there is none. ``answer`` None: the row had failed before."""
    if answer is None:
        return row
    row = {**row, USAGE: {**row.get(USAGE, {}), stage.role: asdict(answer.usage)}}
    if isinstance(answer, Failed):
        return {**row, FAILED: {"stage": stage.role, "reason": answer.reason, "reply": answer.raw[:_LONGEST_REPLY]}}
    value = answer.value
    if stage is REFLECT:
        value = {**value, "overturned": value["verdict"] != row["judge"]["verdict"]}
    return {**row, stage.adds: value.get(stage.adds, value)}


def _opened(output: Path, record: dict, overwrite: bool) -> dict:
    """The record of what is in the folder, which may then be added to; :class:`UserError` where it was made otherwise."""
    hold(output)
    made = read_provenance(output)
    answered = (output / ANSWERS).is_file() and (output / ANSWERS).stat().st_size > 0
    if made.get("stage") != record["stage"] or difference(made, record, ignored=_SOURCE) == "" or answered:
        made = open_output(output, record, overwrite, "a stage's output", ignored=_SOURCE, holds="has answers")
    else:  # it ended before the first answer, as with a wrong --model
        made = {}
    output.mkdir(parents=True, exist_ok=True)
    if not made:
        write_provenance(output, record, finished=False, files=FILES)
    return made


def from_other_rows(output: str | Path, record: dict) -> bool:
    """Whether what is there was made with the same settings of another source."""
    made = read_provenance(output)
    return not difference(made, record, ignored=_SOURCE) and made["inputs"] != record["inputs"]


def _ask_missing(stage, config: StageConfig, role: Role, inputs: dict, keys: dict, journal: Journal, engine) -> Counter:
    """Ask for what the journal lacks, and again for what it has as failed if ``config.retry_failed``.

    Returns how many were not answered because the run was stopped, by the reason.
    """
    known = {row: journal.get(key) for row, key in keys.items()}
    rows = [row for row, was in known.items() if was is None or (config.retry_failed and isinstance(was, Failed))]
    if len(rows) < len(known):
        print(f"{config.output}: {len(known) - len(rows)} of {len(known)} answers are there", flush=True)
    stopped: Counter[str] = Counter()
    if not rows:
        return stopped
    first = [known[row].tried if known[row] else 0 for row in rows]
    tried = 0 if config.retry_failed else sum(was.tried for was in known.values() if isinstance(was, Failed))
    patience = None if any(isinstance(was, Answer) for was in known.values()) else roles.HOPELESS - tried
    engine = engine() if engine else engines.make_engine(config.engine, log=f"{config.output.rstrip('/')}.vllm.log")
    bar = tqdm(total=len(rows), desc=stage.role, unit="response")
    with contextlib.closing(engine) if hasattr(engine, "close") else contextlib.nullcontext(), bar:
        seen = set()
        asked = [inputs[row] for row in rows]
        for place, answer in roles.ask_each(engine, role, asked, config.settings, config.seed, first=first, patience=patience):
            bar.update()
            key = keys[rows[place]]
            if isinstance(answer, Failed) and answer.stopped:
                stopped[answer.reason] += 1
            elif key not in seen:  # equal prompts have one answer
                journal.add(key, answer)
                seen.add(key)
    return stopped


def _finish(stage: Stage, output: Path, record: dict, config: StageConfig, rows: list[dict]) -> None:
    """Write the rows and the record, say what failed."""
    write_rows(output / RESPONSES, rows)
    failed = [row[FAILED] for row in rows if FAILED in row]
    here = [one for one in failed if one["stage"] == stage.role]
    counts = {"all": len(rows), "failed_here": len(here), "failed_before": len(failed) - len(here)}
    write_provenance(output, record, finished=True, rows=counts, base_url=config.engine.base_url, files=FILES)
    forget_retired(output)
    release(output)
    print(f"{output}: {len(rows)} responses, {len(rows) - len(failed)} of them with '{stage.adds}'", flush=True)
    if len(failed) > len(here):
        print(f"  left out, failed in an earlier stage: {len(failed) - len(here)}", flush=True)
    reasons = Counter(one["reason"] for one in here)
    for reason, count in reasons.most_common(5):
        print(f"  failed: {count} × {reason}", flush=True)
    if here:
        print(f"  in the field '{FAILED}' of {RESPONSES}; --retry_failed asks for these again", flush=True)


def _usable(rows: list[dict], output: Path) -> list[dict]:
    """The rows; a :class:`UserError` where every one has failed: the model, or its server, is of no use for this."""
    if all(FAILED in row for row in rows):
        reason, _ = Counter(row[FAILED]["reason"] for row in rows).most_common(1)[0]
        raise UserError(
            f"{output}: none of {len(rows)} responses has a usable answer; most often: {reason}; --retry_failed asks again"
        )
    return rows


def write_rows(path: Path, rows: list[dict]) -> None:
    """JSON Lines, whole or not at all; half a surrogate pair in some column is an escape, as JSON has it."""
    lines = (json.dumps(row, ensure_ascii=False).encode(errors="backslashreplace").decode() for row in rows)
    write_text(path, "".join(f"{line}\n" for line in lines))
