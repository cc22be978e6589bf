"""Memory of trainings of a whole model, as the recipe of the greetings has them: SFT and GRPO, with FSDP and without."""

from benchmarks.plan_shapes import Shape, shape_of
from diversity_tuning.errors import UserError
from diversity_tuning.recipe import read_recipe

STAGES = ("generation", "grpo")
_COPIES = 4 * 4  # bytes a weight: float32 weight, gradient, AdamW's two moments
_LOGITS = 3 * 4  # bytes a logit: float32, and two temporaries of its size


def whole_lines(recipe: str, folder, args) -> list[str]:
    """The table for the stages that train the whole model; :class:`UserError` where the recipe has none."""
    settings = {stage: read_recipe(folder / f"{stage}.yaml") for stage in STAGES if (folder / f"{stage}.yaml").is_file()}
    whole = {stage: one for stage, one in settings.items() if not one.get("use_peft")}
    model = next((one["model_name_or_path"] for one in whole.values() if "model_name_or_path" in one), None)
    if model is None:
        raise UserError(f"{recipe}: makes its own small model; plan one of the recipes with a published one")
    shape = shape_of(model)
    lines = [
        f"{model}: {shape.parameters:,} weights, all of them trained",
        f"Memory of one of {args.gpus} GPUs in GB; float32 weights, gradients and AdamW: 16 bytes a weight",
        f"  {'stage':<24}"
        + "".join(f"{part:>13}" for part in memory(shape, whole[next(iter(whole))], 1, False))
        + f"{'sum':>8}",
    ]
    for stage, one in whole.items():
        for name, sharded in (("FSDP", True), ("without", False)):
            used = memory(shape, one, args.gpus, sharded)
            total = sum(used.values())
            room = "" if total <= args.gpu_memory * 1e9 else f"  > {args.gpu_memory:g} GB"
            numbers = "".join(f"{value / 1e9:>13.1f}" for value in used.values())
            lines.append(f"  {f'{stage}, {name}':<24}{numbers}{total / 1e9:>8.1f}{room}")
    return [*lines, *(updates(one, args.gpus) for stage, one in whole.items() if stage == "grpo")]


def memory(shape: Shape, settings: dict, devices: int, sharded: bool) -> dict[str, int]:
    """Bytes on one device, by what holds them: the longest batch that may come, with gradient checkpointing."""
    parts = devices if sharded else 1
    batch, answer = settings["per_device_train_batch_size"], settings.get("max_completion_length", 0)
    length = settings.get("max_length") or settings["max_prompt_length"] + answer
    tokens = batch * length
    at_once = settings.get("generation_batch_size", 0) // devices
    block = shape.linear_weights // shape.layers
    gathered = 2 * 2 * (shape.other_weights + 2 * block) if sharded else 0  # bfloat16, and gradients of as many
    return {
        "trained": _COPIES * shape.parameters // parts,
        "reference": 4 * shape.parameters // parts if settings.get("beta") else 0,
        "gathered": gathered,
        "activations": shape.between_layers(tokens)
        + shape.layer_activations(tokens, length, 0)
        + shape.backward_temporaries(tokens),
        "logits": _LOGITS * batch * (answer or length) * shape.vocab,
        "generation": 2 * 2 * shape.layers * shape.kv_heads * shape.head_dim * length * at_once,
        "CUDA": 2 * 10**9,
    }


def updates(settings: dict, devices: int) -> str:
    """What a generation of GRPO becomes on so many devices, and which accumulation would keep the recipe's updates."""
    batch, generated = settings["per_device_train_batch_size"], settings["generation_batch_size"]
    update = batch * settings["gradient_accumulation_steps"] * devices
    line = f"  grpo: {generated} completions a generation, {generated / update:g} updates of {update} on {devices} GPUs"
    wanted = batch * settings["gradient_accumulation_steps"] * 4
    if update == wanted:
        return line
    steps = max(1, round(wanted / (batch * devices)))
    return f"{line}; the recipe's {wanted}, for 4 GPUs: --gradient_accumulation_steps {steps}"
