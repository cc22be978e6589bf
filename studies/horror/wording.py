"""Words, stems, sentences and paragraphs of English prose, for rules that compare a story with its specification."""

import math
import re
import unicodedata

from studies.pools import read_pools

WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")
_ABBREVIATION = re.compile(
    r"(?:^|[\s\"'(])(?:(?:Mr|Mrs|Ms|Dr|St|Prof|Sr|Jr|Capt|Lt|Sgt|Rev|No|vs|etc|Ltd|Co)|(?:[^\W\d_]\.)*[^\W\d_])\.$"
)
_NUMBERS = dict(
    zip("one two three four five six seven eight nine ten eleven twelve".split(), map(str, range(1, 13)), strict=True)
)
_SENTENCE_END = re.compile(r"([.!?…][\"')\]]*)\s+(?=[\"'(]?\S)")
_QUOTES = str.maketrans({"“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "’": "'", "‘": "'", "–": "-", "—": " - "})
_WORDS = read_pools(__file__, "wording")
STOPWORDS, PREPOSITIONS = (frozenset(_WORDS[name].split()) for name in ("stopwords", "prepositions"))
IRREGULAR = {form: base for base, forms in _WORDS["irregular"].items() for form in forms.split()}  # form -> base form


def any_of(patterns: list[str], parts: dict[str, str] | None = None) -> str:
    """A regular expression for any of ``patterns``, each ``<NAME>`` in them replaced by that of ``parts``."""
    return f"(?:{re.sub('<([A-Z]+)>', lambda name: (parts or {})[name[1]], '|'.join(patterns))})"


def normal(text: str) -> str:
    """Composed Unicode with straight quotes and hyphens, upper and lower case kept."""
    return unicodedata.normalize("NFC", text).translate(_QUOTES)


def words(text: str) -> list[str]:
    """Case-folded words of letters of any script, with inner apostrophes and hyphens."""
    return [word.casefold() for word in WORD.findall(normal(text))]


def stem(word: str) -> str:
    """A word's base form where the tables know it, else the word without a common English ending."""
    word = word.removesuffix("'s").removesuffix("'")
    if word in IRREGULAR:
        return stem(IRREGULAR[word])
    if word in _NUMBERS:
        return _NUMBERS[word]
    if word.endswith(("ied", "ies")) and len(word) > 4:
        return word[:-3] + "y"
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            word = word[: -len(ending)]
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "sl":
        word = word[:-1]
    return word.removesuffix("e") if len(word) > 3 else word


def content(phrase: str) -> list[str]:
    """Stems of the words of a phrase that say what it is about; of all its words where there are no others."""
    found = words(phrase)
    telling = [word for word in found if word.removesuffix("'s") not in STOPWORDS]
    return list(dict.fromkeys(stem(word) for word in telling or found))


def sentences(text: str) -> list[str]:
    """A paragraph's sentences; the stop of an abbreviation or an initial ends none ("Mr. K.", "2 a.m. struck")."""
    found: list[str] = []
    for part in _SENTENCE_END.sub(r"\1\0", normal(text).strip()).split("\0"):
        if (
            found
            and is_abbreviated(found[-1])
            and (part[:1].islower() or found[-1][-3:] in ("Mr.", "rs.", "Ms.", "Dr.", "St."))
        ):
            found[-1] += " " + part
        elif part:
            found.append(part)
    return found


def is_abbreviated(text: str) -> bool:
    """Whether the last stop of a text belongs to an abbreviation ("a.m.", "Dr.", "J.")."""
    return _ABBREVIATION.search(text) is not None


def paragraphs(story: str, title: str = "") -> list[str]:
    """Blocks between empty lines (between line breaks where there is no empty line), without a heading.

    A heading is a first block that is the title, or has at most 12 words and no full stop, when others follow.
    """
    story = normal(story).strip().replace("\r\n", "\n")
    blocks = [block.strip() for block in re.split(r"\n\s*\n", story)]
    if len(blocks) == 1 or (len(blocks) == 2 and _is_heading(blocks[0], title)):
        blocks = [block.strip() for block in story.split("\n")]
    blocks = [block for block in blocks if WORD.search(block)]
    if len(blocks) > 1 and _is_heading(blocks[0], title):
        return blocks[1:]
    first, found, rest = blocks[0].partition("\n") if blocks else ("", "", "")
    return [rest.strip(), *blocks[1:]] if found and _is_heading(first, title) else blocks


def _is_heading(block: str, title: str) -> bool:
    plain = block.strip(" #*_\"'")
    if words(plain) == words(title):
        return True
    return len(plain.split()) <= 12 and not plain.endswith((".", "!", "?", "…", ",", ":", ";"))


def needed(count: int) -> int:
    """How many of ``count`` content words must be found: two thirds, rounded up."""
    return math.ceil(2 * count / 3)


def windows(prose: list[str]) -> list[tuple[str, str]]:
    """Every sentence with the one after it ("" after the last)."""
    return list(zip(prose, [*prose[1:], ""][: len(prose)], strict=True))


def holds(phrase: str, text: set[str], known: str = "", whole: bool = False) -> bool:
    """Whether stems hold two thirds of the content words of ``phrase``, and of those that are not content words of ``known``.

    ``whole``: all of them instead.
    """
    if whole:
        return set(content(phrase)) <= text
    wanted, shared = content(phrase), set(content(known)) if known else set()
    own = [word for word in wanted if word not in shared]
    return all(sum(word in text for word in asked) >= needed(len(asked)) for asked in (wanted, own))


def stems(text: str) -> set[str]:
    """The stems of all words of a text."""
    return set(map(stem, words(text)))


def is_used(phrase: str, prose: list[str]) -> bool:
    """Whether a thing or a place occurs: its noun, and with it two thirds of its content words, anywhere in the prose.

    What follows a preposition ("a vineyard in Tokaj") says where or of what it is, and need not be told.
    """
    found = stems(" ".join(prose))
    named = words(phrase)
    cut = next(
        (place for place, word in enumerate(named) if word in PREPOSITIONS and set(named[:place]) - STOPWORDS), len(named)
    )
    thing = " ".join(named[:cut])
    return content(thing)[-1:] != [] and content(thing)[-1] in found and holds(thing, found)
