"""A key-value cache that grows without being copied at every step.

The dynamic cache of transformers concatenates, so each step copies all that came before; its static cache is attended to at its
full length from the first step on. Here memory comes in blocks: a step writes its own column and attends to those written.
"""

import inspect

import torch
from peft import PeftModel
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

BLOCK = 128  # columns: what is copied is copied once in so many steps


class BlockLayer(DynamicLayer):
    """Keys and values ``(rows, heads, columns, size)`` as the written part of buffers that grow by whole blocks.

    For sampling and greedy search; beam search, which reorders rows, needs the parent class.
    """

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        super().lazy_initialization(key_states, value_states)
        self.keys, self.values = key_states[:, :, :0], value_states[:, :, :0]
        self.room = (self.keys, self.values)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args, **kwargs
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """All keys and values, the new ones last."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        begin = self.keys.shape[-2]
        end = begin + key_states.shape[-2]
        if end > self.room[0].shape[-2]:
            self.room = tuple(_larger(part, end) for part in (self.keys, self.values))
        for buffer, states in zip(self.room, (key_states, value_states), strict=True):
            buffer[:, :, begin:end] = states
        self.keys, self.values = (buffer[:, :, :end] for buffer in self.room)
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep these rows, in this order; a row may come several times."""
        if self.is_initialized:
            written = self.keys.shape[-2]
            self.room = tuple(buffer[indices] for buffer in self.room)
            self.keys, self.values = (buffer[:, :, :written] for buffer in self.room)

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        raise NotImplementedError("BlockLayer is for sampling and greedy search")


def _larger(part: torch.Tensor, columns: int) -> torch.Tensor:
    """A buffer of at least ``columns``, in whole blocks, that begins with ``part``."""
    rows, heads, written, size = part.shape
    buffer = part.new_empty((rows, heads, -(-columns // BLOCK) * BLOCK, size))
    buffer[:, :, :written] = part
    return buffer


def block_cache(model: PreTrainedModel) -> DynamicCache | None:
    """An empty cache for ``model.generate``; None, its own choice, for a model with sliding windows or layers like Mamba's.

    None, too, for a model that takes no keys and values: one that reads all text at each step, or keeps another state.
    """
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    if "past_key_values" not in inspect.signature(base.base_model.forward).parameters:
        return None
    cache = DynamicCache(config=model.config)
    if not cache.layers or any(type(layer) is not DynamicLayer for layer in cache.layers):
        return None
    cache.layers = [BlockLayer() for _ in cache.layers]
    return cache
