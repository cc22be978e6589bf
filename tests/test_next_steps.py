"""What a command says to do next runs as printed."""

import importlib
import re
import shlex
from pathlib import Path

import pytest

from diversity_tuning import console, next_steps
from diversity_tuning.cli import command
from diversity_tuning.next_steps import NEXT, next_line, print_next, register_next
from studies.miniature import base_model, tokenizer, world  # noqa: F401  (they register what follows them)

ROOT = Path(__file__).parents[1]
RECIPES = ROOT / "recipes" / "miniature"


def run_line(line):
    """Run a printed line as a shell would, in this process."""
    for part in line.split(" && "):
        words = shlex.split(part)
        assert words[:2] == ["python", "-m"], line
        assert importlib.import_module(words[2]).main(words[3:]) == 0


@pytest.fixture(scope="module")
def printed(tmp_path_factory, request):
    """Follow the lines from the miniature's texts to weighted pairs; every line that was printed on the way."""
    root = tmp_path_factory.mktemp("a run")
    lines = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(next_steps, "print", lambda text, **_: lines.append(text.removeprefix("next: ")), raising=False)
        world.main(["--config", str(RECIPES / "world.yaml"), "--num_prompts", "40", "--output", str(root / "world")])
        for _ in range(5):
            run_line(lines[-1])
    return lines, root


def modules(lines):
    return [re.findall(r"python -m (\S+)", line)[-1] for line in lines]


def test_from_texts_to_pairs_by_printed_lines(printed):
    lines, root = printed
    assert modules(lines)[:1] == ["studies.miniature.tokenizer"]
    after = [name for name in modules(lines) if name != "studies.miniature.tokenizer"]
    assert after[-4:] == [
        "scripts_dataset_cleaner.2_data_prep_to_preference",
        "diversity_tuning.stylometry",
        "scripts_dataset_cleaner.3_data_prep_for_diversified_training",
        "scripts_finetuning.generation_model_train",
    ]
    assert (root / "data" / "pairs-both" / "provenance.json").is_file()
    assert "--config" in lines[-1]


def test_trainings_and_scores_by_printed_lines(printed, monkeypatch):
    """From a base model: SFT, DDPO, a reward model, samples with scores, a report."""
    lines, root = printed[0][:], printed[1]
    monkeypatch.setattr(next_steps, "print", lambda text, **_: lines.append(text.removeprefix("next: ")), raising=False)
    config = ["--config", str(RECIPES / "base_model.yaml"), "--epochs", "1", "--recitals", "10"]
    base_model.main(
        [*config, "--source", f"{root}/data/filtered", "--tokenizer", f"{root}/tokenizer", "--output", f"{root}/base"]
    )
    run_line(lines[-1] + " --max_steps 1")
    assert (root / "generation" / "adapter_config.json").is_file()
    from scripts_reward_modeling import reward_model_train

    reward = ["--config", str(RECIPES / "reward.yaml"), "--max_steps", "1", "--model_name_or_path", f"{root}/base"]
    ddpo = lines[-1]
    reward_model_train.main([*reward, "--source", f"{root}/data/filtered", "--output_dir", f"{root}/reward"])
    run_line(ddpo + " --max_steps 1")
    assert "scripts_eval.generation_eval1_1" in lines[-1]
    run_line(lines[-1] + " --num_prompts 2 --max_new_tokens 8")
    assert "scripts_eval.report" in lines[-1]
    run_line(lines[-1])
    assert lines[-1].startswith("open ")


def test_a_whole_model_is_no_adapter(tmp_path):
    (tmp_path / "generation").mkdir()
    line = next_line("generation", tmp_path / "generation")
    assert f"--model_name_or_path {tmp_path}/generation" in line
    assert "--adapter" not in line


def test_a_training_without_a_line_of_its_own_has_that_of_policies(tmp_path):
    assert "scripts_eval." in next_line("an-objective-of-ones-own", tmp_path / "model")


def test_a_study_says_what_follows_it(tmp_path):
    register_next("a-study", "python -m scripts_eval.report --results {output}")
    try:
        assert next_line("a-study", tmp_path) == f"python -m scripts_eval.report --results {shlex.quote(str(tmp_path))}"
    finally:
        del NEXT["a-study"]


@pytest.mark.parametrize("stage", sorted(NEXT))
def test_in_an_installed_package_a_line_leads_somewhere(stage, tmp_path, monkeypatch):
    monkeypatch.setattr(console, "in_repository", lambda: False)
    monkeypatch.setattr(next_steps, "in_repository", lambda: False)
    line = next_line(stage, tmp_path / "out")
    assert line is None or not re.search(r"scripts_|bash |studies", line)


def test_a_command_that_another_one_calls_says_nothing(capsys):
    @command
    def part(argv=None):
        print_next("report", "out")

    @command
    def whole(argv=None):
        part([])
        print("done")

    whole([])
    assert capsys.readouterr().out == "done\n"
    part([])
    assert capsys.readouterr().out == "next: open out/report.html\n"
