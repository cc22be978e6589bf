"""Names that people type: what is a path, and what is near."""

import pytest

from diversity_tuning.data.filter import load_tokenizer
from diversity_tuning.embeddings import encoder_input, load_encoder
from diversity_tuning.errors import UserError
from diversity_tuning.names import missing_path, near_path, nearest
from diversity_tuning.policy import load_policy
from diversity_tuning.reward_model import load_reward_model


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with runs/base and runs/reward, as the place to be."""
    for name in ("base", "reward"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_nearest():
    assert nearest("llama", ["mistral-7b-v0.3", "llama-3.1-8b"]) == "; did you mean llama-3.1-8b?"
    assert nearest("Openai", ["local", "openai"]) == "; did you mean openai?"
    assert nearest("zebra", ["local", "openai"]) == nearest("", ["a"]) == ""


def test_what_can_only_be_a_path_and_is_not_there(here):
    assert missing_path("runs/base") is None, "is there"
    assert missing_path("meta-llama/Llama-3.1-8B") is None, "may be a hub id"
    assert missing_path("gpt2") is None
    assert missing_path("runs/bse") == "no such file or folder; did you mean runs/base?"
    assert missing_path("rns/seed0/base") == "no such file or folder; did you mean runs?"
    assert missing_path("./x") == missing_path("/no/where/at-all") == "no such file or folder"
    assert near_path("runs/base") == ""


@pytest.mark.parametrize("name", ["runs/bse", "./nowhere", "runs/seed0/base"])
@pytest.mark.parametrize("load", [load_tokenizer, load_policy, load_reward_model, load_encoder, encoder_input])
def test_a_path_that_is_not_there_is_not_called_a_repo_id(here, load, name):
    with pytest.raises(UserError) as caught:
        (load if load is not load_encoder else encoder_input)(name)
    assert "no such file or folder" in str(caught.value)
    assert "epo id" not in str(caught.value)
    assert "did you mean runs/base?" in str(caught.value) or name != "runs/bse"


def test_encoders_that_there_are_not(here):
    for name in ("builtin:minlm", "builtin:MiniLM"):
        with pytest.raises(UserError, match="did you mean builtin:minilm"):
            encoder_input(name)
    with pytest.raises(UserError, match="no such file or folder; did you mean runs/base"):
        encoder_input("builtin:stylometry:runs/bae")
    assert encoder_input("builtin:minilm") == "builtin:minilm"


def test_an_encoder_of_the_hub_offline_names_those_that_need_no_network(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="without network take builtin:minilm for meaning, builtin:stylometry:FOLDER for style"):
        load_encoder("jinaai/no-such-encoder", "cpu")
