"""The sampling step: a run folder with ``samples.jsonl`` and ``sampling.json``, the record of how it was made."""

import argparse
import json
import time
from pathlib import Path

from tqdm import tqdm

from diversity_tuning.errors import UserError
from diversity_tuning.evaluation.samples import SAMPLES, SampleRow, SamplesFile, select_prompts
from diversity_tuning.generation.engine import add_engine_arguments
from diversity_tuning.runs import library_versions, provenance, write_text

RECORD = "sampling.json"
INPUTS = ("source", "base_model", "adapter")
_RESULTS = ("scores.csv", "prompts.csv", "metrics.json", "provenance.json", RECORD, SAMPLES)
_SETTINGS = (
    "split start num_prompts num_samples temperature top_k top_p repetition_penalty max_new_tokens system_prompt seed dtype"
).split()


def add_sampling_arguments(parser: argparse.ArgumentParser) -> None:
    """What decides the samples, and the batch size."""
    group = parser.add_argument_group("prompts")
    group.add_argument("--source", required=True, help="folder with the cleaned data: output of data stage 0 or 1")
    group.add_argument("--split", default="test", help="split of it")
    group.add_argument("--start", type=int, default=1000, help="first row")
    group.add_argument("--num_prompts", type=int, default=1000, help="rows from there on; fewer where the split ends")
    add_engine_arguments(parser)
    group = parser.add_argument_group("sampling")
    group.add_argument("--system_prompt", default=None, help="system line, for instruct models")
    group.add_argument("--num_samples", type=int, default=4, help="responses per prompt")
    group.add_argument("--temperature", type=float, default=1.0, help="temperature")
    group.add_argument("--top_k", type=int, default=50, help="most likely tokens that are kept; 0 keeps all")
    group.add_argument("--top_p", type=float, default=0.95, help="probability that is kept")
    group.add_argument("--repetition_penalty", type=float, default=1.1, help="applies to the prompt's tokens too")
    group.add_argument("--max_new_tokens", type=int, default=2048, help="where a response is cut")
    group.add_argument("--seed", type=int, default=42, help="decides every sample, whatever the batch size")


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """Where to, where on, and whether over what is there."""
    parser.add_argument("--output", required=True, help="run folder")
    parser.add_argument("--device", default=None, help="cpu, cuda, cuda:1, …; default: cuda where there is one")
    parser.add_argument("--overwrite", action=argparse.BooleanOptionalAction, default=False, help="redo what is there")


def sampling_record(args: argparse.Namespace) -> dict:
    """Settings and fingerprints that decide the samples."""
    settings = {name: getattr(args, name) for name in _SETTINGS}
    return provenance("sample", settings, {name: getattr(args, name) for name in INPUTS})


def read_record(folder: str | Path) -> dict:
    """``sampling.json``, or an empty dict."""
    try:
        return json.loads((Path(folder) / RECORD).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return {}


def sample_run(args: argparse.Namespace) -> None:
    """Make the samples of a run folder, go on with them, or say that they are there."""
    output = Path(args.output)
    record = sampling_record(args)
    if args.overwrite:
        _clear(output)
    made = read_record(output)
    if made and any(made.get(key) != record[key] for key in record):
        raise UserError(f"{output}: has samples made otherwise ({_difference(made, record)}); --overwrite or another folder")
    if not made and output.exists() and any(output.iterdir()):
        raise UserError(f"{output}: not empty and not a run folder (no {RECORD}); give another folder")
    if made.get("finished"):
        print(f"{output}: all {made['responses']} responses are there", flush=True)
        return
    prompts = select_prompts(args.source, args.split, args.start, args.num_prompts)
    output.mkdir(parents=True, exist_ok=True)
    write_text(output / RECORD, _as_json({**record, "finished": False}))
    seconds, responses = _sample_missing(args, prompts, output)
    results = {"finished": True, "responses": len(prompts) * args.num_samples, "versions": library_versions()}
    write_text(output / RECORD, _as_json({**record, **results, "last_run": {"seconds": seconds, "responses": responses}}))


def _as_json(record: dict) -> str:
    return json.dumps(record, indent=2, sort_keys=True) + "\n"


def _clear(output: Path) -> None:
    if output.is_dir() and not read_record(output) and any(output.iterdir()):
        raise UserError(f"{output}: not empty and not a run folder (no {RECORD}); give another folder")
    for name in _RESULTS:
        (output / name).unlink(missing_ok=True)


def _difference(made: dict, record: dict) -> str:
    parts = [(part, made.get(part) or {}, record[part]) for part in ("arguments", "inputs")]
    return ", ".join(
        f"{name} {old.get(name)!r} there, {new.get(name)!r} now" if part == "arguments" else f"another {name}"
        for part, old, new in parts
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    )


def _sample_missing(args: argparse.Namespace, prompts: dict[int, str], output: Path) -> tuple[float, int]:
    """Sample what ``samples.jsonl`` lacks; seconds and responses of this run."""
    with SamplesFile(output) as file:
        wanted = [(row, number) for row in prompts for number in range(args.num_samples)]
        missing = [key for key in wanted if key not in file.done]
        if not missing:
            return 0.0, 0
        if len(missing) < len(wanted):
            print(f"{output}: {len(wanted) - len(missing)} of {len(wanted)} responses are there, going on", flush=True)
        from diversity_tuning.generation.engine import SamplingSettings, make_engine, user_request

        names = SamplingSettings.__dataclass_fields__
        settings = SamplingSettings(**{name: getattr(args, name) for name in names})
        engine = make_engine(args)
        requests = [user_request(prompts[row], number) for row, number in missing]
        begin = time.perf_counter()
        with tqdm(total=len(missing), desc="sampling", unit="response") as bar:
            for batch in engine.complete(requests, settings, args.seed):
                file.append(
                    SampleRow(missing[i][0], prompts[missing[i][0]], missing[i][1], s.text, s.finished, s.tokens)
                    for i, s in batch
                )
                bar.update(len(batch))
        return round(time.perf_counter() - begin, 1), len(missing)
