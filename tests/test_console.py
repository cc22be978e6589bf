"""The console command of an installed package: the same functions, with messages that lead somewhere."""

import importlib
import re
import subprocess
import sys

import pytest

from diversity_tuning import console
from diversity_tuning.console import COMMANDS, as_run_here, main


@pytest.fixture
def installed(monkeypatch):
    """As in an installed package, without the scripts of the repository."""
    monkeypatch.setattr(console, "in_repository", lambda: False)


def test_the_list_of_commands(capsys):
    assert main(["--help"]) == main([]) == 0
    out = capsys.readouterr().out
    for name in "weigh describe sft dpo ddpo orpo dorpo grpo reward sample score look report".split():
        assert f"\n  {name} " in out


def test_a_mistyped_command_names_the_nearest(capsys):
    assert main(["dppo"]) == 2
    assert capsys.readouterr().err == "error: no command 'dppo'; did you mean dpo? (see diversity-tuning --help)\n"


@pytest.mark.parametrize("name", [name for name, one in COMMANDS.items() if one.module.startswith("commands.")])
def test_help_names_the_form_that_exists(name, installed, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([name, "--help"])
    text = capsys.readouterr().out
    assert stopped.value.code == 0
    assert text.startswith(f"usage: diversity-tuning {name} ")
    assert not re.search(r"scripts_|miniature|studies\.|recipes/", text)
    assert f"diversity-tuning {name} --" in text, "an example to copy"


def test_in_the_repository_the_modules_are_named():
    assert as_run_here("run scripts_eval.sample first") == "run scripts_eval.sample first"


def test_messages_of_an_installed_package(installed):
    text = "python -m scripts_eval.score --output x; run scripts_eval.sample first"
    assert as_run_here(text) == "diversity-tuning score --output x; run diversity-tuning sample first"


def test_the_scripts_are_the_same_functions():
    for one in COMMANDS.values():
        if one.module.startswith("commands."):
            library = importlib.import_module(f"diversity_tuning.{one.module}")
            assert importlib.import_module(one.script).main is library.main


def test_the_list_loads_no_heavy_package():
    code = "import sys; from diversity_tuning.console import main; main([]); print(*sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    loaded = set(answer.stdout.split())
    assert not {"torch", "numpy", "pandas", "yaml", "transformers"} & loaded
