"""The operations that the benchmark of embedding counts."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.embedding import product_rates, throughput, work
from diversity_tuning.embeddings.encoder import minilm_folder


def test_operations_are_those_of_a_forward_pass():
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(minilm_folder()), device="cpu", model_kwargs={"attn_implementation": "eager"})
    texts = ["A door opens.", "the river " * 300]
    tokens, operations = work(model, texts)
    assert tokens == 6 + model.max_seq_length
    measured = 0  # eager attention, because the counter does not know the fused one of a CPU
    for text in texts:  # one at a time, so without padding
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(model.preprocess([text]))
        measured += counter.get_total_flops()
    pooler = 2 * 2 * 384 * 384  # one token of each text, which the pooling does not use
    assert operations == pytest.approx(measured - pooler, rel=1e-6)


def test_throughput():
    cost = {"tokens": 500, "operations": 4e9, "dtype": torch.float32}
    found = throughput(cost, seconds=2.0, texts=10, rate=8e9)
    assert found["texts/s"] == 5
    assert found["tokens/s"] == 250
    assert found["encoder GFLOP/s"] == 2
    assert found["share of the matrix product"] == 0.25
    assert min(product_rates("cpu", torch.float32, repeats=1)) > 0
