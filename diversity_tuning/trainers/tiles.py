"""Smaller tiles for TRL's fused LM head on a CPU."""

import contextlib
from collections.abc import Iterator

import trl.trainer.utils
from torch import Tensor

_NUMBERS = 2**21  # of a tile in float32: 8 MiB, which stays near the processor's caches and is reused by the allocator
_NARROWEST = 1536  # vocabulary entries; a vocabulary up to this size always fits one tile


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
