"""The key-value cache in blocks: the same keys, values, logits and samples as that of transformers."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    DynamicCache,
    MistralConfig,
    MistralForCausalLM,
    OpenAIGPTConfig,
    OpenAIGPTLMHeadModel,
    Phi3Config,
    Phi3ForCausalLM,
)
from transformers.cache_utils import DynamicLayer

from diversity_tuning.generation import cache, local, rows
from diversity_tuning.generation.cache import BlockLayer, block_cache
from diversity_tuning.generation.requests import SamplingSettings, user_request
from tests.tiny import make_model, make_tokenizer


@settings(deadline=None)
@given(steps=st.lists(st.integers(1, 300), min_size=1, max_size=6), rows=st.integers(1, 3))
def test_holds_what_was_put_in(steps, rows):
    ours, theirs = BlockLayer(), DynamicLayer()
    for step in steps:
        assert ours.get_mask_sizes(step) == theirs.get_mask_sizes(step)
        states = torch.randn((2, rows, 2, step, 4))
        for mine, reference in zip(ours.update(*states), theirs.update(*states), strict=True):
            assert torch.equal(mine, reference)
        assert ours.get_seq_length() == theirs.get_seq_length()


def test_room_is_whole_blocks_and_is_copied_once_a_block(monkeypatch):
    taken = []
    larger = cache._larger
    monkeypatch.setattr(cache, "_larger", lambda part, columns: taken.append(columns) or larger(part, columns))
    layer = BlockLayer()
    for step in [100, *[1] * 200]:
        layer.update(*torch.zeros((2, 1, 1, step, 4)))
        assert layer.room[0].shape[-2] % cache.BLOCK == 0
    assert taken == [100] * 2 + [129] * 2 + [257] * 2  # keys and values


def test_rows_leave_and_come_several_times():
    layer = BlockLayer()
    layer.batch_select_indices(torch.tensor([0]))  # of an empty one nothing
    states = torch.arange(24.0).reshape(2, 3, 1, 4, 1)
    layer.update(*states)
    layer.batch_select_indices(torch.tensor([2, 0, 2]))
    assert layer.keys.flatten(1).tolist() == [[8, 9, 10, 11], [0, 1, 2, 3], [8, 9, 10, 11]]
    keys, values = layer.update(*torch.full((2, 3, 1, 1, 1), -1.0))
    assert keys[1].flatten().tolist() == [0, 1, 2, 3, -1]
    assert values[2].flatten().tolist() == [20, 21, 22, 23, -1]


def test_emptied_and_used_again():
    layer = BlockLayer()
    layer.update(*torch.zeros((2, 1, 1, 5, 4)))
    layer.reset()
    assert layer.get_seq_length() == 0
    keys, values = layer.update(*torch.ones((2, 3, 1, 7, 4)))
    assert keys.shape == values.shape == (3, 1, 7, 4)
    with pytest.raises(NotImplementedError, match="greedy"):
        layer.reorder_cache(torch.tensor([0]))


@pytest.fixture(scope="module")
def policy():
    tokenizer = make_tokenizer()
    return make_model(tokenizer).eval(), tokenizer


def test_samples_are_those_of_the_cache_of_transformers(policy, monkeypatch):
    requests = [user_request(prompt, sample) for prompt in ("a door", "the cat sat under the moon") for sample in range(3)]

    def samples():
        engine = local.LocalEngine("", batch_size=4)
        engine.policy = policy
        return list(engine.complete(requests, SamplingSettings(max_new_tokens=40), seed=1))

    monkeypatch.setattr(cache, "BLOCK", 8)
    used = []
    monkeypatch.setattr(rows, "block_cache", lambda model: used.append(block_cache(model)) or used[-1])
    blocks = samples()
    assert all(layer.room[0].shape[-2] > 40 for found in used for layer in found.layers)
    monkeypatch.setattr(rows, "block_cache", lambda model: DynamicCache(config=model.config))
    assert samples() == blocks


def test_models_with_other_layers_keep_their_own_cache(policy):
    assert block_cache(policy[0]) is not None
    tiny = {"vocab_size": 32, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    sliding = MistralForCausalLM(MistralConfig(**tiny, num_key_value_heads=2, sliding_window=4))
    assert block_cache(sliding) is None


def _other_kind(kind: str, tokenizer):
    torch.manual_seed(0)
    tiny = {"vocab_size": len(tokenizer), "initializer_range": 0.2, "pad_token_id": tokenizer.pad_token_id}
    if kind == "no cache":
        return OpenAIGPTLMHeadModel(OpenAIGPTConfig(**tiny, n_embd=32, n_layer=2, n_head=4))
    rope = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4, "long_factor": [4.0] * 4}
    tiny |= {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    tiny |= {"num_key_value_heads": 4, "max_position_embeddings": 256, "original_max_position_embeddings": 20}
    return Phi3ForCausalLM(Phi3Config(**tiny, rope_parameters={**rope, "original_max_position_embeddings": 20}))


@pytest.mark.parametrize("kind", ["no cache", "frequencies by length"])
def test_models_of_other_kinds_write_the_same_in_any_batch(policy, kind, capsys):
    tokenizer = policy[1]
    model = _other_kind(kind, tokenizer).eval()
    model.generation_config.eos_token_id = list(range(1, 30))
    prompts = ("a door", "the cat sat under the moon", "x", "once only")
    requests = [user_request(prompt, sample) for prompt in prompts for sample in range(1 + 2 * (prompt != "once only"))]

    def samples(batch_size):
        engine = local.LocalEngine("", batch_size=batch_size)
        engine.policy = model, tokenizer
        found = engine.complete(requests, SamplingSettings(max_new_tokens=14), seed=1)
        return dict(pair for batch in found for pair in batch)

    alone = samples(1)
    assert not capsys.readouterr().out
    assert len({found.tokens for found in alone.values()}) > 1
    assert samples(4) == alone
    assert ("one at a time" in capsys.readouterr().out) == (kind == "frequencies by length")
