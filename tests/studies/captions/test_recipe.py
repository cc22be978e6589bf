"""The captions recipe: keys known to their commands, a dry run whose commands exist, and a --source that is looked at first."""

import itertools
import json

import pytest

from diversity_tuning.errors import UserError
from studies.reproduce import ending
from studies.reproduce.__main__ import main, make_parser, plan
from tests import test_recipes as shared

SCRIPTS = {
    "split": "studies.captions.split",
    "reward": "studies.captions.fit",
    "sample": "scripts_eval.sample",
    **{stem: shared.SCRIPTS[stem] for stem in ("tokenizer", "base_model", "generation", "dpo", "ddpo")},
    **{stem: shared.SCRIPTS[stem] for stem in shared.STAGES[1:4]},
}
REQUIRED = {
    "split": "--source x --output x",
    "reward": "--source x --held_out x --output x",
    "sample": "--source x --output x",
    "tokenizer": "--source x --output x",
    "base_model": "--source x --tokenizer x --output x",
    "1_data_prep_filtering": "--source x --data_path x --model_to_use x",
    "2_data_prep_to_preference": "--source x --data_path_pair x",
    "3_data_prep_for_diversified_training": "--source_pair x --data_path_pair_div x",
    **dict.fromkeys(("generation", "dpo", "ddpo"), "--source x --model_name_or_path x --output_dir x"),
}

SAMPLED = ("sft", "sft-t0.7", "sft-t1.3", "dpo", "dpo-t0.7", "dpo-t1.3", "ddpo", "ddpo-permuted")


@pytest.mark.parametrize("stem", SCRIPTS)
def test_every_key_is_known_to_its_command(monkeypatch, stem):
    shared.check_keys(monkeypatch, "captions", stem, SCRIPTS[stem], REQUIRED[stem])


def test_the_folder_holds_these_recipes_and_weights_are_the_only_difference():
    assert {path.stem for path in (shared.ROOT / "recipes" / "captions").iterdir()} == SCRIPTS.keys()
    plain, weighted = shared.recipe("captions", "dpo"), shared.recipe("captions", "ddpo")
    assert plain.items() <= weighted.items()
    assert weighted.keys() - plain.keys() == {"weight_column", "weight_normalisation"}


def dry(capsys, source, *more):
    """Stage -> command."""
    assert main(["--recipe", "captions", "--source", str(source), "--dry_run", *more]) == 0
    lines = capsys.readouterr().out.splitlines()
    return {line.removeprefix("# ── "): after for line, after in itertools.pairwise(lines) if line.startswith("# ── ")}


def test_the_order_and_what_each_half_is_for(source, capsys):
    commands = dry(capsys, source, "--seed", "2")
    assert (
        list(commands)
        == (
            "split tokenizer 1_filtering 2_pairs base_model train_generation reward_a reward_b 3_pairs-real 3_pairs-permuted"
            " train_dpo sample_sft sample_sft-t0.7 sample_sft-t1.3 sample_dpo sample_dpo-t0.7 sample_dpo-t1.3"
            " train_ddpo train_ddpo-permuted sample_ddpo sample_ddpo-permuted measures report"
        ).split()
    )
    assert f"--source {source} --seed 2" in commands["split"]
    reads_b = [name for name, words in commands.items() if "data/other" in words]
    assert reads_b == ["reward_b"], "nothing is trained against the other half"
    assert [name for name, words in commands.items() if "reward-b" in words] == ["reward_b", "measures"]
    ddpo, permuted = commands["train_ddpo"], commands["train_ddpo-permuted"]
    assert permuted.replace("permuted", "real").replace("/ddpo-real", "/ddpo") == ddpo
    assert ddpo.replace("ddpo", "dpo") == commands["train_dpo"]
    assert "--permute prompt --permute_seed 2" in commands["3_pairs-permuted"]
    for name in SAMPLED:
        assert f"samples/{name}" in commands["measures"]
    assert "samples-validation/sft" in dry(capsys, source, "--split", "validation")["measures"]


def test_every_module_of_a_dry_run_is_there(source, monkeypatch, capsys):
    import importlib.util
    import shlex

    for command in dry(capsys, source, "--seeds", "0", "1").values():
        words = shlex.split(command)
        if "-m" not in words:
            continue
        module, argv = words[words.index("-m") + 1], words[words.index("-m") + 2 :]
        assert importlib.util.find_spec(module), module
        shared.parse_command(monkeypatch, module, argv)


def test_the_end_names_the_figure_and_offers_only_what_runs(source, tmp_path, capsys):
    args = make_parser().parse_args(["--recipe", "captions", "--source", str(source)])
    report = tmp_path / "runs" / "captions" / "report"
    report.mkdir(parents=True)
    for name in ("measures.csv", "captions.png", "report.md"):
        (report / name).write_text("seed\n")
    ending.print_ending(plan(args, {}), tmp_path, args)
    said = capsys.readouterr().out
    assert "figure   runs/captions/report/captions.png" in said
    assert "report   runs/captions/report/report.md\n" in said
    assert f"reproduce.sh --recipe captions --source {source} --full" in said
    assert "--ablation" not in said


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.jsonl", None, "no such file"),
        ("a.txt", "x", "unknown kind of file"),
        ("a.jsonl", '{"post_title": "x"}\n', "row 1 has no column 'post_text'"),
        ("b.jsonl", "[1]\n", "no JSON object"),
        ("c.jsonl", "", "is empty"),
        ("d.jsonl", "{\n", "not readable as JSON"),
        ("e.jsonl.gz", "no gzip", "not readable as JSON"),
        ("f.jsonl", '{"post_title": "café"}\n', "not UTF-8; save it as UTF-8"),
    ],
)
def test_a_bad_source_is_one_line(tmp_path, capsys, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_text(content, encoding="latin-1")
    assert main(["--recipe", "captions", "--source", str(path), "--dry_run"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error


@pytest.mark.parametrize("before", ["\ufeff", "\n", "\ufeff \n"])
def test_a_source_that_the_first_stage_reads_is_taken(tmp_path, capsys, before):
    """A byte order mark and blank lines, which data stage 0 and the split skip."""
    path = tmp_path / "a.jsonl"
    row = {"post_title": "x", "post_text": "", "post_scores": 1, "comment_texts": ["é"], "comment_scores": [1]}
    path.write_text(before + json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
    assert main(["--recipe", "captions", "--source", str(path), "--dry_run"]) == 0


def test_a_source_is_needed_here_and_nowhere_else(source):
    for flags, message in (
        (["--recipe", "captions"], "--source is needed"),
        (["--recipe", "miniature", "--source", str(source)], "has its own data"),
        (["--recipe", "captions", "--source", str(source), "--ablation"], "has none"),
    ):
        with pytest.raises(UserError, match=message):
            plan(make_parser().parse_args(flags), {})
