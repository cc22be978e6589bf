"""A data set, a policy, a reward model and an encoder small enough to evaluate in a test."""

from types import SimpleNamespace

import numpy as np
import pytest
from datasets import Dataset, DatasetDict
from transformers import LlamaConfig, LlamaForSequenceClassification

from diversity_tuning import embeddings
from tests.tiny import make_tokenizer, save_base


def diagnose(prompts, responses):
    """A diagnostics module's function: a number and a label, None where there is none."""
    return {
        "craft": [len(response) % 5 for response in responses],
        "voice": [["a", "b", None][len(response) % 3] for response in responses],
    }


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """Folders ``data``, ``base`` and ``reward``. Row 3 + 7 repeats the prompt of row 3; odd rows have one response only."""
    root = tmp_path_factory.mktemp("world")
    save_base(root / "base")
    config = LlamaConfig.from_pretrained(root / "base", num_labels=1)
    LlamaForSequenceClassification(config).save_pretrained(root / "reward")
    make_tokenizer().save_pretrained(root / "reward")
    rows = [row(3 if i == 10 else i) for i in range(12)]
    DatasetDict({"train": Dataset.from_list(rows), "test": Dataset.from_list(rows)}).save_to_disk(root / "data")
    return root


def row(i: int) -> dict:
    """One row of stage 1's output."""
    texts = [f"story {j} of {i}" for j in range(1 if i % 2 else 5)]
    votes = [0.1 * j for j in range(len(texts))]
    return {
        "post_title": f"title {i}",
        "post_text": "",
        "comment_texts": [*texts, "[removed]"],
        "transformed_score": [*votes, -1.0],
        "filtered_comment_texts": texts,
        "filtered_transformed_scores": votes,
    }


@pytest.fixture(autouse=True)
def letters_encoder(monkeypatch):
    """Embed a text as the counts of its bytes."""

    def encode(texts):
        counts = [np.bincount(np.frombuffer(f"{text}a".encode(), dtype=np.uint8) % 32, minlength=32) for text in texts]
        vectors = np.array(counts, dtype=np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def truncated(texts):
        return np.array([len(text) > 20 for text in texts])

    encoder = SimpleNamespace(encode=encode, truncated=truncated, close=lambda: None)
    monkeypatch.setattr(embeddings, "load_encoder", lambda *args, **options: encoder)
