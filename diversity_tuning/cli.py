"""What every command shares: parsers that help, recipes as flags, and errors as one line with exit code 2."""

import argparse
import contextlib
import errno
import functools
import json
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum

from diversity_tuning.children import end_with_parents
from diversity_tuning.console import as_run_here
from diversity_tuning.errors import UserError
from diversity_tuning.group import leave
from diversity_tuning.locks import release
from diversity_tuning.missing import require
from diversity_tuning.names import nearest
from diversity_tuning.public import printable
from diversity_tuning.recipe import read_recipe
from diversity_tuning.workers import DIED, bounded

# System errors that the user can resolve: no space, over quota, no permission, read-only, not a folder.
_MENDABLE = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.ENOTDIR}
_NAMES = {errno.ENAMETOOLONG: "give a shorter name", errno.ELOOP: "its links lead back to itself; give another path"}
# What safetensors, torch and pyarrow say instead of an errno when a disk is full.
_FULL = ("No space left on device", "os error 28", "Disk quota exceeded", "PytorchStreamWriter failed", "iostream error")
# What datasets, sentence-transformers and torch say of a worker process that was killed.
_KILLED = (DIED, "has abruptly died during map operation", "pool worker(s) died", "DataLoader worker (pid")
_FEWER = "a worker process was killed, most often for memory; use fewer processes, then the same command goes on"
_NEGATIVE = re.compile(r"-\.?\d")  # how a word begins that is a value below 0
REQUESTS = "requests"  # how the threads are named that a stopped command does not wait for
_running: list[list[str]] = []  # the words of the commands that are under way, each called by the one before
STOPPED = "stopped; the same command goes on"


def command(main: Callable[..., int | None]) -> Callable[..., int]:
    """Decorate ``main(argv=None)``: an error that the user can resolve ends as one line on stderr and exit code 2.

    That is a :class:`UserError`, a full disk, a folder that may not be written. Ctrl-C ends as one line and exit code 130.
    """

    @functools.wraps(main)
    def wrapper(argv: Sequence[str] | None = None) -> int:
        end_with_parents()
        _running.append(sys.argv[1:] if argv is None else [str(word) for word in argv])
        try:
            with bounded() if len(_running) == 1 else contextlib.nullcontext():
                code = main(argv) or 0
                if len(_running) == 1:
                    leave()
                return code
        except UserError as error:
            message, code = f"error: {' '.join(as_run_here(str(error)).split())}", 2
        except KeyboardInterrupt:
            message, code = STOPPED, 130
        except SystemExit as ended:
            if not isinstance(ended.code, int) or ended.code < 128:
                raise
            message, code = "", ended.code  # of a signal (generation/vllm_server.py), or said by the command inside
        except Exception as error:
            reason = _of_the_system(error)
            if reason is None:
                raise
            message, code = (STOPPED, 130) if reason == STOPPED else (f"error: {reason}", 2)
        finally:
            _running.pop()
            if not _running:
                release()
        message = printable(message)  # it may quote what a server or a file said
        if message and (code == 2 or os.environ.get("RANK", "0") == "0"):  # of several processes that were stopped, one says so
            print(message, file=sys.stderr, flush=True)
        if code >= 128 and any(one.name.startswith(REQUESTS) for one in threading.enumerate()):
            os._exit(code)  # Python would wait for the threads that wait for a server
        raise SystemExit(code)

    return wrapper


def is_part_of_another() -> bool:
    """Whether the command that runs was called by another command."""
    return len(_running) > 1


@contextlib.contextmanager
def as_part() -> Iterator[None]:
    """Inside, the functions of other commands are part of this one, and say no next step."""
    _running.append([])
    try:
        yield
    finally:
        _running.pop()


def words_of_command() -> list[str]:
    """The flags of the command that was started; empty outside a command."""
    return _running[0] if _running else []


def _of_the_system(error: BaseException | None) -> str | None:
    """What the system refused, if that is why ``error`` was raised; None for a fault of the program."""
    first = None
    while error is not None:
        if isinstance(error, KeyboardInterrupt):  # `datasets` raises a TimeoutError after it
            return STOPPED
        if isinstance(error, OSError) and error.errno in _NAMES:
            return f"{error.filename or 'a path'}: {error.strerror}; {_NAMES[error.errno]}"
        if isinstance(error, RuntimeError) and str(error).startswith("Symlink loop from"):  # of Path.resolve
            return f"{str(error).removeprefix('Symlink loop from ')}: {_NAMES[errno.ELOOP]}"
        if isinstance(error, OSError) and error.errno in _MENDABLE:
            where = error.filename or "the output folder"
            advice = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "change its permissions"
            advice = "it lies below a file" if error.errno == errno.ENOTDIR else advice
            return f"{where}: {error.strerror}; {advice}, or choose another folder; the same command goes on"
        if any(mark in str(error) for mark in _FULL):
            return "the disk is full (No space left on device); free some space, then the same command goes on"
        if isinstance(error, RuntimeError) and any(mark in str(error) for mark in _KILLED):
            return _FEWER
        first = first or error
        error = error.__cause__ or error.__context__
    # `datasets` looks for its workers' results once more when they, or the process that holds their queue, have ended.
    return _FEWER if type(first).__module__ == "multiprocess.context" else None


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """The docstring as it stands, defaults where there are any, and each flag with one spelling and its value once."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        named = [flag for flag in action.option_strings if "-" not in flag.lstrip("-")] or action.option_strings
        value = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(named)} {value}"

    def _get_help_string(self, action: argparse.Action) -> str:
        text = as_run_here((action.help or "").removesuffix(" (default: %(default)s)"))
        default = action.default.value if isinstance(action.default, Enum) else action.default
        without = default is None or default is False or default is argparse.SUPPRESS or default in ("", [])
        if without or not action.option_strings:
            return text
        if re.search(r"default: |defaults to ", text, re.IGNORECASE):
            return text
        shown = " ".join(map(str, default)) if isinstance(default, list | tuple) else str(default)
        return f"{text} (default: {shown.replace('%', '%%')})"


class OneLineErrors:
    """An :class:`argparse.ArgumentParser` whose complaints are one line that names the nearest flag or choice.

    Flags may be typed with dashes for underscores: ``--data-path`` is ``--data_path``. A word such as ``-0.3=FOLDER`` is a
    value: no flag begins with a number.
    """

    def error(self, message: str) -> None:
        raise UserError(f"{message} (see {self.prog} --help)")

    def parse_known_args(self, args=None, namespace=None):
        self._negative_number_matcher = _NEGATIVE  # before Python 3.14: of whole numbers and decimals alone
        return super().parse_known_args(list(self._as_known(sys.argv[1:] if args is None else args)), namespace)

    def _as_known(self, words: Iterable[str]) -> Iterator[str]:
        known = {flag.replace("_", "-"): flag for flag in reversed(self._option_string_actions)}
        words = iter(words)
        for word in words:
            if word == "--":  # what follows is no flag of this command
                yield from ("--", *map(str, words))
                return
            name, equals, value = str(word).partition("=")
            if not name.startswith("--") or " " in name or name in self._option_string_actions:
                verbatim = getattr(self._option_string_actions.get(name), "verbatim", False) and not equals
                yield f"{name}={next(words, '')}" if verbatim else str(word)
                continue
            flag = known.get(name.replace("_", "-"))
            if flag is None:
                self.error(f"unknown flag {name}{nearest(name, self._option_string_actions)}")
            yield f"{flag}{equals}{value}"

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            choices = [str(choice) for choice in action.choices]
            near = nearest(str(value), choices)
            raise argparse.ArgumentError(action, f"{value!r} is not one of {', '.join(choices)}{near}")


class Parser(OneLineErrors, argparse.ArgumentParser):
    """The parser of the command ``python -m MODULE``; ``text``, its docstring, holds commands to copy."""

    def __init__(self, module: str, text: str | None, **options):
        words = {"prog": as_run_here(f"python -m {module}"), "description": as_run_here(text or "")}
        options = {**words, "formatter_class": HelpFormatter, **options}
        super().__init__(allow_abbrev=False, **options)

    def add_output(self, about: str) -> None:
        """``--output``, which ``about`` describes, and ``--overwrite``."""
        self.add_argument("--output", required=True, help=about)
        told = "replace an output made with other settings"
        self.add_argument("--overwrite", action=argparse.BooleanOptionalAction, default=False, help=told)

    def format_help(self) -> str:
        """With a usage of one line: what must be given."""
        needed = [action for action in self._actions if action.required]
        words = [(action.option_strings or [""])[0] + " " + _value_of(action) for action in needed]
        self.usage = " ".join(["%(prog)s", *(word.strip() for word in words), "[flags]"])
        return super().format_help()


class _Finder(argparse.ArgumentParser):
    """Looks for one flag among others that it does not know."""

    def error(self, message: str) -> None:
        raise UserError(message)


def _value_of(action: argparse.Action) -> str:
    if action.choices is not None and not action.option_strings:
        return "{" + ",".join(map(str, action.choices)) + "}"
    name = action.metavar or action.dest.upper()
    return " ".join(name) if isinstance(name, tuple) else name


def parse_with_recipe(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None = None, extra: str | None = None
) -> argparse.Namespace:
    """Parse ``argv``; ``--config recipe.yaml`` is replaced by the flags it lists, and any flag after it overrides it.

    ``extra``: of the package's optional parts the one that the command needs.
    """
    namespace = parser.parse_args(expand_recipe(parser, argv))
    if extra:
        require(extra)
    return namespace


def expand_recipe(parser: argparse.ArgumentParser, argv: Sequence[str] | None = None) -> list[str]:
    """Replace ``--config FILE`` in ``argv`` by the flags that the YAML file lists.

    The recipe goes through the parser like flags typed by hand, so types and choices are checked in one place. It comes
    first, whatever its position, so that flags override it. A key that the parser does not know is a :class:`UserError`.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    parser.allow_abbrev = False
    if "--config" not in parser._option_string_actions:
        parser.add_argument("--config", metavar="YAML", help="a recipe: these flags as a YAML mapping; flags override it")
    finder = _Finder(add_help=False, allow_abbrev=False)
    finder.add_argument("--config")
    found, rest = finder.parse_known_args(argv)
    return argv if found.config is None else recipe_flags(parser, found.config) + rest


def recipe_flags(parser: argparse.ArgumentParser, path: str) -> list[str]:
    """The flags that a recipe file lists."""
    flags = []
    actions: dict[str, list[argparse.Action]] = {}
    for action in parser._actions:
        if action.option_strings:
            actions.setdefault(action.dest, []).append(action)
    for key, value in read_recipe(path).items():
        if key not in actions or key in ("help", "config"):
            raise UserError(f"{path}: key '{key}' is not an argument of {parser.prog}{nearest(str(key), actions)}")
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
    if isinstance(value, list) and takes_value.nargs is None:
        raise UserError(f"{path}: key '{key}' takes one value, not the list {value!r}")
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
