"""The sampling step: a run folder with ``samples.jsonl`` and ``sampling.json``, the record of how it was made."""

import contextlib
import functools
import time
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

from tqdm import tqdm

from diversity_tuning.errors import UserError
from diversity_tuning.evaluation.files import RECORD, SAMPLES
from diversity_tuning.evaluation.sampling.samples import (
    Processes,
    SampleRow,
    merge_shards,
    read_samples,
    select_prompts,
)
from diversity_tuning.flags import flag
from diversity_tuning.generation import engine as engines
from diversity_tuning.generation.baselines import independent, iterative, seeded, verbalized
from diversity_tuning.generation.engine import EngineConfig
from diversity_tuning.generation.requests import Engine, Failure, Sample, SamplingSettings
from diversity_tuning.locks import release
from diversity_tuning.outputs import RUN_FILES, LineFile, forget_retired, read_json
from diversity_tuning.ranges import Flags
from diversity_tuning.runs import PROVENANCE, difference, library_versions, open_output, provenance, write_json

_PROMPTS, _SAMPLING = "prompts", "Sampling"  # headings of --help
_IN_WORDS = ("max_new_tokens", "system_prompt")  # every API has them, by names of its own


@dataclass(frozen=True)
class SamplingConfig(Flags):
    """What to sample, how, and where to. ``source`` is the output of data stage 0 or 1, ``output`` the run folder."""

    source: str = flag("output of data stage 0 or 1, or a file with prompts (its split is train)", group=_PROMPTS)
    output: str = flag("run folder")
    engine: EngineConfig = field(default_factory=EngineConfig)
    settings: SamplingSettings = field(default_factory=SamplingSettings)
    split: str = flag("split of it", default="test", group=_PROMPTS)
    start: int = flag("first row", default=1000, least=0, group=_PROMPTS)
    num_prompts: int = flag("rows from there on; fewer where the split ends", default=1000, least=1, group=_PROMPTS)
    num_samples: int = flag("responses per prompt", default=4, least=1, group=_SAMPLING)
    seed: int = flag("decides every sample of the local engine, whatever the batch size", default=42, least=0, group=_SAMPLING)
    iterative: bool = flag("show the responses before, ask for one far from them", default=False, group=_SAMPLING)
    verbalized: int | None = flag(
        "ask for K responses with probabilities, draw from them", default=None, least=1, metavar="K", group=_SAMPLING
    )
    seed_of_thought: bool = flag(
        "let the model make up a random string first and write from it", default=False, group=_SAMPLING
    )
    accept_failures: bool = flag("go on to scoring with the responses that there are", default=False, group=_SAMPLING)
    overwrite: bool = flag("redo what is there", default=False)

    def __post_init__(self):
        super().__post_init__()
        given = {
            "iterative": self.iterative,
            "verbalized": self.verbalized is not None,
            "seed_of_thought": self.seed_of_thought,
        }
        if sum(given.values()) > 1:
            raise UserError(" and ".join(f"--{name}" for name, one in given.items() if one) + ": give one of them")
        if self.verbalized is not None and self.verbalized < self.num_samples:
            raise UserError(
                f"--verbalized {self.verbalized}: at least --num_samples {self.num_samples} are needed to draw from"
            )


def sampling_record(config: SamplingConfig) -> dict:
    """Settings and fingerprints that decide the samples."""
    engine = config.engine
    names = ("split", "start", "num_prompts", "num_samples", "seed")
    settings = {name: getattr(config, name) for name in names} | asdict(config.settings) | {"dtype": engine.dtype}
    settings |= {
        name: getattr(config, name) for name in ("iterative", "verbalized", "seed_of_thought") if getattr(config, name)
    }
    if not config.settings.min_p:  # as records were before it could be given
        del settings["min_p"]
    settings |= engines.engine_settings(engine)
    if engine.engine in engines.OWN_MODELS:
        inputs = {"source": config.source, "base_model": engine.base_model, "adapter": engine.adapter}
        inputs |= {"chat_template_from": engine.chat_template_from}
        return provenance("sample", settings, inputs)
    sent = engines.sent_settings(engine, config.settings, config.seed)
    possible = [name for name in (*(field.name for field in fields(SamplingSettings)), "seed") if name in settings]
    unsent = [name for name in possible if name not in sent and name not in _IN_WORDS]
    # The seed stays: which verbalized responses are drawn depends on it.
    settings = {name: value for name, value in settings.items() if name == "seed" or name not in (*unsent, "dtype")}
    return provenance("sample", settings | sent | {"not_sent": sorted([*unsent, "dtype"])}, {"source": config.source})


def read_record(folder: str | Path) -> dict:
    """``sampling.json``, or an empty dict."""
    return read_json(Path(folder) / RECORD)


def sample_run(config: SamplingConfig, server=None) -> bool | None:
    """Make the samples of a run folder, resume them, or report that they are complete. True where responses were added.

    Under ``accelerate launch`` every process samples its share of the prompts and the first one puts them together; None in the
    others, which have nothing more to do. Responses that failed are listed, and a :class:`UserError` unless they are accepted.
    ``server``: one of vLLM that several runs share, in which ``config.engine.model`` is the name of the adapter.
    """
    processes = Processes(config.engine.device)
    if processes.count > 1 and config.engine.engine != "local":
        raise UserError(f"--engine {config.engine.engine} needs one process; --concurrency says how many requests run at once")
    output, record = Path(config.output), sampling_record(config)
    if processes.first:
        _check_folder(output, record, config.overwrite)
    processes.wait()
    made = read_record(output)
    failures = made.get("failures", [])
    if made.get("finished") and (not failures or (config.accept_failures and _of_form(failures))):
        processes.end()
        if processes.first:
            missing = f"; {len(failures)} could not be read in the form that was asked for" if failures else ""
            print(f"{output}: all {made['responses']} responses are there{missing}", flush=True)
        return False if processes.first else None
    prompts = select_prompts(config.source, config.split, config.start, config.num_prompts, say=processes.first)
    turns, log = config.num_samples if config.iterative else 1, f"{config.output.rstrip('/')}.vllm.log"
    engine = engines.make_engine(replace(config.engine, device=processes.device), server, log, turns)
    if hasattr(engine, "open"):
        engine.open()  # what cannot be loaded leaves nothing behind
    if processes.first:
        output.mkdir(parents=True, exist_ok=True)
        write_json(output / RECORD, {**made, **record, "finished": False}, sort_keys=True)
        (output / PROVENANCE).unlink(missing_ok=True)  # scores of fewer samples do not count
        merge_shards(output)
    processes.wait()
    before, begin = {row.key: row.response for row in read_samples(output)}, time.perf_counter()
    with contextlib.closing(engine) if hasattr(engine, "close") else contextlib.nullcontext():
        failed = processes.together(_sample_missing(config, engine, prompts, before, processes, failures))
    seconds = round(time.perf_counter() - begin, 1)
    processes.end()
    return _finish(config, record, failed, len(prompts), len(before), seconds) if processes.first else None


def _check_folder(output: Path, record: dict, overwrite: bool) -> None:
    """Refuse a folder that is not ours or has other samples; with ``overwrite``, move these aside until all new are there."""

    def made(folder: Path) -> dict:
        there = read_record(folder)
        names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        # A run that has got no answer: what it was asked for binds nobody, and nothing else lies in its folder.
        bare = names <= {RECORD, SAMPLES} and (SAMPLES not in names or (folder / SAMPLES).stat().st_size == 0)
        if there and not there.get("finished") and difference(there, record) and bare:
            (folder / SAMPLES).unlink(missing_ok=True)
            (folder / RECORD).unlink()
            return {}
        return there

    open_output(output, record, overwrite, f"a run folder (no {RECORD})", made=made, files=RUN_FILES, holds="has samples")


def _sample_missing(
    config: SamplingConfig, engine: Engine, prompts: dict[int, str], before: dict, processes: Processes, failures: list
) -> list[dict]:
    """Ask for what this process's share of the prompts lacks; the failures, as the record lists them."""
    output, share = Path(config.output), processes.share(prompts)
    total = sum((row, number) not in before for row in share for number in range(config.num_samples))
    if before and total and processes.first:
        print(f"{output}: {len(before)} of {len(prompts) * config.num_samples} responses are there, resuming", flush=True)
    earlier = {(failure["prompt_id"], failure["sample"]): failure for failure in failures}
    runs, unread = ({key: one.get(name, 0) for key, one in earlier.items()} for name in ("runs", "unread"))
    ask = independent
    if config.iterative:
        ask = iterative
    if config.verbalized:
        tried = {row: max(unread.get((row, number), 0) for number in range(config.num_samples)) for row in share}
        ask = functools.partial(verbalized, candidates=config.verbalized, tried=tried)
    if config.seed_of_thought:
        ask = functools.partial(seeded, tried=runs)
    failed: dict[tuple[int, int], Failure] = {}
    with (
        LineFile(output / (f"samples-{processes.rank}.jsonl" if processes.count > 1 else SAMPLES)) as file,
        tqdm(total=total, desc="sampling", unit="response", disable=not processes.first) as bar,
    ):
        for answers in ask(engine, share, before, config.num_samples, config.settings, config.seed):
            failed |= {key: answer for key, answer in answers if isinstance(answer, Failure)}
            file.append(
                asdict(_row(key, share[key[0]], answer, unread.get(key, 0)))
                for key, answer in answers
                if isinstance(answer, Sample)
            )
            bar.update(len(answers))
    return [
        {"prompt_id": row, "sample": number, "error": failure.error, "runs": runs.get((row, number), 0) + 1,
         **({"unread": count} if (count := failure.unread + unread.get((row, number), 0)) else {})}
        for (row, number), failure in sorted(failed.items())
    ]  # fmt: skip


def _of_form(failures: list[dict]) -> bool:
    """Whether the model has answered each time, only not in the form that it was asked for: to ask again is no remedy."""
    return all(one.get("unread") for one in failures)


def _row(key: tuple[int, int], prompt: str, answer: Sample, unread: int) -> SampleRow:
    """A line of the samples; ``unread``: answers of earlier runs that did not have the form that was asked for."""
    return SampleRow(
        *(key[0], prompt, key[1], answer.text, answer.finished, answer.tokens, answer.thinking), answer.unread + unread
    )


def followed(folder: str | Path) -> dict[str, int]:
    """``{"replies": n, "read": k}``: k of the model's n replies had the form that --verbalized or --seed_of_thought asks for.

    A reply of --verbalized holds all responses to a prompt. Empty where no form was asked for.
    """
    record = read_record(folder)
    arguments = record.get("arguments", {})
    if not (arguments.get("verbalized") or arguments.get("seed_of_thought")):
        return {}
    rows = [(row.prompt_id, row.sample, row.unread, 1) for row in read_samples(folder)]
    rows += [(one["prompt_id"], one["sample"], one.get("unread", 0), 0) for one in record.get("failures", [])]
    asked: dict[tuple[int, int], tuple[int, int]] = {}
    for prompt, number, unread, read in rows:
        key = (prompt, 0 if arguments.get("verbalized") else number)
        before = asked.get(key, (0, 0))
        asked[key] = (max(before[0], unread), max(before[1], read))
    read = sum(one for _, one in asked.values())
    return {"replies": read + sum(unread for unread, _ in asked.values()), "read": read}


def _finish(config: SamplingConfig, record: dict, failed: list[dict], prompts: int, before: int, seconds: float) -> bool:
    """Record what came of it, and say which responses did not come. True where any were added to those of ``before``."""
    output, wanted = Path(config.output), prompts * config.num_samples
    there = merge_shards(output)
    answered = (there > 0 or _of_form(failed)) and there + len(failed) == wanted
    results = {"finished": answered and (config.accept_failures or not failed), "responses": there, "failures": failed}
    results |= {"versions": library_versions(), "last_run": {"seconds": seconds, "responses": there - before}}
    write_json(output / RECORD, {**record, **results}, sort_keys=True)
    if results["finished"]:
        forget_retired(output)
    release(output)
    if form := followed(output):
        print(f"{output}: {form['read']} of {form['replies']} replies had the form that was asked for", flush=True)
    if failed:
        print(f"{output}: {len(failed)} of {wanted} responses failed (prompt/sample):", flush=True)
    reasons: dict[str, list[str]] = {}
    for failure in failed:
        reasons.setdefault(failure["error"], []).append(f"{failure['prompt_id']}/{failure['sample']}")
    for reason, keys in sorted(reasons.items(), key=lambda item: -len(item[1])):
        print(f"  {reason}: {' '.join(keys[:20])}{f' … and {len(keys) - 20} more' if len(keys) > 20 else ''}", flush=True)
    if not results["finished"]:
        raise UserError(
            f"{output}: {len(failed)} responses are missing, listed in {RECORD}; the same command asks for them again,"
            " --accept_failures goes on without them"
        )
    return there > before
