"""`generate` for a batch of rows in which nothing is computed twice or in vain."""

from collections.abc import Callable

import torch
from peft import PeftModel
from transformers import DynamicCache, GenerationConfig, LogitsProcessorList, StoppingCriteriaList

from diversity_tuning.generation.cache import block_cache
from diversity_tuning.policy import stop_ids

_ENDED = 0.25  # part of a batch: leaving it costs a copy of the others' keys and values


@torch.inference_mode()
def sample_rows(
    model,
    tokenizer,
    prompts: list[list[int]],
    new_tokens: int,
    processors: Callable[[torch.Tensor, list[int]], LogitsProcessorList],
) -> list[list[int]]:
    """New tokens of every row, longest prompt first; those after a stop token are undefined.

    ``processors``: makes those of the logits from the mask of the prompts and the numbers of the rows that are left.
    A prompt that several rows have is read once, and rows that have ended leave the batch whenever they are a part
    ``_ENDED`` of it. A cache that rows cannot leave (:func:`.block_cache`) is used by all rows to the end.
    """
    ids, mask = left_padded(prompts, tokenizer.pad_token_id, model.device)
    width, end = ids.shape[1], ids.shape[1] + new_tokens
    stops = torch.tensor(stop_ids(model.generation_config, tokenizer), device=ids.device, dtype=ids.dtype)

    def ended(ids: torch.Tensor) -> torch.Tensor:
        return torch.isin(ids[:, width:], stops).any(dim=1)

    def enough_ended(ids: torch.Tensor, _scores) -> torch.Tensor:
        return (ended(ids).double().mean() >= _ENDED).expand(len(ids))

    cache = _read_once(model, tokenizer, prompts)
    stopping = None if cache is None else StoppingCriteriaList([enough_ended])
    written: list[list[int]] = [[] for _ in prompts]
    rows = torch.arange(len(prompts), device=ids.device)
    while len(rows):
        options = {
            "logits_processor": processors(mask[:, :width], rows.tolist()),
            "stopping_criteria": stopping,
            "past_key_values": cache,
        }
        ids = generate(model, tokenizer, ids, mask, end - ids.shape[1], **options)
        done = ended(ids) | (ids.shape[1] == end)
        for row, tokens in zip(rows[done].tolist(), ids[done, width:].tolist(), strict=True):
            written[row] = tokens
        going = (~done).nonzero()[:, 0]
        rows, ids = rows[going], ids[going]
        mask = torch.cat([mask[going, :width], torch.ones_like(ids[:, width:])], dim=1)
        if len(rows):
            cache.batch_select_indices(going)
    return written


def _read_once(model, tokenizer, prompts: list[list[int]]) -> DynamicCache | None:
    """The :func:`.block_cache` of all rows: empty, or filled up to the last token of the prompts where some are the same."""
    cache, distinct = block_cache(model), {prompt: row for row, prompt in enumerate(dict.fromkeys(map(tuple, prompts)))}
    if cache is not None and len(distinct) < len(prompts) and len(prompts[0]) > 1:
        ids, mask = left_padded(list(distinct), tokenizer.pad_token_id, model.device)
        generate(model, tokenizer, ids, mask, 1, past_key_values=cache)
        cache.crop(-1)  # `generate` begins with a token that is not read yet
        cache.batch_select_indices(torch.tensor([distinct[tuple(prompt)] for prompt in prompts], device=model.device))
    return cache


def left_padded(prompts: list, pad: int, device, padding: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and mask ``(rows, width)``. ``padding``: columns more than the longest needs."""
    width = max(map(len, prompts)) + padding
    ids = torch.full((len(prompts), width), pad)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):  # on the left, so that every response begins at the same column
        ids[row, width - len(prompt) :] = torch.tensor(prompt)
        mask[row, width - len(prompt) :] = 1
    return ids.to(device), mask.to(device)


@torch.inference_mode()
def generate(model, tokenizer, ids: torch.Tensor, mask: torch.Tensor, new_tokens: int, settings: dict | None = None, **inputs):
    """`generate` with these ``settings`` and nothing of the model's own generation_config, as vLLM is started.

    ``inputs``: others of `generate`, such as ``past_key_values`` that hold the first columns.
    """
    config = GenerationConfig(
        max_new_tokens=new_tokens,
        do_sample=False,  # the noise is in the scores; what is left is argmax
        eos_token_id=stop_ids(model.generation_config, tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        disable_compile=True,  # batches differ in shape
        **(settings or {}),
    )
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    own, base.generation_config = base.generation_config, GenerationConfig()  # it would fill in what is not given
    if base is not model:
        model.generation_config = base.generation_config
    try:
        return model.generate(input_ids=ids, attention_mask=mask, generation_config=config, **inputs)
    finally:
        base.generation_config = own
        if base is not model:
            model.generation_config = own
