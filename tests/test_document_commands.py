"""Every command that a document prints is one that its parser takes: blocks of shell as the shell expands them, inline code.

Nothing is run: Python, accelerate and reproduce.sh are stand-ins that write down their words. docs/LOG.md is a record.
"""

import argparse
import importlib
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from diversity_tuning.cli import expand_recipe
from diversity_tuning.console import commands as console_commands
from diversity_tuning.objectives import trainings
from studies.reproduce.__main__ import make_parser, plan
from tests.test_launching import stand_in

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    [
        *(path for path in (ROOT / "docs").glob("*.md") if path.name != "LOG.md"),
        *(ROOT / "results").glob("*/README.md"),
        *(ROOT / name / "README.md" for name in ("", "results", "benchmarks")),
    ]
)
OURS = ("benchmarks", "diversity_tuning", "studies", "scripts_")
INLINE = re.compile(r"(?<!`)`((?:\w+=\S+ )*(?:python -m|bash reproduce\.sh|bash cm_|diversity-tuning) [^`]+)`(?!`)")
# What a document says is gone, or is a place for a name.
NOT_THERE = ("--variants", "diversity_tuning.training NAME", "diversity-tuning NAME", "scripts_…", "diversity_tuning…")
# Programs of others, whose words are not looked at.
OTHERS = ("cd", "cat", "bash", "git", "hf", "less", "mkdir", "pip", "python3", "tensorboard", "trl", "vllm")
SHELL = ("reproduce.sh", "setup.sh", "run_tests.sh", "human-eval/run.sh")
# The launcher reads its configuration with Python; a document's own script is not run.
READS = f'if [ "$1" = - ]; then case "$2" in *.yaml) exec {sys.executable} "$@" ;; *) exec cat >/dev/null ;; esac; fi'
TRAINED = {one.module: name for name, one in trainings().items()}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the repository's scripts and recipes, and stand-ins for programs; ``log`` has the words of each call."""
    place = tmp_path_factory.mktemp("place")
    for path in ROOT.iterdir():
        if path.name not in ("runs", "human-eval", ".git", ".venv", *SHELL):
            (place / path.name).symlink_to(path)
    bin_folder = place / "bin"
    bin_folder.mkdir()
    # One write a call: documents start servers in the background, whose calls may come in between.
    write = f'printf "%s\\0" "${{0##*/}}" "$@" "\n" >> {place}/log'
    for name in ("python", "accelerate", "diversity-tuning"):
        stand_in(bin_folder, name, f"{READS}\n{write}" if name == "python" else write)
    (place / "human-eval").mkdir()
    for name in set(OTHERS) - {"bash", "cat", "cd", "mkdir"}:
        stand_in(bin_folder, name, ":")
    for name in SHELL:
        (place / name).write_text(f'exec python -m {name} "$@"\n')
    (place / ".venv" / "bin").mkdir(parents=True)
    (place / ".venv" / "bin" / "activate").write_text("")
    row = {"post_title": "a", "post_text": "", "comment_texts": ["b", "c"], "comment_scores": [1, 2]}
    (place / "votes.jsonl").write_text(json.dumps(row) + "\n")
    return place


def scripts(document):
    """The shell code of a document: its blocks as one script, as one uses the variables of another; each inline command."""
    text = document.read_text(encoding="utf-8")
    rest = re.sub(r"(?ms)^ *```.*?^ *```", "", text)
    inline = [" ".join(found.split()) for found in INLINE.findall(rest)]
    blocks = re.findall(r"(?ms)^ *```(\w*)\n(.*?)^ *```", text)
    blocks = [code for language, code in blocks if language == "bash" or (not language and COMMANDS.search(code))]
    found = ["\n".join(blocks), *inline]
    return [code for code in found if code and not any(one in code for one in NOT_THERE)]


COMMANDS = re.compile(r"(?m)^(?:\w+=\S+ )*(?:python -m|bash |accelerate |diversity-tuning )")


def calls(place, code):
    """The words of every call of Python, accelerate or ``diversity-tuning`` in the code, in order."""
    (place / "log").write_text("")
    environment = {"PATH": f"{place / 'bin'}:/usr/bin:/bin", "HOME": str(place), "PYTHONPATH": str(ROOT)}
    environment |= {"SOURCE": "source.jsonl.gz", "O": "runs/o"}  # what a document names in words
    environment |= {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "TMPDIR") if name in os.environ}
    answer = subprocess.run(["/bin/bash", "-c", code], cwd=place, env=environment, capture_output=True, text=True, timeout=120)
    assert answer.stderr == "", code
    return [call.split("\0") for call in (place / "log").read_text().split("\0\n\0")[:-1]]


def module_and_words(call):
    """What is started, and with which flags; without the dots that stand for further ones."""
    program, *words = call
    if program == "diversity-tuning":
        name, *words = words
        module = console_commands()[name].script if not name.startswith("-") else None
        module = {one.command: one.module for one in trainings().values()}.get(name, module)
    else:
        places = [place for place, word in enumerate(words) if word == "-m"]
        module, words = (words[places[-1] + 1], words[places[-1] + 2 :]) if places else (None, words)
    words = ["1" if word == "N" else word for word in words]
    return module, [word for place, word in enumerate(words) if word != "…" or (place and words[place - 1].startswith("--"))]


def relax(parser):
    """No flag is required any more: documents print parts of commands."""
    for group in parser._mutually_exclusive_groups:
        group.required = False
    for action in parser._actions:
        action.required = False
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                relax(one)
        elif not action.option_strings and action.nargs is None:
            action.nargs = "?"


class Parsed(Exception):
    """Ends a command after its command line was read."""


def check(place, monkeypatch, module, words):
    """Fails with the parser's complaint, if it has one."""
    if not words:  # in a sentence, without flags
        assert module == "reproduce.sh" or importlib.util.find_spec(module), module
        return
    if module == "reproduce.sh":
        if "--source" in words:
            words[words.index("--source") + 1] = str(place / "votes.jsonl")
        args = make_parser().parse_args(words)
        if args.source or args.recipe not in ("captions", "smollm2"):
            assert plan(args, {})
        return
    if module in TRAINED or module == "diversity_tuning.training":
        parser = trainings()[TRAINED[module] if module in TRAINED else words.pop(0)].parser()
        relax(parser)
        _, unknown = parser.parse_known_args(expand_recipe(parser, words))
        assert unknown == []
        return
    original = argparse.ArgumentParser.parse_args

    def parse_args(self, args=None, namespace=None):
        relax(self)
        original(self, args, namespace)
        raise Parsed

    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
        found = importlib.import_module(module)
        found = found if hasattr(found, "main") else importlib.import_module(f"{module}.__main__")
        with pytest.raises(Parsed):
            found.main(words)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_of_documents_are_known(document, place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "argv", ["test"])
    for code in scripts(document):
        for call in calls(place, code):
            module, words = module_and_words(call)
            if not module or not module.startswith((*OURS, "reproduce.sh")):
                continue
            try:
                check(place, monkeypatch, module, words)
            except SystemExit:
                pytest.fail(f"{' '.join(call)}: {capsys.readouterr().err}")
