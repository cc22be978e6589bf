"""Generate the synthetic source of the miniature: prompts, stories and votes, with the flaws of real data.

    python -m studies.miniature.world --output runs/world --seed 0 --num_prompts 600 --popularity 1.0
    python -m studies.miniature.world --output runs/tiny --num_prompts 20

``source.jsonl.gz`` has the columns of the real data (see :mod:`diversity_tuning.data.schema`) and goes into stage 0 as
``--source``. ``latent_authors.jsonl.gz`` says what each response was drawn from; it is for diagnosis, no stage reads it.
``--popularity 0`` makes the control: votes that do not favour what is common.
"""

if not __package__:
    raise SystemExit("error: run it as python -m studies.miniature.world")

import dataclasses
import datetime
import gzip
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from diversity_tuning.cli import command
from diversity_tuning.data import schema
from diversity_tuning.errors import UserError
from diversity_tuning.flags import flag, parse_flags
from diversity_tuning.next_steps import DATA_STAGE, print_next, register_next
from diversity_tuning.ranges import Flags
from diversity_tuning.runs import atomic_folder, is_finished, provenance, write_provenance
from studies.miniature.specification import Specification, draw_specifications
from studies.miniature.stories import draw_author, write_story
from studies.miniature.votes import draw_votes

SOURCE, LATENT = "source.jsonl.gz", "latent_authors.jsonl.gz"
LEAST_STORIES, MOST_STORIES = 8, 12
# The dirt of the real data, as shares of the responses or of the posts.
MODERATED, OVERLONG, REPOSTED = 0.03, 0.005, 0.02
OVERLONG_WORDS = 1200
TAGS = {"[WP]": 0.86, "[EU]": 0.06, "[WP][TT]": 0.04, "[SP]": 0.04}
MODERATION = (
    "**Welcome to the Prompt!** All top-level comments must be a story or poem. Reply here for other comments.",
    "**Off-Topic Discussion**: Reply here for non-story comments about the prompt.",
    "Hi there, this submission has been removed because it breaks the rules of this place.",
)
register_next(
    "world",
    DATA_STAGE + "0_data_prep_scoring {0_data_prep_scoring.yaml} --source {output}/source.jsonl.gz"
    " --data_path {beside}/data/scored && python -m studies.miniature.tokenizer {tokenizer.yaml}"
    " --source {beside}/data/scored --output {beside}/tokenizer",
)
_FIRST_POST = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)


def build_world(seed: int, num_prompts: int, popularity: float = 1.0, edition: int = 0) -> Iterator[tuple[dict, list[dict]]]:
    """Yield each post as a row of the source, with one latent record per response, in the order of its responses.

    ``num_prompts`` counts posts. Texts depend on seed and edition alone: ``popularity`` changes the votes only.
    A new edition has other posts for every seed: settings chosen after the test prompts of one edition were seen are tried
    on the next.
    """
    rng = np.random.default_rng([edition, seed])
    reposts = rng.random(num_prompts) < REPOSTED
    reposts[0] = False
    fresh = iter(draw_specifications(rng, int(num_prompts - reposts.sum())))
    posted: list[Specification] = []
    for post, again in enumerate(reposts):
        specification = posted[rng.integers(len(posted))] if again else next(fresh)
        posted.append(specification)
        yield _post(rng, post, specification, popularity)


def _post(rng: np.random.Generator, post: int, specification: Specification, popularity: float) -> tuple[dict, list[dict]]:
    responses = []
    for _ in range(int(rng.integers(LEAST_STORIES, MOST_STORIES + 1))):
        if rng.random() < MODERATED:
            responses.append((MODERATION[rng.integers(len(MODERATION))], 1, {"kind": "moderation"}))
        responses.append(_response(rng, specification, popularity))
    title, text = specification.to_post()
    tag = str(rng.choice(list(TAGS), p=list(TAGS.values())))
    texts, scores, latents = zip(*responses, strict=True)
    row = {
        schema.POST_TITLE: f"{tag} {title}",
        schema.POST_TEXT: text,
        schema.POST_SCORES: int(np.rint(np.exp(rng.normal(4.0, 1.2)))) + 1,
        schema.COMMENT_TEXTS: list(texts),
        schema.COMMENT_SCORES: list(scores),
        schema.COMMENT_TIMES: _times(rng, post, len(texts)),
    }
    return row, [{"post": post, "response": i, **latent} for i, latent in enumerate(latents)]


def _response(rng: np.random.Generator, specification: Specification, popularity: float) -> tuple[str, int, dict]:
    """A story, its votes and its latent traits; a small share is far too long."""
    author = draw_author(rng)
    text, kind = write_story(rng, author, specification), "story"
    if rng.random() < OVERLONG:
        kind = "overlong"
        while len(text.split()) <= OVERLONG_WORDS:
            text += "\n\n" + write_story(rng, author, specification)
    latent = {"kind": kind, **dataclasses.asdict(author)}
    return text, draw_votes(rng, author, popularity), latent


def _times(rng: np.random.Generator, post: int, count: int) -> list[str]:
    start = _FIRST_POST + datetime.timedelta(hours=6 * post)
    minutes = np.cumsum(rng.integers(1, 90, size=count))
    return [(start + datetime.timedelta(minutes=int(minute))).isoformat() for minute in minutes]


def write_jsonl_gz(path: Path, rows: Iterable[dict]) -> None:
    """Write rows as gzipped JSON lines; the same rows give the same bytes (no time and no file name in the header)."""
    with path.open("wb") as raw, gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as stream:
        for row in rows:
            stream.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")


@dataclasses.dataclass(frozen=True)
class WorldConfig(Flags):
    """Which posts are made."""

    output: str = flag("folder to write")
    seed: int = flag("decides posts, responses and votes", default=0, least=0)
    edition: int = flag("another edition has other posts for the same seed", default=0, least=0)
    num_prompts: int = flag("number of posts", default=600, least=1)
    popularity: float = flag("how far votes favour the common; 0: not at all", default=1.0, least=0)
    overwrite: bool = flag("replace an output made with other settings", default=False)


@command
def main(argv=None) -> None:
    """Generate the source and write its two files."""
    arguments = parse_flags(WorldConfig, "studies.miniature.world", __doc__, argv)
    if not math.isfinite(arguments.popularity):
        raise UserError(f"--popularity {arguments.popularity}: give a finite number, such as 1.0 (or 0 for the control)")
    settings = {key: value for key, value in dataclasses.asdict(arguments).items() if key != "output"}
    record = provenance("miniature.world", settings, {})
    if is_finished(arguments.output, record, arguments.overwrite):
        return
    posts = list(build_world(arguments.seed, arguments.num_prompts, arguments.popularity, arguments.edition))
    responses = sum(len(latent) for _, latent in posts)
    with atomic_folder(arguments.output) as folder:
        write_jsonl_gz(folder / SOURCE, (row for row, _ in posts))
        write_jsonl_gz(folder / LATENT, (record for _, latent in posts for record in latent))
        write_provenance(folder, record, counts={"posts": len(posts), "responses": responses})
    print(f"{arguments.output}: {len(posts)} posts, {responses} responses", flush=True)
    print_next("world", arguments.output)


if __name__ == "__main__":
    main()
