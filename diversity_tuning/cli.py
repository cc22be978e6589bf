"""What every command shares: recipes as flags, and errors as one line with exit code 2."""

import argparse
import dataclasses
import difflib
import errno
import functools
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml

from diversity_tuning.errors import UserError

# The system's answers that a person can mend: no space, over quota, no permission, read-only, not a folder.
_MENDABLE = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.ENOTDIR}


def command(main: Callable[..., int | None]) -> Callable[..., int]:
    """Decorate ``main(argv=None)``: a :class:`UserError` or a full disk ends as one line on stderr and exit code 2."""

    @functools.wraps(main)
    def wrapper(argv: Sequence[str] | None = None) -> int:
        try:
            return main(argv) or 0
        except UserError as error:
            message = " ".join(str(error).split())
        except OSError as error:
            if error.errno not in _MENDABLE:
                raise
            message = f"{error.filename or 'the output folder'}: {error.strerror}; free some space or choose another folder"
        print(f"error: {message}", file=sys.stderr)
        raise SystemExit(2)

    return wrapper


def parse_with_recipe(parser: argparse.ArgumentParser, argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse ``argv``; ``--config recipe.yaml`` stands for the flags it lists, and any flag after it overrides it."""
    return parser.parse_args(expand_recipe(parser, argv))


def from_flags(config: type, args: argparse.Namespace, **more):
    """Build a configuration dataclass from the parsed flags that have its fields' names; ``more`` are given as they are."""
    names = {field.name for field in dataclasses.fields(config)} & vars(args).keys()
    return config(**{name: getattr(args, name) for name in names - more.keys()}, **more)


def expand_recipe(parser: argparse.ArgumentParser, argv: Sequence[str] | None = None) -> list[str]:
    """Replace ``--config FILE`` in ``argv`` by the flags that the YAML file stands for.

    The recipe goes through the parser like flags typed by hand, so types and choices are checked in one place. It comes
    first, whatever its position, so that flags override it. A key that the parser does not know is a :class:`UserError`.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    parser.allow_abbrev = False
    if "--config" not in parser._option_string_actions:
        parser.add_argument("--config", metavar="YAML", help="a recipe: these flags as a YAML mapping; flags override it")
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    finder.add_argument("--config")
    found, rest = finder.parse_known_args(argv)
    return argv if found.config is None else recipe_flags(parser, found.config) + rest


def recipe_flags(parser: argparse.ArgumentParser, path: str) -> list[str]:
    """The flags that a recipe file stands for."""
    flags = []
    actions: dict[str, list[argparse.Action]] = {}
    for action in parser._actions:
        if action.option_strings:
            actions.setdefault(action.dest, []).append(action)
    for key, value in read_recipe(path).items():
        if key not in actions or key in ("help", "config"):
            near = difflib.get_close_matches(str(key), actions, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise UserError(f"{path}: key '{key}' is not an argument of {parser.prog}{hint}")
        flags += _as_flags(actions[key], value, path, parser.get_default(key))
    return flags


def at_least(smallest: int):
    """An argparse type: a whole number from ``smallest`` up."""

    def whole(text: str) -> int:
        value = int(text)
        if value < smallest:
            raise argparse.ArgumentTypeError(f"{value} is below {smallest}")
        return value

    whole.__name__ = "whole number"
    return whole


def read_recipe(path: str) -> dict:
    """Read a YAML mapping."""
    if not Path(path).is_file():
        raise UserError(f"{path}: no such recipe; see the folder recipes/")
    try:
        recipe = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML ({error})") from None
    if not isinstance(recipe, dict):
        raise UserError(f"{path}: a recipe is a mapping of argument: value")
    return recipe


def _as_flags(actions: list[argparse.Action], value: object, path: str, default: object) -> list[str]:
    """The words that set one destination to ``value``. Several actions may write it, as ``--x VALUE`` and ``--no_x`` do."""
    key = actions[0].dest
    if value is None:
        return []
    takes_value = next((action for action in actions if action.nargs != 0), None)
    if takes_value is None:
        if not isinstance(value, bool):
            raise UserError(f"{path}: key '{key}' takes true or false, not {value!r}")
        return _switch(actions, value, path, default)
    flag = next((option for option in takes_value.option_strings if option.startswith("--")), takes_value.option_strings[0])
    if isinstance(value, list):
        return [flag, *map(_scalar, value)]
    return [f"{flag}={_scalar(value)}"]


def _switch(actions: list[argparse.Action], value: bool, path: str, default: object) -> list[str]:
    """The switch that stores ``value``; none where that is the default."""
    for action in actions:
        if isinstance(action, argparse.BooleanOptionalAction):
            return [option for option in action.option_strings if option.startswith("--no-") is not value][:1]
        if action.const is value:
            return action.option_strings[:1]
    if bool(default) is value:
        return []
    raise UserError(f"{path}: key '{actions[0].dest}': no flag sets it to {_scalar(value)}")


def _scalar(value: object) -> str:
    if isinstance(value, dict):
        return json.dumps(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
