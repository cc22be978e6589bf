r"""Tokens a second of the local engine, of vLLM and of the plain loop over prompts, on the same prompts, one after the other.

VLLM=/path/to/bin/vllm python -m benchmarks.sampling --base_model builtin:smollm2 --source prompts.jsonl --num_prompts 64 \
    --max_new_tokens 32 --vllm_flags --enforce-eager --output results/benchmarks/sampling

Writes OUTPUT.json and OUTPUT.md, anew after every engine. Loading and starting are timed apart. Processor seconds of vLLM are
those of all processes of its server, and of this one.
"""

if not __package__:
    raise SystemExit("error: run it as python -m benchmarks.sampling")

import os
import platform
import shlex
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch

from benchmarks.evaluation_loop import sampled_tokens
from diversity_tuning.cli import command
from diversity_tuning.errors import UserError
from diversity_tuning.evaluation.sampling.samples import select_prompts
from diversity_tuning.flags import flag, parse_flags
from diversity_tuning.generation.engine import EngineConfig, make_engine, make_server
from diversity_tuning.generation.local import LocalEngine, read_tokens
from diversity_tuning.generation.requests import ChatRequest, Sample, SamplingSettings, user_request
from diversity_tuning.generation.vllm_server import executable
from diversity_tuning.policy import stop_ids
from diversity_tuning.runs import git_commit, library_versions, write_json, write_text

_CONTEXT = 1024  # tokens that vLLM is started for
ENGINES = ("plain-float32", "plain-bfloat16", "local-float32", "local-bfloat16", "vllm-float32", "vllm-bfloat16")


@dataclass(frozen=True)
class SamplingBenchmark:
    """What is sampled, and by what."""

    source: str = flag("prompts: output of a data stage, or a file")
    output: str = flag("OUTPUT.json and OUTPUT.md are written")
    split: str = flag("split of it", default="train")
    num_prompts: int = flag("prompts, from the first on", default=64, least=1)
    num_samples: int = flag("responses to each", default=4, least=1)
    engines: list[str] = flag("in this order; the first is what the others are compared with", default=ENGINES, choices=ENGINES)
    repeats: int = flag("how often each samples all of it; the fastest counts", default=1, least=1)
    engine: EngineConfig = field(default_factory=EngineConfig)
    sampling: SamplingSettings = field(default_factory=SamplingSettings)


class PlainLoop(LocalEngine):
    """`generate` for one prompt after the other, its responses in one call, as the released protocol samples."""

    def complete(
        self, requests: list[ChatRequest], settings: SamplingSettings, seed: int = 0
    ) -> Iterator[list[tuple[int, Sample]]]:
        model, tokenizer = self.policy
        stops = set(stop_ids(model.generation_config, tokenizer))
        torch.manual_seed(seed)
        positions: dict[str, list[int]] = {}
        for i, request in enumerate(requests):
            positions.setdefault(request.messages[0][1], []).append(i)
        for prompt, places in positions.items():
            rows = sampled_tokens(model, tokenizer, prompt, asdict(settings), len(places)).tolist()
            yield [(i, read_tokens(tokenizer, ids, stops)) for i, ids in zip(places, rows, strict=True)]


def processor_seconds(session: int | None) -> float:
    """Of this process, and of all in the session of a server."""
    own = sum(os.times()[:2])
    ticks = 0
    for place in Path("/proc").glob("[0-9]*") if session else ():
        try:
            fields = (place / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += (int(fields[11]) + int(fields[12])) * (int(fields[3]) == session)
    return own + ticks / os.sysconf("SC_CLK_TCK")


def measured(config: SamplingBenchmark, name: str, prompts: list[str]) -> dict:
    """Seconds and tokens of one engine."""
    kind, dtype = name.split("-")
    engine_config = replace(config.engine, engine="vllm" if kind == "vllm" else "local", dtype=dtype)
    begin = time.perf_counter(), processor_seconds(None)
    server = make_server(engine_config, {}, f"{config.output}-{name}.log") if kind == "vllm" else None
    engine = PlainLoop(config.engine.base_model, dtype=dtype) if kind == "plain" else make_engine(engine_config, server)
    try:
        requests = [user_request(prompt, number) for prompt in prompts for number in range(config.num_samples)]
        if server:
            server.start(_CONTEXT)
        session = server and server._process.pid
        list(engine.complete(requests[:1], replace(config.sampling, max_new_tokens=1)))
        loading = time.perf_counter() - begin[0], processor_seconds(session) - begin[1]
        runs = []
        for seed in range(config.repeats):
            start = time.perf_counter(), processor_seconds(session)
            answers = [answer for part in engine.complete(requests, config.sampling, seed) for _, answer in part]
            seconds = time.perf_counter() - start[0], processor_seconds(session) - start[1]
            if any(not isinstance(answer, Sample) for answer in answers):
                raise UserError(f"{name}: {next(one for one in answers if not isinstance(one, Sample)).error}")
            runs.append((sum(answer.tokens for answer in answers), *seconds))
    finally:
        if server:
            server.stop()
    best = max(runs, key=lambda run: run[0] / run[2])
    return {"engine": name, "tokens": best[0], "seconds": best[1], "cpu": best[2], "load": loading, "runs": runs}


def as_markdown(content: dict) -> str:
    """Speeds, and how many times that of the first engine they are."""
    lines = ["# Sampling", "", f"`{content['command']}`", "", content["machine"] + ".", ""]
    head = ["engine", "tokens", "tokens a processor second", "times the first", "by the clock", "times the first"]
    head += ["to load, processor s"]
    lines += [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    first = content["engines"][0]
    for one in content["engines"]:
        cpu, clock = one["tokens"] / one["cpu"], one["tokens"] / one["seconds"]
        ratios = cpu * first["cpu"] / first["tokens"], clock * first["seconds"] / first["tokens"]
        cells = [one["engine"], one["tokens"], f"{cpu:.0f}", f"{ratios[0]:.2f}", f"{clock:.0f}", f"{ratios[1]:.2f}"]
        lines.append("| " + " | ".join(map(str, [*cells, f"{one['load'][1]:.0f}"])) + " |")
    return "\n".join([*lines, ""])


def _command(argv: list[str]) -> str:
    """What was called, with what the environment says about threads and memory, and without this machine's folders."""
    kept = [
        f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith(("MALLOC_", "OMP_NUM", "VLLM_CPU"))
    ]
    named = {"--output": "OUTPUT", "--source": "SOURCE"}
    words = [named.get(before, word) for before, word in zip(["", *argv], argv, strict=False)]
    return " ".join([*kept, "python -m benchmarks.sampling", shlex.join(words)])


@command
def main(argv=None) -> None:
    argv = sys.argv[1:] if argv is None else argv
    config = parse_flags(
        SamplingBenchmark, "benchmarks.sampling", __doc__, argv, without=("engine", "dtype", "adapter", "model")
    )
    if any(name.startswith("vllm") for name in config.engines):
        executable()  # or an error, before the others have run
    prompts = list(select_prompts(config.source, config.split, 0, config.num_prompts).values())
    output = Path(config.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "command": _command(argv),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads",
        "git_commit": git_commit(),
        "versions": library_versions(),
        "engines": [],
    }
    for name in config.engines:
        content["engines"].append(measured(config, name, prompts))
        write_json(output.with_suffix(".json"), content)
        write_text(output.with_suffix(".md"), as_markdown(content))
    print(as_markdown(content))


if __name__ == "__main__":
    main()
