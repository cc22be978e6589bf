"""Real votes that anyone can get: the files of a source's own repository as a file for --source (docs/OWN_DATA.md).

python -m studies.real.prepare ocsai --from clones/ocsai --output runs/ocsai.jsonl.gz
python -m studies.real.prepare ocsai --download clones/ocsai --output runs/ocsai.jsonl.gz     # clones it first

ocsai     short answers to divergent-thinking prompts; votes: mean rated originality of 1 to 5, times 10
captions  captions of cartoon contests, the prompt is a description; votes: how many people found it funny
storyer   stories to prompts of r/WritingPrompts; votes: 1 ranked high, 0 ranked low
"""

import csv
import gzip
import io
import json
import os
import pickle
import re
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from diversity_tuning.cli import Parser, command
from diversity_tuning.data import schema
from diversity_tuning.errors import UserError


@dataclass(frozen=True)
class Source:
    """Where the texts are from, under which licence, and what is known to be in them at ``commit``."""

    repository: str
    commit: str
    licence: str
    prompts: int
    responses: int
    read: Callable[[Path], Iterator[tuple[str, int, list[tuple[str, int]]]]]  # prompt, its votes, responses with votes


_OCSAI = "data/ocsai1/finetune-gt_alltests2_no-testdata_prepared_{}.jsonl"
_ANSWER = re.compile(r"DT (Uses|Instances|Consequences|Completion) Prompt:(.*)\nResponse:(.*)\nScore:\n", re.DOTALL)
_MASS_NOUNS = ("pants",)
_SHORTEST = 8  # characters of a caption: shorter ones are names and cries


def ocsai(clone: Path) -> Iterator[tuple[str, int, list[tuple[str, int]]]]:
    """Answers of the two files of the test set with all tasks; the same answer to a prompt is one, with its mean rating."""
    answers: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for part in ("train", "val"):
        file = _file(clone, _OCSAI.format(part))
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                row = json.loads(line)
                task, about, answer = _ANSWER.fullmatch(row["prompt"]).groups()
                rating = int(row["completion"])
            except (ValueError, KeyError, TypeError, AttributeError):
                raise UserError(f"{file}: row {number} is no answer with a rating, as expected") from None
            if text := " ".join(answer.split()):
                answers[_question(task, about)][text].append(rating)
    for prompt, ratings in answers.items():
        yield prompt, 0, [(text, round(sum(found) / len(found))) for text, found in ratings.items()]


def _question(task: str, about: str) -> str:
    """The prompt as a question: the file names it in a word or two."""
    if task == "Uses":
        return f"What is a surprising use for {'' if about in _MASS_NOUNS else 'a '}{about}?"
    if task == "Instances":
        return f"What is a surprising example of something that {'makes a noise' if about == 'noise' else f'is {about}'}?"
    if task == "Consequences":
        return f"What would be a surprising consequence {about.lower()}?"
    return f"Continue in a surprising way: {about}"


def captions(clone: Path) -> Iterator[tuple[str, int, list[tuple[str, int]]]]:
    """Captions of every contest with a description and a summary; the first of equal ones counts, and 8 characters or more."""
    descriptions = _file(clone, "contests/metadata/descriptions.txt").read_text(encoding="utf-8-sig").splitlines()[1:]
    for contest, _, description in (line.partition(",") for line in descriptions):
        found = [clone / f"contests/summaries/{contest}_summary_{way}.csv" for way in ("KLUCB", "LilUCB", "RoundRobin")]
        name = next((path.relative_to(clone) for path in found if path.is_file()), None)
        if name is None:
            continue
        file = _file(clone, str(name))
        kept: dict[str, tuple[int, int]] = {}
        try:
            with file.open(encoding="utf-8-sig", newline="") as stream:
                rows = csv.DictReader(stream)
                if not {"caption", "funny", "count"} <= set(rows.fieldnames or ()):
                    raise ValueError
                for row in rows:
                    text = row["caption"].strip()
                    if len(text) >= _SHORTEST:
                        kept.setdefault(text, (int(float(row["funny"])), int(float(row["count"]))))
        except (ValueError, KeyError, AttributeError, csv.Error):
            raise UserError(f"{file}: is no summary with columns caption, funny and count, as expected") from None
        votes = sum(count for _, count in kept.values())
        yield f"[CC] {description.strip()}", votes, [(text, funny) for text, (funny, _) in kept.items()]


class _Plain(pickle.Unpickler):
    """Reads lists, texts and numbers; a pickle that names anything else could run code, and is refused."""

    def find_class(self, module: str, name: str):
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def storyer(clone: Path) -> Iterator[tuple[str, int, list[tuple[str, int]]]]:
    """Stories of the ranking data; one that is ranked both high and low counts as it is met first."""
    file = _file(clone, "data/train_rank_data_small.pkl")
    stories: dict[str, dict[str, int]] = defaultdict(dict)
    try:
        for prompt, high, low, *_ in _Plain(io.BytesIO(file.read_bytes())).load():
            for text, vote in ((high, 1), (low, 0)):
                stories[prompt.strip()].setdefault(text.replace("<\\newline>", "\n").strip(), vote)
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
        raise UserError(f"{file}: is no list of prompt, high and low story, as expected ({error})") from None
    for prompt, ranked in stories.items():
        yield prompt, 0, list(ranked.items())


SOURCES = {
    "captions": Source(
        "nextml/caption-contest-data-api", "9e38b2b73a4541dd26111e05b90bcca6bdcae008", "CC BY 4.0", 135, 747_909, captions,
    ),
    "ocsai": Source("massivetexts/ocsai", "db5a3ee43c7e19bbcabdc0b0ac0ee8d6e51f9276", "MIT", 53, 31_475, ocsai),
    "storyer": Source(
        "sairin1202/StoryER", "0f59b7f04d4b37b05bdd8ff68d6728d6d97c35a3",
        "none stated: measure with it, publish no text of it", 118, 648, storyer,
    ),
}  # fmt: skip


def _file(clone: Path, name: str) -> Path:
    """A file of the clone, or a :class:`UserError` that names it."""
    file = clone / name
    if not file.is_file():
        raise UserError(f"{file}: not there; --from is the folder of a clone of the source's repository")
    with file.open("rb") as stream:
        if stream.read(40).startswith(b"version https://git-lfs"):
            raise UserError(f"{file}: is a pointer of Git LFS: run git lfs pull in the clone")
    return file


def _clone(source: Source, folder: Path) -> None:
    """The source's repository at the recorded commit, or a :class:`UserError`."""
    if folder.exists():
        raise UserError(f"--download {folder}: is there already; give it as --from, or another folder")
    address = f"https://github.com/{source.repository}"
    for words in (["clone", "--quiet", address, str(folder)], ["-C", str(folder), "checkout", "--quiet", source.commit]):
        try:
            done = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
        except OSError as error:
            raise UserError(f"--download needs git ({error.strerror})") from None
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["git failed"])[-1]
            raise UserError(f"{address}: cannot be cloned ({reason}); clone it elsewhere and give --from")


def _check(name: str, source: Source, rows: list[dict], clone: Path) -> None:
    found = len(rows), sum(len(row[schema.COMMENT_TEXTS]) for row in rows)
    if found != (source.prompts, source.responses):
        raise UserError(
            f"{clone}: {found[0]:,} prompts and {found[1]:,} responses of {name} instead of {source.prompts:,} and"
            f" {source.responses:,}; is it another version? git -C {clone} checkout {source.commit}"
        )


def _write(rows: list[dict], output: Path) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    partial = output.with_name(f".{output.name}.partial")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(gzip.compress(text, mtime=0) if output.suffix == ".gz" else text)
        os.replace(partial, output)
    except OSError as error:
        raise UserError(f"--output {output}: cannot be written ({error.strerror})") from None


@command
def main(argv=None) -> None:
    parser = Parser("studies.real.prepare", __doc__)
    parser.add_argument("name", choices=sorted(SOURCES), help="which source")
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--from", dest="clone", metavar="CLONE", help="folder of a clone of the source's repository")
    place.add_argument("--download", metavar="FOLDER", help="clone it to this folder first; needs git and a network")
    parser.add_argument("--output", required=True, help="file to write, .jsonl or .jsonl.gz; must not exist")
    args = parser.parse_args(argv)
    source, output = SOURCES[args.name], Path(args.output)
    if not args.output.endswith((".jsonl", ".jsonl.gz")):
        raise UserError(f"--output {output}: give a name that ends with .jsonl or .jsonl.gz")
    if output.exists():
        raise UserError(f"--output {output}: is there already; give another file")
    clone = Path(args.clone or args.download)
    if args.download:
        _clone(source, clone)
    if not clone.is_dir():
        raise UserError(f"--from {clone}: no such folder; a clone of https://github.com/{source.repository}")
    rows = [_row(prompt, votes, responses) for prompt, votes, responses in source.read(clone)]
    _check(args.name, source, rows, clone)
    _write(rows, output)
    print(f"{args.name}: https://github.com/{source.repository}, licence: {source.licence}")
    print(f"{output}: {source.prompts:,} prompts, {source.responses:,} responses")


def _row(prompt: str, votes: int, responses: list[tuple[str, int]]) -> dict:
    texts, scores = map(list, zip(*responses, strict=True))
    named = {schema.POST_TITLE: prompt, schema.POST_TEXT: "", schema.POST_SCORES: votes}
    return named | {schema.COMMENT_TEXTS: texts, schema.COMMENT_SCORES: scores}


if __name__ == "__main__":
    main()
