"""Memory, steps and hours of a recipe's trainings and samples on so many GPUs, estimated from shapes, with the arithmetic.

python -m benchmarks.plan --recipe llama-3.1-8b --gpus 8
python -m benchmarks.plan --recipe llama-3.1-8b --gpus 1 --gpu_memory 24 --load_in_4bit --per_device_train_batch_size 1
python -m benchmarks.plan --check        # the same arithmetic against a small model on this machine

Estimates, not measurements: hours follow from the stated utilisation (MFU) and lengths. GB are 10^9 bytes.
"""

if not __package__:
    raise SystemExit("error: run it as python -m benchmarks.plan")

import argparse
import dataclasses
from pathlib import Path

import yaml

from benchmarks.plan_shapes import Shape, Training, shape_of
from benchmarks.plan_whole import whole_lines
from diversity_tuning.cli import Parser, command
from diversity_tuning.errors import UserError
from diversity_tuning.names import nearest
from diversity_tuning.objectives import OBJECTIVES

ROOT = Path(__file__).parents[1]
_PLANNED = [name for name, one in OBJECTIVES.items() if one.script]  # those of the paper
STAGES = ("reward", "generation", *_PLANNED)
POLICIES = 1 + len(_PLANNED)  # SFT and these


def training_of(recipe: str, stage: str) -> Training:
    """A stage's settings from its YAML file."""
    path = ROOT / "recipes" / recipe / f"{stage}.yaml"
    if not path.is_file():
        recipes = sorted(folder.name for folder in (ROOT / "recipes").iterdir() if (folder / f"{stage}.yaml").is_file())
        raise UserError(
            f"no recipe '{recipe}' with {stage}.yaml{nearest(recipe, recipes) or '; there are: ' + ' '.join(recipes)}"
        )
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    if "model_name_or_path" not in settings:
        raise UserError(f"{recipe}: makes its own small model; plan one of the recipes with a published one")
    rank = settings.get("lora_r") or yaml.safe_load((path.parent / "generation.yaml").read_text(encoding="utf-8"))["lora_r"]
    return Training(
        name=stage, model=settings["model_name_or_path"], rank=rank, batch=settings["per_device_train_batch_size"],
        rows=1 if stage in ("reward", "generation") else 2, length=settings["max_length"], epochs=settings["num_train_epochs"],
        checkpointing=settings.get("gradient_checkpointing", False),
        reference=stage in OBJECTIVES and OBJECTIVES[stage].from_adapter,
        accumulation=settings.get("gradient_accumulation_steps", 1),
    )  # fmt: skip


def make_parser() -> Parser:
    parser = Parser("benchmarks.plan", __doc__)
    parser.add_argument("--recipe", default="llama-3.1-8b", help="a folder of recipes/")
    parser.add_argument("--gpus", type=int, default=8, help="GPUs, one process each")
    parser.add_argument("--gpu_memory", type=float, default=80, help="GB of one GPU")
    parser.add_argument("--per_device_train_batch_size", type=int, default=None, help="instead of every recipe's")
    parser.add_argument("--gradient_accumulation_steps", type=int, default=None, help="default: keeps the batch of 8 GPUs")
    parser.add_argument("--load_in_4bit", action="store_true", help="QLoRA: the frozen linear layers in 4 bits")
    group = parser.add_argument_group("data, after filtering; print your own with scripts_dataset_cleaner.describe")
    group.add_argument("--responses", type=int, default=421_330, help="responses in the training split")
    group.add_argument(
        "--pairs", type=int, default=None, help="pairs in it; default: half of the responses, the most there can be"
    )
    group.add_argument("--prompt_tokens", type=float, default=60, help="mean tokens of a prompt, template included")
    group.add_argument("--response_tokens", type=float, default=800, help="mean tokens of a response")
    group = parser.add_argument_group("machine")
    group.add_argument("--peak_tflops", type=float, default=989, help="dense bfloat16; H100 989, A100 312, RTX 4090 165")
    group.add_argument("--mfu", type=float, default=0.35, help="share of the peak that a training reaches")
    group.add_argument(
        "--bandwidth", type=float, default=3350, help="GB/s of the GPU's memory; H100 3350, A100 2039, 4090 1008"
    )
    parser.add_argument("--check", action="store_true", help="compare the arithmetic with a small model on this machine")
    return parser


@command
def main(argv=None) -> None:
    args = make_parser().parse_args(argv)
    if args.check:
        from benchmarks.plan_check import check, table

        print("\n".join(table(check())))
        return
    if args.gpus < 1:
        raise UserError("--gpus must be at least 1")
    folder = ROOT / "recipes" / args.recipe
    if (folder / "grpo.yaml").is_file() and not (folder / "ddpo.yaml").is_file():
        print("\n".join(whole_lines(args.recipe, folder, args)))
        return
    trainings = [adapted(training_of(args.recipe, stage), args) for stage in STAGES]
    print(
        "\n".join(
            [
                *model_lines(trainings),
                "",
                *memory_lines(trainings, args),
                "",
                *time_lines(trainings, args),
                "",
                *disk_lines(trainings, args),
            ]
        )
    )


def adapted(training: Training, args: argparse.Namespace) -> Training:
    """The stage with the flags' batch, and an accumulation that keeps the batch of the recipe on 8 GPUs."""
    wanted, batch = training.global_batch(8), args.per_device_train_batch_size or training.batch
    steps = args.gradient_accumulation_steps or max(1, round(wanted / (batch * args.gpus)))
    return dataclasses.replace(training, batch=batch, accumulation=steps, four_bit=args.load_in_4bit)


def model_lines(trainings: list[Training]) -> list[str]:
    """Parameters of the models and of their adapters, as sums."""
    lines = ["Parameters"]
    for model, rank in dict.fromkeys((training.model, training.rank) for training in trainings):
        shape = shape_of(model)
        block = " + ".join(f"{i}×{o}" for i, o in shape.linear.values())
        embeddings = f"{'1' if shape.tied else '2'}·{shape.vocab}·{shape.hidden}"
        lines += [
            f"  {model}: {shape.layers} · ({block}) + {embeddings} + norms = {shape.parameters:,}",
            f"    LoRA, rank {rank}: {shape.layers} · {rank} · Σ(in + out) = {shape.lora_parameters(rank):,}",
        ]
    return lines


def memory_lines(trainings: list[Training], args: argparse.Namespace) -> list[str]:
    """A table of the memory of one GPU, the longest batch that may come."""
    parts = list(trainings[0].memory(shape_of(trainings[0].model), args.gpus))
    weights = "NF4" if args.load_in_4bit else "bfloat16"
    lines = [
        f"Memory of one of {args.gpus} GPUs in GB, {weights} weights, every sequence {trainings[0].length} tokens",
        f"  {'stage':<11}" + "".join(f"{part:>12}" for part in parts) + f"{'sum':>8}",
    ]
    for training in trainings:
        used = training.memory(shape_of(training.model), args.gpus)
        total = sum(used.values())
        room = "" if total <= args.gpu_memory * 1e9 else f"  > {args.gpu_memory:g} GB"
        lines.append(
            f"  {training.name:<11}" + "".join(f"{used[part] / 1e9:>12.1f}" for part in parts) + f"{total / 1e9:>8.1f}{room}"
        )
    one = next(training for training in trainings if training.name == "ddpo")
    shape, tokens = shape_of(one.model), one.batch * one.rows * one.length
    without = sum(one.memory(shape, args.gpus, checkpointing=False).values())
    return [
        *lines,
        f"  ddpo: {one.batch} pairs · {one.rows} · {one.length} = {tokens} tokens; {shape.layers} layers · {tokens} ·"
        f" {shape.hidden} · 2 B + one layer's {shape.layer_activations(tokens, one.length, one.rank) / 1e9:.2f} GB + gradients",
        f"  ddpo without gradient checkpointing {without / 1e9:.1f}; the batch's logits in float32, never made,"
        f" {one.logits(shape) / 1e9:.1f}",
        "  adapter: LoRA weights, gradients, AdamW and DDP's buckets in float32; head: a tile of logits and two copies",
    ]


def disk_lines(trainings: list[Training], args: argparse.Namespace) -> list[str]:
    """What a run keeps: adapters and checkpoints in float32, AdamW's state while a training runs, embeddings."""
    policy = trainings[1]
    adapter = 4 * shape_of(policy.model).lora_parameters(policy.rank)
    finished, running = (4 * 7 + 4) * adapter, 6 * 2 * adapter
    models = 2 * sum(shape_of(model).parameters for model in {training.model for training in trainings})
    embeddings = 4 * (1024 + 768) * args.responses
    return [
        f"Disk in GB: models {models / 1e9:.0f} in bfloat16 (a hub may hold float32); an adapter {adapter / 1e9:.2f},"
        f" 4 trainings · 7 and SFT's 4 of them {finished / 1e9:.0f};",
        f"  AdamW's state in 6 checkpoints of the training that runs {running / 1e9:.0f}; embeddings {embeddings / 1e9:.1f}",
    ]


def time_lines(trainings: list[Training], args: argparse.Namespace) -> list[str]:
    """Tokens, updates and hours of every stage, and of sampling."""
    pairs = args.pairs or args.responses // 2
    length = args.prompt_tokens + args.response_tokens
    lines = [
        f"Time at {args.mfu:.0%} of {args.peak_tflops:g} TFLOP/s a GPU; {args.responses:,} responses, {pairs:,} pairs"
        f"{'' if args.pairs else ' (at most)'}, {length:g} tokens a sequence",
        f"  {'stage':<11}{'batch':>30}{'updates':>10}{'tokens an epoch':>17}{'epochs':>8}{'GFLOP a token':>15}{'hours':>8}",
    ]
    hours = 0.0
    for training in trainings:
        examples = args.responses if training.rows == 1 else pairs
        tokens, flops = examples * training.rows * length, training.flops(shape_of(training.model), length)
        took = tokens * training.epochs * flops / (args.gpus * args.peak_tflops * 1e12 * args.mfu) / 3600
        hours += took
        batch = f"{training.batch} · {training.accumulation} · {args.gpus} = {training.global_batch(args.gpus)}"
        lines.append(
            f"  {training.name:<11}{batch:>30}{training.steps(examples, args.gpus):>10,}{tokens / 1e6:>15,.0f} M"
            f"{training.epochs:>8g}{flops / 1e9:>15.1f}{took:>8.1f}"
        )
    sampled, line = sampling(shape_of(trainings[1].model), args)
    return [*lines, line, f"  all trainings {hours:.0f} h, all samples {sampled:.1f} h, on {args.gpus} GPUs"]


def sampling(shape: Shape, args: argparse.Namespace) -> tuple[float, str]:
    """Hours for 1,000 prompts · 4 samples of every policy: each step reads the weights and 64 sequences' keys and values."""
    tokens, at_once, share = POLICIES * 1000 * 4 * args.response_tokens, 64, 0.4
    cache = 2 * 2 * shape.layers * shape.kv_heads * shape.head_dim * (args.prompt_tokens + args.response_tokens / 2)
    rate = at_once * share * args.bandwidth * 1e9 / (2 * shape.parameters + at_once * cache)
    hours = tokens / rate / args.gpus / 3600
    return hours, (
        f"  sampling   {POLICIES} policies · 1,000 prompts · 4 · {args.response_tokens:g} tokens; {at_once} sequences a GPU,"
        f" {share:.0%} of {args.bandwidth:g} GB/s: {rate:,.0f} tokens/s a GPU"
    )


if __name__ == "__main__":
    main()
