"""Playing: variations of a story with their diversity and constraints, questions in between, and saved sessions."""

import dataclasses
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np

from diversity_tuning.errors import UserError
from diversity_tuning.evaluation.metrics import rouge_l
from diversity_tuning.generation.requests import SamplingSettings
from diversity_tuning.runs import write_json
from studies.horror.constraints import check, passed, ticks
from studies.horror.play.stream import Wrapper
from studies.horror.play.writer import Story, Writer
from studies.horror.specification import Specification

SEPARATOR = "---"  # a line of its own between stories on stdout


@dataclasses.dataclass
class Screen:
    """Where things are written: stories on ``out``, everything else on ``err``. ``width`` 0: no wrapping."""

    out: object = None
    err: object = None
    width: int = 0
    marks: tuple[str, str] = ("+", "-")

    def __post_init__(self):
        self.out, self.err = self.out or sys.stdout, self.err or sys.stderr

    def say(self, text: str) -> None:
        self.err.write(wrapped(text, self.width if self.err.isatty() else 0) + "\n")
        self.err.flush()

    def story(self) -> Callable[[str], None]:
        """A function that shows pieces of one story; call it with None at the end."""
        wrapper = Wrapper(self.width)

        def show(piece: str | None) -> None:
            self.out.write(wrapper.finish() + "\n" if piece is None else wrapper.feed(piece))
            self.out.flush()

        return show


def wrapped(text: str, width: int) -> str:
    """The lines of a text, broken at words to a width; 0 leaves them as they are."""
    lines = text.split("\n")
    return "\n".join(textwrap.fill(line, width, break_long_words=False) if len(line) > width > 0 else line for line in lines)


@dataclasses.dataclass
class Session:
    """Everything that was written, for saving."""

    model: str
    settings: SamplingSettings
    stories: list[dict] = dataclasses.field(default_factory=list)

    def save(self, path: str) -> Path:
        """Write the session as JSON; a file that is there is left alone and the next free name is taken."""
        wanted = Path(path)
        place, number = wanted, 1
        while place.exists():
            number += 1
            place = wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}")
        record = {"model": self.model, "settings": dataclasses.asdict(self.settings), "stories": self.stories}
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            write_json(place, record, ensure_ascii=False)
        except OSError as error:
            raise UserError(f"{place}: cannot be written ({error.strerror}); give another --save") from None
        return place


def play_round(
    writer: Writer, session: Session, screen: Screen, spec: Specification | None, prompt: str, seed: int, number: int,
    raw: bool = False, semantic_model: str | None = None,
) -> bool:  # fmt: skip
    """Write ``number`` stories for one prompt, say what they hold and how they differ; False when interrupted."""
    texts = []
    for i in range(number):
        if number > 1:
            if i:
                screen.out.write(SEPARATOR + "\n")
            screen.say(f"story {i + 1} of {number}")
        show = screen.story()
        story = writer.write(prompt, session.settings, seed, i, show, raw)
        show(None)
        texts.append(story.text)
        constraints = check(spec, story.text, story.finished) if spec else None
        _say_about(story, constraints, session.settings.max_new_tokens, screen)
        session.stories.append(
            {"specification": dataclasses.asdict(spec) if spec else None, "prompt": prompt, "seed": seed, "sample": i,
             "story": story.text, "finished": story.finished, "tokens": story.tokens, "constraints": constraints}
        )  # fmt: skip
        if story.interrupted:
            return False
    if number > 1:
        screen.say(describe_diversity(texts, semantic_model))
    return True


def _say_about(story: Story, constraints: dict[str, bool] | None, limit: int, screen: Screen) -> None:
    if story.interrupted:
        screen.say("(interrupted)")
    elif not story.finished:
        screen.say(f"(cut at {limit} tokens: --max_new_tokens)")
    if story.trimmed:
        screen.say(f"(a repeated end was trimmed: {story.trimmed} words; --raw shows it)")
    if constraints:
        mark = lambda holds: screen.marks[0] if holds else screen.marks[1]  # noqa: E731
        screen.say(f"constraints {passed(constraints)} of {len(constraints)}: {ticks(constraints, mark)}")


def describe_diversity(texts: list[str], semantic_model: str | None = None) -> str:
    """How far the stories are apart, pair by pair: 1 − ROUGE-L (words), and mean cosine distance of embeddings (meaning)."""
    words = 1 - rouge_l(texts)
    above = np.triu_indices(len(texts), 1)
    lines = [f"diversity of words (1 - ROUGE-L), mean over pairs: {words[above].mean():.2f}"]
    if len(texts) > 2:
        lines.append("  pairs: " + "  ".join(f"{i + 1}-{j + 1} {words[i, j]:.2f}" for i, j in zip(*above, strict=True)))
    if semantic_model:
        from diversity_tuning.embeddings import load_encoder

        try:
            vectors = load_encoder(semantic_model, device="cpu").encode(texts)
        except UserError as error:
            return "\n".join([*lines, f"(no diversity of meaning: {error})"])
        distances = 1 - vectors @ vectors.T
        lines.append(f"diversity of meaning ({semantic_model}), mean over pairs: {distances[above].mean():.2f}")
    return "\n".join(lines)
