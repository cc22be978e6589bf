"""What a training holds in memory and computes, from the shapes of the model: the arithmetic of :mod:`benchmarks.plan`."""

import json
from dataclasses import dataclass
from pathlib import Path

LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
NF4 = 0.5 + 4 / 64  # bytes a weight in 4 bits: with one float32 scale per 64 weights
HEAD_TILE = 4096 * 32768  # TRL's fused LM head works on so many logits at once


@dataclass(frozen=True)
class Shape:
    """A decoder of the Llama family. ``norms``: per layer; ``eager``: attention keeps its matrix, as Gemma 2's does."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    tied: bool = False  # input and output embeddings are one
    norms: int = 2
    eager: bool = False
    bias: bool = False  # of queries, keys and values

    @property
    def linear(self) -> dict[str, tuple[int, int]]:
        """Inputs and outputs of the linear layers of one block."""
        query, key = self.heads * self.head_dim, self.kv_heads * self.head_dim
        sizes = ((self.hidden, query), (self.hidden, key), (self.hidden, key), (query, self.hidden))
        sizes += ((self.hidden, self.intermediate),) * 2 + ((self.intermediate, self.hidden),)
        return dict(zip(LINEAR, sizes, strict=True))

    @property
    def linear_weights(self) -> int:
        """Weights of the linear layers of all blocks."""
        return self.layers * sum(inputs * outputs for inputs, outputs in self.linear.values())

    @property
    def other_weights(self) -> int:
        """Embeddings, output head and norms."""
        embeddings = self.vocab * self.hidden * (1 if self.tied else 2)
        biases = self.layers * (self.heads + 2 * self.kv_heads) * self.head_dim if self.bias else 0
        return embeddings + self.hidden * (self.norms * self.layers + 1) + biases

    @property
    def parameters(self) -> int:
        return self.linear_weights + self.other_weights

    def lora_parameters(self, rank: int, modules: list[str] | tuple[str, ...] = LINEAR) -> int:
        """Σ r · (inputs + outputs) over the modules of all blocks."""
        return self.layers * sum(rank * sum(self.linear[name]) for name in modules)

    def layer_activations(self, tokens: int, length: int, rank: int, bf16: bool = True) -> int:
        """Bytes that one block keeps for its backward pass, with LoRA on all linear layers; ``length``: of one sequence.

        Per token, at ``width`` bytes: the inputs of the linear layers (under autocast each LoRA layer keeps a copy of its own),
        the 7 outputs of the A matrices, queries, keys, values and the attention's result, gate, SiLU and product; in float32
        the input of every norm. Under autocast also the cast weights of LoRA, once. Eager attention adds 8 bytes per head and
        pair of tokens.
        """
        width = 2 if bf16 else 4
        query, key = self.heads * self.head_dim, self.kv_heads * self.head_dim
        inputs = (5 if bf16 else 2) * self.hidden + query
        attention = 3 * query if self.eager else 2 * key + query * (2 if bf16 else 1)
        numbers = inputs + 7 * rank + attention + 4 * self.intermediate
        norms = self.norms * (4 * self.hidden + 4)
        scores = 8 * self.heads * length if self.eager else 4 * self.heads  # else the logarithm of each row's sum
        once = 2 * self.lora_parameters(rank) // self.layers if bf16 else 0
        return tokens * (width * numbers + norms + scores) + once

    def between_layers(self, tokens: int, bf16: bool = True) -> int:
        """Bytes that checkpointing keeps: the input of every block, and the last norm's in float32."""
        return tokens * (self.layers * (2 if bf16 else 4) * self.hidden + 4 * self.hidden)

    def backward_temporaries(self, tokens: int) -> int:
        """Bytes of the gradients at work in the backward pass of one MLP: three of its width, one of the hidden size."""
        return tokens * (2 * 3 * self.intermediate + 4 * self.hidden)


KNOWN = {
    "meta-llama/Llama-3.1-8B": Shape(4096, 14336, 32, 32, 8, 128, 128256),
    "mistralai/Mistral-7B-v0.3": Shape(4096, 14336, 32, 32, 8, 128, 32768),
    "Qwen/Qwen2.5-7B-Instruct": Shape(3584, 18944, 28, 28, 4, 128, 152064, bias=True),
    "google/gemma-2-2b": Shape(2304, 9216, 26, 8, 4, 256, 256000, tied=True, norms=4, eager=True),
}


def shape_of(model: str) -> Shape:
    """The shape of a model: one of :data:`KNOWN`, or what config.json of a folder says."""
    if model in KNOWN:
        return KNOWN[model]
    config = json.loads((Path(model) / "config.json").read_text(encoding="utf-8"))
    gemma = config["model_type"] == "gemma2"
    return Shape(
        config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"], config["num_attention_heads"],
        config.get("num_key_value_heads") or config["num_attention_heads"],
        config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"], config["vocab_size"],
        tied=config.get("tie_word_embeddings", False), norms=4 if gemma else 2, eager=gemma,
    )  # fmt: skip


@dataclass(frozen=True)
class Training:
    """One stage: what its recipe says, and on how many devices."""

    name: str
    model: str
    rank: int
    batch: int  # examples a device
    rows: int  # sequences an example: 2 for a pair
    length: int  # most tokens a sequence
    epochs: float
    checkpointing: bool
    reference: bool  # DPO and DDPO: a frozen copy of the adapter, and a forward pass with it
    accumulation: int = 1
    four_bit: bool = False

    def memory(self, shape: Shape, devices: int, checkpointing: bool | None = None) -> dict[str, int]:
        """Bytes on one device, by what holds them; the longest batch that may come."""
        keep = self.checkpointing if checkpointing is None else checkpointing
        tokens = self.batch * self.rows * self.length
        lora = shape.lora_parameters(self.rank)
        layer = shape.layer_activations(tokens, self.length, self.rank)
        weights = round(shape.linear_weights * (NF4 if self.four_bit else 2)) + 2 * shape.other_weights
        return {
            "weights": weights,
            "adapter": lora * (4 + 4 + 8 + (4 if devices > 1 else 0)),  # DDP's buckets are a copy of the gradients
            "reference": 4 * lora if self.reference else 0,
            "activations": (shape.between_layers(tokens) + layer if keep else shape.layers * layer)
            + shape.backward_temporaries(tokens),
            # A tile of logits in float32 and two temporaries; the reward model's head has one output.
            "head": 3 * 4 * min(HEAD_TILE, tokens * shape.vocab) if self.name != "reward" else 0,
            "CUDA": 2 * 10**9,
        }

    def logits(self, shape: Shape) -> int:
        """Bytes of the logits of a whole batch in float32, which are never made."""
        return 4 * self.batch * self.rows * self.length * shape.vocab

    def steps(self, examples: int, devices: int) -> int:
        """Updates in all epochs."""
        return round(self.epochs * -(-examples // self.global_batch(devices)))

    def global_batch(self, devices: int) -> int:
        return self.batch * self.accumulation * devices

    def flops(self, shape: Shape, length: float) -> float:
        """Floating-point operations for a token of a sequence of this many tokens.

        2 per weight forward, again where activations are recomputed, 2 backward (the weights are frozen: only the gradient of
        the inputs), 2 for the reference's forward; 6 per LoRA weight; causal attention 2 · length · width, as often.
        """
        passes = 2 + self.checkpointing + self.reference
        matmul = 2 * (shape.linear_weights + shape.vocab * shape.hidden)
        attention = 2 * shape.layers * length * shape.heads * shape.head_dim
        return passes * (matmul + attention) + 6 * shape.lora_parameters(self.rank)
