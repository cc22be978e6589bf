"""Rewards by name."""

import numpy as np
import pytest

from diversity_tuning.errors import UserError
from diversity_tuning.reward_functions import ModelReward, load_reward, parse_reward
from diversity_tuning.runs import provenance
from diversity_tuning.training.inputs import grpo_inputs


def shouting(prompts, completions, finished):
    return [float(text.isupper()) for text in completions]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("runs/reward", ("runs/reward", 1.0)),
        ("runs/reward=0.7", ("runs/reward", 0.7)),
        ("runs/lr=3e-5=-2", ("runs/lr=3e-5", -2.0)),
        ("runs/seed=a", ("runs/seed=a", 1.0)),
    ],
)
def test_names_and_weights(text, expected):
    assert parse_reward(text) == expected


def test_rules_and_functions():
    assert load_reward("builtin:length")(["p"] * 2, ["ab", ""], [True, False]) == [2.0, 0.0]
    assert load_reward("tests.test_reward_functions:shouting")(["p"] * 2, ["AB", "ab"], [True, True]) == [1.0, 0.0]


def test_a_score_that_is_not_finite_is_no_score():
    class Model:
        def score(self, prompts, completions, batch_size):
            return np.array([0.5, np.nan, np.inf])

    assert ModelReward(Model())(["p"] * 3, ["a"] * 3, [True] * 3) == [0.5, None, None]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("builtin:rhymes", "there is builtin:length"),
        ("./nowhere", "not there; give a reward model's folder"),
        ("judge.yaml", "not there"),
        ("no_such_module:reward", "No module named"),
        ("tests.test_reward_functions:no_such", "no_such"),
        ("tests.test_reward_functions:pytest=1", "not a function"),
        ("builtin:length=inf", "not a finite number"),
    ],
)
def test_what_is_no_reward(name, message):
    with pytest.raises(UserError, match=message):
        load_reward(parse_reward(name)[0])


def test_a_function_that_was_changed_is_another_reward(tmp_path, monkeypatch):
    """Its module counts by its content: a run with the old code is not "already made"."""
    monkeypatch.syspath_prepend(tmp_path)
    records = []
    for code in ("return [1.0 for _ in completions]", "return [2.0 for _ in completions]"):
        (tmp_path / "my_own_reward.py").write_text(f"def mine(prompts, completions, finished):\n    {code}\n")
        kept, inputs = grpo_inputs({"reward": ["my_own_reward:mine=0.5"]})
        records.append(provenance("grpo", kept, inputs))
    assert records[0]["arguments"] == records[1]["arguments"] == {"reward_0": "my_own_reward:mine=0.5"}
    assert records[0]["inputs"] != records[1]["inputs"]


def test_the_record_holds_contents_and_not_places(tmp_path):
    for name in ("reward", "style"):
        (tmp_path / name).mkdir()
    settings = {
        "reward": [f"{tmp_path}/reward=0.5", "builtin:length"], "distinct_threshold": "0.3", "beta": "0.1",
        "encoders": ["builtin:minilm", f"builtin:stylometry:{tmp_path}/style"],
    }  # fmt: skip
    kept, inputs = grpo_inputs(settings)
    assert kept == {
        "reward_0_weight": "0.5", "reward_1": "builtin:length=1", "encoder_0": "builtin:minilm", "distinct_threshold": "0.3",
        "beta": "0.1",
    }  # fmt: skip
    assert inputs == {"reward_0": f"{tmp_path}/reward", "encoder_1": f"{tmp_path}/style"}
    with pytest.raises(UserError, match="--reward is missing"):
        grpo_inputs({"beta": "0.1"})


@pytest.fixture
def zero3():
    """As if a training under DeepSpeed's ZeRO-3 had begun."""
    from transformers.integrations import deepspeed

    class Settings:
        def is_zero3(self):
            return True

    settings = Settings()
    deepspeed.set_hf_deepspeed_config(settings)
    yield deepspeed._hf_deepspeed_config_weak_ref
    deepspeed.unset_hf_deepspeed_config()


def test_models_beside_the_trained_one_are_loaded_whole(zero3, tmp_path, monkeypatch):
    from transformers.integrations import deepspeed

    from diversity_tuning import embeddings, reward_model
    from diversity_tuning.embeddings import encoder

    seen = []

    def load(*arguments, **options):
        seen.append(deepspeed._hf_deepspeed_config_weak_ref)
        raise UserError("enough")

    monkeypatch.setattr(reward_model, "load_reward_model", load)
    monkeypatch.setattr(encoder, "_load_sentence_transformer", load)
    for loading in (lambda: load_reward(str(tmp_path)), lambda: embeddings.load_encoder(embeddings.MINILM)):
        with pytest.raises(UserError, match="enough"):
            loading()
        assert deepspeed._hf_deepspeed_config_weak_ref() is zero3()
    assert seen == [None, None]
