"""The horror recipe on SmolLM2: keys are known to their commands, no stage asks for a base model of its own."""

import json
import re

import pytest

from tests import test_recipes as shared
from tests.studies.horror.test_recipes import REQUIRED, SCRIPTS

STEMS = [stem for stem in SCRIPTS if stem not in ("tokenizer", "base_model")]


@pytest.mark.parametrize("stem", STEMS)
def test_every_key_is_known_to_its_command(monkeypatch, stem):
    required = REQUIRED[stem].replace(" --model_name_or_path x", "")
    shared.check_keys(monkeypatch, "horror-smollm2", stem, SCRIPTS[stem], required)


def test_weighted_and_plain_differ_by_the_weights_only():
    plain, weighted = shared.recipe("horror-smollm2", "dpo"), shared.recipe("horror-smollm2", "ddpo")
    assert weighted.keys() - plain.keys() == {"weight_column", "weight_normalisation"}
    assert plain.items() <= weighted.items()


def test_no_stage_asks_for_a_base_model_or_tokenizer_of_its_own(capsys):
    from studies.reproduce.__main__ import main

    assert main(["--recipe", "horror-smollm2", "--dry_run"]) == 0
    *lines, _ = capsys.readouterr().out.splitlines()  # the last one is the estimate
    stages = dict(zip((line[5:] for line in lines[1::2]), lines[2::2], strict=True))
    assert not {"tokenizer", "base_model"} & stages.keys()
    assert not [line for line in lines if "seed0/base" in line or "seed0/tokenizer" in line]
    assert "--tokenizer builtin:smollm2" in stages["boundaries"]
    assert "--learning_rate" not in stages["train_dpo-easy"]
    assert "--num_prompts 18" in stages["sample_dpo-hard"]


def test_one_length_everywhere_and_test_prompts_are_the_posters_and_as_many_inside_as_outside():
    from studies.horror.boundary import MAX_LENGTH

    assert {shared.recipe("horror-smollm2", stem)["max_length"] for stem in ("generation", "dpo", "ddpo")} == {MAX_LENGTH}
    sizes = shared.recipe("horror-smollm2", "specifications"), shared.recipe("horror-smollm2", "sample")
    for small in ({}, shared.recipe("horror-smollm2", "quick")):
        made, asked = (one | small.get(stem, {}) for one, stem in zip(sizes, ("specifications", "sample"), strict=True))
        assert made["sft_test"] >= made["held_out"]
        assert asked["num_prompts"] == 2 + 2 * made["held_out"]


def test_a_dry_run_ends_with_an_estimate_that_grows_with_the_size(capsys):
    from studies.reproduce.__main__ import main

    minutes = []
    for size in ("quick", "full"):
        assert main(["--recipe", "horror-smollm2", "--size", size, "--dry_run"]) == 0
        last = capsys.readouterr().out.splitlines()[-1]
        minutes.append(int(re.fullmatch(r"# about (\d+) min on \d+ free cores \((\d+) core-minutes; longest: .*\)", last)[2]))
    assert minutes[0] <= 60
    assert minutes[1] > 3 * minutes[0]


def test_boundaries_open_the_builtin_model_and_name_a_tokenizer_that_is_not_there(tmp_path, capsys):
    from studies.horror import boundaries, specifications

    sizes = "--pretraining 1 --sft_train 2 --sft_validation 1 --sft_test 1 --preference_train 5 --preference_validation 1"
    data = str(tmp_path / "data")
    assert specifications.main(["--output", data, *f"{sizes} --preference_test 1 --pairs 1 --held_out 1".split()]) == 0
    flags = ["--data", data, "--output", str(tmp_path / "boundaries.json"), "--tokenizer"]
    assert boundaries.main([*flags, "builtin:smollm2"]) == 0
    found = json.loads((tmp_path / "boundaries.json").read_text(encoding="utf-8"))
    assert found["sft/train"]["cut"] == 0
    assert found["sft/test"]["examples"] == 1  # the held-out ones have no story
    with pytest.raises(SystemExit) as caught:
        boundaries.main([*flags, str(tmp_path / "nowhere")])
    assert caught.value.code == 2
    assert "nowhere: cannot be loaded" in capsys.readouterr().err
