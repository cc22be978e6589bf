"""What may be printed or stored: no keys, tokens and passwords, and no control characters of a terminal."""

import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from diversity_tuning.errors import UserError

MASK = "***"
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SECRETS = {"password", "passwd", "passphrase", "secret", "apikey", "credential", "credentials", "authorization", "bearer"}
# What stands before "key" where it opens something, and before "token" where it is a word of a vocabulary.
_KEYS = set("api access secret private auth account service hub hf openai anthropic vllm wandb comet github license".split())
_VOCABULARY = set(
    "pad eos bos unk sep cls mask eot eom end start stop begin special image audio video think per extra decoder forced new"
    " first last next prefix suffix middle boi eoi sot fim prompt response completion message role tool".split()
)
_SPECIAL_TOKEN = re.compile(r"[<\[｜|].*[>\]｜|]", re.DOTALL)
_URL_SECRETS = re.compile(r"(//)[^/@\s]+@|[?#][^\s'\"]*")
# Control characters but for tab and line break, those of text direction, and halves of characters.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_ESCAPE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[PX^_][^\x1b]*(?:\x1b\\)?|\x1b[ -/]*[0-~]"
)
_LARGEST = 1 << 28  # bytes of a file that is searched; larger ones hold weights
_given: set[str] = set()  # the values of this process's settings that are secret by their name


def is_secret_name(name: str) -> bool:
    """Whether a flag, key or variable of this name holds a secret: ``hub_token``, ``api_key``, not ``eos_token``."""
    words = [word.lower() for word in _WORDS.findall(str(name))]
    last, before = (words or [""])[-1], (words[-2:-1] or [""])[0]
    if _SECRETS & set(words):
        return True
    return (last == "token" and before not in _VOCABULARY) or (last == "key" and before in _KEYS)


def masked(value, name: str = ""):
    """A setting, or a structure of them, without its secrets; what JSON a text holds is searched, too."""
    if isinstance(value, dict):
        return {key: masked(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked(item, name) for item in value]
    if type(value) is int and abs(value) > 99_999:
        return MASK if is_secret_name(name) else value
    if not isinstance(value, str) or not value:
        return value
    if is_secret_name(name) and not _SPECIAL_TOKEN.fullmatch(value) and value not in ("True", "False", MASK):
        _given.add(value)
        return MASK
    if value.lstrip().startswith(("{", "[")):
        try:
            held = json.loads(value)
        except (ValueError, RecursionError):
            return value
        clean = masked(held, name)
        return value if clean == held else json.dumps(clean)
    return value


def masked_words(words: list[str]) -> list[str]:
    """A command line without its secrets: values of flags and variables, and what a URL holds besides host and path."""
    shown, follows = [], False
    for word in words:
        name, equals, value = word.partition("=")
        named = name.lstrip("-") if name.startswith("--") or equals else ""
        if follows and not word.startswith("--"):
            word = masked(word, "secret")
        elif equals:
            word = name + equals + masked(value, named)
        follows = bool(named) and not equals and is_secret_name(named)
        shown.append(" ".join(masked_words(word.split(" "))) if " " in word and "--" in word else word)
    return [re.sub(r"//[^/@\s]+@", f"//{MASK}@", word) for word in shown]


def masked_url(url: str) -> str:
    """A URL for an error: without user, password, query and fragment."""
    return printable(_URL_SECRETS.sub(lambda match: f"//{MASK}@" if match[1] else "", url))


def hide(text: str, *secrets: str | None) -> str:
    """The text without these secrets."""
    for secret in filter(None, secrets):
        text = text.replace(secret, MASK)
    return text


def printable(text: str) -> str:
    """The text without escape sequences, control characters and halves of characters: safe for a terminal and in UTF-8."""
    return _CONTROL.sub("", _ESCAPE.sub("", text))


def as_text(text: object) -> str:
    """A text for Markdown, in which no name makes a tag, a link or a picture."""
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", re.sub(r"\](?=[(\[])", r"\]", str(text)))


def table_lines(header: Sequence, rows: Iterable[Sequence]) -> list[str]:
    """The lines of a table in Markdown; cells stand as they are."""
    return ["| " + " | ".join(map(str, line)) + " |" for line in (header, ["---"] * len(header), *rows)]


def is_unmistakable(secret: str) -> bool:
    """Whether no text holds it by chance, as it may hold the dummy key of a local server (test, none, EMPTY)."""
    return (len(secret) >= 16 and any(map(str.isdigit, secret))) or (secret.startswith("hf_") and len(secret) >= 12)


def key_of(variable: str) -> str | None:
    """The key in an environment variable; a :class:`UserError`, which does not show it, for one that no header can hold."""
    key = os.environ.get(variable)
    if key and not all("!" <= character <= "~" for character in key):
        kinds = {"a line break": "\r\n", "a space": " \t", "a quotation mark": "“”‘’„«»"}
        found = [name for name, characters in kinds.items() if set(characters) & set(key)]
        raise UserError(
            f"{variable}: holds {found[0] if found else 'a character'} that no key has; set it again without that,"
            f" as in {variable}=$(tr -d '[:space:]' < FILE)"
        )
    return key or None


def secrets() -> list[str]:
    """The keys, tokens and passwords of this process's environment and settings, longest first."""
    found = {value.strip() for name, value in os.environ.items() if is_secret_name(name) and is_unmistakable(value.strip())}
    return sorted(found | {value for value in _given if len(value) >= 8 and not value.isalpha()}, key=len, reverse=True)


def clean_folder(folder: Path) -> list[str]:
    """Mask every secret that stands in a text file under ``folder``, before it is published; the names of those files."""
    known = [secret.encode() for secret in secrets()]
    cleaned = []
    for file in sorted(folder.rglob("*")) if known else ():
        if not file.is_file() or file.is_symlink() or file.stat().st_size > _LARGEST:
            continue
        content = file.read_bytes()
        if not any(secret in content for secret in known) or b"\0" in content:
            continue
        for secret in known:
            content = content.replace(secret, MASK.encode())
        file.write_bytes(content)
        cleaned.append(file.relative_to(folder).as_posix())
    return cleaned
