"""Cues of graphic prose and of special tokens, and a rule for repeated tails."""

import re

from studies.horror.wording import WORD, any_of, normal, words
from studies.pools import read_pools

_DATA = read_pools(__file__, "cues")
GRAPHIC = frozenset(_DATA["graphic"].split())
_BLOOD = re.compile(any_of(_DATA["blood"], {"FLESH": any_of(_DATA["flesh"])}), re.I)
_NAMES = (
    r"(?:pad|unk|bos|eos|eot|eod|eom|mask|sep|cls|s|end|start|end[ _-]?of[ _-]?(?:text|turn|story|sequence|sentence|document|"
    r"message|output)|"
    r"start[ _-]?of[ _-]?(?:text|turn)|endoftext|startoftext|im[ _](?:start|end)|begin[ _]of[ _]text|assistant|user|system|"
    r"/?inst)"
)
_SPECIAL = re.compile(
    rf"<\|[^<>|\n]{{0,40}}\|>|<\|[^<>|\n]{{0,40}}$|</?\s?(?i:{_NAMES})\s?/?>|\[/?(?i:pad|unk|bos|eos|eot|mask|sep|cls|inst|end|"
    rf"end[ _-]of[ _-]\w+|start[ _-]of[ _-]\w+)\]|\b(?:EOS|EOT|BOS|EOD|EOM|PAD|UNK)\b|�|<0x[0-9A-F]{{2}}>|[▁Ġ](?=\w)"
)
_ENDED = re.compile(r"[.!?…][\"')\]]*$")
LONGEST_UNIT = 60  # words of a repeated tail
_TELLING = 12  # words of repetitions that end a sentence; fewer may be meant ("knock, knock, knock.")


def is_graphic(story: str) -> bool:
    """Whether a word of :data:`GRAPHIC` or a phrase of flowing blood occurs."""
    return bool(_BLOOD.search(normal(story))) or not GRAPHIC.isdisjoint(words(story))


def special_tokens(text: str) -> list[str]:
    """Marks of tokenizers and chat templates that should never be seen by a reader."""
    return _SPECIAL.findall(text)


def without_special_tokens(text: str) -> str:
    """The text without such marks."""
    return _SPECIAL.sub("", text)


def repeated_tail(text: str) -> tuple[int, int] | None:
    """(words of the unit, times) when a text ends in a unit of words that stands there again and again, else None.

    A unit of at least 4 words must stand twice, a shorter one three times; words are compared without case or punctuation. At
    most :data:`LONGEST_UNIT` words; the shortest unit that fits is taken. A last unit may be cut short. Marks of tokenizers are
    left out. Where the text ends a sentence, all repetitions together must have :data:`_TELLING` words.
    """
    text = without_special_tokens(text)
    found = words(text)
    least = _TELLING if _ENDED.search(normal(text).rstrip()) else 0
    for dropped in range(min(LONGEST_UNIT, len(found))):  # words of a unit that was cut
        kept = found[: len(found) - dropped]
        for size in range(max(1, dropped + 1), min(LONGEST_UNIT, len(kept) // 2) + 1):
            times = 1
            while kept[-(times + 1) * size : -times * size] == kept[-size:]:
                times += 1
            if (
                times >= (2 if size >= 4 else 3)
                and size * times + dropped >= least
                and found[len(kept) :] == kept[-size:][:dropped]
            ):
                return size, times
    return None


def trim_repeated_tail(text: str) -> tuple[str, int]:
    """The text with its repeated tail told once, and how many words were taken away (0: nothing repeated)."""
    found = repeated_tail(text)
    if found is None:
        return text, 0
    text = without_special_tokens(text)
    spans = list(WORD.finditer(text))
    kept = words(text)
    size, _ = found
    total = len(spans)
    if total != len(kept):
        return text, 0
    start = total
    while start > size and kept[start - 1 - size] == kept[start - 1]:  # as far back as the period goes
        start -= 1
    end = spans[start - 1].end()
    while end < len(text) and text[end] in ".!?…\"'”’":
        end += 1
    return text[:end].rstrip(), total - start
