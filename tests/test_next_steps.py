"""What a command says to do next exists, with these flags; and every command says it."""

import importlib
import re
from pathlib import Path

import pytest

from diversity_tuning.cli import command
from diversity_tuning.next_steps import NEXT, print_next

ROOT = Path(__file__).parents[1]


def flags_of(module, capsys):
    with pytest.raises(SystemExit):
        importlib.import_module(module).main(["--help"])
    return set(re.findall(r"^  (?:-h, )?(--\w+)", capsys.readouterr().out, re.MULTILINE))


@pytest.mark.parametrize("stage", NEXT)
def test_a_command_that_is_advised_is_there_and_knows_the_flags(stage, capsys):
    text = NEXT[stage]
    module = re.search(r"python -m (\S+)", text)
    script = re.search(r"bash (\S+)", text)
    if script:
        assert (ROOT / script[1]).is_file()
        module = re.search(r"(scripts_\S+) ", (ROOT / script[1]).read_text()) if script[1].startswith("cm_") else None
    if module:
        assert set(re.findall(r"--\w+", text)) <= flags_of(module[1], capsys)


def test_the_line(capsys):
    print_next("0_data_prep_scoring", "out/scored")
    assert capsys.readouterr().out == (
        "next: python -m scripts_dataset_cleaner.1_data_prep_filtering --source out/scored --data_path out/filtered"
        " --model_to_use MODEL\n"
    )


def test_a_command_that_another_one_calls_says_nothing(capsys):
    @command
    def part(argv=None):
        print_next("sample", "out")

    @command
    def whole(argv=None):
        part([])
        print("done")

    whole([])
    assert capsys.readouterr().out == "done\n"
    part([])
    assert capsys.readouterr().out.startswith("next: ")


def test_a_stage_ends_with_it(tmp_path, capsys):
    from studies.miniature import tokenizer, world
    from tests.scripts_dataset_cleaner.helpers import stage

    def last():
        return capsys.readouterr().out.strip().splitlines()[-1]

    world.main(["--num_prompts", "20", "--output", str(tmp_path / "world")])
    assert last().startswith(f"next: python -m scripts_dataset_cleaner.0_data_prep_scoring --source {tmp_path}/world/source")
    stage(0, "--source", tmp_path / "world" / "source.jsonl.gz", "--data_path", tmp_path / "scored")
    assert last().startswith("next: python -m scripts_dataset_cleaner.1_")
    tokenizer.main(["--source", str(tmp_path / "scored"), "--output", str(tmp_path / "tokenizer")])
    assert last().startswith("next: python -m scripts_dataset_cleaner.1_")
    stage(1, "--source", tmp_path / "scored", "--data_path", tmp_path / "filtered", "--model_to_use", tmp_path / "tokenizer")
    assert last().startswith("next: python -m scripts_dataset_cleaner.2_")


def test_every_step_that_is_known_is_said_somewhere():
    """And nowhere one that is not known; a training command says the one of its stage when it is done."""
    places = [path for folder in ("diversity_tuning", "studies", "scripts_*") for path in ROOT.glob(f"{folder}/**/*.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in places)
    said = set(re.findall(r'print_next\("(\w+)"', text)) | set(re.findall(r'STAGE = "(\w+)"', text))
    assert "print_next(self.stage, self.output)" in text
    assert said | set(re.findall(r'TrainingRun\("(\w+)"', text)) == set(NEXT)
