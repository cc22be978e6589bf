r"""What a training step costs: TRL's DPO and ORPO beside DDPO, ORPO and DORPO, as ratios within one run.

    OMP_NUM_THREADS=1 python -m benchmarks.training --output results/benchmarks/training
    OMP_NUM_THREADS=1 python -m benchmarks.training --shape medium --length 512 --output results/benchmarks/training-medium
    python -m benchmarks.training --device cuda --shape llama-3.1-8b --vocab 128256 --length 2048 \
        --output results/benchmarks/training-h100

Writes OUTPUT.json and OUTPUT.md. Randomly initialised weights, random tokens, LoRA on all linear layers; a step is forward
(with the reference's, for DPO and DDPO), backward and AdamW. Trainers that are compared get the same pairs and must give the
same first loss, else the benchmark stops. benchmarks/README.md says how to read the figures.
"""

if not __package__:
    raise SystemExit("error: run it as python -m benchmarks.training")

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from diversity_tuning.cli import Parser, command
from diversity_tuning.runs import git_commit, library_versions, write_text

FAMILIES = {"DPO": ("TRL DPO", "DDPO"), "ORPO": ("TRL ORPO", "ORPO", "DORPO")}  # the first is what the others are held against
COLUMNS = ("vocab", "length", "trainer", "head", "seconds", "time_ratio", "cpu_ratio", "peak_mib", "peak_ratio")
CUDA_COLUMNS = ("tokens_per_second", "mfu")


def parser() -> Parser:
    parser = Parser("benchmarks.training", __doc__)
    parser.add_argument("--output", default="results/benchmarks/training", help="path without suffix")
    parser.add_argument("--shape", choices=["small", "medium", "llama-3.1-8b"], default="small", help="of the model")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where to train")
    parser.add_argument("--vocab", type=int, nargs="+", default=[4096, 131072], help="vocabulary sizes")
    parser.add_argument("--length", type=int, nargs="+", default=[512, 2048], help="tokens of prompt and response")
    parser.add_argument("--pairs", type=int, default=1, help="pairs in a step")
    parser.add_argument("--rounds", type=int, default=7, help="timed steps of each trainer, in turns")
    parser.add_argument("--families", nargs="+", choices=list(FAMILIES), default=list(FAMILIES), help="trainers to compare")
    parser.add_argument("--lm_head", default="auto", help="of DDPO, ORPO and DORPO: auto, gradient_in_forward or trl")
    parser.add_argument(
        "--peak_tflops", type=float, default=989.0, help="cuda: dense bf16 of the GPU in TFLOP/s, as of H100 and H200"
    )
    return parser


@command
def main(argv=None) -> None:
    args = parser().parse_args(argv)
    rows = []
    for vocab in args.vocab:
        for length in args.length:
            for family in args.families:
                rows += measure(args, vocab, length, family)
                for row in rows[-len(FAMILIES[family]) :]:
                    print(json.dumps(row), flush=True)
    machine = {
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        **rows[0].pop("machine"),
    }
    for row in rows:
        row.pop("machine", None)
    record = {
        "command": allocator_settings() + "python -m benchmarks.training " + " ".join(sys.argv[1:] if argv is None else argv),
        "settings": {key: value for key, value in vars(args).items() if key != "output"},
        "machine": machine, "versions": library_versions(), "git_commit": git_commit(), "rows": rows,
    }  # fmt: skip
    Path(args.output).parent.mkdir(parents=True, exist_ok=True)
    write_text(f"{args.output}.json", json.dumps(record, indent=1) + "\n")
    write_text(f"{args.output}.md", table(record))
    print(f"{args.output}.json and .md")


def allocator_settings() -> str:
    """What the environment says about keeping memory, as it stands before a command: it decides the times."""
    return "".join(f"{name}={value} " for name, value in sorted(os.environ.items()) if name.startswith("MALLOC_"))


def measure(args: argparse.Namespace, vocab: int, length: int, family: str) -> list[dict]:
    """One row per trainer of a family: times taken in turns in one process, memory in a process of its own for each."""
    names = FAMILIES[family]
    case = {"shape": args.shape, "device": args.device, "vocab": vocab, "length": length, "pairs": args.pairs}
    case["lm_head"] = args.lm_head
    # On a GPU the allocator tells the peak exactly and two 8B models do not fit together: everything one by one.
    alone = {name: worker({**case, "names": [name], "rounds": args.rounds if args.device == "cuda" else 1}) for name in names}
    timed = alone if args.device == "cuda" else worker({**case, "names": list(names), "rounds": args.rounds})
    times = {name: (timed[name]["times"] if args.device == "cuda" else timed["times"][name]) for name in names}
    check_losses(names, {name: alone[name]["loss"] for name in names})
    base, rows = names[0], []
    for name in names:
        wall = [seconds for seconds, _ in times[name]]
        peak = alone[name]["peak_mib"]
        row = {
            "vocab": vocab, "length": length, "trainer": name, "head": alone[name]["head"],
            "seconds": statistics.median(wall), "seconds_min": min(wall),
            "time_ratio": ratio(times[name], times[base], 0), "cpu_ratio": ratio(times[name], times[base], 1),
            "peak_mib": peak, "peak_ratio": peak / alone[base]["peak_mib"],
            "loss": alone[name]["loss"], "machine": alone[name]["machine"],
        }  # fmt: skip
        if args.device == "cuda":
            row["tokens_per_second"] = alone[name]["tokens"] / row["seconds"]
            row["model_tflop"] = alone[name]["flops"] / 1e12
            row["mfu"] = alone[name]["flops"] / row["seconds"] / (args.peak_tflops * 1e12)
        rows.append(row)
    return rows


def ratio(ours: list[tuple[float, float]], theirs: list[tuple[float, float]], clock: int) -> float:
    """Median over the rounds of step against step (clock 0: wall, 1: CPU), so that a busy spell counts on both sides."""
    return statistics.median(one[clock] / other[clock] for one, other in zip(ours, theirs, strict=True))


def check_losses(names: tuple[str, ...], losses: dict[str, float]) -> None:
    for name in names[1:]:
        if abs(losses[name] - losses[names[0]]) > 2e-3 * abs(losses[names[0]]):
            raise SystemExit(
                f"error: first loss of {name} is {losses[name]}, of {names[0]} {losses[names[0]]}: not the same work"
            )


def worker(case: dict) -> dict:
    """Run a case in a process of its own; its answer is its last line."""
    with tempfile.TemporaryFile("w+") as errors:
        command = [sys.executable, "-m", "benchmarks.training_step", json.dumps(case)]
        answer = subprocess.run(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        if answer.returncode:
            errors.seek(0)
            raise SystemExit(f"error: {case}: {errors.read()[-2000:] or answer.returncode}")
    return json.loads(answer.stdout.splitlines()[-1])


def table(record: dict) -> str:
    """Markdown: the command, the machine, one line per row."""
    columns = COLUMNS + (CUDA_COLUMNS if record["settings"]["device"] == "cuda" else ())
    lines = [
        f"`{record['command']}`", "",
        f"{record['machine']['device']}, {record['machine']['threads']} thread(s), torch {record['versions']['torch']}, "
        f"TRL {record['versions']['trl']}, commit {record['git_commit']}.", "",
        *row_lines(columns, record["rows"]),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def row_lines(columns: Iterable[str], rows: list[dict]) -> list[str]:
    """The lines of a table: three digits of a number with a point, a dash for None."""

    def cell(value) -> str:
        return "–" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)

    cells = [list(columns), *([cell(row[name]) for name in columns] for row in rows)]
    lines = ["| " + " | ".join(line) + " |" for line in cells]
    return [lines[0], "|" + " --- |" * len(cells[0]), *lines[1:]]


if __name__ == "__main__":
    main()
