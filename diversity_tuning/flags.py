"""Flags that are declared once: as the fields of the dataclass that the command works with.

    @dataclass(frozen=True)
    class Config(Flags):
        '''What to do.'''
        source: str = flag("the data")
        batch_size: int = flag("texts at once", default=32, least=1)

    config = parse_flags(Config, "scripts_eval.score", __doc__, argv)

The trainers' commands do the same with transformers' ``HfArgumentParser``, whose import alone takes longer than ``--help`` may.
"""

import argparse
import dataclasses
import typing
from collections.abc import Iterable, Sequence

from diversity_tuning.cli import Parser, parse_with_recipe
from diversity_tuning.ranges import default_of, kind_of
from diversity_tuning.recipe import truth

_UNSET = dataclasses.MISSING


def _number(kind: type, name: str):
    def parsed(text: str):
        return kind(text)

    parsed.__name__ = name  # what argparse calls it
    return parsed


_NUMBERS = {int: _number(int, "whole number"), float: _number(float, "number")}


def flag(
    help: str, *, default=_UNSET, factory=_UNSET, choices: Sequence | None = None, least: float | None = None,
    most: float | None = None, above: float | None = None, below: float | None = None, metavar: str | None = None,
    count: int | None = None, group: str | None = None, verbatim: bool = False,
):  # fmt: skip
    """A field that is a flag. Without ``default`` and ``factory`` it must be given.

    ``choices``: the values it may have. ``least`` and ``most``: bounds of a number, both allowed; ``above`` and ``below``:
    bounds that are not; :class:`~diversity_tuning.ranges.Flags` checks them. ``count``: how many values a list has.
    ``group``: the heading of ``--help`` that it stands under; default: its dataclass's, or none. ``verbatim``: the next word
    is its value, also where that looks like a flag.
    """
    kept = {"help": help, "choices": choices, "least": least, "most": most, "above": above, "below": below}
    kept |= {"metavar": metavar, "count": count, "group": group, "verbatim": verbatim}
    return dataclasses.field(default=default, default_factory=factory, metadata=kept)


def parse_flags(
    configs: type | Sequence[type], module: str, text: str | None, argv: Sequence[str] | None = None, *,
    defaults: dict | None = None, required: Iterable[str] = (), without: Iterable[str] = (), given: dict | None = None,
    extra: str | None = None,
):  # fmt: skip
    """The configuration (or one for each of several classes) that recipe and flags give to the command ``module``.

    A field that several classes have is one flag. ``text``: the command's docstring. ``defaults``: other defaults than the
    fields'; ``required``: flags that must be given here; ``without``: fields that are no flags here, whose values are those
    of ``given`` or else their defaults. ``extra``: of the package's optional parts the one that the command needs.
    Raises :class:`UserError` for what cannot be parsed.
    """
    several = isinstance(configs, Sequence)
    classes = list(configs) if several else [configs]
    parser = Parser(module, text)
    for one in classes:
        add_flags(parser, one, defaults or {}, tuple(required), tuple(without))
    namespace = parse_with_recipe(parser, argv, extra)
    for name, value in (given or {}).items():
        setattr(namespace, name, value)
    built = [read_flags(one, namespace) for one in classes]
    return built if several else built[0]


def add_flags(
    parser: argparse.ArgumentParser, config: type, defaults: dict | None = None, required: Sequence[str] = (),
    without: Sequence[str] = (),
) -> None:  # fmt: skip
    """Add the fields of a dataclass, and of the dataclasses in it, to a parser as flags."""
    _add(parser, parser, config, defaults or {}, required, without)


def read_flags(config: type, namespace: argparse.Namespace, **more):
    """Build a dataclass, and those in it, from parsed flags; ``more`` are given as they are."""
    values = dict(more)
    hints = typing.get_type_hints(config)
    for field in dataclasses.fields(config):
        if field.name in values:
            continue
        if dataclasses.is_dataclass(hints[field.name]):
            values[field.name] = read_flags(hints[field.name], namespace)
        elif hasattr(namespace, field.name):
            values[field.name] = getattr(namespace, field.name)
    return config(**values)


def _add(parser, group, config, defaults, required, without) -> None:
    hints = typing.get_type_hints(config)
    for field in dataclasses.fields(config):
        kind = hints[field.name]
        if dataclasses.is_dataclass(kind):
            title, *_ = (kind.__doc__ or "").strip().partition(". ")
            _add(parser, _group(parser, title.rstrip(".").replace("\n    ", " ")), kind, defaults, required, without)
        elif "help" in field.metadata and field.name not in without and f"--{field.name}" not in parser._option_string_actions:
            place = _group(parser, field.metadata["group"]) if field.metadata["group"] else group
            _add_field(place, field, kind, defaults, field.name in required)


def _group(parser, title: str):
    """The group of flags with this heading, made where it is not there."""
    there = (group for group in parser._action_groups if group.title == title)
    return next(there, None) or parser.add_argument_group(title)


def _add_field(group, field, kind, defaults: dict, required: bool) -> None:
    about = field.metadata
    default = defaults.get(field.name, default_of(field))
    one, many = kind_of(kind)
    options: dict = {"help": about["help"], "required": required or default is _UNSET}
    options["default"] = None if default is _UNSET else default
    if one is bool:
        group.add_argument(f"--{field.name}", type=_truth, nargs="?", const=True, metavar="true|false", **options)
        if default is True:
            group.add_argument(f"--no_{field.name}", dest=field.name, action="store_false", help=argparse.SUPPRESS)
        return
    if many:
        options["nargs"] = about["count"] or "+"
    for name in ("choices", "metavar"):
        if about[name] is not None:
            options[name] = about[name]
    action = group.add_argument(f"--{field.name}", type=_NUMBERS.get(one, one), **options)
    action.verbatim = about["verbatim"]


def _truth(text: str) -> bool:
    value = truth(text)
    if value is None:
        raise argparse.ArgumentTypeError(f"takes true or false, not {text!r}")
    return value
