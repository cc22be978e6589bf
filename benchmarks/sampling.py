r"""Tokens a second of the local engine and of vLLM, on the same prompts, in both precisions, one after the other.

VLLM=/path/to/bin/vllm python -m benchmarks.sampling --base_model builtin:smollm2 --source prompts.jsonl --num_prompts 64 \
    --max_new_tokens 32 --vllm_flags --enforce-eager --output runs/sampling

Loading and starting are timed apart. Processor seconds of vLLM are those of all processes of its server, and of this one.
"""

import json
import os
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from diversity_tuning.cli import command
from diversity_tuning.errors import UserError
from diversity_tuning.evaluation.sampling.samples import select_prompts
from diversity_tuning.flags import flag, parse_flags
from diversity_tuning.generation.engine import EngineConfig, make_engine, make_server
from diversity_tuning.generation.requests import Sample, SamplingSettings, user_request

_CONTEXT = 1024  # tokens that vLLM is started for
ENGINES = ("local-float32", "local-bfloat16", "vllm-float32", "vllm-bfloat16")


@dataclass(frozen=True)
class SamplingBenchmark:
    """What is sampled, and by what."""

    source: str = flag("prompts: output of a data stage, or a file")
    output: str = flag("folder for sampling.json and sampling.md")
    split: str = flag("split of it", default="train")
    num_prompts: int = flag("prompts, from the first on", default=64, least=1)
    engines: list[str] = flag("in this order; the first is what the others are compared with", default=ENGINES, choices=ENGINES)
    repeats: int = flag("how often each samples all of it; the fastest counts", default=1, least=1)
    engine: EngineConfig = field(default_factory=EngineConfig)
    sampling: SamplingSettings = field(default_factory=SamplingSettings)


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
    engine_config = replace(config.engine, engine=kind, dtype=dtype)
    begin = time.perf_counter(), processor_seconds(None)
    server = make_server(engine_config, {}, f"{config.output}/{name}.log") if kind == "vllm" else None
    engine = make_engine(engine_config, server)
    try:
        requests = [user_request(prompt) for prompt in prompts]
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


def table(found: list[dict]) -> str:
    """Speeds, and how many times that of the first engine they are, as Markdown."""
    lines = [
        "| engine | tokens | a processor second | times the first | by the clock | times the first | to load, processor s |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    first = found[0]
    for one in found:
        cpu, clock = one["tokens"] / one["cpu"], one["tokens"] / one["seconds"]
        ratios = cpu * first["cpu"] / first["tokens"], clock * first["seconds"] / first["tokens"]
        cells = [one["engine"], one["tokens"], f"{cpu:.0f}", f"{ratios[0]:.2f}", f"{clock:.0f}", f"{ratios[1]:.2f}"]
        lines.append("| " + " | ".join(map(str, [*cells, f"{one['load'][1]:.0f}"])) + " |")
    return "\n".join(lines) + "\n"


@command
def main(argv=None) -> None:
    config = parse_flags(
        SamplingBenchmark, "benchmarks.sampling", __doc__, argv, without=("engine", "dtype", "adapter", "model")
    )
    prompts = list(select_prompts(config.source, config.split, 0, config.num_prompts).values())
    output = Path(config.output)
    output.mkdir(parents=True, exist_ok=True)
    found = [measured(config, name, prompts) for name in config.engines]
    (output / "sampling.json").write_text(json.dumps(found, indent=1))
    (output / "sampling.md").write_text(table(found))
    print(table(found))


if __name__ == "__main__":
    main()
