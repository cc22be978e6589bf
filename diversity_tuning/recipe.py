"""Recipes: YAML files that list the flags of one command. The only reader of a recipe."""

import re
from collections.abc import Sequence
from pathlib import Path

import yaml

from diversity_tuning.errors import UserError
from diversity_tuning.names import near_path

_TRUE, _FALSE = ("yes", "true", "t", "y", "1", "on"), ("no", "false", "f", "n", "0", "off")


class _Loader(yaml.SafeLoader):
    """YAML whose numbers are those of every other program: ``1e-6`` is a number, and ``010`` is ten.

    YAML 1.1 takes the one for text and the other for eight; ``1:30`` is ninety there, and a date is no text. Of a key that is
    given twice YAML takes the last; here it is an error.
    """

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        for number, key in enumerate(keys):
            if key in keys[:number]:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)

    def construct_whole_number(self, node) -> int:
        return int(self.construct_scalar(node))


_INT, _FLOAT, _DATE = (f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "timestamp"))
_Loader.yaml_implicit_resolvers = {
    start: [(tag, pattern) for tag, pattern in known if tag not in (_INT, _FLOAT, _DATE)]
    for start, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_INT, re.compile(r"[-+]?\d+(_\d+)*$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    _FLOAT,
    re.compile(r"[-+]?(\d+\.\d*|\.\d+)$|[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$|[-+]?\.(?i:inf)$|\.(?i:nan)$"),
    list("-+.0123456789"),
)
_Loader.add_constructor(_INT, _Loader.construct_whole_number)


def parse_yaml(text: str) -> object:
    """What a YAML text says (:class:`_Loader`). Raises yaml's errors, and a ValueError for numbers that are none."""
    return yaml.load(text, Loader=_Loader)  # a SafeLoader


class Recipe(dict):
    """The settings of one recipe file, name to typed value; ``path`` is the file."""

    def __init__(self, settings: dict, path: str | Path):
        super().__init__(settings)
        self.path = str(path)

    def number(self, name: str, default: float | None = None) -> float | None:
        """The setting as a float, also where the file has it in quotes; ``default`` where it is absent or null."""
        value = self.get(name)
        if value is None:
            return default
        try:
            if isinstance(value, bool):
                raise ValueError
            return float(value)
        except (TypeError, ValueError):
            raise UserError(f"{self.path}: {name}: {value!r} is not a number") from None


def read_recipe(path: str | Path) -> Recipe:
    """Read a recipe. Raises :class:`UserError` for a file that is missing, is not YAML in UTF-8, or holds no mapping."""
    if not Path(path).is_file():
        raise UserError(f"{path}: no such recipe{near_path(str(path)) or '; see the folder recipes/'}")
    return Recipe(read_mapping(path, "a recipe is a mapping of argument: value", or_empty=True), path)


def read_mapping(path: str | Path, what: str, or_empty: bool = False) -> dict:
    """The mapping in a YAML file; :class:`UserError` where it cannot be read, or holds anything else than ``what`` says."""
    try:
        content = parse_yaml(Path(path).read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8; save it as UTF-8") from None
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; {what}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); {what}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid YAML ({error})") from None
    if content is None and or_empty:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"{path}: {what}")
    return content


def truth(text: object) -> bool | None:
    """The truth value that a flag's ``text`` names (yes, true, 1, no, …), or None for another text."""
    word = str(text).lower()
    return True if word in _TRUE else False if word in _FALSE else None


def typed(text: str) -> object:
    """A flag's text as a recipe would give it: ``"0.20"`` is 0.2, ``"true"`` is True, another word is itself."""
    try:
        value = parse_yaml(text)
    except (yaml.YAMLError, ValueError):
        return text
    return value if isinstance(value, bool | int | float | dict) else text


def explicit_settings(argv: Sequence[str]) -> dict:
    """The settings that a recipe and the flags give, without loading a trainer: ``{"beta": 0.3, "source": "data", …}``.

    Flags override the recipe. Numbers and truth values are typed, whichever of the two gives them. Used to know at once
    whether a run is finished; the trainer's parser checks the settings.
    """
    flags: dict[str, list] = {}
    key = None
    for word in argv:
        if word.startswith("--"):
            key, _, value = word[2:].partition("=")
            key = key.replace("-", "_")  # transformers' parser takes --output-dir for --output_dir
            flags[key] = [value] if value else []
        elif key:
            flags[key].append(word)
    given = {key: _value_of(words) for key, words in flags.items()}
    recipe = read_recipe(str(given.pop("config"))) if "config" in given else {}
    settings = {key: _value_of(value if isinstance(value, list) else [value]) for key, value in recipe.items()}
    return {**{key: value for key, value in settings.items() if value is not None}, **given}


def _value_of(words: list) -> object:
    """One value of a flag typed, several as a list of texts, a flag without a value as True."""
    if len(words) > 1:
        return [str(word) for word in words]
    return (typed(words[0]) if isinstance(words[0], str) else words[0]) if words else True
