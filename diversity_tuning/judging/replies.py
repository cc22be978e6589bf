"""JSON replies of an LLM in a role: the object in a text, and what each role's object must hold.

A reply is judged by what is done with it: a key that nothing reads may be missing or of another type.

Tolerated: talk and code fences around the object, full-width punctuation and digits, curly quotes, one trailing comma. Anything
else that is not the object asked for is a :class:`BadReply`; a verdict is never guessed.
"""

import json
import unicodedata
from collections.abc import Callable

from diversity_tuning.errors import UserError
from diversity_tuning.thinking import cut_thinking

MOST_RULES = 10
_VERDICTS = {"0": 0, "1": 1, "bad": 0, "good": 1, "坏": 0, "好": 1, "不合格": 0, "合格": 1}
_QUOTES = {'"': '"', "＂": "＂", "“": "”", "”": "”"}  # how a string begins: how it ends
_BRACKETS = {"{": "}", "[": "]"}


class BadReply(Exception):
    """A reply that is not what the role was asked for, and why; asking again may bring a good one."""


def read_object(reply: str, keys: tuple[str, ...]) -> dict:
    """The one JSON object in ``reply`` with all ``keys``; :class:`BadReply` where there is none, or several that differ.

    Objects with none of the keys count as talk. So an object inside another one, or inside a broken one, is never taken.
    """
    text = cut_thinking(reply)
    if text is None:
        raise BadReply("the reasoning was not closed (</think>)")
    found, broken = [], ""
    for part in _objects(text):
        try:
            read = json.loads(part, strict=False, object_pairs_hook=_once, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            if any(f'"{key}"' in part for key in keys):
                raise BadReply(f"not JSON: {error}") from None
            broken = f"not JSON: {error}"
            continue
        if any(key in read for key in keys) and read not in found:
            found.append(read)
    if not found:
        raise BadReply(broken or f"no JSON object with {_names(keys)}")
    if len(found) > 1:
        raise BadReply(f"{len(found)} different JSON objects with {_names(keys)}")
    missing = [key for key in keys if key not in found[0]]
    if missing:
        raise BadReply(f"no key {_names(missing)} in the JSON object")
    return found[0]


def verdict(value: object) -> int:
    """1 for good, 0 for bad: 0, 1, 1.0, true, false, or as text 0, 1, Good, Bad, 好, 坏, 合格, 不合格, exactly."""
    if isinstance(value, bool | int | float) and value in (0, 1):
        return int(value)
    if isinstance(value, str):
        word = unicodedata.normalize("NFKC", value).strip().lower()
        if word in _VERDICTS:
            return _VERDICTS[word]
    raise BadReply(f"the verdict is neither 0 nor 1: {json.dumps(value, ensure_ascii=False, default=str)[:60]}")


def label_of(value: object, where: str) -> int:
    """A label of people, written as a :func:`verdict` is; :class:`UserError` for anything else."""
    try:
        return verdict(value)
    except BadReply:
        raise UserError(f"{where}: expected 0 (bad) or 1 (good), found {value!r}") from None


def parse_optimizer(reply: str) -> dict:
    """``{"rules": [text, …], "left_out": how many}``: of more than :data:`MOST_RULES` the first are taken."""
    rules = read_object(reply, ("rules",))["rules"]
    if not isinstance(rules, list) or not all(isinstance(rule, str) and rule.strip() for rule in rules):
        raise BadReply("the rules are not a list of texts")
    if not rules:
        raise BadReply("the list of rules is empty")
    kept = [" ".join(_writable(rule).split()) for rule in rules[:MOST_RULES]]
    return {"rules": kept, "left_out": len(rules) - len(kept)}


def _objects(text: str) -> list[str]:
    """Every outermost object in a text, from its opening to its closing brace, in plain ASCII punctuation.

    One that does not end goes on to the end of the text.
    """
    found, i = [], 0
    while i < len(text):
        if unicodedata.normalize("NFKC", text[i]) != "{":
            i += 1
            continue
        part, i = _object(text, i)
        found.append(part)
    return found


def _object(text: str, i: int) -> tuple[str, int]:
    """The object that begins at ``i``, rewritten, and where it ends."""
    out, closing = [], []
    while i < len(text):
        if text[i] in _QUOTES:
            string, i = _string(text, i)
            out.append(string)
            continue
        # Outside strings only: what a reason says stays as it is.
        sign = unicodedata.normalize("NFKC", text[i])
        i += 1
        if sign in _BRACKETS:
            closing.append(_BRACKETS[sign])
        elif closing and sign == closing[-1]:
            closing.pop()
            _drop_comma(out)
        out.append(sign)
        if not closing:
            break
    return "".join(out), i


def _string(text: str, i: int) -> tuple[str, int]:
    """The string that begins at ``i`` as JSON has it, and where it ends."""
    end, i, out = _QUOTES[text[i]], i + 1, ['"']
    while i < len(text) and text[i] != end:
        if text[i] == "\\":
            out.append(text[i : i + 2])
            i += 2
            continue
        out.append('\\"' if text[i] == '"' else text[i])
        i += 1
    return "".join([*out, '"' if i < len(text) else ""]), i + 1


def _drop_comma(out: list[str]) -> None:
    """Take one comma off the end of what stands before a closing bracket."""
    last = len(out) - 1
    while last >= 0 and out[last].isspace():
        last -= 1
    if last >= 0 and out[last] == ",":
        del out[last:]


def _once(pairs: list[tuple[str, object]]) -> dict:
    """An object in which no key comes twice: which of the two is meant cannot be known."""
    read = dict(pairs)
    if len(read) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} comes twice")
    return read


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _verdict(found: dict, key: str) -> int:
    return verdict(found[key])


def _reasons(found: dict, key: str) -> dict[str, str]:
    """``{name: reason}``, none is allowed; a list of texts has names alone."""
    reasons = found[key]
    if isinstance(reasons, list) and all(isinstance(name, str) and name.strip() for name in reasons):
        reasons = dict.fromkeys(reasons, "")
    if not isinstance(reasons, dict) or not all(isinstance(reason, str) for reason in reasons.values()):
        raise BadReply(f"'{key}' is not an object of name: reason")
    return {_writable(name): _writable(reason) for name, reason in reasons.items()}


def _optional(found: dict, key: str) -> str:
    """A text that may be missing; empty also where it is none."""
    text = found.get(key)
    return _writable(text) if isinstance(text, str) else ""


def _text(found: dict, key: str) -> str:
    text = found[key]
    if not isinstance(text, str) or not text.strip():
        raise BadReply(f"'{key}' is not a text" if not isinstance(text, str) else f"'{key}' is empty")
    return _writable(text)


def _writable(text: str) -> str:
    """Without the half of a surrogate pair that JSON may hold and a file may not."""
    return text.strip().encode("utf-8", errors="replace").decode()


def _names(keys: object) -> str:
    return ", ".join(f"'{key}'" for key in keys)


def _parser(**fields: Callable[[dict, str], object]) -> Callable[[str], dict]:
    """What reads a reply's object, each field by its reader; a field that :func:`_optional` reads may be missing."""
    needed = tuple(name for name, read in fields.items() if read is not _optional)

    def parse(reply: str) -> dict:
        found = read_object(reply, needed)
        return {name: read(found, name) for name, read in fields.items()}

    return parse


parse_strengths = _parser(strengths=_reasons)
parse_weaknesses = _parser(weaknesses=_reasons)
parse_judge = _parser(verdict=_verdict, reason=_text)  # the reason is what reflect examines
parse_reflect = _parser(verdict=_verdict, reason=_optional)  # whether it overturned is computed, not believed
parse_generator = _parser(response=_text, explanation=_optional)
parse_detector = _parser(verdict=_verdict, reason=_optional, suggestion=_optional)
parse_reflector = _parser(why=_optional, missing=_text)
