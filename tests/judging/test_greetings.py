"""The greetings' clean part, characters and n-gram baseline, on rows made up here in the form of the released files."""

import json

import datasets
import pytest

from benchmarks import greetings
from diversity_tuning.reward_model import reward_text
from scripts_reward_modeling import pairwise_reward_model_train as reward_pairs
from tests.training_runs import losses, train

OCCASIONS = "春夏秋冬山水风月"


def pair(prompt, chosen, rejected):
    return {
        "conversations": [{"from": "human", "value": prompt}],
        "chosen": {"from": "gpt", "value": chosen},
        "rejected": {"from": "gpt", "value": rejected},
    }


TRAIN = [pair(f"{o}{n}", f"{o}好甲{n}", f"坏乙{n}") for n in range(5) for o in OCCASIONS]
HELD_OUT = [pair("春0", "新好甲", "新坏乙"), pair("别的", "夏好甲1", "坏乙9"), pair("另外", "好甲好", "坏乙坏")]
LABELS = [{"query": f"问{n}", "response": f"好甲{n}" if n % 2 else f"坏{n}乙", "label": n % 2} for n in range(20, 40)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The released forms as files, and what `prepare` makes of them."""
    root = tmp_path_factory.mktemp("greetings")
    cache, datasets.config.HF_DATASETS_CACHE = datasets.config.HF_DATASETS_CACHE, root / "cache"
    for name, rows in (("train", TRAIN), ("test", HELD_OUT)):
        (root / f"{name}.json").write_text(json.dumps(rows, indent=2, ensure_ascii=False), encoding="utf-8")
    (root / "labels.json").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in LABELS), encoding="utf-8")
    flags = ["--train", root / "train.json", "--held_out", root / "test.json", root / "labels.json", "--hidden_size", "16"]
    assert greetings.main(["prepare", *map(str, flags), "--output", str(root / "data")]) == 0
    yield root
    datasets.config.HF_DATASETS_CACHE = cache


def test_the_clean_part_shares_no_prompt_and_no_text(made):
    rows = [json.loads(line) for line in (made / "data" / "pairs_clean.jsonl").read_text(encoding="utf-8").splitlines()]
    left = [row for row in TRAIN if row["conversations"][0]["value"] != "春0" and row["chosen"]["value"] != "夏好甲1"]
    assert [row["chosen"] for row in rows] == [row["chosen"]["value"] for row in left]
    leak = json.loads((made / "data" / "leak.json").read_text())
    assert (leak["train_pairs"], leak["clean_pairs"]) == (40, 38)
    assert leak["test.json"] == {
        "rows": 6, "rows_with_a_training_prompt": 2, "good": 3, "good_that_are_a_chosen_training_response": 1,
        "bad": 3, "bad_that_are_a_rejected_training_response": 0,
    }  # fmt: skip


def test_every_character_is_a_token_and_none_is_unknown(made):
    tokenizer = greetings.character_tokenizer(["春天", "好"])
    ids = tokenizer(reward_text("春", "好好"))["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids) == ["<prompt>", "春", "</prompt>", "<response>", "好", "好", "</response>"]
    other = tokenizer("天😀")["input_ids"]
    assert len(other) == 1 + 4
    assert tokenizer.decode(other) == "天😀"


def test_the_base_is_one_that_the_reward_trainer_takes(made, tmp_path):
    source, flags = str(made / "data" / "pairs_clean.jsonl"), ["--mismatched_prompts", "1", "--max_steps", "2"]
    (tmp_path / "base").symlink_to(made / "data" / "base")
    assert train(reward_pairs, tmp_path, "reward", source, flags) == 0
    assert len(losses(tmp_path / "reward")) == 2


def test_n_grams_tell_good_from_bad_and_do_not_read_the_prompt(made, tmp_path):
    places = ["--source", made / "data" / "pairs_clean.jsonl", "--labels", made / "labels.json", "--output", tmp_path / "out"]
    assert greetings.main(["ngrams", *map(str, places)]) == 0
    result = json.loads((tmp_path / "out" / "agreement.json").read_text())
    assert result["auc"]["value"] == 1.0
    assert result["responses"] == 20
    assert abs(result["own_vs_other"]["value"] - 0.5) <= 0.3
