"""Inputs of a prompt between tags: how a value is written, and that no text of it can pass for a tag of the prompt."""

import json
import re
import unicodedata

TAGS = (
    *("query", "response", "examples", "strengths", "weaknesses", "judge_verdict", "principles", "strategies", "feedback"),
    *("rubric", "label", "verdict", "explanation"),
)
_OPENING = re.compile(r"[<＜﹤]")
_TAG = re.compile(rf"\s*/?\s*(?:{'|'.join(TAGS)})(?![a-z0-9_])", re.IGNORECASE)
_LONGEST_TAG = 100  # characters in which a tag is looked for, blanks and invisible ones counted
_UNSEEN = ("Cf", "Cc", "Mn")  # kinds of characters that show nothing


def tagged(tag: str, value: object) -> str:
    """A value between the tags of that name, which stand on lines of their own.

    A text stands as it is, a list of texts as numbered lines, anything else as JSON.
    """
    return f"<{tag}>\n{neutralised(_rendered(value))}\n</{tag}>"


def neutralised(text: str) -> str:
    """The text with ``‹`` in place of the ``<`` of every tag of ours, so that nothing in an input can pass for the prompt's.

    Tags in full-width letters or with invisible characters count too: an LLM may read them all the same.
    """

    def replaced(sign: re.Match) -> str:
        after = unicodedata.normalize("NFKC", text[sign.end() : sign.end() + _LONGEST_TAG])
        visible = "".join(letter for letter in after if letter.isspace() or unicodedata.category(letter) not in _UNSEEN)
        return "‹" if _TAG.match(visible) else sign[0]

    return _OPENING.sub(replaced, text)


def _rendered(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        return "\n".join(f"{number}. {' '.join(one.split())}" for number, one in enumerate(value, start=1))
    return json.dumps(value, ensure_ascii=False, indent=1)
