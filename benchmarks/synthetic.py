"""Synthetic sources of the published set's shape, put together from the sentences of a given source.

python -m benchmarks.synthetic --texts posts.jsonl.gz --prompts 10000 --output out/posts.jsonl

Shape: 4.67 responses a prompt on average with a power-law tail (hundreds on the largest), 420 words a response on average
(log-normal), votes with a long tail, one prompt in fifty posted again, a few repeated, removed and over-long responses.
Drawn by ``--seed`` and written row by row; nothing of it is kept in the repository.
"""

if not __package__:
    raise SystemExit("error: run it as python -m benchmarks.synthetic")

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from diversity_tuning.cli import Parser, command

RESPONSES, MOST_RESPONSES = 4.67, 600  # a prompt: mean and largest
WORDS, SPREAD, MOST_WORDS = 420, 0.7, 3000  # a response: mean, sigma of the logarithm, largest
REPOSTED, REPEATED, REMOVED = 0.02, 0.003, 0.01
_SENTENCE = re.compile(r"(?<=[.!?])\s+")


def read_rows(path: str | Path) -> Iterator[dict]:
    """The rows of a ``.jsonl`` or ``.jsonl.gz`` file."""
    opener = gzip.open if str(path).endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8") as stream:
        yield from map(json.loads, stream)


def sentences(path: str | Path) -> list[str]:
    """All sentences of a source's responses, each once."""
    found = (part for row in read_rows(path) for text in row["comment_texts"] for part in _SENTENCE.split(text.strip()))
    return [part for part in dict.fromkeys(found) if part]


def response_counts(prompts: int, rng: np.random.Generator) -> np.ndarray:
    """Responses of every prompt, (prompts,): n with probability proportional to n^-a, a such that the mean is RESPONSES.

    Quantiles in random order instead of independent draws, so that data of any size have the same mean and the cost's
    slope over sizes is not a matter of luck.
    """
    sizes = np.arange(1, MOST_RESPONSES + 1)
    low, high = 1.0, 4.0
    for _ in range(60):
        exponent = (low + high) / 2
        weights = sizes**-exponent
        low, high = (exponent, high) if (sizes * weights).sum() / weights.sum() > RESPONSES else (low, exponent)
    places = (np.arange(prompts) + 0.5) / prompts
    return rng.permutation(sizes[np.searchsorted(np.cumsum(weights) / weights.sum(), places)])


def rows(pool: list[str], prompts: int, seed: int) -> Iterator[dict]:
    """The rows of a source, one post each."""
    rng = np.random.default_rng(seed)
    words = np.array([len(sentence.split()) for sentence in pool]).mean()
    previous = None
    for count in response_counts(prompts, rng):
        title = f"[WP] {' '.join(_some(pool, 2, rng))}"
        if previous and rng.random() < REPOSTED:
            title = previous
        previous = title
        lengths = np.minimum(rng.lognormal(np.log(WORDS) - SPREAD**2 / 2, SPREAD, size=count), MOST_WORDS)
        texts = [" ".join(_some(pool, max(1, round(length / words)), rng)) for length in lengths]
        for place in np.flatnonzero(rng.random(count) < REPEATED):
            texts[place] = texts[0]
        for place in np.flatnonzero(rng.random(count) < REMOVED):
            texts[place] = "Sorry, this submission has been removed."
        yield {
            "post_title": title,
            "post_text": "",
            "post_scores": int(rng.integers(1, 9000)),
            "comment_texts": texts,
            "comment_scores": np.floor(rng.lognormal(1.3, 1.6, size=count)).astype(int).tolist(),
        }


def _some(pool: list[str], count: int, rng: np.random.Generator) -> list[str]:
    return [pool[place] for place in rng.integers(len(pool), size=count)]


def write(texts: str | Path, prompts: int, seed: int, output: Path) -> dict:
    """Write a ``.jsonl`` source; returns its figures."""
    pool = sentences(texts)
    responses = words = largest = 0
    with output.open("w", encoding="utf-8") as stream:
        for row in rows(pool, prompts, seed):
            stream.write(json.dumps(row) + "\n")
            responses += len(row["comment_texts"])
            largest = max(largest, len(row["comment_texts"]))
            words += sum(text.count(" ") + 1 for text in row["comment_texts"])
    return {
        "prompts": prompts,
        "responses": responses,
        "largest prompt": largest,
        "words per response": round(words / responses, 1),
        "bytes": output.stat().st_size,
    }


@command
def main(argv=None) -> None:
    parser = Parser("benchmarks.synthetic", __doc__)
    parser.add_argument("--texts", required=True, help="a .jsonl or .jsonl.gz with comment_texts to take sentences from")
    parser.add_argument("--prompts", type=int, required=True, help="how many")
    parser.add_argument("--output", type=Path, required=True, help="file to write: .jsonl or .jsonl.gz")
    parser.add_argument("--seed", type=int, default=0, help="decides the draw")
    args = parser.parse_args(argv)
    print(json.dumps(write(args.texts, args.prompts, args.seed, args.output)))


if __name__ == "__main__":
    main()
