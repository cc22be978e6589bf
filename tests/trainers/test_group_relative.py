"""GRPOTrainer against TRL's own, in loss and gradient, on completions that are given and not sampled."""

import math

import numpy as np
import pytest
import torch
import trl
from datasets import Dataset
from trl.rewards import accuracy_reward  # noqa: F401  loads TRL's lazy modules once

from diversity_tuning.deviation import response_weights
from diversity_tuning.errors import UserError
from diversity_tuning.trainers import GRPOConfig, GRPOTrainer
from diversity_tuning.trainers.group_relative import opening, text_of
from diversity_tuning.trainers.head_choice import OURS
from tests.tiny import make_tokenizer
from tests.trainers.test_trainers import assert_same, move_policy, policy, settings

TOKENIZER = make_tokenizer()
TEXTS = [
    "the cat sat",
    "the cat sat on",
    "a dog ran",
    "the moon slept",
    "a tree never ran",
    "quietly",
    "loudly the dog",
    "on a mat",
]
REWARDS = dict(zip(TEXTS, [1.0, 2.0, 3.0, 6.0, 0.5, 0.25, 4.0, 4.5], strict=True))
CUT = "under the tree and"  # comes without the end of turn


def rollout(texts):
    """A rollout function that answers with these texts, over and over; all but CUT end."""

    def function(prompts, trainer):
        said = [texts[i % len(texts)] for i in range(len(prompts))]
        ends = [[] if text == CUT else [TOKENIZER.eos_token_id] for text in said]
        ids = [TOKENIZER(text, add_special_tokens=False)["input_ids"] + end for text, end in zip(said, ends, strict=True)]
        heads = [TOKENIZER.apply_chat_template(prompt, add_generation_prompt=True)["input_ids"] for prompt in prompts]
        return {"prompt_ids": heads, "completion_ids": ids, "logprobs": None}

    return function


def reward(prompts, completions, finished):
    assert finished == [text != CUT for text in completions]
    return [REWARDS.get(text, 9.0) for text in completions]


def trl_reward(completions, **_):
    return [REWARDS[text_of(one)] for one in completions]


def equidistant(texts):
    """One axis for each text: all are as far apart, so that δ ≡ 1."""
    return np.eye(len(TEXTS) + 1)[[[*TEXTS, CUT].index(text) for text in texts]]


def positions(texts):
    """Directions in a plane: most near each other, the last text of a group opposite."""
    angles = [0.3 * [*TEXTS, CUT].index(text) ** 1.5 for text in texts]
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def build(trainer_class, config_class, tmp_path, texts=TEXTS, extra=(), **kwargs):
    wanted = {"per_device_train_batch_size": 8, "num_generations": 4, "beta": 0.1, **dict(extra)}
    prompts = [[{"role": "user", "content": text}] for text in ("mat", "tree", "moon", "dog")]
    return trainer_class(
        model=policy(lora=True), args=config_class(**settings(tmp_path, **wanted)), processing_class=make_tokenizer(),
        train_dataset=Dataset.from_dict({"prompt": prompts}), rollout_func=rollout(texts), **kwargs,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")


def batch_of(trainer):
    trainer.model.train()
    torch.manual_seed(7)  # the batch is shuffled
    return trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))


def loss_and_gradient(trainer):
    move_policy(trainer)
    batch = batch_of(trainer)
    trainer.current_gradient_accumulation_steps = 1
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    return loss.item(), {name: p.grad.clone() for name, p in trainer.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("scale", ["group", "batch"])
@pytest.mark.parametrize("deviation", ["none", "reward", "advantage"])
@pytest.mark.parametrize("entropy", [0.0, 0.3])
def test_at_delta_1_it_is_trls_grpo(tmp_path, deviation, scale, entropy):
    if (deviation, scale) == ("none", "batch") or (entropy and (deviation, scale) != ("advantage", "group")):
        pytest.skip("shown by the others")
    extra = {"scale_rewards": scale, "entropy_coef": entropy}
    ours = build(
        GRPOTrainer, GRPOConfig, tmp_path, extra={**extra, "deviation": deviation}, rewards=[reward],
        encoders={"axes": equidistant},
    )  # fmt: skip
    theirs = build(trl.GRPOTrainer, trl.GRPOConfig, tmp_path, extra=extra, reward_funcs=trl_reward)
    assert_same(loss_and_gradient(ours), loss_and_gradient(theirs))
    assert set(ours.heads_used) == (set() if entropy else {OURS})


def test_the_bonus_of_entropy_needs_trls_head(tmp_path):
    for asked in ({"entropy_coef": 0.1}, {"use_adaptive_entropy": True}):
        assert GRPOConfig(**settings(tmp_path, num_generations=4, **asked)).lm_head == "trl"
        with pytest.raises(ValueError, match="has no gradient of the entropy"):
            GRPOConfig(**settings(tmp_path, num_generations=4, lm_head=OURS, **asked))


def test_a_temperature_with_our_head_is_refused_before_anything_is_sampled(tmp_path):
    assert GRPOConfig(**settings(tmp_path, num_generations=4, temperature=0.7)).lm_head == "auto"
    with pytest.raises(ValueError, match=r"knows no temperature but 1, not 0\.7"):
        GRPOConfig(**settings(tmp_path, num_generations=4, temperature=0.7, lm_head=OURS))


def advantages_of(trainer):
    """The advantages by the text of the completion."""
    batch = batch_of(trainer)
    texts = TOKENIZER.batch_decode(batch["completion_ids"], skip_special_tokens=True)
    return dict(zip(texts, batch["advantages"].tolist(), strict=True))


def test_delta_comes_from_the_group_and_from_its_finished_completions(tmp_path):
    """Rewards 1 2 3 and a cut one, which gets 1; δ of the first three from their own vectors alone."""
    texts = [*TEXTS[:3], CUT, *TEXTS[4:]]
    extra = {"deviation": "advantage", "scale_rewards": "none"}
    found = advantages_of(
        trainer := build(GRPOTrainer, GRPOConfig, tmp_path, texts, extra, rewards=[reward], encoders={"plane": positions})
    )
    delta = response_weights(texts[:3], [positions(texts[:3])])
    assert delta.mean() == pytest.approx(1)
    plain = np.array([1.0, 2.0, 3.0, 1.0]) - 1.75
    expected = np.where(plain > 0, np.append(delta, 1) * plain, plain)
    assert [found[text] for text in texts[:4]] == pytest.approx(expected.tolist(), abs=1e-6)
    logged = {name: values[-1] for name, values in trainer._metrics["train"].items()}
    assert logged["truncated/share"] == 1 / 8
    assert logged["finished/reward"] == pytest.approx(np.mean([REWARDS[text] for text in texts if text != CUT]))
    assert logged["openings/distinct"] == pytest.approx(6 / 7)  # "the cat sat" and "the cat sat on" begin alike
    assert logged["delta/mean"] == pytest.approx(1)
    assert 0 < logged["diversity/plane"] < 2
    assert list(trainer._logs["advantages"]) == pytest.approx([found[text] for text in texts], abs=1e-6)


def test_trls_own_rule_for_cut_completions_is_refused_and_why(tmp_path):
    """With it the cut completion's 9 stays in the mean: a finished one better than every finished one is punished."""
    texts = [*TEXTS[:3], CUT, *TEXTS[4:]]
    trap = {"mask_truncated_completions": True, "scale_rewards": "none"}

    def with_nine(completions, **_):
        return [REWARDS.get(text_of(one), 9.0) for one in completions]

    stock = advantages_of(build(trl.GRPOTrainer, trl.GRPOConfig, tmp_path, texts, trap, reward_funcs=with_nine))
    assert stock[TEXTS[2]] < 0
    ours = advantages_of(build(GRPOTrainer, GRPOConfig, tmp_path, texts, {"scale_rewards": "none"}, rewards=[reward]))
    assert ours[TEXTS[2]] > 0
    with pytest.raises(ValueError, match="leave it off and set truncated_reward"):
        GRPOConfig(**settings(tmp_path, per_device_train_batch_size=8, **trap))


def test_failed_rewards_leave_their_group_and_two_rewards_are_summed(tmp_path):
    """Weights .5 and 2 of rewards of which the second fails for one text: that text takes no part."""

    def second(prompts, completions, finished):
        return [None if text == TEXTS[3] else math.nan if text == TEXTS[4] else 1.0 for text in completions]

    extra = {"scale_rewards": "none", "reward_weights": [0.5, 2.0]}
    found = advantages_of(build(GRPOTrainer, GRPOConfig, tmp_path, extra=extra, rewards=[reward, second]))
    assert [found[text] for text in TEXTS[:4]] == pytest.approx([-0.5, 0, 0.5, 0])
    assert found[TEXTS[4]] == 0
    assert sum(found[text] for text in TEXTS[5:]) == pytest.approx(0, abs=1e-6)


def test_darling_multiplies_by_the_share_of_other_classes(tmp_path):
    """Threshold 0: only equal vectors are one class. Of 4, two are alike: d is 2/3 2/3 1 1; rewards 1 2 3 6."""
    alike = lambda texts: equidistant([TEXTS[0] if text == TEXTS[1] else text for text in texts])  # noqa: E731
    extra = {"deviation": "darling", "distinct_threshold": "1e-6", "scale_rewards": "none"}
    found = advantages_of(build(GRPOTrainer, GRPOConfig, tmp_path, extra=extra, rewards=[reward], encoders={"x": alike}))
    expected = np.array([2 / 3, 4 / 3, 3, 6])
    assert [found[text] for text in TEXTS[:4]] == pytest.approx((expected - expected.mean()).tolist(), abs=1e-6)


def test_a_deviation_of_texts_needs_no_encoder_and_is_logged(tmp_path):
    """DPWriter by hand: of each group, word sequences that no other one has, per word, from the group's least to its most."""
    extra = {"deviation": "dpwriter", "scale_rewards": "none"}
    trainer = build(GRPOTrainer, GRPOConfig, tmp_path, extra=extra, rewards=[reward])
    found = advantages_of(trainer)
    # the cat sat: none of its own; the cat sat on: 3 of 4 words (sat on, cat sat on, all four); the other two 3 of 3.
    expected = np.array([1, 2, 3, 6]) * (0.4 + 0.6 * np.array([0, 0.75, 1, 1]))
    assert [found[text] for text in TEXTS[:4]] == pytest.approx((expected - expected.mean()).tolist(), abs=1e-6)
    assert trainer._metrics["train"]["delta/mean"][-1] < 1
    assert trainer._metrics["train"]["inverted/share"][-1] == 0


@pytest.mark.parametrize("origin", [None, "minimum"])
def test_negative_rewards_weighed_from_zero_are_told_once(tmp_path, caplog, origin):
    negative = lambda prompts, completions, finished: [-REWARDS[text] for text in completions]  # noqa: E731
    extra = {"deviation": "dpwriter"} | ({"reward_origin": origin} if origin else {})
    trainer = build(GRPOTrainer, GRPOConfig, tmp_path, extra=extra, rewards=[negative])
    for _ in range(2):
        trainer._generate_and_score_completions([{"prompt": [{"role": "user", "content": "mat"}]}] * 8)
    told = [record.getMessage() for record in caplog.records if "negative reward" in record.getMessage()]
    assert len(told) == (origin is None)
    assert all("--reward_origin minimum" in text for text in told)
    assert (trainer._metrics["train" if trainer.model.training else "eval"]["inverted/share"][-1] > 0) == (origin is None)


@pytest.mark.parametrize(
    ("extra", "error", "message"),
    [
        ({"deviation": "reward"}, UserError, "needs --encoders"),
        ({"deviation": "yes"}, ValueError, "deviation must be one of none, reward, advantage, darling"),
        ({"deviation": "darling"}, ValueError, "needs a distinct_threshold"),
        ({"deviation": "rare"}, ValueError, "needs a distinct_threshold"),
        ({"deviation": "dra"}, UserError, "needs --encoders"),
        ({"deviation": "dpwriter", "diversity_share": 1.5}, ValueError, "diversity_share is a part of the reward, 0 to 1"),
        ({"truncated_reward": "low"}, ValueError, "truncated_reward is minimum or a number"),
        ({"reward_origin": "mean"}, ValueError, "reward_origin is minimum or zero"),
        ({"multi_objective_aggregation": "normalize_then_sum"}, ValueError, "leave multi_objective_aggregation"),
    ],
)
def test_what_cannot_be(tmp_path, extra, error, message):
    with pytest.raises(error, match=message):
        build(GRPOTrainer, GRPOConfig, tmp_path, extra=extra, rewards=[reward])


@pytest.mark.parametrize(
    ("deviation", "value"),
    [("none", math.nan), ("reward", math.inf), ("dra", math.nan), ("darling", -math.inf), ("rare", 1e39)],
)
def test_vectors_that_are_not_finite_in_float32_stop_with_the_text_and_the_encoder(tmp_path, deviation, value):
    def broken(texts):
        found = positions(texts)
        found[texts.index("a dog ran"), 1] = value
        return found

    extra = {"deviation": deviation, "distinct_threshold": "0.1"}
    trainer = build(GRPOTrainer, GRPOConfig, tmp_path, extra=extra, rewards=[reward], encoders={"plane": broken})
    with pytest.raises(UserError, match="encoder plane: the vectors of 1 of 8 texts are not finite, the first of 'a dog ran'"):
        batch_of(trainer)


def test_openings():
    assert opening("Once upon A time") == "once upon a"
    assert opening("祝你生日快乐，万事如意") == "祝你生日"
    assert opening("") == ""


def test_rewards_and_encoders_read_no_reasoning_and_what_is_reasoning_alone_counts_as_cut(tmp_path):
    forms = ["<think>plan</think>\n{}", "{}", "[THINK]plan[/THINK]{}", "<think>{}"]
    texts = [forms[i % 4].format(text) for i, text in enumerate(TEXTS)]
    seen = []

    def asked(prompts, completions, finished):
        seen.extend(zip(completions, finished, strict=True))
        return [REWARDS.get(text, 9.0) for text in completions]

    def encode(completions):
        assert completions == [text for text, _ in seen]
        return np.eye(len(completions))

    trainer = build(GRPOTrainer, GRPOConfig, tmp_path, texts, rewards=[asked], encoders={"axes": encode})
    batch_of(trainer)
    expected = [("", False) if i % 4 == 3 else (text, True) for i, text in enumerate(TEXTS)]
    assert seen == expected
    logged = {name: values[-1] for name, values in trainer._metrics["train"].items()}
    assert (logged["thinking/not_closed"], logged["truncated/share"]) == (1 / 4, 1 / 4)
    assert logged["thinking/characters"] == pytest.approx((20 + 0 + 19) / 3, abs=1)
    assert logged["finished/reward"] == pytest.approx(np.mean([REWARDS[text] for text, ended in expected if ended]))
