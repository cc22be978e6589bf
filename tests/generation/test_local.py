"""Sampling: the same sample in any batch, from the right distribution, with generate's own rules."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, kstest
from transformers.generation import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from diversity_tuning.errors import UserError
from diversity_tuning.generation.local import LocalEngine, RepetitionPenalty, SeededDraw, gumbel, row_key
from diversity_tuning.generation.requests import Failure, Sample, SamplingSettings, user_request
from tests.tiny import make_model, make_tokenizer

PROMPTS = ["a door", "the cat sat under the moon", "run", "rain, and a much longer prompt than the others have"]
REQUESTS = [user_request(prompt, sample) for prompt in PROMPTS for sample in range(3)]


@pytest.fixture(scope="module")
def policy():
    tokenizer = make_tokenizer()
    return make_model(tokenizer).eval(), tokenizer


def sample(policy, requests=REQUESTS, batch_size=64, seed=0, **settings):
    settings = SamplingSettings(**{"max_new_tokens": 12, **settings})
    engine = LocalEngine("", batch_size=batch_size)
    engine.policy = policy
    batches = list(engine.complete(requests, settings, seed))
    return [found for _, found in sorted((pair for batch in batches for pair in batch), key=lambda pair: pair[0])]


def test_same_samples_in_any_batch(policy):
    whole = sample(policy)
    assert sample(policy, batch_size=1) == whole
    assert sample(policy, batch_size=5) == whole
    assert sample(policy, REQUESTS[::-1], batch_size=4) == whole[::-1]
    assert sample(policy, REQUESTS[4:7]) == whole[4:7]


def test_a_prompt_is_read_once_and_what_has_ended_is_not_continued(policy, monkeypatch):
    requests, settings = [user_request(PROMPTS[-1], number) for number in range(16)], {"max_new_tokens": 60, "temperature": 3.0}
    settings |= {"top_k": 0, "top_p": 1.0, "repetition_penalty": 1.0}
    monkeypatch.setattr(policy[0].generation_config, "eos_token_id", list(range(100, 115)))  # responses of 15 tokens or so
    alone = sample(policy, requests, batch_size=1, **settings)
    read, forward = [], type(policy[0]).forward

    def counted(model, input_ids=None, **inputs):
        read.append(input_ids.numel())
        return forward(model, input_ids, **inputs)

    monkeypatch.setattr(type(policy[0]), "forward", counted)
    assert sample(policy, requests, **settings) == alone
    tokens, longest = sum(found.tokens + 1 for found in alone), max(found.tokens + 1 for found in alone)
    assert 4 / 3 * tokens < 16 * longest  # else nothing could be saved
    assert sum(read) <= alone[0].tokens_in + 4 / 3 * tokens


def test_seed_prompt_and_number_decide(policy):
    texts = [found.text for found in sample(policy)]
    assert texts != [found.text for found in sample(policy, seed=1)]
    assert len(set(texts)) == len(texts)
    assert len({row_key(s, p, n) for s in (0, 1) for p in PROMPTS for n in range(3)}) == 2 * 4 * 3


def test_finished_and_tokens(policy):
    for found in sample(policy, max_new_tokens=200, temperature=3.0, top_k=0, top_p=1.0):
        assert found.finished == (found.tokens < 200)
        assert "<|" not in found.text
        assert found.text == found.text.strip()


def test_an_empty_response_is_a_sample(policy):
    model, tokenizer = policy
    model.generation_config.eos_token_id = list(range(len(tokenizer)))
    found = sample(policy)[0]
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    assert (found.text, found.finished, found.tokens) == ("", True, 0)


def test_system_prompt_changes_the_samples(policy):
    assert sample(policy, system_prompt="You write.") != sample(policy)


def test_gumbel_noise_is_gumbel_and_independent():
    tokens = np.arange(20_000)[None, :]
    noise = gumbel(np.array([[7], [8]], dtype=np.uint64), 3, tokens)
    assert kstest(noise[0], "gumbel_r").pvalue > 0.01
    later = gumbel(np.array([[7]], dtype=np.uint64), 4, tokens)
    assert abs(np.corrcoef(noise[0], noise[1])[0, 1]) < 0.03
    assert abs(np.corrcoef(noise[0], later[0])[0, 1]) < 0.03


def test_draws_follow_the_warped_distribution():
    logits = torch.tensor([2.0, 1.0, 0.5, 0.0, -1.0, -4.0])
    rows = 20_000
    draw = SeededDraw(0.8, 5, 0.95, [row_key(0, "p", i) for i in range(rows)], start=1)
    scores = draw(torch.zeros((rows, 1), dtype=torch.long), logits.repeat(rows, 1))
    counts = torch.bincount(scores.argmax(dim=-1), minlength=6).numpy()
    warped = TopPLogitsWarper(0.95)(None, TopKLogitsWarper(5)(None, logits[None] / 0.8)).softmax(-1)[0].double().numpy()
    assert (counts[warped == 0] == 0).all()
    assert (warped == 0).sum() == 2
    expected = warped[warped > 0] / warped.sum() * rows
    assert chisquare(counts[warped > 0], expected).pvalue > 0.01


@pytest.mark.parametrize(
    ("top_k", "top_p", "min_p"),
    [(0, 1.0, 0), (50, 0.95, 0), (3, 1.0, 0), (0, 0.3, 0), (1000, 0.9, 0), (0, 1.0, 0.1), (50, 0.95, 0.3), (0, 1.0, 1.0)],
)
def test_keeps_the_tokens_that_generate_keeps(top_k, top_p, min_p):
    scores = torch.randn((20, 200), generator=torch.Generator().manual_seed(0)) * 3
    theirs = TopKLogitsWarper(top_k)(None, scores) if top_k else scores
    theirs = TopPLogitsWarper(top_p)(None, theirs) if top_p < 1 else theirs
    theirs = MinPLogitsWarper(min_p)(None, theirs) if min_p else theirs
    values, tokens = SeededDraw(1.0, top_k, top_p, [0] * 20, 0, min_p).kept(scores)
    ours = torch.full_like(scores, -torch.inf).scatter(1, tokens, values)
    assert torch.equal(ours, theirs)


def test_min_p_changes_the_samples_when_it_is_on(policy):
    hot = {"temperature": 3.0, "top_k": 0, "top_p": 1.0}
    assert sample(policy, **hot, min_p=0.0) == sample(policy, **hot)
    assert sample(policy, **hot, min_p=0.5) != sample(policy, **hot)
    greedy = sample(policy, **hot, min_p=1.0)  # the most probable token alone is left
    assert greedy == sample(policy, **hot, min_p=1.0, seed=1)


def test_repetition_penalty_is_generates_own_and_blind_to_padding():
    scores = torch.randn((1, 10), generator=torch.Generator().manual_seed(0))
    ids, mask = torch.tensor([[4, 5, 5, 6]]), torch.tensor([[1, 1, 1]])
    theirs = RepetitionPenaltyLogitsProcessor(1.3)(ids, scores.clone())
    assert torch.equal(RepetitionPenalty(1.3, mask)(ids, scores.clone()), theirs)
    padded, mask = torch.tensor([[9, 9, 4, 5, 5, 6]]), torch.tensor([[0, 0, 1, 1, 1]])
    assert torch.equal(RepetitionPenalty(1.3, mask)(padded, scores.clone()), theirs)


def test_bad_settings_and_too_long_a_prompt_are_told(policy):
    for wrong in ({"temperature": 0}, {"temperature": math.nan}, {"temperature": math.inf}, {"repetition_penalty": math.nan}):
        with pytest.raises(UserError, match="temperature"):
            SamplingSettings(**wrong)
    with pytest.raises(UserError, match=r"--min_p 1.5: must be between 0"):
        SamplingSettings(min_p=1.5)
    with pytest.raises(UserError, match="give at most --max_new_tokens"):
        sample(policy, max_new_tokens=2048)


def test_a_prompt_that_does_not_fit_is_a_failure_and_the_others_are_sampled(policy):
    found = sample(policy, [user_request("a cat " * 500), user_request("a door")], max_new_tokens=5)
    assert isinstance(found[0], Failure)
    assert "room is for 2043" in found[0].error
    assert isinstance(found[1], Sample)
