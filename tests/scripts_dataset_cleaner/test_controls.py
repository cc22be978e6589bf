"""Deviations of the wrong pairs, or one for all: what stays as it is, and what does not."""

import json
from collections import Counter

import numpy as np
import pytest
from datasets import load_from_disk

from diversity_tuning.data.weigh import constant, permute, permuted_rows, prompt_of
from tests.scripts_dataset_cleaner.helpers import data_digest, stage

PROMPTS = np.array([b"p", b"q", b"p", b"r", b"p", b"q"], "S16")


def test_a_permutation_within_prompts_or_over_all():
    rng = np.random.default_rng(0)
    within = np.array([permuted_rows(PROMPTS, "prompt", rng) for _ in range(2000)])
    over = np.array([permuted_rows(PROMPTS, "all", rng) for _ in range(2000)])
    for rows in (within, over):
        assert (np.sort(rows, axis=1) == np.arange(6)).all()
    assert (PROMPTS[within] == PROMPTS).all()
    assert (PROMPTS[over] != PROMPTS).any()
    # uniform: each of the p rows takes from each of them a third of the time
    shares = [(within[:, row] == other).mean() for row in (0, 2, 4) for other in (0, 2, 4)]
    assert shares == pytest.approx([1 / 3] * 9, abs=0.05)
    assert [(over[:, 3] == other).mean() for other in range(6)] == pytest.approx([1 / 6] * 6, abs=0.04)
    with pytest.raises(ValueError, match="scope"):
        permuted_rows(PROMPTS, "rows", rng)


@pytest.mark.parametrize("scope", ["prompt", "all"])
def test_both_columns_move_together_and_keep_their_values(scope):
    rng = np.random.default_rng(1)
    prompts = np.repeat(np.arange(40), 5).astype("S16")
    chosen, rejected = rng.random(200), rng.random(200)
    new, other, told = permute(chosen, rejected, prompts, scope, 7, "train")
    assert Counter(zip(new, other, strict=True)) == Counter(zip(chosen, rejected, strict=True))
    assert told["unchanged_pairs"] == (new == chosen).sum() < 70
    assert told["correlation_with_real"] == pytest.approx(np.corrcoef(chosen, new)[0, 1], abs=1e-4)
    again = permute(chosen, rejected, prompts, scope, 7, "train")
    np.testing.assert_array_equal(again[0], new)
    for seed, split in ((8, "train"), (7, "test")):
        assert (permute(chosen, rejected, prompts, scope, seed, split)[0] != new).any()


def test_the_mean_to_all():
    new, other, told = constant(np.array([0, 1, 3.5]), np.array([2.0, 0, 1]))
    assert new.tolist() == [1.5] * 3
    assert other.tolist() == [1] * 3
    assert told == {"constant": 1.5, "constant_rejected": 1.0}
    assert constant(np.empty(0), np.empty(0))[0].size == 0


def weighted(pipeline, folder, *flags):
    stage(3, "--source_pair", pipeline.pairs, "--data_path_pair_div", folder, *pipeline.encoders, *flags)
    return load_from_disk(str(folder)), json.loads((folder / "provenance.json").read_text())


def test_the_stage_shuffles_deviations_and_nothing_else(pipeline, tmp_path, capsys):
    real = load_from_disk(str(pipeline.div))
    columns = ["deviation_chosen", "deviation_rejected"]

    def by_prompt(rows):
        groups: dict = {}
        for one in rows:
            groups.setdefault(prompt_of(one["chosen"]), []).append(tuple(one[name] for name in columns))
        return {prompt: sorted(values) for prompt, values in groups.items()}

    within, record = weighted(pipeline, tmp_path / "prompt", "--permute", "prompt", "--permute_seed", 3)
    over, _ = weighted(pipeline, tmp_path / "all", "--permute", "all", "--permute_seed", 3)
    for name, rows in real.items():
        for other in (within[name], over[name]):
            assert other.remove_columns(columns)[:] == rows.remove_columns(columns)[:]
            assert other[columns[0]][:] != rows[columns[0]][:]
        assert by_prompt(within[name]) == by_prompt(rows)
        assert by_prompt(over[name]) != by_prompt(rows)
        assert sorted(over[name][columns[0]]) == sorted(rows[columns[0]])
    assert (record["arguments"]["permute"], record["arguments"]["permute_seed"]) == ("prompt", 3)
    assert record["by_split"]["train"]["control"].keys() == {"permuted", "unchanged_pairs", "correlation_with_real"}
    assert "control: permuted prompt unchanged_pairs" in capsys.readouterr().out
    weighted(pipeline, tmp_path / "again", "--permute", "prompt", "--permute_seed", 3)
    assert data_digest(tmp_path / "again") == data_digest(tmp_path / "prompt")
    with pytest.raises(SystemExit):
        weighted(pipeline, tmp_path / "again", "--permute", "prompt", "--permute_seed", 4)
    assert "different arguments: permute_seed" in capsys.readouterr().err


def test_the_stage_gives_the_mean_to_all(pipeline, tmp_path):
    rows, record = weighted(pipeline, tmp_path / "constant", "--constant")
    real = np.array(load_from_disk(str(pipeline.div))["train"]["deviation_chosen"])
    assert set(rows["train"]["deviation_chosen"]) == {real.mean()}
    assert record["arguments"]["constant"] is True
    assert record["by_split"]["train"]["control"]["constant"] == real.mean()


def test_without_a_control_the_record_says_so(pipeline, tmp_path, capsys):
    record = json.loads((pipeline.div / "provenance.json").read_text())
    assert {"permute": None, "constant": False}.items() <= record["arguments"].items()
    assert "control" not in record["by_split"]["train"]
    for flags in (["--permute", "prompt", "--constant"], ["--permute_seed", "-1"]):
        with pytest.raises(SystemExit) as ended:
            weighted(pipeline, tmp_path / "no", *flags)
        assert ended.value.code == 2
        assert capsys.readouterr().err.startswith("error: ")
