"""Two made-up contests whose votes follow from the words, and an encoder that needs no model."""

import gzip
import json

import numpy as np
import pytest

SUBJECTS = [
    f"{adjective} {noun}" for adjective in "big small red old odd shy mad sad wet dry".split() for noun in "fox hen ant".split()
]
VERBS = ("sings", "sleeps", "votes")
ANIMALS = ("dog", "cat")  # what a contest's voters like


class Letters:
    """Texts to unit vectors of letter counts."""

    dimension = 26

    def encode(self, texts):
        vectors = np.array([[text.lower().count(chr(97 + i)) for i in range(26)] for text in texts], dtype=np.float32)
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1)


def captions(contest):
    """90 captions and their votes: 20 where the contest's animal is named, else 2, and 0 where the other one is."""
    rows = []
    for i, (subject, verb) in enumerate((subject, verb) for subject in SUBJECTS for verb in VERBS):
        animal = (*ANIMALS, "owl")[i % 3 if verb != "votes" else (i // 3) % 3]
        votes = 20 if animal == ANIMALS[contest] else 0 if animal in ANIMALS else 2
        rows.append((f"{('The', 'Our')[contest]} {subject} {verb} for a {animal}.", votes))
    return rows


@pytest.fixture(scope="session")
def source(tmp_path_factory):
    """A file of both contests in the source schema."""
    path = tmp_path_factory.mktemp("captions") / "contests.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8") as stream:
        for contest, animal in enumerate(ANIMALS):
            texts, votes = zip(*captions(contest), strict=True)
            row = {"post_title": f'[CC] "A {animal} show."', "post_text": "", "post_scores": 1}
            stream.write(json.dumps(row | {"comment_texts": texts, "comment_scores": votes}) + "\n")
    return path


@pytest.fixture
def letters(monkeypatch):
    """Every command loads this encoder."""
    from diversity_tuning import embeddings

    encoder = Letters()
    monkeypatch.setattr(embeddings, "load_encoder", lambda *names, **options: encoder)
    return encoder
