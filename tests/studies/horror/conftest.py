"""A tokenizer and an untrained base model for horror prompts, and stories written by hand."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

from studies.horror.base_model import LAYERS, new_model
from studies.horror.specification import draw_specification
from studies.horror.stories import write_story
from studies.miniature.tokenizer import train_tokenizer

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def written():
    """(specification, story) of 40 synthetic good stories."""
    rng = np.random.default_rng(0)
    return [(spec, write_story(rng, spec)) for spec in (draw_specification(rng) for _ in range(40))]


@pytest.fixture(scope="session")
def tokenizer(written):
    return train_tokenizer([text for spec, story in written for text in (spec.to_prompt(), story)], 700)


@pytest.fixture(scope="session")
def base(tokenizer, tmp_path_factory):
    """Folder of an untrained base model with that tokenizer."""
    folder = tmp_path_factory.mktemp("horror") / "base"
    new_model(tokenizer, argparse.Namespace(seed=0, hidden_size=32, layers=LAYERS, num_heads=4)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def fixture_rows():
    """The hand-written stories with their labels."""
    return [json.loads(line) for line in (HERE / "stories.jsonl").read_text(encoding="utf-8").splitlines()]
