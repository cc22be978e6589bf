"""Examples for the roles: well-received responses to the most similar prompts of a corpus, by exact cosine search."""

import math
import shutil
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from diversity_tuning.data import schema
from diversity_tuning.data.examples import is_desired
from diversity_tuning.embeddings import MINILM, encoder_input, load_encoder
from diversity_tuning.errors import UserError
from diversity_tuning.flags import flag
from diversity_tuning.judging.read import SAMPLES, read_candidates, read_jsonl
from diversity_tuning.ranges import Flags
from diversity_tuning.runs import atomic_folder, is_finished, provenance, write_provenance
from studies.judges.stages import EXAMPLES, FIELDS, RESPONSES, RETRIEVAL, from_other_rows, write_rows

_BLOCK = 256  # queries compared with the whole corpus at a time
AUTO, NGRAMS = "auto", "builtin:ngrams"
_GRAMS = 4096  # of one or two characters, the most frequent
_DIGITS = 6  # of a cosine: what is beyond depends on how the matrices were cut


@dataclass(frozen=True)
class Corpus:
    """The examples there are: n prompts, the responses of each, most popular first, the prompts' unit vectors ``(n, d)``."""

    prompts: list[str]
    responses: list[list[tuple[str, float]]]  # (text, popularity), −∞ where it is not known
    vectors: np.ndarray
    alone: Counter = field(default_factory=Counter)  # response -> prompts that have no other one


def make_corpus(
    prompts: list[str], responses: list[str], popularity: list[float] | None, encode: Callable[[list[str]], np.ndarray]
) -> Corpus:
    """A corpus from n rows, in any order; ``encode`` gives unit vectors."""
    if not prompts:
        raise UserError("the corpus has no rows: give prompts with well-received responses, or leave --corpus out")
    there: dict[str, dict[str, float]] = {}
    for prompt, response, value in zip(prompts, responses, popularity or [-np.inf] * len(prompts), strict=True):
        texts = there.setdefault(prompt, {})
        texts[response] = max(value, texts.get(response, -np.inf))
    names = sorted(there)
    ranked = [sorted(there[name].items(), key=lambda one: (-one[1], one[0])) for name in names]
    alone = Counter(key for texts in ranked if len(keys := {_key(text) for text, _ in texts}) == 1 for key in keys)
    return Corpus(names, ranked, np.asarray(encode(names), dtype=np.float32), alone)


def retrieve(
    prompts: list[str], responses: list[str], corpus: Corpus, encode: Callable[[list[str]], np.ndarray], k_search: int = 10,
    k_final: int = 3,
) -> list[list[dict]]:  # fmt: skip
    """Examples for each of n responses, at most ``k_final``, best first: their text, prompt, similarity and popularity.

    Of the ``k_search`` prompts of the corpus nearest to the response's prompt (cosine, equal ones in the order of their texts)
    each gives its most popular response, and the ``k_final`` most popular of these are taken; without popularity the nearest.
    A response is never its own example, nor is the same text under another prompt, blanks and case aside.
    """
    by_prompt: dict[str, list[int]] = {}
    for row, prompt in enumerate(prompts):
        by_prompt.setdefault(prompt, []).append(row)
    found: list[list[dict]] = [[] for _ in prompts]
    names = list(by_prompt)
    vectors = np.asarray(encode(names), dtype=np.float32)
    for start in range(0, len(names), _BLOCK):
        cosines = np.round(vectors[start : start + _BLOCK] @ corpus.vectors.T, _DIGITS)
        for name, near in zip(names[start : start + _BLOCK], cosines, strict=True):
            rows = by_prompt[name]
            spare = max(corpus.alone[_key(responses[row])] for row in rows)
            order = np.argsort(-near, kind="stable")[: k_search + spare].tolist()
            for row in rows:
                found[row] = _examples(responses[row], order, near, corpus, k_search, k_final)
    return found


def _examples(response: str, order: list[int], cosines: np.ndarray, corpus: Corpus, k_search: int, k_final: int) -> list[dict]:
    own, best = _key(response), []
    for row in order:
        other = next((one for one in corpus.responses[row] if _key(one[0]) != own), None)
        if other is not None:
            best.append((row, *other))
        if len(best) == k_search:
            break
    best = sorted(best, key=lambda one: -one[2])[:k_final]  # stable: of equally popular ones the nearest
    return [
        {
            "prompt": corpus.prompts[row], "response": text, "similarity": round(float(cosines[row]), _DIGITS),
            "popularity": value if np.isfinite(value) else None,
        }
        for row, text, value in best
    ]  # fmt: skip


def _key(text: str) -> str:
    """What makes two responses the same text."""
    return " ".join(text.split()).casefold()


@dataclass(frozen=True)
class RetrievalConfig(Flags):
    """Candidates, the corpus, and how many examples a response gets. Without a corpus it gets none."""

    source: str = flag("candidates: rows of prompt and response, or a run of scripts_eval.sample")
    output: str = flag("output folder")
    split: str = flag("split of the candidates", default="train")
    corpus: str | None = flag("well-received responses: rows of prompt and response; without it no examples", default=None)
    corpus_split: str = flag("split of it", default="train")
    popularity_column: str | None = flag("numeric column of the corpus, such as clicks or votes", default=None)
    k_search: int = flag("nearest prompts of the corpus, by cosine", default=10, least=1)
    k_final: int = flag("of these the most popular, which are the examples", default=3, least=1)
    encoder: str = flag(
        "of the prompts: id, folder, builtin:minilm, or builtin:ngrams, TF-IDF of one and two characters in the corpus's"
        " prompts; auto: minilm where most letters are Latin, else ngrams",
        default=AUTO,
    )
    embedding_cache: str | None = flag("folder that keeps embeddings between runs", default=None)
    device: str | None = flag("of the encoder: auto, cpu, cuda:0, or several: cuda:0,cuda:1", default="auto")
    batch_size: int = flag("texts embedded at once", default=32, least=1)
    trust_remote_code: bool = flag("run code that comes with the encoder", default=False)
    overwrite: bool = flag("redo what is there", default=False)
    update: bool = False  # replace an output of other candidates with the same settings

    def __post_init__(self):
        super().__post_init__()
        if self.k_final > self.k_search:
            raise UserError(f"--k_final {self.k_final}: at most --k_search {self.k_search} examples can be found")
        if self.popularity_column and not self.corpus:
            raise UserError("--popularity_column is a column of the --corpus, which is missing")


def run_retrieval(config: RetrievalConfig) -> list[dict]:
    """Write ``responses.jsonl`` into ``config.output``: the candidates with ``examples``; returns its rows."""
    record = provenance(RETRIEVAL, *_settings(config))
    update = config.update and from_other_rows(config.output, record)
    if is_finished(config.output, record, config.overwrite or update):
        return read_jsonl(Path(config.output) / RESPONSES)
    rows = read_candidates(config.source, config.split)
    taken = next((name for name in FIELDS if any(name in row for row in rows)), None)
    if taken:
        raise UserError(f"{config.source}: the column '{taken}' is one that these stages add; rename it")
    with atomic_folder(config.output) as folder:
        found = _examples_of_corpus(config, rows, folder) if config.corpus else [[] for _ in rows]
        rows = [{**row, EXAMPLES: examples} for row, examples in zip(rows, found, strict=True)]
        write_rows(folder / RESPONSES, rows)
        write_provenance(folder, record, rows=len(rows), prompts=len({row["prompt"] for row in rows}))
    some = sum(bool(examples) for examples in found)
    what = f"{some} with examples of {config.corpus}" if config.corpus else "without examples (no --corpus)"
    print(f"{config.output}: {len(rows)} responses to {len({row['prompt'] for row in rows})} prompts, {what}", flush=True)
    return rows


def _settings(config: RetrievalConfig) -> tuple[dict, dict]:
    """What decides the output: settings and inputs."""
    samples = Path(config.source) / SAMPLES
    inputs = {"source": samples if samples.is_file() else config.source}
    if not config.corpus:
        return {"split": config.split}, inputs
    names = ("split", "corpus_split", "popularity_column", "k_search", "k_final")
    inputs |= {"corpus": config.corpus, "encoder": config.encoder}
    if config.encoder not in (AUTO, NGRAMS):
        inputs["encoder"] = encoder_input(config.encoder)
    return {name: getattr(config, name) for name in names}, inputs


def _examples_of_corpus(config: RetrievalConfig, rows: list[dict], folder: Path) -> list[list[dict]]:
    found = read_candidates(config.corpus, config.corpus_split)
    corpus = [row for row in found if is_desired(row.get(schema.LABEL)) is not False]
    if len(corpus) < len(found):
        print(f"{config.corpus}: {len(found) - len(corpus)} of {len(found)} rows have the label false and are no examples")
    column = config.popularity_column
    values = popularity(corpus, column, config.corpus) if column else None
    cache = config.embedding_cache or folder / ".embeddings"
    encode, close = _encoder(config, [row["prompt"] for row in corpus], cache)
    try:
        texts = ([row[name] for row in corpus] for name in ("prompt", "response"))
        ready = make_corpus(*texts, values, encode)
        candidates = ([row[name] for row in rows] for name in ("prompt", "response"))
        return retrieve(*candidates, ready, encode, config.k_search, config.k_final)
    finally:
        close()
        if not config.embedding_cache:
            shutil.rmtree(cache, ignore_errors=True)


def _encoder(config: RetrievalConfig, prompts: list[str], cache: str | Path) -> tuple[Callable, Callable]:
    """What turns prompts into unit vectors, and what ends it. ``prompts``: those of the corpus."""
    name = chosen_encoder(prompts) if config.encoder == AUTO else config.encoder
    if name == NGRAMS:
        if config.encoder == AUTO:
            print(f"{config.corpus}: most letters are not Latin, so prompts are compared by {NGRAMS} (--encoder NAME: another)")
        return ngram_encoder(prompts), lambda: None
    encoder = load_encoder(name, config.device, config.batch_size, config.trust_remote_code, cache)
    return encoder.encode, encoder.close


def chosen_encoder(prompts: list[str]) -> str:
    """``builtin:minilm`` where most letters of the prompts are Latin, which it was trained on; else ``builtin:ngrams``."""
    letters = [letter for prompt in prompts[:2000] for letter in prompt if letter.isalpha()]
    latin = sum(letter.isascii() or unicodedata.name(letter, "").startswith("LATIN") for letter in letters)
    return MINILM if 2 * latin >= len(letters) else NGRAMS


def ngram_encoder(prompts: list[str]) -> Callable[[list[str]], np.ndarray]:
    """Texts to unit vectors ``(n, d)``: TF-IDF of one and two characters that ``prompts`` have; a text without any is 0."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    known = TfidfVectorizer(analyzer="char", ngram_range=(1, 2), sublinear_tf=True, max_features=_GRAMS, dtype=np.float32)
    known.fit(sorted(set(prompts)) or ["-"])
    return lambda texts: known.transform(texts).toarray()


def popularity(rows: list[dict], column: str, where: str) -> list[float]:
    """The numbers in a column; −∞ where there is none."""
    if not any(column in row for row in rows):
        names = sorted({name for row in rows for name in row})
        raise UserError(f"{where}: no column '{column}' (--popularity_column); it has {', '.join(names)}")
    values = []
    for number, row in enumerate(rows, start=1):
        value = row.get(column)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise UserError(f"{where}: row {number}, column '{column}': expected a number, found {value!r}")
        values.append(-math.inf if value is None or math.isnan(value) else float(value))
    return values
