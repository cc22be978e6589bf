"""The plan of --popularity: only what depends on votes is made anew, everything else is the main run's."""

import gzip
import json
import re
from importlib import import_module
from pathlib import Path

import pytest

from diversity_tuning.errors import UserError
from studies.miniature import world
from studies.reproduce import ending
from studies.reproduce.__main__ import make_parser
from tests import test_recipes as recipes
from tests.studies.test_reproduce import lines_of, names, outputs_of, parts_of, printed

MAIN = "runs/miniature/seed0"


def below(capsys, value="0.5"):
    """The lines of one popularity, by stage."""
    parts = [part for part in parts_of("--popularity", value) if part.run.folder.endswith(f"popularity-{value}")]
    return dict(zip(*printed(capsys, parts), strict=True))


def test_the_order():
    (main, other, report) = parts_of("--popularity", "0.5")
    assert [name for name in names([main]) if "orpo" in name] == []
    assert (
        names([other])
        == (
            "world 0_scoring 1_filtering 2_pairs 3_weights_both train_dpo train_ddpo-both train_reward"
            " eval_dpo eval_ddpo-both copy_sft eval_sft reward_check eval_gold"
        ).split()
    )
    assert names([report]) == ["report_popularity"]


def test_only_what_depends_on_votes_is_made_anew(capsys):
    lines = below(capsys)
    here = f"{MAIN}/popularity-0.5"
    assert f"--output {here}/world --popularity 0.5" in lines["world"]
    assert f"--source {here}/world/source.jsonl.gz" in lines["0_scoring"]
    assert f"--model_to_use {MAIN}/tokenizer --source {here}/data/scored" in lines["1_filtering"]
    encoders = f"--style_model builtin:stylometry:{MAIN}/stylometry --embedding_cache {MAIN}/embeddings"
    for name in ("3_weights_both", "eval_sft", "eval_dpo", "eval_ddpo-both", "eval_gold"):
        assert encoders in lines[name]
    for name in ("eval_sft", "eval_dpo", "eval_ddpo-both", "eval_gold"):
        assert f"--distinct_threshold {MAIN}/distinct" in lines[name]
    for name in ("dpo", "ddpo-both"):
        assert f"--model_name_or_path {MAIN}/base --source {here}/data/pairs-both" in lines[f"train_{name}"]
        assert f"--adapter {MAIN}/generation --seed 0 --output_dir {here}/{name}" in lines[f"train_{name}"]
        assert f"--source {MAIN}/data/filtered --base_model {MAIN}/base --adapter {here}/{name}" in lines[f"eval_{name}"]
    assert f"--source {here}/data/filtered" in lines["train_reward"]
    assert f"--source {here}/data/filtered" in lines["eval_gold"]
    for name in ("eval_sft", "eval_dpo", "eval_ddpo-both", "eval_gold", "reward_check"):
        assert f"--reward_model {here}/reward" in lines[name]
    assert lines["copy_sft"].endswith(f"copy_samples {MAIN}/eval/sft {here}/eval/sft")


def test_sft_is_scored_on_the_same_samples(capsys):
    """What decides samples is the same in both lines, so that the copied ones are taken for its own."""
    main, other = lines_of(capsys)["eval_sft"], below(capsys)["eval_sft"]
    for line in (main, other):
        assert f"--source {MAIN}/data/filtered --base_model {MAIN}/base --adapter {MAIN}/generation" in line
    assert other.replace(f"{MAIN}/popularity-0.5/", f"{MAIN}/") == main


def test_nothing_is_made_twice(capsys):
    """The recipe's own popularity is the main run; outputs differ; on validation only what is evaluated differs."""
    found = outputs_of(capsys, "--popularity", "--seeds", "0", "1")
    assert len(dict(found)) == len(found)
    assert {re.search(r"popularity-([\d.]+)", place)[1] for place, _ in found if "popularity-" in place} == {"0", "0.5", "1"}
    main = dict(outputs_of(capsys, "--seeds", "0", "1"))
    shared = [place for place, _ in found if place in main]
    assert {f"{MAIN}/dpo", f"{MAIN}/eval/ddpo-both"} <= set(shared)
    assert all(line == main[place] for place, line in found if place in main)
    validation = outputs_of(capsys, "--popularity", "--seeds", "0", "1", "--split", "validation")
    made = ("/eval", "/report")
    kept = [[line for place, line in outputs if not any(word in place for word in made)] for outputs in (found, validation)]
    assert kept[0] == kept[1]
    assert all("/eval-validation" in place for place, _ in validation if "/eval" in place)


def test_the_report_takes_every_point(capsys):
    line = lines_of(capsys, "--popularity", "--seeds", "0", "2")["report_popularity"]
    points = re.search(r"--points (.*) --output", line)[1].split()
    assert points == [
        f"{value}=runs/miniature/seed{seed}{'' if value == '1.5' else f'/popularity-{value}'}"
        for seed in "02"
        for value in ("0", "0.5", "1", "1.5")
    ]
    line = lines_of(capsys, "--popularity", "1", "--split", "validation")["report_popularity"]
    assert "--output runs/miniature/report-popularity-validation --split validation --mark " in line
    root = Path(__file__).parents[2]
    marks = re.findall(r"\w+=(results/popularity/\w+\.json)", line)
    assert marks
    assert all((root / mark).is_file() for mark in marks)


def test_every_command_is_known(tmp_path, monkeypatch):
    seen = set()
    for module, argv, _ in recipes.dry_run(tmp_path, "--popularity", "0"):
        seen.add(module)
        if recipes.is_training(module):
            recipes.parse_training(recipes.STEM[module], argv)
        else:
            recipes.parse_command(monkeypatch, module, argv)
    assert "studies.miniature.popularity.report" in seen


@pytest.mark.parametrize("flags", [["1", "1"], ["nan"], ["--recipe", "llama-3.1-8b"], ["--recipe", "horror"]])
def test_what_is_refused(flags):
    with pytest.raises(UserError, match="--popularity"):
        parts_of("--popularity", *flags)


def test_what_it_ends_with(tmp_path, capsys):
    report = tmp_path / "runs" / "miniature" / "report-popularity"
    report.mkdir(parents=True)
    (report / "popularity.png").touch()
    flags = ["--popularity", "0", "--seeds", "0", "1"]
    ending.print_ending(parts_of(*flags), tmp_path, make_parser().parse_args(flags))
    assert "figure   runs/miniature/report-popularity/popularity.png" in capsys.readouterr().out


# What the sweep shares rests on this.


@pytest.fixture(scope="module")
def filtered(tmp_path_factory):
    """Stages 0 and 1 of two small worlds that differ in popularity, with the tokenizer of one: column -> values, of each."""
    from datasets import load_from_disk

    root = tmp_path_factory.mktemp("popularity")
    stage = "scripts_dataset_cleaner.{}"
    made = []
    for value in ("0", "1.5"):
        here = root / value
        flags = ["--num_prompts", "40", "--seed", "3", "--popularity", value, "--output", str(here / "world")]
        world.main(flags)
        source = ["--source", str(here / "world" / "source.jsonl.gz"), "--data_path", str(here / "scored")]
        import_module(stage.format("0_data_prep_scoring")).main([*source, "--group_split", "--validation_size", "0.1"])
        if value == "0":
            tokenizer = ["--source", str(here / "scored"), "--output", str(root / "tokenizer"), "--vocab_size", "600"]
            import_module("studies.miniature.tokenizer").main(tokenizer)
        path = ["--source", str(here / "scored"), "--data_path", str(here / "filtered"), "--max_tokens", "512"]
        import_module(stage.format("1_data_prep_filtering")).main([*path, "--model_to_use", str(root / "tokenizer")])
        made.append({name: rows.to_dict() for name, rows in load_from_disk(str(here / "filtered")).items()})
    return made


def test_popularity_changes_votes_and_no_text(filtered):
    """Prompts, splits and kept responses are equal to the letter; votes are not."""
    one, other = filtered
    assert one.keys() == other.keys() == {"train", "validation", "test"}
    votes = {"comment_scores", "transformed_score", "filtered_comment_scores", "filtered_transformed_scores"}
    for split in one:
        assert votes < one[split].keys()
        assert {name for name in one[split] if one[split][name] != other[split][name]} == votes


def test_sft_reads_no_votes(filtered):
    """The examples of SFT are the same at every popularity, so its adapter is shared."""
    from datasets import Dataset

    from diversity_tuning.data.examples import prompt_completions

    one, other = (prompt_completions(Dataset.from_dict(made["train"]), "rows") for made in filtered)
    assert one.column_names == ["prompt", "completion"]
    assert one.to_list() == other.to_list()


def test_latent_traits_do_not_depend_on_popularity(tmp_path):
    """The stories' authors are drawn alike: no vote shifts the draws that come after it."""
    latent = []
    for value in ("0", "0.5"):
        world.main(["--num_prompts", "8", "--popularity", value, "--output", str(tmp_path / value)])
        with gzip.open(tmp_path / value / world.LATENT, "rt", encoding="utf-8") as stream:
            latent.append([json.loads(line) for line in stream])
    assert latent[0] == latent[1]
