"""The sampling step: a run folder with ``samples.jsonl`` and ``sampling.json``, the record of how it was made."""

import argparse
import functools
import json
import time
from pathlib import Path

from tqdm import tqdm

from diversity_tuning.errors import UserError
from diversity_tuning.evaluation.sampling.processes import Processes
from diversity_tuning.evaluation.sampling.samples import (
    SAMPLES,
    SampleRow,
    SamplesFile,
    merge_shards,
    read_samples,
    select_prompts,
    shards,
)
from diversity_tuning.generation import engine as engines
from diversity_tuning.generation.baselines import independent, iterative, verbalized
from diversity_tuning.generation.requests import Engine, Failure, Sample, SamplingSettings
from diversity_tuning.runs import PROVENANCE, library_versions, provenance, write_text

RECORD = "sampling.json"
INPUTS = ("source", "base_model", "adapter")
_RESULTS = ("scores.csv", "prompts.csv", "metrics.json", "provenance.json", RECORD, SAMPLES)
_SETTINGS = (
    "split start num_prompts num_samples temperature top_k top_p repetition_penalty max_new_tokens system_prompt seed dtype"
).split()
_OPTIONAL = ("iterative", "verbalized")  # recorded where they are on
_IN_WORDS = ("max_new_tokens", "system_prompt")  # every API has them, by names of its own


def add_sampling_arguments(parser: argparse.ArgumentParser) -> None:
    """What decides the samples, and the batch size."""
    group = parser.add_argument_group("prompts")
    group.add_argument("--source", required=True, help="folder with the cleaned data: output of data stage 0 or 1")
    group.add_argument("--split", default="test", help="split of it")
    group.add_argument("--start", type=int, default=1000, help="first row")
    group.add_argument("--num_prompts", type=int, default=1000, help="rows from there on; fewer where the split ends")
    engines.add_engine_arguments(parser)
    group = parser.add_argument_group("sampling")
    group.add_argument("--system_prompt", default=None, help="system line, for instruct models")
    group.add_argument("--num_samples", type=int, default=4, help="responses per prompt")
    group.add_argument("--temperature", type=float, default=1.0, help="temperature")
    group.add_argument("--top_k", type=int, default=50, help="local: most likely tokens that are kept; 0 keeps all")
    group.add_argument("--top_p", type=float, default=0.95, help="probability that is kept; not sent to Anthropic")
    group.add_argument("--repetition_penalty", type=float, default=1.1, help="local: applies to the prompt's tokens too")
    group.add_argument("--max_new_tokens", type=int, default=2048, help="where a response is cut")
    group.add_argument("--seed", type=int, default=42, help="decides every sample of the local engine, whatever the batch size")
    ways = group.add_mutually_exclusive_group()
    ways.add_argument("--iterative", action="store_true", help="show the responses before, ask for one far from them")
    ways.add_argument("--verbalized", type=int, metavar="K", help="ask for K responses with probabilities, draw from them")
    group.add_argument("--accept_failures", action="store_true", help="go on to scoring with the responses that there are")


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """Where to, where on, and whether over what is there."""
    parser.add_argument("--output", required=True, help="run folder")
    parser.add_argument("--device", default=None, help="cpu, cuda, cuda:1, …; default: cuda where there is one")
    parser.add_argument("--overwrite", action=argparse.BooleanOptionalAction, default=False, help="redo what is there")


def sampling_record(args: argparse.Namespace) -> dict:
    """Settings and fingerprints that decide the samples."""
    settings = {name: getattr(args, name) for name in _SETTINGS}
    settings |= {name: getattr(args, name) for name in _OPTIONAL if getattr(args, name)}
    settings |= engines.engine_settings(args)
    if args.engine == "local":
        return provenance("sample", settings, {name: getattr(args, name) for name in INPUTS})
    sent = engines.sent_settings(args)
    unsent = [name for name in (*SamplingSettings.__dataclass_fields__, "seed") if name not in sent and name not in _IN_WORDS]
    # The seed stays: which verbalized responses are drawn depends on it.
    settings = {name: value for name, value in settings.items() if name == "seed" or name not in (*unsent, "dtype")}
    return provenance("sample", settings | sent | {"not_sent": sorted([*unsent, "dtype"])}, {"source": args.source})


def read_record(folder: str | Path) -> dict:
    """``sampling.json``, or an empty dict."""
    try:
        return json.loads((Path(folder) / RECORD).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return {}


def sample_run(args: argparse.Namespace) -> bool | None:
    """Make the samples of a run folder, go on with them, or say that they are there. True where responses were added.

    Under ``accelerate launch`` every process samples its share of the prompts and the first one puts them together; None in the
    others, which have nothing more to do. Responses that failed are listed, and a :class:`UserError` unless they are accepted.
    """
    for name in ("num_samples", "sample_batch_size"):
        if getattr(args, name) < 1:
            raise UserError(f"--{name} {getattr(args, name)}: must be at least 1")
    if args.verbalized is not None and args.verbalized < args.num_samples:
        raise UserError(f"--verbalized {args.verbalized}: at least --num_samples {args.num_samples} are needed to draw from")
    processes = Processes(args.device)
    if processes.count > 1 and args.engine != "local":
        raise UserError(f"--engine {args.engine} needs one process; --concurrency says how many requests run at once")
    output, record = Path(args.output), sampling_record(args)
    if processes.first:
        _check_folder(output, record, args.overwrite)
    processes.wait()
    made = read_record(output)
    if made.get("finished") and not made.get("failures"):
        processes.end()
        if not processes.first:
            return None
        print(f"{output}: all {made['responses']} responses are there", flush=True)
        return False
    return _sample(args, output, record, made, processes)


def _check_folder(output: Path, record: dict, overwrite: bool) -> None:
    if overwrite:
        _clear(output)
    made = read_record(output)
    if made and any(made.get(key) != record[key] for key in record):
        raise UserError(f"{output}: has samples made otherwise ({_difference(made, record)}); --overwrite or another folder")
    if not made and output.exists() and any(output.iterdir()):
        raise UserError(f"{output}: not empty and not a run folder (no {RECORD}); give another folder")


def _as_json(record: dict) -> str:
    return json.dumps(record, indent=2, sort_keys=True) + "\n"


def _clear(output: Path) -> None:
    if output.is_dir() and not read_record(output) and any(output.iterdir()):
        raise UserError(f"{output}: not empty and not a run folder (no {RECORD}); give another folder")
    for name in _RESULTS:
        (output / name).unlink(missing_ok=True)
    for shard in shards(output):
        shard.unlink()


def _difference(made: dict, record: dict) -> str:
    parts = [(part, made.get(part) or {}, record[part]) for part in ("arguments", "inputs")]
    return ", ".join(
        f"{name} {old.get(name)!r} there, {new.get(name)!r} now" if part == "arguments" else f"another {name}"
        for part, old, new in parts
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    )


def _sample(args: argparse.Namespace, output: Path, record: dict, made: dict, processes: Processes) -> bool | None:
    """Sample what is missing, record what came of it, and say what did not come."""
    prompts = select_prompts(args.source, args.split, args.start, args.num_prompts, say=processes.first)
    args.device = processes.device
    engine = engines.make_engine(args)
    if processes.first:
        output.mkdir(parents=True, exist_ok=True)
        write_text(output / RECORD, _as_json({**made, **record, "finished": False}))
        (output / PROVENANCE).unlink(missing_ok=True)  # scores of fewer samples do not count
        merge_shards(output)
    processes.wait()
    before = {(row.prompt_id, row.sample): row.response for row in read_samples(output)}
    begin = time.perf_counter()
    failed = processes.together(_sample_missing(args, engine, prompts, before, output, processes, made.get("failures", [])))
    seconds = round(time.perf_counter() - begin, 1)
    processes.end()
    if not processes.first:
        return None
    merge_shards(output)
    there = len(read_samples(output))
    answered = there > 0 and there + len(failed) == len(prompts) * args.num_samples
    results = {"finished": answered and (args.accept_failures or not failed), "responses": there, "failures": failed}
    results |= {"versions": library_versions(), "last_run": {"seconds": seconds, "responses": there - len(before)}}
    write_text(output / RECORD, _as_json({**record, **results}))
    _tell(output, failed, len(prompts) * args.num_samples)
    if not results["finished"]:
        raise UserError(
            f"{output}: {len(failed)} responses are missing, listed in {RECORD}; the same command asks for them again,"
            " --accept_failures goes on without them"
        )
    return there > len(before)


def _sample_missing(
    args, engine: Engine, prompts, before: dict, output: Path, processes: Processes, failures: list
) -> list[dict]:
    """Ask for what this process's share of the prompts lacks; the failures, as the record lists them."""
    share = processes.share(prompts)
    total = sum((row, number) not in before for row in share for number in range(args.num_samples))
    if before and total and processes.first:
        print(f"{output}: {len(before)} of {len(prompts) * args.num_samples} responses are there, going on", flush=True)
    settings = SamplingSettings(**{name: getattr(args, name) for name in SamplingSettings.__dataclass_fields__})
    ask, runs = independent, {(failure["prompt_id"], failure["sample"]): failure["runs"] for failure in failures}
    if args.iterative:
        ask = iterative
    if args.verbalized:
        tried = {row: max(runs.get((row, number), 0) for number in range(args.num_samples)) for row in share}
        ask = functools.partial(verbalized, candidates=args.verbalized, tried=tried)
    failed: dict[tuple[int, int], str] = {}
    with (
        SamplesFile(output, processes.rank if processes.count > 1 else None) as file,
        tqdm(total=total, desc="sampling", unit="response", disable=not processes.first) as bar,
    ):
        for answers in ask(engine, share, before, args.num_samples, settings, args.seed):
            failed |= {key: answer.error for key, answer in answers if isinstance(answer, Failure)}
            file.append(
                SampleRow(row, share[row], number, answer.text, answer.finished, answer.tokens)
                for (row, number), answer in answers
                if isinstance(answer, Sample)
            )
            bar.update(len(answers))
    return [
        {"prompt_id": row, "sample": number, "error": error, "runs": runs.get((row, number), 0) + 1}
        for (row, number), error in sorted(failed.items())
    ]


def _tell(output: Path, failed: list[dict], wanted: int) -> None:
    """What went wrong, and for which responses; all of them are in the record."""
    if not failed:
        return
    print(f"{output}: {len(failed)} of {wanted} responses failed (prompt/sample):", flush=True)
    reasons: dict[str, list[str]] = {}
    for failure in failed:
        reasons.setdefault(failure["error"], []).append(f"{failure['prompt_id']}/{failure['sample']}")
    for reason, keys in sorted(reasons.items(), key=lambda item: -len(item[1])):
        print(f"  {reason}: {' '.join(keys[:20])}{f' … and {len(keys) - 20} more' if len(keys) > 20 else ''}", flush=True)
