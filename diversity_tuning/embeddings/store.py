"""Vectors on disk: a store that survives interruption, keyed by encoder settings and text."""

import hashlib
import json
import os
import uuid
from pathlib import Path

import numpy as np

from diversity_tuning.errors import UserError
from diversity_tuning.runs import write_text

_SAVE_EVERY = 2048  # texts: what a killed run loses at most
_KEY = np.dtype([("key", "S16"), ("truncated", "?")])


def text_key(text: str) -> bytes:
    """A digest of a text, 15 bytes and a mark: numpy's byte strings drop a last zero byte."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:15] + b"."


class EmbeddingStore:
    """Vectors on disk, by encoder settings and text digest; shards are only ever added, each whole or not at all.

    ``FOLDER/<digest of the settings>/`` holds ``settings.json`` and pairs of files ``<name>.npy`` (float32 vectors) and
    ``<name>.keys.npy``. The keys are renamed into place last, so a shard counts only when both are whole. Two runs may add
    to one folder at once: at worst a text is stored twice.
    """

    def __init__(self, folder: str | Path, encoder):
        text = json.dumps(encoder.settings, sort_keys=True, default=str)
        self.encoder = encoder
        self.folder = Path(folder) / hashlib.sha256(text.encode()).hexdigest()[:16]
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / "settings.json").is_file():
            write_text(self.folder / "settings.json", text + "\n")
        self._shards: list[np.ndarray] = []
        self._keys: list[np.ndarray] = []
        for file in sorted(self.folder.glob("*.keys.npy")):
            self._open(file)
        self._index()

    def _open(self, keys_file: Path) -> None:
        vectors_file = keys_file.with_name(keys_file.name.replace(".keys.npy", ".npy"))
        try:
            keys = np.load(keys_file, allow_pickle=False)
            vectors = np.load(vectors_file, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise UserError(f"{keys_file}: damaged shard ({error}); delete it, its texts are then embedded again") from None
        if keys.dtype != _KEY or vectors.shape != (len(keys), self.encoder.dimension):
            raise UserError(f"{keys_file}: does not fit its vectors; delete it, its texts are then embedded again")
        self._shards.append(vectors)
        self._keys.append(keys)

    def _index(self) -> None:
        """Sort all keys once more; ``_place`` maps a sorted key to its row counted over all shards."""
        keys = np.concatenate([shard["key"] for shard in self._keys] or [np.empty(0, "S16")])
        self._sorted, self._place = np.unique(keys, return_index=True)
        self._starts = np.cumsum([0] + [len(shard) for shard in self._keys])

    def _find(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(row counted over all shards, whether it is there), each (n,)."""
        if len(self._sorted) == 0:
            return np.zeros(len(keys), dtype=int), np.zeros(len(keys), dtype=bool)
        at = np.minimum(np.searchsorted(self._sorted, keys), len(self._sorted) - 1)
        return self._place[at], self._sorted[at] == keys

    def add(self, texts: list[str]) -> int:
        """Embed and store the texts that are not there yet; returns how many."""
        known = {text_key(text): text for text in texts}
        keys = np.array(list(known), dtype="S16")
        new = keys[~self._find(keys)[1]] if len(keys) else keys
        for start in range(0, len(new), _SAVE_EVERY):
            part = new[start : start + _SAVE_EVERY]
            self._append(part, [known[bytes(key)] for key in part])
        if len(new):
            self._index()
        return len(new)

    def _append(self, keys: np.ndarray, texts: list[str]) -> None:
        rows = np.zeros(len(keys), dtype=_KEY)
        rows["key"], rows["truncated"] = keys, self.encoder.truncated(texts)
        vectors = self.encoder.encode_distinct(texts)
        name = uuid.uuid4().hex
        _write_array(self.folder / f"{name}.npy", vectors)
        _write_array(self.folder / f"{name}.keys.npy", rows)
        self._open(self.folder / f"{name}.keys.npy")

    def vectors(self, keys: np.ndarray) -> np.ndarray:
        """Stored vectors (n, d) of keys (n,); :class:`KeyError` when one is missing."""
        rows, there = self._find(keys)
        if not there.all():
            raise KeyError(f"{int((~there).sum())} texts are not in the store")
        result = np.empty((len(keys), self.encoder.dimension), dtype=np.float32)
        shards = np.searchsorted(self._starts, rows, side="right") - 1
        for shard in np.unique(shards):
            mine = shards == shard
            result[mine] = self._shards[shard][rows[mine] - self._starts[shard]]
        return result

    def count_truncated(self, keys: np.ndarray) -> int:
        """How many of these distinct keys' texts were longer than the encoder reads."""
        flags = np.concatenate([shard["truncated"] for shard in self._keys] or [np.empty(0, bool)])
        return int(flags[self._find(keys)[0]].sum()) if len(keys) else 0

    def encode(self, texts: list[str]) -> np.ndarray:
        """Vectors (n, d) in the order of ``texts``, embedding what is new."""
        self.add(texts)
        return self.vectors(np.array([text_key(text) for text in texts], dtype="S16"))


def _write_array(path: Path, array: np.ndarray) -> None:
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as stream:
        np.save(stream, array, allow_pickle=False)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(partial, path)
