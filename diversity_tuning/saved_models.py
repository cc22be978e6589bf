"""What is saved is what was trained: logits of a few texts, before saving and of the folder when it is read again."""

from collections.abc import Callable
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from diversity_tuning.errors import UserError

TEXTS = ("The cat sat on 2 mats.", "Écrivez un conte court: 雪が降る…", 'def f(x):\n    return {"a": x ** 2}')
_EXACT = 1e-4  # of the logits' spread, in float32: other orders of summation
_UNITS = 16  # of the last place, in half precision: a merge in 30 layers, rounded once more, is off by about 5


@torch.no_grad()
def logits_of_texts(model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase) -> list[torch.Tensor]:
    """The model's outputs for :data:`TEXTS` as turns of a user: float32 on the CPU, of each text (tokens, vocabulary) or (1,).

    A language model's logits have the mean 0 at each token: a constant changes no probability.
    """
    was_training, found = model.training, []
    model.eval()
    for text in TEXTS:
        if tokenizer.chat_template is not None:
            text = tokenizer.apply_chat_template([{"role": "user", "content": text}], tokenize=False)
        ids = tokenizer(text, add_special_tokens=tokenizer.chat_template is None, return_tensors="pt")["input_ids"]
        logits = model(input_ids=ids.to(model.device), use_cache=False).logits[0].float().cpu()
        found.append(logits - logits.mean(-1, keepdim=True) if logits.dim() > 1 else logits)
    model.train(was_training)
    return found


def check_same_logits(where: str, expected: list[torch.Tensor], found: list[torch.Tensor], dtype: torch.dtype) -> None:
    """Raise a :class:`UserError` where the outputs of what was saved are off by more than rounding in ``dtype``.

    Both are of :func:`logits_of_texts`. ``dtype``: the coarsest one that either was computed or saved in.
    """
    if [one.shape for one in expected] != [one.shape for one in found]:
        raise UserError(f"{where}: read again, the model has outputs of another shape; nothing is published")
    wanted, got = (torch.cat([one.flatten() for one in logits]) for logits in (expected, found))
    spread = wanted.square().mean().sqrt().item()
    exact = dtype == torch.float32 and torch.get_float32_matmul_precision() == "highest"
    spread = spread if expected[0].dim() > 1 else max(spread, 0.1 if exact else 1.0)  # a reward may be near 0
    eps = torch.finfo(torch.bfloat16 if dtype == torch.float32 else dtype).eps
    off = (wanted - got).square().mean().sqrt().item()
    if not off <= spread * (_EXACT if exact else _UNITS * eps):
        raise UserError(
            f"{where}: read again, its outputs for a few texts are off by {off:.2g} (their spread is {spread:.2g}):"
            " what is saved is not what was trained, so nothing is published"
        )


def coarsest(model: torch.nn.Module) -> torch.dtype:
    """The floating-point type of fewest digits among a model's parameters."""
    kinds = {one.dtype for one in model.parameters() if one.is_floating_point()}
    return max(kinds, key=lambda kind: torch.finfo(kind).eps, default=torch.float32)


def untie(model: torch.nn.Module) -> None:
    """Give every name of a shared parameter a tensor of its own, so that an adapter merged into one leaves the others."""
    seen: set[int] = set()
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False, remove_duplicate=False)):
            if id(parameter) in seen:
                setattr(module, name, torch.nn.Parameter(parameter.detach().clone(), parameter.requires_grad))
            seen.add(id(parameter))


def merge_adapter(model, tokenizer: PreTrainedTokenizerBase, folder: Path, where: str, load: Callable) -> None:
    """Merge an adapter into its base model and save both as a whole model, whose logits are those before, or refuse.

    ``model`` is the base with its adapter. Embeddings and head that share their weights are saved apart where the adapter
    changes one of them only. ``load`` reads the folder again; ``where`` names it in errors. A :class:`UserError` where the
    logits differ.
    """
    expected, was_tied = logits_of_texts(model, tokenizer), model.config.get_text_config().tie_word_embeddings
    untie(model)
    merged = model.merge_and_unload()
    embeddings, head = merged.get_input_embeddings(), merged.get_output_embeddings()
    if head is not None and was_tied:
        equal = torch.equal(embeddings.weight, head.weight)
        for config in (merged.config, merged.config.get_text_config()):
            config.tie_word_embeddings = equal
        if equal:
            head.weight = embeddings.weight
        else:
            merged.all_tied_weights_keys = {}
    merged.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    check_same_logits(where, expected, logits_of_texts(load(), tokenizer), coarsest(merged))
