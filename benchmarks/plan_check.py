"""The plan's arithmetic against what a small model really has: parameters, optimizer state, activations and peak memory."""

import gc

import torch
from peft import LoraConfig, get_peft_model
from transformers import Gemma2Config, Gemma2ForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from benchmarks.plan_shapes import LINEAR, Shape

SHAPE = Shape(hidden=256, intermediate=688, layers=3, heads=8, kv_heads=4, head_dim=32, vocab=512)
GEMMA = Shape(
    hidden=128, intermediate=352, layers=4, heads=4, kv_heads=2, head_dim=48, vocab=512, tied=True, norms=4, eager=True
)
RANK, SEQUENCES, LENGTH = 16, 4, 128


def make_model(shape: Shape, bf16: bool) -> PreTrainedModel:
    """A model of this shape with LoRA, its frozen weights in bfloat16 or float32."""
    names = {
        "hidden_size": shape.hidden, "intermediate_size": shape.intermediate, "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads, "num_key_value_heads": shape.kv_heads, "head_dim": shape.head_dim,
        "vocab_size": shape.vocab, "tie_word_embeddings": shape.tied, "max_position_embeddings": LENGTH,
    }  # fmt: skip
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16 if bf16 else torch.float32)
    try:
        if shape.eager:
            model = Gemma2ForCausalLM(Gemma2Config(**names, query_pre_attn_scalar=shape.head_dim, attn_implementation="eager"))
        else:
            model = LlamaForCausalLM(LlamaConfig(**names))
    finally:
        torch.set_default_dtype(default)
    lora = LoraConfig(r=RANK, lora_alpha=2 * RANK, lora_dropout=0.0, target_modules=list(LINEAR), task_type="CAUSAL_LM")
    return get_peft_model(model, lora).train()


class Kept:
    """Counts the bytes that a forward pass keeps for the backward pass; parameters are not counted."""

    def __init__(self, model: PreTrainedModel):
        self.parameters = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
        self.storages: dict[int, int] = {}
        self.alive: list[torch.Tensor] = []  # so that no address is used twice

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self.parameters:
            self.storages[storage.data_ptr()] = storage.nbytes()
            self.alive.append(tensor)
        return tensor


def kept_bytes(model: PreTrainedModel, bf16: bool, checkpointing: bool) -> int:
    """What the blocks keep for a batch of ``SEQUENCES`` sequences of ``LENGTH`` tokens, without the head."""
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    kept = Kept(model)
    ids = torch.randint(1, model.config.vocab_size, (SEQUENCES, LENGTH))
    hooks = torch.autograd.graph.saved_tensors_hooks(kept, lambda tensor: tensor)
    with hooks, torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        model.base_model.model.model(input_ids=ids, use_cache=False)
    return sum(kept.storages.values())


def optimizer_bytes(model: PreTrainedModel) -> int:
    """Trainable weights, their gradients and AdamW's state after a step."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3)
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    state = [value for values in optimizer.state.values() for value in values.values() if value.ndim]
    return sum(tensor.numel() * tensor.element_size() for tensor in (*trained, *(p.grad for p in trained), *state))


def peak_bytes(model: PreTrainedModel, bf16: bool) -> int:
    """The most memory that a training step allocates above what was there: activations, their gradients, LoRA's gradients."""
    ids = torch.randint(1, model.config.vocab_size, (SEQUENCES, LENGTH))
    gc.collect()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            hidden = model.base_model.model.model(input_ids=ids, use_cache=False).last_hidden_state
        hidden.float().pow(2).mean().backward()
    now = most = 0
    events = profile.profiler.kineto_results.events()
    for event in sorted((e for e in events if e.name() == "[memory]"), key=lambda e: e.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most


def check() -> list[tuple[str, int, int]]:
    """(what, predicted, measured) in parameters and bytes."""
    tokens, rows = SEQUENCES * LENGTH, []
    for name, shape in (("Llama", SHAPE), ("Gemma 2", GEMMA)):
        for bf16 in (True, False) if not shape.eager else (True,):
            kind = f"{name}, {'bfloat16' if bf16 else 'float32'}"
            torch.manual_seed(0)
            model = make_model(shape, bf16)
            lora = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
            layer = shape.layer_activations(tokens, LENGTH, RANK, bf16)
            rows += [
                (f"{kind}: parameters", shape.parameters, sum(p.numel() for p in model.parameters()) - lora),
                (f"{kind}: LoRA parameters", shape.lora_parameters(RANK), lora),
                (f"{kind}: bytes of LoRA, gradients, AdamW", 16 * shape.lora_parameters(RANK), optimizer_bytes(model)),
                (f"{kind}: bytes of activations", shape.layers * layer, kept_bytes(model, bf16, False)),
            ]
            more = 4 * shape.lora_parameters(RANK) + shape.backward_temporaries(tokens)
            model.zero_grad()
            rows.append((f"{kind}: peak bytes of a step", shape.layers * layer + more, peak_bytes(model, bf16)))
            saved = shape.between_layers(tokens, bf16)
            rows.append((f"{kind}: bytes between layers, checkpointing", saved, kept_bytes(model, bf16, True)))
            model.zero_grad()
            rows.append((f"{kind}: peak bytes, checkpointing", saved + layer + more, peak_bytes(model, bf16)))
    return rows


def table(rows: list[tuple[str, int, int]]) -> list[str]:
    """The rows, and measured over predicted."""
    head = f"{'':<55}{'predicted':>14}{'measured':>14}{'ratio':>8}"
    return [head, *(f"{what:<55}{predicted:>14,}{found:>14,}{found / predicted:>8.3f}" for what, predicted, found in rows)]
