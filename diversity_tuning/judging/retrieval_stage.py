"""The first stage of Path A: candidates in, one row per response with its examples out."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from diversity_tuning.embeddings import MINILM, encoder_input, load_encoder
from diversity_tuning.errors import UserError
from diversity_tuning.judging.candidates import RESPONSES, SAMPLES, popularity, read_candidates, read_jsonl
from diversity_tuning.judging.retrieval import make_corpus, retrieve
from diversity_tuning.judging.stages import EXAMPLES, FIELDS, RETRIEVAL, from_other_rows, write_rows
from diversity_tuning.runs import atomic_folder, is_finished, provenance, write_provenance


@dataclass(frozen=True)
class RetrievalConfig:
    """Candidates, the corpus, and how many examples a response gets. Without a corpus it gets none."""

    source: str
    output: str
    split: str = "train"
    corpus: str | None = None
    corpus_split: str = "train"
    popularity_column: str | None = None
    k_search: int = 10
    k_final: int = 3
    encoder: str = MINILM
    embedding_cache: str | None = None
    device: str | None = "auto"
    batch_size: int = 32
    trust_remote_code: bool = False
    overwrite: bool = False
    update: bool = False  # replace an output of other candidates with the same settings

    def __post_init__(self):
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
        found = _examples(config, rows, folder) if config.corpus else [[] for _ in rows]
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
    inputs |= {"corpus": config.corpus, "encoder": encoder_input(config.encoder)}
    return {name: getattr(config, name) for name in names}, inputs


def _examples(config: RetrievalConfig, rows: list[dict], folder: Path) -> list[list[dict]]:
    corpus = read_candidates(config.corpus, config.corpus_split)
    column = config.popularity_column
    values = popularity(corpus, column, config.corpus) if column else None
    cache = config.embedding_cache or folder / ".embeddings"
    encoder = load_encoder(config.encoder, config.device, config.batch_size, config.trust_remote_code, cache)
    try:
        texts = ([row[name] for row in corpus] for name in ("prompt", "response"))
        ready = make_corpus(*texts, values, encoder.encode)
        candidates = ([row[name] for row in rows] for name in ("prompt", "response"))
        return retrieve(*candidates, ready, encoder.encode, config.k_search, config.k_final)
    finally:
        encoder.close()
        if not config.embedding_cache:
            shutil.rmtree(cache, ignore_errors=True)
