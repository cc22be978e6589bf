"""The fields of a specification in a prompt of any layout: labelled lines, lists, ``[LABEL]``, JSON, "label: value; …"."""

import re

from studies.horror.play.fields import clean_field, field_problem, tidy
from studies.horror.wording import normal
from studies.pools import read_pools

ENOUGH = 3  # fields; a text with fewer is a prompt of its own
_PATTERNS = read_pools(__file__, "prompts")
_LABELS, _OTHER = _PATTERNS["labels"], _PATTERNS["other"]
_LABEL = re.compile(
    rf"(?:(?<=^)|(?<=\n)|(?<=[;|,.]))[ "
    rf"\t>*#\-•+\d.)(\[{{<\"'_|]*(?P<label>{'|'.join(f'(?:{one})' for one in _LABELS.values())}|{_OTHER})"
    r"(?:[ \t]*\([^()\n]{0,40}\))?[ \t*_\"'\]>]*(?:[:=|]|[ \t][-–—][ \t]|(?<=[\]>])[ \t]*)[ \t*_|\"']*",
    re.I,
)
_TOLD = re.compile(
    r"\s*[\[(,;-]*\s*\b(?:(?:it|which|the rule) (?:is|was|must be|should be|gets?|will be) )?(?P<told>kept|broken|obeyed|"
    r"violated)\b\s*[)\]]*\.?$",
    re.I,
)
_PROHIBITION = re.compile(
    r"^(?:you |one |they |characters |nobody |no one )?(?:must |should |may |can |shall )?(?:never|not|do not|don't|mustn't|"
    r"shouldn't|cannot|can't)\s+(?:ever\s+)?",
    re.I,
)


def read_prompt(text: str) -> dict:
    """The fields that a prompt gives, cleaned, by name; empty where it has fewer than :data:`ENOUGH`.

    ``taboo_kept`` is there only where the prompt says that the rule is kept or broken.
    """
    text = normal(text)
    found = list(_LABEL.finditer(text))
    given: dict = {}
    for place, label in enumerate(found):
        end = found[place + 1].start() if place + 1 < len(found) else len(text)
        name = _name(label["label"])
        value = text[label.end() : end].strip().split("\n\n")[0].split("\n")[0]
        value = clean_field(value).strip(' *_"|;,{}[]<>')
        if name is None or name in given or not value or field_problem(name, value):
            continue
        if name == "taboo" and (told := _TOLD.search(value)) and told.start():
            given["taboo_kept"] = told["told"].casefold() in ("kept", "obeyed")
            value = value[: told.start()]
        given[name] = tidy(name, value)
        if name == "taboo":
            given[name] = _PROHIBITION.sub("", given[name]) or given[name]
    return given if len(given.keys() - {"taboo_kept"}) >= ENOUGH else {}


def _name(label: str) -> str | None:
    return next((name for name, pattern in _LABELS.items() if re.fullmatch(pattern, label, re.I)), None)


def unread_words(tokenizer, fields: dict) -> list[str]:
    """Words of the fields that a small vocabulary of whole words does not hold: its model has never read them.

    None for a vocabulary of more than :data:`SMALL` tokens, whose words are made of pieces.
    """
    from studies.horror.wording import WORD

    if len(tokenizer) > SMALL:
        return []
    text = " ".join(str(value) for value in fields.values() if not isinstance(value, bool))
    return [
        word
        for word in dict.fromkeys(WORD.findall(text))
        if min(
            len(tokenizer(form, add_special_tokens=False)["input_ids"])
            for form in (word, " " + word, word.casefold(), " " + word.casefold())
        )
        > 1
    ]


SMALL = 10_000  # tokens
