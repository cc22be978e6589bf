"""Items of the human evaluation: two blinded sets of stories per prompt, and the page that shows them."""

import hashlib
import re
from dataclasses import dataclass

import numpy as np

# Everything that is not a letter, a digit or plain white space in ASCII, and every space after white space.
_SPECIAL = re.compile(r"[!-/:-@\[-`{-~\t]|(?<=\s) ")
# Code points that HTML cannot hold: controls, lone surrogates, noncharacters.
_IMPOSSIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")


@dataclass(frozen=True)
class Blinding:
    """How one prompt is shown: which condition is Set A, and each set's samples in the order shown."""

    set_a: str
    set_b: str
    samples_a: tuple[int, ...]
    samples_b: tuple[int, ...]


def draw_order(prompts: list[str], seed: int) -> list[str]:
    """The prompts in a random order in which leaving one out does not move the others."""
    return sorted(prompts, key=lambda prompt: _digest("order", seed, prompt))


def draw_blinding(prompt: str, conditions: dict[str, list[int]], num_samples: int, seed: int) -> Blinding:
    """Draw samples, their order, and which condition is Set A: decided by ``(seed, prompt)`` alone.

    ``conditions`` maps the two names to the numbers of the samples there are, at least ``num_samples`` each. The order of the
    two names does not matter.
    """
    rng = np.random.default_rng(int.from_bytes(_digest("blinding", seed, prompt)[:16], "big"))
    names = sorted(conditions)
    shown = {name: tuple(rng.permutation(sorted(conditions[name]))[:num_samples].tolist()) for name in names}
    set_a, set_b = names[:: 1 if rng.random() < 0.5 else -1]
    return Blinding(set_a, set_b, shown[set_a], shown[set_b])


def item_id(page: str) -> str:
    """Ten hex digits that tell pages apart. They depend on what is shown and so say nothing that the page does not."""
    return _digest("id", page).hex()[:10]


def _digest(*parts: object) -> bytes:
    return hashlib.sha256("\0".join(map(str, parts)).encode("utf-8", "surrogatepass")).digest()


def item_html(prompt: str, stories_a: list[str], stories_b: list[str], full_texts: bool = False) -> str:
    """The page of one item: the prompt above two columns of numbered stories, A-1 … and B-1 …

    No white space between tags, because Potato keeps it. ``full_texts`` puts each story into a box that scrolls.
    """
    sets = "".join(_set_html(name, stories, full_texts) for name, stories in (("A", stories_a), ("B", stories_b)))
    return (
        f'<div class="item"><div class="prompt"><h2>Writing prompt</h2><div class="text">{as_html(prompt)}</div></div>'
        f'<div class="sets">{sets}</div></div>'
    )


def _set_html(name: str, stories: list[str], full_texts: bool) -> str:
    box = "story full" if full_texts else "story"
    shown = "".join(
        f'<div class="{box}"><h3>{name}-{number}</h3><div class="text">{as_html(story)}</div></div>'
        for number, story in enumerate(stories, start=1)
    )
    return f'<div class="set"><h2>Set {name}</h2>{shown}</div>'


def as_html(text: str) -> str:
    """HTML that a browser shows as ``text``, whatever reads it on the way.

    Every ASCII punctuation mark is a character reference, so that nothing is left of HTML, Markdown or a template language, nor
    of what Potato's sanitiser deletes from plain text (``data:``, ``javascript:``). So are tabs and repeated spaces, which it
    would collapse. What HTML cannot hold is shown as U+FFFD.
    """
    text = _IMPOSSIBLE.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))
    return _SPECIAL.sub(lambda match: _NAMED.get(match[0], f"&#{ord(match[0])};"), text)


_NAMED = {"<": "&lt;", ">": "&gt;", "&": "&amp;", '"': "&quot;"}
