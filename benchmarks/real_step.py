r"""What a step of DDPO costs on a real model and real pairs, beside stock TRL's DPO, as ratios within one run.

    OMP_NUM_THREADS=1 python -m benchmarks.real_step --source runs/real/ocsai/seed0/data/pairs-both \
        --output results/benchmarks/real_step

Writes OUTPUT.json and OUTPUT.md. SmolLM2-135M, LoRA r 8 on all linear layers, no gradient checkpointing; TRL's DPO with its
other defaults, DDPO as recipes/smollm2/ddpo.yaml says (attention: ``sdpa``), without share_prompts, so with ``eager`` attention
(which cannot share prompts), and with its layers compiled by ``torch.compile``, each in float32 and in bfloat16; TRL's also on
float32 weights under autocast, its own ``bf16: true``. The trainers take turns on the same pairs, all weights 1, and must give
the same log-probabilities and losses, else nothing is written. Times are processor seconds: use one thread. Compiling at the
first batch is not timed; compiling for the references, which come first, is, as part of them. Memory is that of a process with
this trainer alone.
"""

if not __package__:
    raise SystemExit("error: run it as python -m benchmarks.real_step")

import json
import multiprocessing
import shlex
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
import trl
from datasets import Dataset, load_from_disk
from peft import LoraConfig

from benchmarks.training import row_lines
from benchmarks.training_step import LINEAR, PeakMemory, step
from diversity_tuning.cli import Parser, command
from diversity_tuning.policy import load_base_model, load_tokenizer
from diversity_tuning.recipe import read_recipe
from diversity_tuning.runs import git_commit, library_versions, write_text
from diversity_tuning.trainers import DDPOConfig, DDPOTrainer

RECIPE = Path(__file__).parents[1] / "recipes" / "smollm2" / "ddpo.yaml"
TAKEN = ("beta", "max_length", "share_prompts", "precompute_ref_log_probs", "precompute_ref_batch_size")
EAGER, COMPILED = "DDPO, prompts not shared, eager", "DDPO, compiled"
SIDES = {
    "TRL DPO": (trl.DPOTrainer, trl.DPOConfig, {}),
    "DDPO": (DDPOTrainer, DDPOConfig, {}),
    "DDPO, prompts not shared": (DDPOTrainer, DDPOConfig, {"share_prompts": False}),
    EAGER: (DDPOTrainer, DDPOConfig, {"share_prompts": False}),
    COMPILED: (DDPOTrainer, DDPOConfig, {}),
}
AUTOCAST = "autocast"  # of float32 weights, with TRL's
AGREE = {"float32": 2e-3, "bfloat16": 3e-2, AUTOCAST: 3e-2}  # log-probabilities and losses, relative


def parser() -> Parser:
    parser = Parser("benchmarks.real_step", __doc__)
    parser.add_argument("--source", required=True, help="folder of pairs with weights, as stage 3 writes it")
    parser.add_argument("--output", default="results/benchmarks/real_step", help="path without suffix")
    parser.add_argument("--steps", type=int, default=4, help="timed steps of each trainer, after one that is not timed")
    parser.add_argument("--pairs", type=int, default=8, help="pairs in a step; the recipe accumulates two such")
    parser.add_argument("--references", type=int, default=None, help="pairs to precompute references for; default: all")
    parser.add_argument("--dtypes", nargs="+", choices=list(AGREE), default=list(AGREE), help="precisions")
    parser.add_argument("--trainers", nargs="+", choices=list(SIDES), default=list(SIDES), help="to run")
    return parser


def make_trainer(name: str, dtype: str, pairs: list[dict], references: int | None, folder: str):
    """A trainer ready for :func:`.step`; DDPO's has the processor seconds a pair of its references, ``reference_seconds``."""
    trainer_class, config_class, own = SIDES[name]
    settings = {"max_length": read_recipe(RECIPE)["max_length"], "bf16": dtype == AUTOCAST}
    if config_class is DDPOConfig:
        settings |= {key: read_recipe(RECIPE)[key] for key in TAKEN} | {"weight_column": "weight"} | own
        pairs = pairs[:references]
    seconds = []

    class Timed(trainer_class):
        def _precompute_ref_logps(self, dataset, *others):
            started = time.process_time()
            found = super()._precompute_ref_logps(dataset, *others)
            seconds.append((time.process_time() - started) / len(dataset))
            return found

    config = config_class(
        output_dir=folder, report_to="none", disable_tqdm=True, use_cpu=True, gradient_checkpointing=False, **settings
    )
    torch.manual_seed(0)
    model = load_base_model(
        "builtin:smollm2",
        dtype="float32" if dtype == AUTOCAST else dtype,
        attn_implementation="eager" if name == EAGER else "sdpa",
    )
    if name == COMPILED:  # before references are computed
        for layer in model.model.layers:
            layer.compile(dynamic=True)
    trainer = Timed(
        model=model,
        args=config,
        train_dataset=Dataset.from_list(pairs),
        processing_class=load_tokenizer("builtin:smollm2"),
        peft_config=LoraConfig(r=8, lora_alpha=16, target_modules=LINEAR, task_type="CAUSAL_LM"),
    )
    trainer.reference_seconds = seconds[0] if seconds else None
    trainer.create_optimizer()
    trainer.model.train()
    return trainer


def peak(name: str, dtype: str, pairs: list[dict]) -> float:
    """MiB of a step on these pairs above what this process holds before it: the model, and the scratch space of two pairs."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(name, dtype, pairs, None, folder)
        rows = list(trainer.train_dataset)
        step(trainer, trainer.data_collator(rows[:2]))
        trainer.state.global_step = 1  # past the check of the first step
        memory = PeakMemory("cpu")
        step(trainer, trainer.data_collator(rows))
        return memory.above()


def peaks(cases: list[tuple[str, str]], pairs: list[dict]) -> dict[tuple[str, str], float]:
    """:func:`peak` of every case, in a process of its own."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.real_step"])
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
        return {case: pool.submit(peak, *case, pairs).result() for case in cases}


def measure(args, pairs: list[dict]) -> list[dict]:
    """A row per trainer: the trainers take each batch in turn, the first batch is not timed."""
    cases = [(name, dtype) for dtype in args.dtypes for name in args.trainers if dtype != AUTOCAST or name == "TRL DPO"]
    mib = peaks(cases, pairs[args.pairs : 2 * args.pairs])
    with tempfile.TemporaryDirectory() as folder:  # autocast last: accelerate has one state for all trainers of a process
        trainers = {case: make_trainer(*case, pairs, args.references, folder) for case in sorted(cases, key=_is_autocast)}
        seconds, losses, log_probs = ({key: [] for key in trainers} for _ in range(3))
        for number in range(args.steps + 1):
            for key, trainer in trainers.items():
                rows = [trainer.train_dataset[number * args.pairs + at] for at in range(args.pairs)]
                batch = trainer.data_collator(rows)
                started = time.process_time()
                losses[key].append(step(trainer, batch))
                seconds[key].append(time.process_time() - started)
                log_probs[key].append(trainer._metrics["train"]["logps/chosen"][-1])
                trainer.state.global_step += 1
    check_same([log_probs, losses], trainers)
    return [
        {
            "trainer": name, "dtype": dtype, "seconds": statistics.median(seconds[name, dtype][1:]),
            "reference_seconds": None if trainer.reference_seconds is None else trainer.reference_seconds * args.pairs,
            "peak_mib": mib[name, dtype], "each": seconds[name, dtype],
            "losses": losses[name, dtype], "logps_chosen": log_probs[name, dtype],
        }
        for (name, dtype), trainer in trainers.items()
    ]  # fmt: skip


def _is_autocast(case: tuple[str, str]) -> bool:
    return case[1] == AUTOCAST


def check_same(figures: list[dict], keys) -> None:
    for values in figures:
        for name, dtype in keys:
            first = next(other for other in keys if other[1] == dtype or dtype == AUTOCAST)
            for one, other in zip(values[name, dtype], values[first], strict=True):
                if abs(one - other) > AGREE[dtype] * abs(other):
                    raise SystemExit(f"error: {name} in {dtype} has {one} where {first[0]} has {other}: not the same work")


def with_ratios(rows: list[dict]) -> None:
    """To each row: its time over TRL's in each precision, the references of its pairs included, and their share."""
    theirs = {row["dtype"]: row["seconds"] for row in rows if row["trainer"] == "TRL DPO"}
    for row in rows:
        total = row["seconds"] + (row["reference_seconds"] or 0)
        row |= {f"over TRL {dtype}": total / seconds for dtype, seconds in theirs.items()}
        row["references / step"] = row["reference_seconds"] and row["reference_seconds"] / row["seconds"]


@command
def main(argv=None) -> None:
    args = parser().parse_args(argv)
    pairs = [{**row, "weight": 1.0} for row in load_from_disk(args.source)["train"].shuffle(seed=0).to_list()]
    rows = measure(args, pairs)
    with_ratios(rows)
    record = {
        "command": "python -m benchmarks.real_step " + shlex.join(sys.argv[1:] if argv is None else argv),
        "threads": torch.get_num_threads(), "capability": torch.backends.cpu.get_cpu_capability(),
        "versions": library_versions(), "git_commit": git_commit(), "rows": rows,
    }  # fmt: skip
    Path(args.output).parent.mkdir(parents=True, exist_ok=True)
    write_text(f"{args.output}.json", json.dumps(record, indent=1) + "\n")
    write_text(f"{args.output}.md", table(record))
    print(table(record))


def table(record: dict) -> str:
    names = [name for name in record["rows"][0] if name not in ("each", "losses", "logps_chosen")]
    lines = [
        f"`{record['command']}`", "",
        f"{record['threads']} thread(s), {record['capability']}, torch {record['versions']['torch']}, TRL "
        f"{record['versions']['trl']}, commit {record['git_commit']}.", "",
        *row_lines(names, record["rows"]),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
