"""Which LM head a trainer uses: TRL's fused one, or the one whose gradient is made in the forward pass."""

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import trl.trainer.dpo_trainer
import trl.trainer.utils
from peft.utils import TrainableTokensWrapper
from torch import Tensor
from transformers.hf_argparser import HfArg

from diversity_tuning.errors import UserError
from diversity_tuning.trainers.lm_head import OUTPUTS, label_log_probs
from diversity_tuning.trainers.weights import check_choices

OURS, TRL = "gradient_in_forward", "trl"
_NUMBERS = 2**21  # of a tile in float32: 8 MiB, which stays near the processor's caches and is reused by the allocator
_NARROWEST = 1536  # vocabulary entries; a vocabulary up to this size always fits one tile
_TRL = "1.16"  # the release of TRL whose private names are exchanged here; pyproject.toml has it too
_COMPARED = 512  # tokens
_EXCHANGED = ("_ChunkedLogProbFunction", "_use_triton", "_CHUNKED_LOGPROB_CHUNK_SIZE", "add_fused_lm_head")


@dataclass
class LMHeadArguments:
    """The choice, as a field of a trainer's configuration."""

    lm_head: str = HfArg(
        default="auto",
        metadata={"choices": ["auto", OURS, TRL]},
        help="What turns hidden states into log-probabilities. 'gradient_in_forward': one pass over the vocabulary that "
        "also makes the gradient of the hidden states; for a head that is not trained (LoRA), without bias, cap or scale. "
        "'trl': TRL's fused head. 'auto': the first on a CPU where the head allows it, else the second.",
    )

    def __post_init__(self):
        super().__post_init__()
        check_choices(self, "lm_head")


class _Head:
    """Stands where TRL calls its ``ChunkedLogProbFunction``, and hands on to it what :func:`label_log_probs` cannot do."""

    def __init__(self, trls, choice: str, used: Counter, wanted: tuple[str, ...]):
        self.trls, self.choice, self.used, self.wanted = trls, choice, used, wanted

    def apply(self, hidden, weight, bias, labels, temperature, chunk_size, softcap=None, scale=1.0, outputs=OUTPUTS):
        obstacles = _obstacles(hidden, weight, bias, temperature, softcap, scale, outputs)
        if not obstacles:
            self.used[OURS] += 1
            outputs = tuple(name for name in outputs if name in self.wanted)
            log_probs, entropy, mean_logits, is_top1 = label_log_probs(hidden, weight, labels, outputs)
            return log_probs, entropy, None, mean_logits, is_top1
        if self.choice == OURS:
            raise UserError(f"lm_head {OURS} is not possible here: {'; '.join(obstacles)}. Leave lm_head at 'auto'")
        self.used[TRL] += 1
        return self.trls.apply(hidden, weight, bias, labels, temperature, chunk_size, softcap, scale, outputs)


def _obstacles(hidden, weight, bias, temperature, softcap, scale, outputs) -> list[str]:
    """Why this call needs TRL's head; empty where it does not."""
    kind = weight.data if isinstance(weight, torch.nn.Parameter) else weight
    plain = type(kind) is Tensor and weight.is_floating_point() and weight.dim() == 2 and weight.size(1) == hidden.size(1)
    unusual = {
        "the head's weight is trained": torch.is_grad_enabled() and weight.requires_grad,
        "the head has a bias": bias is not None,
        f"logits are divided by a temperature of {temperature}": temperature != 1,
        f"logits are capped at {softcap}": softcap is not None,
        f"logits are multiplied by {scale}": scale != 1,
        "the head's weight is not a plain matrix of floats": not plain,
        "other values are asked for than " + ", ".join(OUTPUTS): not set(outputs) <= set(OUTPUTS),
    }
    return [reason for reason, applies in unusual.items() if applies]


@contextlib.contextmanager
def head_of_choice(
    device: torch.device, choice: str, used: Counter | None = None, wanted: tuple[str, ...] = OUTPUTS
) -> Iterator[None]:
    """Call a model with TRL's fused head inside: the head is the one of ``choice``, and ``used`` counts the calls of each.

    Values that are not in ``wanted`` may be None.

    TRL's forward (``add_fused_lm_head``) finds the head, gathers a sharded weight and picks out the labelled tokens; what is
    set for the length of the call is the function that it hands them to. On a CPU TRL would score the unlabelled tokens too.
    """
    utils = trl.trainer.utils
    before = utils._ChunkedLogProbFunction, utils._use_triton
    trls = getattr(before[0], "trls", before[0])  # where one such call is inside another
    used = Counter() if used is None else used
    if choice == OURS or (choice == "auto" and device.type == "cpu"):
        utils._ChunkedLogProbFunction = _Head(trls, choice, used, wanted)
        utils._use_triton = lambda device: True  # read there for one thing only: whether to leave unlabelled tokens out
    try:
        yield
    finally:
        utils._ChunkedLogProbFunction, utils._use_triton = before


@contextlib.contextmanager
def fitting_tiles(ids: Tensor) -> Iterator[None]:
    """Call a model with a fused head inside: on a CPU, its tiles of (tokens, vocabulary) become small enough to be cheap.

    TRL's tiles are 4,096 tokens by 32,768 entries, made for a GPU, whose kernel works on one in place. Without that kernel a
    dozen temporary tensors of this size are made for each tile; every one is fresh memory from the system, which costs more
    than the arithmetic. The results are the same up to the order of summation, and to the last bit for a small vocabulary.
    ``ids`` has shape ``(sequences, length)``.
    """
    if ids.device.type != "cpu":
        yield
        return
    utils = trl.trainer.utils
    before = utils._CHUNKED_LOGPROB_CHUNK_SIZE
    utils._CHUNKED_LOGPROB_CHUNK_SIZE = min(before, max(_NARROWEST, _NUMBERS // max(ids.numel(), 1)))
    try:
        yield
    finally:
        utils._CHUNKED_LOGPROB_CHUNK_SIZE = before


def check_trl() -> None:
    """Raise a :class:`UserError` on a release of TRL whose inside is not the one that the head and ORPO's loading change."""
    known = trl.__version__.startswith(f"{_TRL}.") and all(hasattr(trl.trainer.utils, name) for name in _EXCHANGED)
    if not (known and hasattr(trl.trainer.dpo_trainer, "create_model_from_path")):
        raise UserError(
            f"trl {trl.__version__}: training changes the inside of trl {_TRL}, and this is another: "
            f"pip install 'trl=={_TRL}.*'"
        )


def check_head(model: torch.nn.Module, inputs: dict[str, Tensor], exact: bool, temperature: float = 1.0) -> None:
    """Raise a :class:`UserError` where the fused head's log-probabilities are not those of ``model(…).logits / temperature``.

    ``inputs`` are the model's, ``(sequences, length)`` each; the first sequence is compared, up to its 512th token. ``exact``:
    the model is computed in float32, else the logits may be rounded as bfloat16 rounds them. A head that a model type puts
    between hidden states and logits would otherwise be left out of policy and reference alike, without a sign.
    """
    if any(value.shape != inputs["input_ids"].shape for value in inputs.values()):
        return  # images belong to sequences that cannot be cut
    attended = inputs.get("attention_mask", torch.ones_like(inputs["input_ids"]))[0].nonzero().flatten()[:_COMPARED]
    given = {name: value[:1, attended] for name, value in inputs.items()}
    ids, was_training = given["input_ids"], model.training
    if ids.size(1) < 2:
        return
    model.eval()
    with torch.no_grad():
        found = model(**given, labels=ids, fused_lm_head=True, use_cache=False).log_probs[:, 1 - ids.size(1) :].float()
        logits = model(**given, use_cache=False).logits[:, -ids.size(1) : -1].float() / temperature
    model.train(was_training)
    if not logits.isfinite().any():
        return  # which the loss will tell
    expected = logits.log_softmax(-1).gather(-1, ids[:, 1:, None]).squeeze(-1)
    off = (found - expected).square().mean().sqrt().item()
    rounding = 1e-5 if exact else torch.finfo(torch.bfloat16).eps
    if off > rounding * max(1.0, logits[logits.isfinite()].abs().max().item()):
        kind = getattr(getattr(model, "config", None), "model_type", type(model).__name__)
        raise UserError(
            f"model type '{kind}': log-probabilities from the fused LM head are {off:.3g} nats a token off those of the model's"
            " own logits, so training would be wrong: take a model of another type"
        )


class CheckedHeadMixin:
    """A trainer of TRL with its fused head, which is compared with the model's own before the first update."""

    _head_checked = False

    def compute_loss(self, model, inputs, *args, **kwargs):
        if self.model.training and not (self.state.global_step or self._head_checked):
            self._head_checked = True
            if not any(name.startswith(("pixel_values", "image")) for name in inputs):  # images belong to whole sequences
                check_head(self.model, self._texts(inputs), self._is_single_precision(), getattr(self, "temperature", 1.0))
        return super().compute_loss(model, inputs, *args, **kwargs)

    def _texts(self, inputs: dict) -> dict[str, Tensor]:
        """The model's inputs in a batch: SFT's, or GRPO's prompts and completions joined."""
        if "prompt_ids" not in inputs:
            return {name: inputs[name] for name in ("input_ids", "attention_mask") if inputs.get(name) is not None}
        parts = {"input_ids": ("prompt_ids", "completion_ids"), "attention_mask": ("prompt_mask", "completion_mask")}
        return {name: torch.cat([inputs[part] for part in both], dim=1) for name, both in parts.items()}


class ChosenHeadMixin:
    """A trainer of TRL whose loss is made through the fused head of ``args.lm_head``."""

    heads_used: Counter  # calls by head, in this process

    def __init__(self, *args, **kwargs):
        check_trl()
        self.heads_used = Counter()
        super().__init__(*args, **kwargs)
        _check_trained_rows(self.model)

    @contextlib.contextmanager
    def _head(self, ids: Tensor, wanted: tuple[str, ...] = OUTPUTS):
        choice = getattr(self.args, "lm_head", "auto")
        with fitting_tiles(ids), head_of_choice(ids.device, choice, self.heads_used, wanted):
            yield

    def compute_loss(self, model, inputs, *args, **kwargs):
        with self._head(inputs["input_ids"] if "input_ids" in inputs else inputs["completion_ids"]):
            return super().compute_loss(model, inputs, *args, **kwargs)


class PairHeadMixin(ChosenHeadMixin):
    """A :class:`trl.DPOTrainer` whose policy and reference are read through the fused head of ``args.lm_head``."""

    def compute_ref_log_probs(self, model, inputs):
        with self._head(inputs["input_ids"], wanted=("log_probs",)):
            return super().compute_ref_log_probs(model, inputs)


def _check_trained_rows(model) -> None:
    """Raise a :class:`UserError` where single rows of the head are trained: TRL's head reads the weight without them."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    if isinstance(base.get_output_embeddings(), TrainableTokensWrapper):
        raise UserError(
            "trainable_token_indices: rows of the LM head, or of embeddings tied to it, cannot be trained. "
            "Merge them first, end a turn with a token that the base model was trained on, or give modules_to_save=['lm_head']"
        )
