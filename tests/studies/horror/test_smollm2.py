"""The horror recipe on SmolLM2: keys are known to their commands, no stage asks for a base model of its own."""

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
    lines = capsys.readouterr().out.splitlines()
    stages = dict(zip((line[5:] for line in lines[1::2]), lines[2::2], strict=True))
    assert not {"tokenizer", "base_model"} & stages.keys()
    assert not [line for line in lines if "seed0/base" in line or "seed0/tokenizer" in line]
    assert "--tokenizer builtin:smollm2" in stages["boundaries"]
    assert "--learning_rate" not in stages["train_dpo-easy"]
    assert "--num_prompts 8" in stages["sample_dpo-hard"]
