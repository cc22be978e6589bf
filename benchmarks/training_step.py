"""One case of :mod:`benchmarks.training` in a process of its own: build the trainers, take steps, print times and memory.

python -m benchmarks.training_step '{"shape": "small", "device": "cpu", "vocab": 4096, "length": 64, "pairs": 1,
    "names": ["DDPO"], "rounds": 1}'
"""

if not __package__:
    raise SystemExit("error: run it as python -m benchmarks.training_step")

import ctypes
import gc
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import torch
from datasets import Dataset
from peft import LoraConfig
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from diversity_tuning.cli import Parser, command

PROMPT = 64  # tokens
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
SHAPES = {  # of the model, then of the training
    "small": (
        dict(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4),
        dict(r=8, bf16=False, gradient_checkpointing=False),
    ),
    "medium": (
        dict(hidden_size=512, intermediate_size=1408, num_hidden_layers=4, num_attention_heads=8, num_key_value_heads=8),
        dict(r=8, bf16=False, gradient_checkpointing=False),
    ),
    "llama-3.1-8b": (
        dict(
            hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=8,
            rope_parameters={"rope_type": "default", "rope_theta": 500000.0},
        ),
        dict(r=128, bf16=True, gradient_checkpointing=True),
    ),
}  # fmt: skip


def make_trainer(name: str, case: dict, folder: str):
    """A trainer that is ready for :func:`step`."""
    import trl
    from trl.experimental import orpo

    from diversity_tuning import trainers as ours

    head = {"lm_head": case["lm_head"]}
    classes = {
        "TRL DPO": (trl.DPOTrainer, trl.DPOConfig, {}),
        "DPO": (ours.DPOTrainer, ours.DPOConfig, head),
        "SPL": (ours.SPLTrainer, ours.SPLConfig, head),
        "DDPO": (ours.DDPOTrainer, ours.DDPOConfig, head),
        "TRL ORPO": (orpo.ORPOTrainer, orpo.ORPOConfig, {"beta": 0.25}),
        "ORPO": (ours.ORPOTrainer, ours.ORPOConfig, head),
        "DORPO": (ours.DORPOTrainer, ours.DORPOConfig, head),
    }
    trainer_class, config_class, extra = classes[name]
    model_shape, training = SHAPES[case["shape"]]
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16 if training["bf16"] else torch.float32)
    with torch.device(case["device"]):
        model = LlamaForCausalLM(
            LlamaConfig(vocab_size=case["vocab"], max_position_embeddings=2 * case["length"], **model_shape)
        )
    torch.set_default_dtype(torch.float32)
    config = config_class(
        output_dir=folder, report_to="none", disable_tqdm=True, use_cpu=case["device"] == "cpu", max_length=case["length"],
        per_device_train_batch_size=case["pairs"], bf16=training["bf16"],
        gradient_checkpointing=training["gradient_checkpointing"], **extra,
    )  # fmt: skip
    row = {"prompt": "a", "chosen": "b", "rejected": "c", "deviation_chosen": 1.0}  # not what is trained on: see make_batch
    lora = LoraConfig(r=training["r"], lora_alpha=2 * training["r"], target_modules=LINEAR, task_type="CAUSAL_LM")
    trainer = trainer_class(
        model=model, args=config, train_dataset=Dataset.from_list([row]), processing_class=tokenizer(), peft_config=lora
    )
    trainer.state.global_step = 1  # past the check of the first step
    if training["gradient_checkpointing"]:
        trainer.model.gradient_checkpointing_enable({"use_reentrant": False})
    trainer.create_optimizer()
    trainer.model.train()
    return trainer


def head_of(name: str, trainer) -> str:
    """What has turned hidden states into log-probabilities so far: as the trainer counted it, where it is ours."""
    if name == "TRL ORPO":
        return "full logits"
    return " + ".join(sorted(getattr(trainer, "heads_used", ["trl"])))


def tokenizer() -> PreTrainedTokenizerFast:
    backend = Tokenizer(
        models.WordLevel({"<unk>": 0, "<s>": 1, "</s>": 2, "<pad>": 3, "a": 4, "b": 5, "c": 6}, unk_token="<unk>")
    )
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )


def make_batch(name: str, case: dict, length: int | None = None) -> dict:
    """The same pairs for every trainer, full length, in the form that its collator would give."""
    pairs, length = case["pairs"], length or case["length"]
    prompt = min(PROMPT, length // 2)
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(8, case["vocab"], (2 * pairs, length), generator=generator)
    ids[pairs:, :prompt] = ids[:pairs, :prompt]
    completion = torch.ones_like(ids)
    completion[:, :prompt] = 0
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "completion_mask": completion}
    if name in ("DDPO", "DORPO"):
        batch["pair_weight"] = torch.ones(pairs)
    if name == "TRL ORPO":
        labels = ids.masked_fill(completion == 0, -100)
        batch = {
            f"{side}_{key}": value
            for side, rows in (("chosen", slice(0, pairs)), ("rejected", slice(pairs, None)))
            for key, value in (
                ("input_ids", ids[rows]),
                ("attention_mask", torch.ones_like(ids[rows])),
                ("labels", labels[rows]),
            )
        }
    return {key: value.to(case["device"]) for key, value in batch.items()}


def step(trainer, batch: dict) -> float:
    """Forward, backward, update; the loss before it."""
    with trainer.accelerator.autocast():
        loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    trainer.optimizer.step()
    trainer.optimizer.zero_grad()
    if loss.is_cuda:
        torch.cuda.synchronize()
    return loss.item()


def timed_steps(case: dict, trainers: dict) -> dict[str, list[tuple[float, float]]]:
    """Wall and CPU seconds of every step; the trainers take turns, in another order each round.

    A turn is two steps, of which the second counts: the first also fetches the memory that the trainer before has given back.
    """
    batches = {name: make_batch(name, case) for name in trainers}
    times = {name: [] for name in trainers}
    names = list(trainers)
    for round_number in range(case["rounds"]):
        for name in names[round_number % len(names) :] + names[: round_number % len(names)]:
            step(trainers[name], batches[name])
            started = time.perf_counter(), time.process_time()
            step(trainers[name], batches[name])  # waits for a GPU
            times[name].append((time.perf_counter() - started[0], time.process_time() - started[1]))
    return times


class PeakMemory:
    """MiB above what was in use when it was made: the resident set of this process, or the GPU's allocator."""

    def __init__(self, device: str):
        self.device = device
        gc.collect()
        if device == "cuda":
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            self.before = torch.cuda.memory_allocated() / 2**20
            return
        if sys.platform == "linux":
            ctypes.CDLL("libc.so.6").malloc_trim(0)
            Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
        self.before = _status("VmRSS") or _largest()

    def above(self) -> float:
        if self.device == "cuda":
            return torch.cuda.max_memory_allocated() / 2**20 - self.before
        return (_status("VmHWM") or _largest()) - self.before


def _status(key: str) -> float | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except FileNotFoundError:
        return None
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{key}:"))


def _largest() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)


def model_flops(name: str, case: dict, trainer) -> float:
    """Operations that the mathematics of a step needs, without what is computed again for checkpointing or by the fused head.

    Per token and matrix weight: 2 forward, 2 for the gradient of the input, 2 more for that of the weight where it is trained.
    The head reads scored tokens only; attention counts half of the square. A reference adds a forward without the adapter.
    """
    config, tokens = trainer.model.config, 2 * case["pairs"] * case["length"]
    batch = make_batch("ORPO", {**case, "device": "cpu"})
    targets = batch["completion_mask"]
    if "ORPO" in name:  # the NLL reads the prompt of the chosen side too
        targets[: case["pairs"]] = 1
    scored = targets[:, 1:].sum().item()
    matrices = {key: p.numel() for key, p in trainer.model.named_parameters() if p.dim() == 2 and "embed_tokens" not in key}
    adapter = sum(size for key, size in matrices.items() if "lora_" in key)
    head = sum(size for key, size in matrices.items() if "lm_head" in key)
    body = sum(matrices.values()) - adapter - head
    width = config.num_attention_heads * getattr(config, "head_dim", config.hidden_size // config.num_attention_heads)
    attention = config.num_hidden_layers * 4 * width * case["length"] / 2  # per token, forward
    policy = tokens * (4 * body + 6 * adapter + 3 * attention) + scored * 4 * head
    return policy + (tokens * (2 * body + attention) + scored * 2 * head if "DPO" in name else 0)


@command
def main(argv=None) -> None:
    parser = Parser("benchmarks.training_step", __doc__)
    parser.add_argument("case", type=json.loads, help="the case as JSON: shape, device, vocab, length, pairs, names, rounds")
    run(parser.parse_args(argv).case)


def run(case: dict) -> None:
    """Measure one case and print the answer as the last line, in JSON."""
    device = case["device"]
    answer = {
        "machine": {"device": torch.cuda.get_device_name() if device == "cuda" else "CPU", "threads": torch.get_num_threads()}
    }
    with tempfile.TemporaryDirectory() as folder:
        trainers = {name: make_trainer(name, case, folder) for name in case["names"]}
        first = trainers[case["names"][0]]
        if len(trainers) == 1:
            name = case["names"][0]
            with torch.no_grad():
                first.compute_loss(first.model, make_batch(name, case, length=16))  # kernels and their scratch space
            batch = make_batch(name, case)
            memory = PeakMemory(device)
            answer["loss"] = step(first, batch)
            step(first, batch)
            answer["peak_mib"] = memory.above()
            answer["head"] = head_of(name, first)
            answer["tokens"] = 2 * case["pairs"] * case["length"]
            if device == "cuda":
                answer["flops"] = model_flops(name, case, first)
                answer["times"] = timed_steps(case, trainers)[name]
        else:
            for name, trainer in trainers.items():
                step(trainer, make_batch(name, case))
            answer["times"] = timed_steps(case, trainers)
    print("\n" + json.dumps(answer))


if __name__ == "__main__":
    main()
