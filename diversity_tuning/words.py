"""Words of texts in any script: Chinese, Japanese, Thai and others write none apart, so there every character is one."""

import re
import unicodedata

import regex

# Scripts without spaces between words: Thai, Lao, Myanmar, Khmer, kana, Han.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
)
_UNSPACED += "\U00020000-\U0003ffff"
_PIECE = re.compile(f"[{_UNSPACED}]|[^{_UNSPACED}]+")
_HAS_UNSPACED = re.compile(f"[{_UNSPACED}]")
# Letters and digits with the marks on them, but for unspaced scripts; or one character of those, or one sign.
_TOKEN = regex.compile(rf"(?V1)[{_UNSPACED}]|[[\p{{So}}\p{{Sk}}]--[\x00-\x7f]]|(?:[[\p{{L}}\p{{N}}]--[{_UNSPACED}]]\p{{M}}*)+")


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation: runs of letters and digits, single signs such as emoji.

    A text of punctuation alone has its characters as words. Of ASCII texts these are ROUGE's words.
    """
    text = unicodedata.normalize("NFKC", text).lower()
    if text.isascii():
        return re.findall(r"[a-z0-9]+", text) or text.split()
    return _TOKEN.findall(text) or [character for character in text if not character.isspace()]


def pieces_of(text: str) -> list[str]:
    """What stands between single spaces; a character of a script without spaces stands alone."""
    parts = text.split(" ")
    if not _HAS_UNSPACED.search(text):
        return parts
    return [piece for part in parts for piece in (_PIECE.findall(part) or [part])]


def count_words(text: str) -> int:
    """How many words a text has, split at white space and around characters of scripts without spaces."""
    if not _HAS_UNSPACED.search(text):
        return len(text.split())
    return sum(len(_PIECE.findall(part)) for part in text.split())
