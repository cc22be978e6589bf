"""The two modes of playing: once, in a terminal or a pipe, and interactively."""

import argparse
import contextlib
import dataclasses
import shutil
import sys

import numpy as np

from diversity_tuning.errors import UserError
from diversity_tuning.generation.requests import SamplingSettings
from studies.horror.play import fields, prompts
from studies.horror.play.session import Screen, Session, play_round, wrapped
from studies.horror.play.writer import Writer
from studies.horror.specification import Specification, from_prompt

_NARROWEST = 20
_MENU = "[Enter] again  [n] new specification  [s] save  [q] leave"
INTERRUPTED = 130  # exit code of a command ended by Ctrl-C


def screen() -> Screen:
    """As wide as the terminal; no wrapping and plain marks where stdout is none."""
    width = max(shutil.get_terminal_size().columns, _NARROWEST) if sys.stdout.isatty() else 0
    encoding = (getattr(sys.stderr, "encoding", None) or "ascii").lower()
    return Screen(width=width, marks=("✓", "✗") if sys.stderr.isatty() and encoding.startswith("utf") else ("+", "-"))


def settings(args: argparse.Namespace) -> SamplingSettings:
    """The sampling flags; :class:`UserError` for values out of range."""
    names = ("temperature", "top_k", "top_p", "repetition_penalty", "max_new_tokens")
    return SamplingSettings(**{name: getattr(args, name) for name in names})


def oneshot(args: argparse.Namespace) -> int:
    """One round, then the end: 0, or 130 when interrupted."""
    given = fields.read_spec_file(args.spec) if args.spec else {}  # a wrong file is told before a model is loaded
    session, view = Session(args.adapter, settings(args)), screen()
    terminal = sys.stdin.isatty()
    try:
        writer = Writer(args.adapter, args.base_model, args.device, args.dtype)
        rng = np.random.default_rng(args.seed)
        spec, prompt = _what(args, given, writer, rng, _ask if terminal else None, view)
        whole = _round(args, writer, session, view, spec, prompt, args.seed)
    except KeyboardInterrupt:
        whole = False
    except EOFError:
        view.say("")
        return 0
    if args.save:
        view.say(f"saved: {session.save(args.save)}")
    return 0 if whole else INTERRUPTED


def play(args: argparse.Namespace) -> int:
    """Rounds until the person leaves (q, Ctrl-D, or Ctrl-C at a question)."""
    given = fields.read_spec_file(args.spec) if args.spec else {}
    session, view = Session(args.adapter, settings(args)), screen()
    view.say(f"loading {args.adapter} …")
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        writer = Writer(args.adapter, args.base_model, args.device, args.dtype)
        rng, seed = np.random.default_rng(args.seed), args.seed
        spec, prompt = _what(args, given, writer, rng, _ask, view)
        while True:
            view.width = screen().width  # the window may have changed
            _round(args, writer, session, view, spec, prompt, seed)
            seed += 1
            answer = _menu(session, args.save, view)
            if answer == "q":
                break
            if answer == "n":
                spec, prompt = _what(argparse.Namespace(prompt=None), {}, writer, rng, _ask, view)
    if args.save and session.stories:
        view.say(f"saved: {session.save(args.save)}")
    view.say("bye")
    return 0


def _what(args, given: dict, writer: Writer, rng, ask, view: Screen) -> tuple[Specification | None, str]:
    """(specification, prompt); the specification is None for a prompt that is none of ours."""
    if args.prompt is not None:
        prompt = fields.clean_prompt(args.prompt, writer.special_tokens)
        if not prompt:
            raise UserError("--prompt: empty; give a text, or leave it out to be asked for a specification")
        return _read(prompt, writer, rng, view)
    if ask is not None and len(given) < len(fields.ASKED):
        view.say("Answer in a few words; Enter draws at random.")
    return _shown(fields.complete(given, rng, ask, view.say), writer, view)


def _read(prompt: str, writer: Writer, rng, view: Screen) -> tuple[Specification | None, str]:
    """The specification that a prompt gives, what it leaves out drawn and said; the prompt itself, where it gives none."""
    given = {} if from_prompt(prompt) else prompts.read_prompt(prompt)
    if not given:
        spec = from_prompt(prompt)
        return (_shown(spec, writer, view)[0] if spec else None), prompt
    if "taboo" in given and "taboo_kept" not in given:
        given["taboo_kept"] = False
        view.say("the prompt does not say whether the rule is kept or broken: taken as broken")
    return _shown(fields.complete(given, rng, None, view.say), writer, view)


def _shown(spec: Specification, writer: Writer, view: Screen) -> tuple[Specification, str]:
    """The specification, shown with the words that the model has never read, and its prompt."""
    view.say(fields.summary(spec))
    unread = prompts.unread_words(writer.tokenizer, dataclasses.asdict(spec))
    if unread:
        view.say(f"words that this model has never read, and so cannot write as asked: {', '.join(unread)}")
    return spec, spec.to_prompt()


def _round(args, writer, session, view, spec, prompt, seed) -> bool:
    model = None if args.semantic_model in (None, "none", "None") else args.semantic_model
    return play_round(writer, session, view, spec, prompt, seed, args.num_variations, args.raw, model)


def _menu(session: Session, place: str | None, view: Screen) -> str:
    """Ask what next, saving as often as asked: "" (again), "n" or "q"."""
    while True:
        answer = fields.clean_field(_ask(_MENU)).casefold()
        if answer in ("", "n", "q"):
            return answer
        if answer == "s":
            try:
                view.say(f"saved: {session.save(place or 'session.json')}")
            except UserError as error:
                view.say(f"error: {error}")
        else:
            view.say("please press Enter, or type n, s or q")


def _ask(question: str) -> str:
    """A line typed in the terminal. The question goes to stderr, so that stdout holds stories alone."""
    sys.stderr.write(wrapped(question, screen().width) + "\n")
    if sys.stdout.isatty():
        sys.stderr.flush()
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401  line editing and history in input()
        return input("> ")
    sys.stderr.write("> ")
    sys.stderr.flush()
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line
