"""Whole stages through ``main``: what each writes, that it is repeatable, skipped when done, and never half there."""

import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from datasets import Dataset, DatasetDict, load_from_disk

from diversity_tuning.commands.common import with_selections
from diversity_tuning.commands.divpo import DivPOConfig
from diversity_tuning.commands.weigh import WeighConfig
from diversity_tuning.data.schema import prompt_text
from diversity_tuning.data.weigh import prompt_of
from diversity_tuning.deviation import deviation_weights, mean_cosine_distance
from diversity_tuning.embeddings import load_encoder
from diversity_tuning.flags import parse_flags
from scripts_dataset_cleaner import describe
from tests.scripts_dataset_cleaner.helpers import STAGES, data_digest, posts, row, stage, write_jsonl

REPOSITORY = Path(__file__).parents[2]


def provenance_of(folder: Path) -> dict:
    return json.loads((folder / "provenance.json").read_text())


def test_stage_0_keeps_rows_and_columns(pipeline):
    splits = load_from_disk(str(pipeline.scored))
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 9, "test": 3}
    rows = [one for split in splits.values() for one in split]
    assert sorted(one["post_title"] for one in rows)[:3] == ["Prompt 0", "Prompt 0", "Prompt 10"]
    assert all(len(one["transformed_score"]) == len(one["comment_scores"]) for one in rows)
    scores = [score for one in rows for score in one["transformed_score"]]
    assert (min(scores), max(scores)) == (-1, 1)
    assert provenance_of(pipeline.scored)["rows_in"] == 12


def test_stage_1_keeps_every_row(pipeline):
    before, after = load_from_disk(str(pipeline.scored)), load_from_disk(str(pipeline.filtered))
    for name in before:
        assert before[name]["post_title"][:] == after[name]["post_title"][:]
        assert set(after[name].column_names) - set(before[name].column_names) == {
            "filtered_comment_texts", "filtered_comment_scores", "filtered_transformed_scores",
        }  # fmt: skip
    counts = provenance_of(pipeline.filtered)["responses"]
    total = {reason: counts["train"][reason] + counts["test"][reason] for reason in counts["train"]}
    assert total["kept"] == 11 * 8 - 2
    assert total["this submission has been removed"] == total["too long"] == 1
    kept = [text for rows in after.values() for one in rows for text in one["filtered_comment_texts"]]
    assert len(kept) == total["kept"]


def test_stage_2_pairs_come_from_their_prompts(pipeline):
    pairs, rows = load_from_disk(str(pipeline.pairs)), load_from_disk(str(pipeline.unpaired))
    for name in pairs:
        votes: dict = {}
        for one in rows[name]:
            prompt = prompt_text(one["post_title"], one["post_text"])
            for text, vote in zip(one["posttraining_comment_text"], one["posttraining_score"], strict=True):
                votes[prompt, text] = vote
            assert set(one["posttraining_comment_text"]) <= set(one["filtered_comment_texts"])
            assert len(one["posttraining_comment_text"]) % 2 == 0
        assert sum(len(one["posttraining_comment_text"]) for one in rows[name]) == 2 * len(pairs[name])
        for pair in pairs[name]:
            for side, score in (("chosen", "score_chosen"), ("rejected", "score_rejected")):
                assert [message["role"] for message in pair[side]] == ["user", "assistant"]
                assert votes[prompt_of(pair[side]), pair[side][1]["content"]] == pair[score]
            assert pair["score_chosen"] > pair["score_rejected"]


def test_stage_3_deviation_is_that_of_the_formula(pipeline):
    pairs, weighted = load_from_disk(str(pipeline.pairs)), load_from_disk(str(pipeline.div))
    encoders = [load_encoder(f"builtin:stylometry:{folder}") for folder in (pipeline.meaning, pipeline.style)]
    for name, rows in weighted.items():
        assert rows.remove_columns(["deviation_chosen", "deviation_rejected"])[:] == pairs[name][:]
        delta: dict = {}
        for one in rows:
            for side in ("chosen", "rejected"):
                delta.setdefault(prompt_of(one[side]), {})[one[side][1]["content"]] = one[f"deviation_{side}"]
        for found in delta.values():
            expected = deviation_weights([mean_cosine_distance(encoder.encode(list(found))) for encoder in encoders])
            np.testing.assert_allclose(list(found.values()), expected, atol=1e-5)


def test_stage_4_pairs(pipeline):
    rows = load_from_disk(str(pipeline.divpo))["train"]
    assert rows.column_names == load_from_disk(str(pipeline.div))["train"].column_names
    assert all(one["score_chosen"] >= one["score_rejected"] for one in rows)
    report = provenance_of(pipeline.divpo)["by_split"]["train"]
    assert report["pairs_out"] == len(rows)


def run_all(pipeline, root: Path, num_proc: int) -> list[str]:
    options = ("--num_proc", num_proc)
    stage(0, "--source", pipeline.source, "--data_path", root / "0", "--test_size", 0.25, "--group_split", *options)
    stage(1, "--source", root / "0", "--data_path", root / "1", "--model_to_use", pipeline.tokenizer, *options)
    stage(2, "--source", root / "1", "--data_path_pair", root / "2", "--data_path_filtered", root / "u", "--gap", 20, *options)
    stage(3, "--source_pair", root / "2", "--data_path_pair_div", root / "3", *pipeline.encoders, *options)
    stage(4, "--source", root / "u", "--data_path_pair", root / "4", *pipeline.encoders, *options)
    return [data_digest(root / name) for name in ("0", "1", "2", "u", "3", "4")]


def test_same_bytes_for_any_number_of_processes(pipeline, tmp_path):
    assert run_all(pipeline, tmp_path / "one", 1) == run_all(pipeline, tmp_path / "two", 2)


def test_same_bytes_over_many_batches(tmp_path):
    rows = [row(f"[WP] {n}", [f"text {n} {k}" for k in range(n % 4)], [n % 9 - k for k in range(n % 4)]) for n in range(2300)]
    source = write_jsonl(tmp_path / "posts.jsonl", rows)
    for num_proc in (1, 2):
        stage(0, "--source", source, "--data_path", tmp_path / str(num_proc), "--num_proc", num_proc)
    assert data_digest(tmp_path / "1") == data_digest(tmp_path / "2")
    assert len(load_from_disk(str(tmp_path / "1"))["train"]) == 2070


def test_seeds_matter(pipeline, tmp_path):
    for seed in (42, 43):
        stage(2, "--source", pipeline.filtered, "--data_path_pair", tmp_path / str(seed), "--seed", seed)
    assert data_digest(tmp_path / "42") == data_digest(pipeline.pairs)
    assert data_digest(tmp_path / "43") != data_digest(pipeline.pairs)


def test_all_forms_of_a_source_give_the_same(pipeline, tmp_path):
    import gzip

    import pyarrow as pa
    import pyarrow.parquet as pq
    from datasets import Dataset, DatasetDict

    rows = posts()
    (tmp_path / "posts.jsonl.gz").write_bytes(gzip.compress(pipeline.source.read_bytes()))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "posts.parquet")
    Dataset.from_list(rows).save_to_disk(str(tmp_path / "saved"))
    DatasetDict({"a": Dataset.from_list(rows[:5]), "b": Dataset.from_list(rows[5:])}).save_to_disk(str(tmp_path / "dict"))
    for form in ("posts.jsonl.gz", "posts.parquet", "saved", "dict"):
        output = tmp_path / f"scored {form}"
        stage(0, "--source", tmp_path / form, "--data_path", output, "--test_size", 0.25)
        assert data_digest(output) == data_digest(pipeline.scored), form
    assert not list((tmp_path / "saved").glob("cache-*"))


def test_recipe(pipeline, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"source: {pipeline.filtered}\ndata_path_pair: {tmp_path / 'pairs'}\ngap: -1\nmax_pairs: 3\n")
    stage(2, "--config", recipe, "--max_pairs", 2)
    assert provenance_of(tmp_path / "pairs")["arguments"]["gap"] == -1
    rows = load_from_disk(str(tmp_path / "pairs"))["train"]
    prompts = [prompt_of(one["chosen"]) for one in rows]
    assert max(prompts.count(prompt) for prompt in prompts if prompt != "Prompt 0\n") == 2


def test_strict_gap(pipeline, tmp_path):
    stage(2, "--source", pipeline.filtered, "--data_path_pair", tmp_path / "pairs", "--gap", 25, "--strict_gap")
    rows = load_from_disk(str(tmp_path / "pairs"))["train"]
    assert all(one["score_chosen"] - one["score_rejected"] >= 25 for one in rows)


def test_cutoff_and_floor(pipeline, tmp_path):
    options = ("--max_cutoff", 4, "--sort_with_score", "--min_score_non_zero", "--min_deviation", 0.1)
    stage(3, "--source_pair", pipeline.pairs, "--data_path_pair_div", tmp_path / "div", *options, *pipeline.encoders)
    rows = load_from_disk(str(tmp_path / "div"))["train"]
    assert min(min(rows["deviation_chosen"]), min(rows["deviation_rejected"])) == pytest.approx(0.1)
    best: dict = {}
    for one in load_from_disk(str(pipeline.pairs))["train"]:
        best.setdefault(prompt_of(one["chosen"]), []).append(one["score_chosen"])
    kept: dict = {}
    for one in rows:
        kept.setdefault(prompt_of(one["chosen"]), []).append(one["score_chosen"])
    assert {prompt: sorted(votes) for prompt, votes in kept.items()} == {
        prompt: sorted(votes)[-2:] for prompt, votes in best.items()
    }


def test_deviations_are_over_what_the_cutoff_keeps(pipeline, tmp_path):
    """δ of the distinct texts that are left to a prompt is 1 on average: the cut comes first, as in the released code."""
    stage(3, "--source_pair", pipeline.pairs, "--data_path_pair_div", tmp_path / "div", "--max_cutoff", 4, *pipeline.encoders)
    rows, texts = load_from_disk(str(tmp_path / "div"))["train"], {}
    for one in rows:
        own = texts.setdefault(prompt_of(one["chosen"]), {})
        for side in ("chosen", "rejected"):
            own[one[side][-1]["content"]] = one[f"deviation_{side}"]
    assert len(rows) < len(load_from_disk(str(pipeline.pairs))["train"])
    assert all(sum(own.values()) == pytest.approx(len(own)) for own in texts.values())


def test_one_type_needs_one_model(pipeline, tmp_path):
    arguments = ("--source_pair", pipeline.pairs, "--data_path_pair_div", tmp_path / "div", "--score_process", "style")
    stage(3, *arguments, "--style_model", f"builtin:stylometry:{pipeline.style}")
    assert list(provenance_of(tmp_path / "div")["inputs"]) == ["source_pair", "style_model"]
    assert not [path for path in (tmp_path / "div").iterdir() if path.name.startswith(".")]


def test_validation_split_goes_through(pipeline, tmp_path):
    splitting = ("--group_split", "--test_size", 0.2, "--validation_size", 0.2)
    stage(0, "--source", pipeline.source, "--data_path", tmp_path / "0", *splitting)
    assert set(provenance_of(tmp_path / "0")["prompts_in_two_splits"].values()) == {0}
    stage(1, "--source", tmp_path / "0", "--data_path", tmp_path / "1", "--model_to_use", pipeline.tokenizer)
    stage(2, "--source", tmp_path / "1", "--data_path_pair", tmp_path / "2")
    stage(3, "--source_pair", tmp_path / "2", "--data_path_pair_div", tmp_path / "3", *pipeline.encoders)
    assert set(load_from_disk(str(tmp_path / "3"))) == {"train", "test", "validation"}


def test_finished_stages_are_skipped_and_others_refused(pipeline, capsys):
    pairing = ("--source", pipeline.filtered, "--data_path_pair", pipeline.pairs, "--data_path_filtered", pipeline.unpaired)
    stage(2, *pairing)
    assert capsys.readouterr().out.count("skipped") == 2
    with pytest.raises(SystemExit) as stopped:
        stage(2, *pairing, "--gap", 6)
    assert stopped.value.code == 2
    assert "different arguments: gap" in capsys.readouterr().err


def test_a_missing_second_output_is_made_alone(pipeline, tmp_path):
    common = ("--source", pipeline.filtered, "--data_path_pair", tmp_path / "pairs")
    stage(2, *common)
    before = (tmp_path / "pairs" / "provenance.json").stat().st_mtime_ns
    stage(2, *common, "--data_path_filtered", tmp_path / "rows")
    assert data_digest(tmp_path / "rows") == data_digest(pipeline.unpaired)
    assert (tmp_path / "pairs" / "provenance.json").stat().st_mtime_ns == before


def test_overwrite(pipeline, tmp_path):
    stage(2, "--source", pipeline.filtered, "--data_path_pair", tmp_path / "pairs", "--gap", 50)
    stage(2, "--source", pipeline.filtered, "--data_path_pair", tmp_path / "pairs", "--overwrite")
    assert data_digest(tmp_path / "pairs") == data_digest(pipeline.pairs)


def test_skipping_loads_nothing_heavy(pipeline):
    arguments = ["--source_pair", pipeline.pairs, "--data_path_pair_div", pipeline.div, *pipeline.encoders]
    code = (
        "import importlib, sys; "
        f"importlib.import_module('scripts_dataset_cleaner.{STAGES[3]}').main({[str(one) for one in arguments]!r}); "
        "print([name for name in ('torch', 'datasets', 'sklearn', 'transformers') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", ["scored", "filtered", "pairs", "unpaired", "div", "divpo"])
def test_describe(pipeline, tmp_path, capsys, name):
    describe.main(["--source", str(getattr(pipeline, name))])
    page = capsys.readouterr().out
    assert "## train" in page
    assert "train and test share 1 prompts" in page  # posts() has one prompt twice, and seed 42 parts the two
    if name == "div":
        describe.main(["--source", str(pipeline.div), "--output", str(tmp_path / "page")])
        assert {path.name for path in (tmp_path / "page").iterdir()} == {"page.md", "histograms.png"}
        assert "deviation_chosen" in (tmp_path / "page" / "page.md").read_text()


def test_removed_texts_and_posts_without_a_prompt(pipeline, tmp_path, capsys):
    gone = [row("[deleted by user]", ["one", "two"], [9, 1]), row("[WP] Fox", ["[removed]", "a | b &amp; c", ""], [300, 5, 4])]
    source = write_jsonl(tmp_path / "posts.jsonl", [*gone, *posts(6)])
    stage(0, "--source", source, "--data_path", tmp_path / "0")
    for rules in ("stories", "released"):
        arguments = ("--source", tmp_path / "0", "--model_to_use", pipeline.tokenizer, "--filter", rules)
        stage(1, *arguments, "--data_path", tmp_path / rules)
    kept = {
        rules: {one["post_title"]: one["filtered_comment_texts"] for rows in splits.values() for one in rows}
        for rules in ("stories", "released")
        for splits in [load_from_disk(str(tmp_path / rules))]
    }
    assert (kept["stories"][""], kept["stories"]["Fox"]) == ([], ["a | b & c"])
    assert (kept["released"][""], kept["released"]["Fox"]) == (["one", "two"], gone[1]["comment_texts"])
    told = capsys.readouterr().out
    for count in ("no prompt: 2", "deleted or removed: 1", "empty: 1", "responses with HTML entities: 1"):
        assert told.count(count) == 1
    describe.main(["--source", str(tmp_path / "stories")])
    assert '"no prompt": 2' in capsys.readouterr().out


def test_describe_lists_the_responses_that_deviate_most(tmp_path, capsys):
    sides = [("The fox flew.", "[removed]", 0.5, 3.6), ("A | `fox`\x1b[2J", "Foxes.", 1.5, 0.1)] + [("x", "y", 0.2, 0.1)] * 12
    pairs = [
        {
            "chosen": [{"role": "user", "content": f"P{number}"}, {"role": "assistant", "content": chosen}],
            "rejected": [{"role": "user", "content": f"P{number}"}, {"role": "assistant", "content": rejected}],
            "score_chosen": 9,
            "score_rejected": 2,
            "deviation_chosen": high,
            "deviation_rejected": low,
        }
        for number, (chosen, rejected, high, low) in enumerate(sides)
    ]
    DatasetDict({"train": Dataset.from_list(pairs)}).save_to_disk(str(tmp_path / "pairs"))
    describe.main(["--source", str(tmp_path / "pairs")])
    listed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|") and "`" in line]
    assert listed[0] == "| 3.60 | 2 | 1 | `[removed]` | `P0` |"
    assert listed[1] == "| 1.50 | 9 | 3 | `A ¦ 'fox'·[2J` | `P1` |"
    assert len(listed) == 10


def test_describe_writes_the_correlation(pipeline, tmp_path, capsys):
    """Of every split what the page says, and of all prompts together; nothing without deviations."""
    file = tmp_path / "new" / "correlation.json"
    describe.main(["--source", str(pipeline.div), "--correlation", str(file)])
    page, found = capsys.readouterr().out, json.loads(file.read_text())
    for split, figures in found["splits"].items():
        assert f"Spearman {figures['mean']:+.2f} [{figures['low']:+.2f}, " in page.partition(f"## {split}")[2]
        assert np.mean(found["values"][split]) == pytest.approx(figures["mean"], abs=1e-4)
    values = [value for values in found["values"].values() for value in values]
    assert (found["all"]["prompts"], found["all"]["mean"]) == (len(values), pytest.approx(np.mean(values), abs=1e-4))
    with pytest.raises(SystemExit) as ended:
        describe.main(["--source", str(pipeline.pairs), "--correlation", str(tmp_path / "none.json")])
    assert ended.value.code == 2
    assert "give the output of stage 3" in capsys.readouterr().err
    assert not (tmp_path / "none.json").exists()
    describe.main(["--source", str(pipeline.div), "--correlation", str(file)])  # over its own
    notes = tmp_path / "notes.json"
    notes.write_text('["mine"]')
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        describe.main(["--source", str(pipeline.div), "--correlation", str(notes)])
    assert ended.value.code == 2
    assert "not written by this command" in capsys.readouterr().err
    assert notes.read_text() == '["mine"]'
    for words, message in (
        (["--correlation", str(notes / "correlation.json")], "is a file, not a folder"),
        (["--correlation", str(tmp_path / "page" / "page.md"), "--output", str(tmp_path / "page")], "lies in --output"),
    ):
        with pytest.raises(SystemExit) as ended:
            describe.main(["--source", str(pipeline.div), *words])
        assert ended.value.code == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "page").exists()


def test_describe_counts_stages_and_duplicates(pipeline, capsys):
    describe.main(["--source", str(pipeline.unpaired)])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("| split", "| train", "| test"))]
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert table[0][3:6] == ["responses of the source", "responses kept by the filter", "responses used in pairs"]
    assert [sum(int(row[column]) for row in table[1:]) for column in (1, 3, 4, 5)] == [12, 88, 86, 82]
    describe.main(["--source", str(pipeline.source)])
    page = capsys.readouterr().out
    assert "| all | 12 | 11 | 88 | 87 | 1 |" in page
    assert "responses per row | 12 |" in page


def test_kill_during_stage_3_leaves_nothing_and_resumes(pipeline, tmp_path):
    """SIGKILL while texts are embedded: no output; stored vectors are used by the next run, whose result is the same."""
    cache, output = tmp_path / "embeddings", tmp_path / "div"
    models = [argument for argument in pipeline.encoders if argument != pipeline.root / "embeddings"][:-1]
    arguments = ["--source_pair", pipeline.pairs, "--data_path_pair_div", output, *models, "--embedding_cache", cache]
    slow = (
        "import importlib, time; from diversity_tuning.embeddings import store as e; e._SAVE_EVERY = 8; "
        "write = e._write_array; e._write_array = lambda *a: (write(*a), time.sleep(0.05)); "
        f"importlib.import_module('scripts_dataset_cleaner.{STAGES[3]}').main({[str(one) for one in arguments]!r})"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", slow], cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while len(list(cache.rglob("*.keys.npy"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    stored = {path: path.read_bytes() for path in cache.rglob("*.npy") if not path.name.startswith(".")}
    assert len(stored) >= 4
    assert not output.exists()
    stage(3, *arguments)
    assert data_digest(output) == data_digest(pipeline.div)
    assert all(path.read_bytes() == content for path, content in stored.items())
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("number", range(5))
def test_help_shows_defaults_and_commands(number, capsys):
    with pytest.raises(SystemExit) as stopped:
        stage(number, "--help")
    assert stopped.value.code == 0
    page = capsys.readouterr().out
    assert "(default: " in page
    assert f"python -m scripts_dataset_cleaner.{STAGES[number]} --source" in " ".join(page.split())


def test_stage_names_are_in_order():
    assert all(one < two for one, two in pairwise(STAGES))


@pytest.mark.parametrize("number", [3, 4])
def test_a_floor_that_is_given_is_meant(number):
    config = {3: WeighConfig, 4: with_selections(DivPOConfig)}[number]
    places = {3: ["--source_pair", "a", "--data_path_pair_div", "b"], 4: ["--source", "a", "--data_path_pair", "b"]}[number]

    def floor(*flags):
        return parse_flags(config, "the.command", "", [*places, *flags]).floor

    assert floor() == 0
    assert floor("--min_score_non_zero") == 0.2
    assert floor("--min_deviation", "0.1") == floor("--min_deviation", "0.1", "--min_score_non_zero") == 0.1


def test_the_commit_of_a_hub_set_is_read_and_recorded(tmp_path, monkeypatch):
    """The set may change between two runs of the same command; what was read is named."""
    asked = []
    rows = Dataset.from_list(posts())

    def load_dataset(name, revision=None):
        asked.append((name, revision))
        return DatasetDict({"train": rows})

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    answer = SimpleNamespace(dataset_info=lambda name, revision=None: SimpleNamespace(sha=f"sha of {name} at {revision}"))
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: answer)
    stage(0, "--source", "owner/set", "--data_path", tmp_path / "out", "--revision", "v2")
    assert asked == [("owner/set", "sha of owner/set at v2")]
    assert provenance_of(tmp_path / "out")["hub_commit"] == "sha of owner/set at v2"
    assert "hub_commit" not in provenance_of(local_scored(tmp_path))


def local_scored(tmp_path):
    stage(0, "--source", write_jsonl(tmp_path / "posts.jsonl", posts()), "--data_path", tmp_path / "local")
    return tmp_path / "local"
