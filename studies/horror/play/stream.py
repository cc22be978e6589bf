"""A story's text as it comes: no special tokens or control characters, a repeated tail held back, wrapped to a width."""

import re
import unicodedata

from studies.horror.cues import LONGEST_UNIT, trim_repeated_tail, without_special_tokens
from studies.horror.wording import WORD

LONGEST_MARK = 44  # characters
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-_]?")
_DIRECTIONS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f"  # would reorder what is on the screen


def printable(text: str) -> str:
    """The text without terminal escapes, control characters (line breaks stay) and marks that reorder a line."""
    text = _ESCAPES.sub("", text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", " "))
    return "".join(c for c in text if c == "\n" or (unicodedata.category(c) not in ("Cc", "Cs") and c not in _DIRECTIONS))


class CleanStream:
    """Takes pieces of a story and gives back what can be shown already.

    The last words stay behind as long as they may turn out to be a repeated tail (:func:`..cues.repeated_tail`): as long as
    they repeat what stands some words before them. What :meth:`feed` has given is always the beginning of the cleaned story.
    """

    def __init__(self, raw: bool = False):
        self.raw, self.text, self.given = raw, "", 0

    def feed(self, piece: str) -> str:
        """Add a piece; returns what is new to show, perhaps nothing."""
        self.text += piece
        if self.raw:
            return self._give(self.text)
        clean = printable(without_special_tokens(self.text)).lstrip()
        return self._give(clean[: min(_safe_length(clean), _open_bracket(clean))].rstrip())

    def finish(self) -> tuple[str, str, int]:
        """What is left to show, the whole story as shown, and how many words of a repeated tail were taken away."""
        if self.raw:
            return self._give(self.text), self.text, 0
        whole, trimmed = trim_repeated_tail(printable(without_special_tokens(self.text)).strip())
        return self._give(whole), whole, trimmed

    def _give(self, upto: str) -> str:
        new = upto[self.given :]
        self.given = max(self.given, len(upto))
        return new


def _open_bracket(text: str) -> int:
    """Where a bracket stands that may become a mark of the tokenizer ("[end of text]"); else the text's length."""
    last = max(text.rfind("<", max(len(text) - LONGEST_MARK, 0)), text.rfind("[", max(len(text) - LONGEST_MARK, 0)))
    return last if last >= 0 and not re.search(r"[>\]]", text[last:]) else len(text)


def _safe_length(text: str) -> int:
    """How many characters are shown for certain: those before the last word, and before any repetition that reaches it."""
    spans = [found.span() for found in WORD.finditer(text)]
    found = [text[start:end].casefold() for start, end in spans]
    if not found:
        return 0
    whole = found[:-1]  # the last one may still grow
    held = 1
    for period in range(1, min(LONGEST_UNIT, len(whole) - 1) + 1):
        same = 0
        while same + period < len(whole) and whole[-1 - same] == whole[-1 - same - period]:
            same += 1
        held = max(held, same + 1)
    if held > len(spans) - 1:
        return 0
    return spans[-held - 1][1]  # what stands after the last certain word (a full stop, a line break) waits with the next one


class Wrapper:
    """Breaks lines at word boundaries for a terminal; a width of 0 leaves the text as it is."""

    def __init__(self, width: int):
        self.width, self.column, self.waiting, self.space = width, 0, "", False

    def feed(self, text: str) -> str:
        """Add text; returns what is ready to be written: all but an unfinished last word."""
        if not self.width:
            return text
        out = []
        for part in re.findall(r"\n|[^\S\n]+|\S+", self.waiting + text):
            out.append(part)
        self.waiting = out.pop() if out and not out[-1].isspace() else ""
        return "".join(self._place(part) for part in out)

    def finish(self) -> str:
        """The last word."""
        last, self.waiting = self.waiting, ""
        return self._place(last) if last else ""

    def _place(self, part: str) -> str:
        if part.isspace():
            self.space = part != "\n" and self.column > 0  # written with the next word, so that no line ends in it
            self.column = 0 if part == "\n" else self.column
            return "\n" if part == "\n" else ""
        size = columns(part)
        before = " " if self.space else ""
        if self.column and self.column + len(before) + size > self.width:
            before, self.column = "\n", 0
        self.column += size + (before == " ")
        self.space = False
        return before + part


def columns(text: str) -> int:
    """How many terminal columns a text takes: wide letters two, combining marks none."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
