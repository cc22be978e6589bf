"""Nothing that is not ours is removed: every command that takes an output folder, with and without --overwrite."""

import functools
import importlib
import json
import os
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from diversity_tuning.errors import UserError
from diversity_tuning.outputs import (
    LineFile,
    check_ours,
    check_place,
    files_in,
    put_in_place,
    read_provenance,
    recover,
    retired,
)
from diversity_tuning.runs import is_finished, provenance, write_provenance, written_in_place
from tests.evaluation.synthetic import write_run
from tests.human_eval.helpers import write_state

ROOT = Path(__file__).parents[1]
STAGES = "scripts_dataset_cleaner."
ENCODERS = ["--semantic_model", "{in}/style", "--style_model", "builtin:stylometry:{in}/style"]
TRAIN = ["--source", "{in}/stage", "--model_name_or_path", "{in}/model", "--output_dir", "{out}"]
SCORE = ["--reward_model", "{in}/model", *ENCODERS]
SAMPLE = ["--source", "{in}/stage", "--base_model", "{in}/model", "--output", "{out}"]
COMMANDS = {
    "stage 0": (f"{STAGES}0_data_prep_scoring", ["--source", "{in}/posts.jsonl", "--data_path", "{out}"]),
    "stage 1": (
        f"{STAGES}1_data_prep_filtering",
        ["--source", "{in}/stage", "--data_path", "{out}", "--model_to_use", "{in}/model"],
    ),
    "stage 2, pairs": (f"{STAGES}2_data_prep_to_preference", ["--source", "{in}/stage", "--data_path_pair", "{out}"]),
    "stage 2, unpaired": (
        f"{STAGES}2_data_prep_to_preference",
        ["--source", "{in}/stage", "--data_path_pair", "{in}/../pairs", "--data_path_filtered", "{out}"],
    ),
    "stage 3": (
        f"{STAGES}3_data_prep_for_diversified_training",
        ["--source_pair", "{in}/stage", "--data_path_pair_div", "{out}", *ENCODERS],
    ),
    "stage 4": (f"{STAGES}4_data_prep_divpo", ["--source", "{in}/stage", "--data_path_pair", "{out}", *ENCODERS]),
    "describe": (f"{STAGES}describe", ["--source", "{in}/posts.jsonl", "--output", "{out}"]),
    "stylometry": ("diversity_tuning.stylometry", ["fit", "--source", "{in}/stage", "--output", "{out}"]),
    "world": ("studies.miniature.world", ["--num_prompts", "1", "--output", "{out}"]),
    "tokenizer": ("studies.miniature.tokenizer", ["--source", "{in}/stage", "--output", "{out}"]),
    "base model": (
        "studies.miniature.base_model",
        ["--source", "{in}/stage", "--tokenizer", "{in}/model", "--output", "{out}"],
    ),
    "merge": ("diversity_tuning.policy", "merge --base_model {in}/model --adapter {in}/model --output {out}".split()),
    "SFT": ("scripts_finetuning.generation_model_train", TRAIN),
    "reward": ("scripts_reward_modeling.reward_model_train", TRAIN),
    "reward from pairs": ("scripts_reward_modeling.pairwise_reward_model_train", TRAIN),
    "agreement": (
        "scripts_eval.judge_agreement",
        ["--reward", "builtin:length", "--labels", "{in}/texts.csv", "--output", "{out}"],
    ),
    "DPO": ("scripts_dpo.generation_dpo_model_train", TRAIN),
    "DDPO": ("scripts_dpo.generation_ddpo_model_train", TRAIN),
    "ORPO": ("scripts_orpo.generation_orpo_model_train", TRAIN),
    "DORPO": ("scripts_orpo.generation_dorpo_model_train", TRAIN),
    "GRPO": ("scripts_grpo.generation_grpo_model_train", [*TRAIN, "--reward", "builtin:length"]),
    "sample": ("scripts_eval.sample", SAMPLE),
    "sample and score": ("scripts_eval.generation_eval1_1", [*SAMPLE, *SCORE]),
    "human responses": ("scripts_eval.generation_eval2", ["--source", "{in}/stage", "--output", "{out}", *SCORE]),
    "score": ("scripts_eval.score", ["--output", "{out}", *SCORE]),
    "score texts": ("scripts_eval.score_texts", ["--texts", "{in}/texts.csv", "--output", "{out}", *ENCODERS]),
    "threshold": (
        "scripts_eval.distinct_threshold",
        ["--source", "{in}/stage", "--semantic_model", "{in}/style", "--output", "{out}"],
    ),
    "reward check": (
        "scripts_reward_modeling.reward_model_perf_analysis",
        ["--source", "{in}/stage", "--reward_model", "{in}/model", "--output", "{out}"],
    ),
    "report": ("scripts_eval.report", ["--runs", "{in}/run", "--no-figure", "--output", "{out}"]),
    "human analysis": (
        "scripts_eval.human_eval_analysis",
        ["--annotations", "{in}/annotations", "--key", "{in}/key.csv", "--no-figure", "--output", "{out}"],
    ),
    "human items": (
        "scripts_eval.prepare_human_eval_data",
        ["--runs", "{in}/run", "{in}/other", "--seed", "1", "--no_summaries", "--output", "{out}"],
    ),
    "leaderboard": (
        "scripts_eval.leaderboard",
        ["--results", "{out}/..", "--study", "mine", "--runs", "{in}/run"],
    ),
}
WITHOUT_OVERWRITE = ("describe", "merge", "report", "human analysis", "leaderboard")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Just enough of every input for a command to come to its output: checks of outputs go before the reading of inputs."""
    root = tmp_path_factory.mktemp("inputs")
    for name in ("stage", "model", "style"):
        (root / name).mkdir()
    (root / "stage" / "dataset_dict.json").write_text("{}")
    (root / "model" / "config.json").write_text("{}")
    (root / "style" / "vocabulary.json").write_text("[]")
    post = {"post_title": "t", "post_text": "", "post_scores": 1, "comment_texts": ["a", "b"], "comment_scores": [1, 9]}
    (root / "posts.jsonl").write_text((json.dumps(post) + "\n") * 4)
    (root / "texts.csv").write_text("prompt_id,prompt,response\n1,p,r\n1,p,s\n")
    for name in ("run", "other"):
        write_run(root / name, name, None, 0, 0.5, 0.4)
        rows = [{"prompt_id": 0, "prompt": "p", "sample": number, "response": f"{name} {number}"} for number in range(4)]
        pd.DataFrame(rows).to_csv(root / name / "scores.csv", index=False)
    (root / "key.csv").write_text("id,prompt_id,prompt,set_a,set_b,samples_a,samples_b\ni,0,p,x,y,0 1 2 3,0 1 2 3\n")
    write_state(root / "annotations", "someone", {"i": {"diversity": "Set A", "quality": "A-2"}})
    return root


def call(name, inputs, output, *flags):
    """``main(argv)`` of a command; a folder of the leaderboard is a study."""
    module, argv = COMMANDS[name]
    places = {"{in}": inputs, "{out}": output}
    words = [functools.reduce(lambda text, key: text.replace(key, str(places[key])), places, word) for word in argv]
    importlib.import_module(module).main([*words, *flags])


def place(name, tmp_path):
    return tmp_path / "results" / "mine" if name == "leaderboard" else tmp_path / "mine"


@pytest.mark.parametrize(
    ("name", "overwrite"),
    [(name, flag) for name in COMMANDS for flag in (False, True) if not flag or name not in WITHOUT_OVERWRITE],
)
def test_a_folder_that_is_not_ours_is_left_as_it_is(name, overwrite, inputs, tmp_path, capsys):
    output = place(name, tmp_path)
    chapter, notes = output / "thesis" / "ch1.tex", output / "models.tex"
    chapter.parent.mkdir(parents=True)
    chapter.write_text("years of work")
    notes.write_text("mine")
    before = files_in(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        call(name, inputs, output, *(["--overwrite"] if overwrite else []))
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert (stopped.value.code, chapter.read_text(), notes.read_text()) == (2, "years of work", "mine")
    assert files_in(tmp_path) == before
    assert error.startswith("error: ")
    assert "--overwrite" not in error
    assert "another folder" in error or name == "score", "score needs the folder of the samples"


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in (*WITHOUT_OVERWRITE, "score")])
def test_a_folder_of_ours_with_a_file_that_is_not_is_left_as_it_is(name, inputs, tmp_path, capsys):
    """The same with provenance, in a folder from before it listed files and in one that lists them."""
    output = tmp_path / "mine"
    chapter = output / "thesis" / "ch1.tex"
    chapter.parent.mkdir(parents=True)
    chapter.write_text("years of work")
    (output / "metrics.json").write_text("{}")
    for record in ({"stage": "x"}, {"stage": "x", "files": ["metrics.json"]}):
        for file in ("provenance.json", "sampling.json"):
            (output / file).write_text(json.dumps(record))
        if "files" in record:
            (output / "provenance.json").write_text(json.dumps({**record, "files": ["metrics.json", "sampling.json"]}))
        before = files_in(tmp_path)
        with pytest.raises(SystemExit) as stopped:
            call(name, inputs, output, "--overwrite")
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert (stopped.value.code, files_in(tmp_path)) == (2, before)
        assert "thesis/ch1.tex" in error
        assert "choose another folder" in error


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("leaderboard", "score", "merge")])
def test_an_output_that_is_a_file_or_lies_below_one_is_one_line(name, inputs, tmp_path, capsys):
    (tmp_path / "taken").write_text("mine")
    for output in (tmp_path / "taken", tmp_path / "taken" / "out"):
        with pytest.raises(SystemExit) as stopped:
            call(name, inputs, output)
        assert stopped.value.code == 2
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert error.startswith(f"error: {tmp_path / 'taken'}: is a file, not a folder")
        assert files_in(tmp_path) == ["taken"]


def test_a_study_is_not_started_in_a_folder_that_is_not_one(inputs, tmp_path):
    """``human-eval/run.sh`` copies its configuration into the study's folder."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.yaml").write_text("mine")
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / ".installed").write_text((ROOT / "human-eval" / "requirements.txt").read_text())
    command = ["bash", ROOT / "human-eval" / "run.sh", "--study", tmp_path / "mine"]
    environment = {**os.environ, "HUMAN_EVAL_VENV": str(tmp_path / "venv")}
    answer = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment)
    assert answer.returncode == 2
    assert "choose another folder" in answer.stderr
    assert files_in(tmp_path / "mine") == ["config.yaml"]
    assert (tmp_path / "mine" / "config.yaml").read_text() == "mine"


def test_the_key_of_a_studys_administration_is_readable_by_its_owner_alone(tmp_path):
    potato = tmp_path / "venv" / "bin" / "potato"
    potato.parent.mkdir(parents=True)
    potato.write_text("#!/bin/sh\necho secret >> admin_api_key.txt\n")
    potato.chmod(0o755)
    (tmp_path / "venv" / ".installed").write_text((ROOT / "human-eval" / "requirements.txt").read_text())
    (tmp_path / "items.jsonl").write_text("{}\n")
    command = ["bash", ROOT / "human-eval" / "run.sh", "--study", tmp_path / "study", "--items", tmp_path / "items.jsonl"]
    environment = {**os.environ, "HUMAN_EVAL_VENV": str(tmp_path / "venv")}
    key = tmp_path / "study" / "admin_api_key.txt"
    for _ in ("new", "from before"):
        subprocess.run(list(map(str, command)), check=True, capture_output=True, env=environment, umask=0o022)
        assert key.stat().st_mode & 0o777 == 0o600
        key.chmod(0o644)


# How one folder takes the place of another.


def made(folder, text):
    folder.mkdir(parents=True)
    (folder / "data").write_text(text)
    write_provenance(folder, provenance("stage", {"n": text}, {}))
    return folder


def test_what_is_put_in_place_is_listed_and_may_be_replaced(tmp_path):
    for text in ("old", "new"):
        put_in_place(made(tmp_path / f".{text}", text), tmp_path / "out")
        assert json.loads((tmp_path / "out" / "provenance.json").read_text())["files"] == ["data", "provenance.json"]
        assert (tmp_path / "out" / "data").read_text() == text
    assert files_in(tmp_path) == ["out/data", "out/provenance.json"]


def test_a_file_that_came_meanwhile_is_kept_and_so_is_the_new_result(tmp_path):
    put_in_place(made(tmp_path / ".old", "old"), tmp_path / "out")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"holds notes\.txt.*choose another folder.* lies in .*\.new"):
        put_in_place(made(tmp_path / ".new", "new"), tmp_path / "out")
    assert files_in(tmp_path) == [".new/data", ".new/provenance.json", "out/data", "out/notes.txt", "out/provenance.json"]


def test_a_crash_between_the_two_renames_leaves_the_old_one_to_be_found(tmp_path, monkeypatch):
    put_in_place(made(tmp_path / ".old", "old"), tmp_path / "out")
    real = Path.rename

    def rename(self, target):
        if self.name == ".new":
            raise KeyboardInterrupt
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        with pytest.raises(KeyboardInterrupt):
            put_in_place(made(tmp_path / ".new", "new"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert (retired(tmp_path / "out") / "data").read_text() == "old"
    assert is_finished(tmp_path / "out", provenance("stage", {"n": "old"}, {})), "it is back"
    assert not retired(tmp_path / "out").exists()
    recover(tmp_path / "out")
    assert (tmp_path / "out" / "data").read_text() == "old"


@pytest.mark.parametrize("kind", ["file", "link to a folder", "hidden file", "empty checkpoint note"])
def test_every_kind_of_file_counts(tmp_path, kind):
    output = made(tmp_path / "out", "x")
    (output / "data").rename(output / "metrics.json")
    check_ours(output)
    (tmp_path / "elsewhere").mkdir()
    if kind == "link to a folder":
        (output / "link").symlink_to(tmp_path / "elsewhere")
    else:
        name = {"file": "a/b/c.txt", "hidden file": ".secret", "empty checkpoint note": "checkpoint-3/thoughts.md"}[kind]
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        (output / name).write_text("")
    with pytest.raises(UserError, match="none of our commands wrote"):
        check_ours(output)


def test_caches_that_libraries_leave_are_no_obstacle(tmp_path):
    output = made(tmp_path / "out", "x")
    (output / "data").rename(output / "metrics.json")
    for name in ("train/cache-1a.arrow", ".DS_Store", "checkpoint-2/trainer_state.json", ".scores.csv.partial"):
        (output / name).parent.mkdir(exist_ok=True)
        (output / name).write_text("")
    check_ours(output)


# Folders that are written into.


def write(output, *files):
    with written_in_place(output, "report", ("report.md", "a.csv", "figure.*")) as before:
        for file in files:
            (output / file).write_text("# Evaluation\n")
    return before


def test_a_report_goes_beside_other_files_only_where_a_report_was(tmp_path):
    output = tmp_path / "out"
    assert write(output, "report.md", "figure.png") == []
    (output / "notes.txt").write_text("mine")
    assert write(output, "report.md", "a.csv") == ["figure.png", "report.md"]
    assert (output / "notes.txt").read_text() == "mine"
    (output / "provenance.json").unlink()
    with pytest.raises(UserError, match="its files are not those of a report"):
        write(output, "report.md")


def test_a_report_goes_beside_the_folders_of_its_runs(tmp_path):
    (tmp_path / "study" / "runs" / "seed0-dpo").mkdir(parents=True)
    assert write(tmp_path / "study", "report.md") == []
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="not empty"):
        write(tmp_path / "other", "report.md")


def test_a_file_of_the_same_name_that_is_not_the_reports(tmp_path):
    write(tmp_path / "out", "report.md")
    (tmp_path / "out" / "a.csv").write_text("mine")
    with pytest.raises(UserError, match=r"a\.csv was not written by this command"):
        write(tmp_path / "out", "report.md", "a.csv")
    assert (tmp_path / "out" / "a.csv").read_text() == "mine"


def test_a_report_that_was_killed_is_written_again(tmp_path):
    killed = written_in_place(tmp_path / "out", "report", ("a.csv", "figure.*"), {"settings": {"compare": "a:b"}})
    killed.__enter__()
    assert read_provenance(tmp_path / "out")["settings"] == {"compare": "a:b"}
    (tmp_path / "out" / "figure.png").write_text("half")
    with written_in_place(tmp_path / "out", "report", ("a.csv", "figure.*")):
        pass


def test_places_where_no_folder_can_be_made_name_the_reason(tmp_path):
    (tmp_path / "one").symlink_to(tmp_path / "two")
    (tmp_path / "two").symlink_to(tmp_path / "one")
    (tmp_path / "lost").symlink_to(tmp_path / "gone")
    for place in (tmp_path / "one", tmp_path / "one" / "below" / "it"):
        with pytest.raises(UserError, match=r"no folder can be made there \(Too many levels of symbolic links\)"):
            check_place(place)
    with pytest.raises(UserError, match=r"lost: is a link to .*gone, which is not there; make it"):
        check_place(tmp_path / "lost")
    for name in ("n" * 300, "n" * 250, "ü" * 125):  # .NAME.training is longer still
        with pytest.raises(UserError, match=r"no folder can be made there \(File name too long\)"):
            check_place(tmp_path / name)
    check_place(tmp_path / ("n" * 240))


def test_half_a_surrogate_pair_in_a_line_is_kept_as_its_escape(tmp_path):
    """A server's JSON may hold one; what came with it is not lost."""
    rows = [{"text": "half \ud83d"}, {"text": "whole \U0001f600 é"}]
    with LineFile(tmp_path / "rows.jsonl") as file:
        file.append(rows)
        assert [json.loads(line) for line in file.lines()] == rows
    assert (tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines()[0] == '{"text": "half \\ud83d"}'
