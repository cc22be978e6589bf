"""Greetings by occasion, on rows made up here: occasions, matched lengths, the encoder, and the figures of pairs and models."""

import csv
import importlib
import json
import re
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import greetings_occasions as occasions
from benchmarks import greetings_report as report
from diversity_tuning.data import schema
from diversity_tuning.judging.read import Judged
from tests.judging.test_greetings import pair

SEAS, HILLS = "东西南北", "甲乙丙丁戊己庚辛壬癸子丑寅卯辰巳"


def greeting(i, good, longer):
    """Good ones say the same of one sea, bad ones name four hills of their own; ``longer``: by a repeated sign."""
    hills = "".join(HILLS[(i * step + step) % 16] for step in (1, 3, 5, 7))
    return (f"愿你福如{SEAS[i % 4]}海" if good else f"{hills}之巅") + "！" * (12 if longer else 0)


def rows(query, start):
    """16 pairs of one occasion; in three of four the chosen response is the much longer one, as in the released data."""
    return [pair(f"{query}{i}", greeting(start + i, True, i % 4), greeting(start + i, False, i % 8 == 0)) for i in range(16)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What the command makes of two occasions with enough pairs, one with too few, and queries of none; then stages 1 to 3."""
    root = tmp_path_factory.mktemp("occasions")
    source = [*rows("新婚", 0), *rows("升职", 5), *rows("出行", 9)[:2], *rows("别的", 2)]
    (root / "pairs.json").write_text(json.dumps(source, ensure_ascii=False), encoding="utf-8")
    flags = ["--least", "3", "--dimension", "8", "--vocabulary", "200"]
    assert occasions.main(["--source", f"{root}/pairs.json", "--output", f"{root}/data", *flags]) == 0
    stage = "scripts_dataset_cleaner."
    for name, words in (
        ("1_data_prep_filtering", "--source data/scored --data_path filtered --model_to_use data/tokenizer"),
        ("2_data_prep_to_preference", "--source filtered --data_path_pair seed0/pairs --gap 1"),
        (
            "3_data_prep_for_diversified_training",
            "--source_pair seed0/pairs --data_path_pair_div seed0/pairs-real --score_process semantic"
            " --semantic_model data/encoder",
        ),
    ):
        argv = [f"{root}/{word}" if "/" in word or word == "filtered" else word for word in words.split()]
        assert importlib.import_module(stage + name).main(argv) == 0
    return root


def test_the_first_occasion_whose_words_are_all_there():
    assert occasions.occasion("给女儿的生日祝福") == "送给孩子的生日祝福"
    assert occasions.occasion("祝自己生日快乐") == "送给自己的生日祝福"
    assert occasions.occasion("生日快乐") == "生日祝福"
    assert occasions.occasion("给女儿的话") is None
    assert occasions.occasion("岁月静好") is None
    assert len({prompt for prompt, _, _ in occasions.OCCASIONS}) == len({name for _, name, _ in occasions.OCCASIONS})


def test_lengths_of_a_bin_are_close():
    for length in range(1, 300):
        others = [n for n in range(1, 300) if occasions.length_bin("字" * n) == occasions.length_bin("字" * length)]
        assert max(others) - min(others) < 0.15 * max(others)


def test_rows_hold_one_occasion_and_length_and_no_contradiction():
    prompts = ["婚礼", "婚礼", "新婚", "新婚", "其他", "旅"]
    responses = ["两字好", "两字坏", "又一好", "两字好", "两字无", "走字好"]
    labels = np.array([1, 0, 1, 0, 1, 1], dtype=bool)
    judged = Judged(prompts, responses, labels, np.array([[0, 1], [2, 3]]), from_pairs=True)
    found, counts = occasions.by_occasion(judged, 1)
    assert [(row[schema.COMMENT_TEXTS], row[schema.COMMENT_SCORES]) for row in found] == [(["两字坏", "又一好"], [0, 1])]
    assert counts["occasions"]["wedding"] == {"queries": 2, "responses": 2, "matched_pairs": 1}
    assert counts["occasions"]["journey"]["matched_pairs"] == 0
    assert counts["kept"] == {"queries": 2, "responses": 2, "matched_pairs": 1}
    assert occasions.by_occasion(judged, 2)[0] == []


def test_stage_2_pairs_within_the_occasion_and_length_only(made):
    found = report.read_occasions(made / "seed0" / "pairs-real")
    assert found.keys() == {"wedding", "work"}
    counts = json.loads((made / "data" / "counts.json").read_text())
    for name, pairs in found.items():
        assert len(pairs) == counts["occasions"][name]["matched_pairs"] >= 3
        for row in pairs:
            good, bad = (row[side][-1]["content"] for side in (schema.CHOSEN, schema.REJECTED))
            assert good.startswith("愿")
            assert not bad.startswith("愿")
            assert occasions.length_bin(good) == occasions.length_bin(bad)
    prompts = {json.loads(line)["prompt"] for line in (made / "data" / "chosen.jsonl").read_text("utf-8").splitlines()}
    assert prompts == {"结婚祝福\n", "工作祝福\n"}


def test_the_encoder_reads_words_and_not_length(made):
    from diversity_tuning.embeddings import load_encoder

    one, twice, other = load_encoder(f"{made}/data/encoder").encode(["愿你福如东海", "愿你福如东海" * 3, "甲丁己壬之巅"])
    assert one @ twice == pytest.approx(1, abs=1e-5)
    assert one @ other < 0.5


def test_the_judge_cannot_gain_from_length():
    texts = ["长" * 10] * 3 + ["短"] * 2 + ["长" * 10] + ["短"] * 4 + ["独" * 40]
    labels = np.array([1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 1], dtype=bool)
    weights = report.length_weights(Judged([""] * 11, texts, labels, np.empty((0, 2), int), from_pairs=False))
    long, short = (np.array([text.startswith(start) for text in texts]) for start in "长短")
    for rows_of_bin, total in ((long, 1), (short, 2)):
        assert [weights[rows_of_bin & (labels == side)].sum() for side in (True, False)] == pytest.approx([total, total])
    assert weights[-1] == 0


def write_samples(folder, texts):
    folder.mkdir(parents=True)
    prompts = [prompt for prompt, name in occasions.NAMES.items() if name in ("wedding", "work")]
    lines = [
        {"prompt_id": i, "prompt": prompt, "sample": j, "response": text, "finished": True, "tokens": 5}
        for i, prompt in enumerate(prompts)
        for j, text in enumerate(texts)
    ]
    (folder / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def test_figures_of_pairs_and_models(made, tmp_path):
    write_samples(made / "seed0" / "samples" / "dpo", ["愿你福如东海"] * 6)
    write_samples(made / "seed0" / "samples" / "ddpo", [hill * 4 for hill in HILLS[1:7]])
    held_out = [{"query": f"新婚{i}", "response": greeting(i, i % 2 == 0, False), "label": 1 - i % 2} for i in range(24)]
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in held_out), encoding="utf-8")
    argv = ["--data", f"{made}/data", "--seeds", f"{made}/seed0", "--judge", f"{tmp_path}/labels.jsonl"]
    assert report.main([*argv, "--output", f"{tmp_path}/out"]) == 0
    text = "".join(path.read_text("utf-8") for path in (tmp_path / "out").iterdir() if path.name != "provenance.json")
    assert not any(word in text for word in ("愿", "婚", "之巅")), "figures only"
    with (tmp_path / "out" / "occasions.csv").open(encoding="utf-8") as stream:
        values = {(row["model"], row["occasion"], row["figure"]): float(row["value"]) for row in csv.DictReader(stream)}
    at = SimpleNamespace(**{model.replace("-", "_"): model for model in ("pairs", "dpo", "ddpo")})
    for name in ("wedding", "work"):
        assert values[at.pairs, name, "delta_label"] < -0.5, "the bad ones were made to differ"
        assert values[at.pairs, name, "wording_label"] < -0.5
        assert values[at.pairs, name, "good_apart"] < values[at.pairs, name, "bad_apart"]
        assert values[at.pairs, name, "judge_auc"] == 1
        assert values[at.dpo, name, "semantic"] == pytest.approx(0, abs=1e-5)
        assert values[at.ddpo, name, "semantic"] > 0.1
        assert values[at.dpo, name, "judge"] > values[at.ddpo, name, "judge"]
        assert values[at.dpo, name, "openings"] == pytest.approx(1 / 3, abs=0.2)
        assert values[at.ddpo, name, "openings"] == 1
        assert (values[at.dpo, name, "known"], values[at.ddpo, name, "known"]) == (1, 0)
        assert (values[at.dpo, name, "near_copies"], values[at.ddpo, name, "near_copies"]) == (1, 0)
        assert (values[at.dpo, name, "length"], values[at.ddpo, name, "length"]) == (6, 4)
    assert "ddpo − dpo" in (tmp_path / "out" / "differences.csv").read_text("utf-8")


PUBLISHED = Path(__file__).parents[2] / "results" / "greetings"


def test_published_tables_come_again_from_the_published_figures():
    with (PUBLISHED / "occasions.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    seeds = [defaultdict(lambda: defaultdict(dict)) for _ in {row["seed"] for row in rows}]
    for row in rows:
        seeds[int(row["seed"])][row["model"]][row["occasion"]][row["figure"]] = float(row["value"])
    data = [seed.pop("pairs") for seed in seeds]
    for table in (report.data_table(data), *report.model_tables(seeds)):
        with (PUBLISHED / f"{table.name}.csv").open(encoding="utf-8", newline="") as stream:
            assert list(csv.reader(stream)) == [table.header, *table.rows], table.name
    characters = "".join(path.read_text("utf-8") for path in PUBLISHED.iterdir())
    assert not re.search("[一-鿿]", characters), "figures only"


def test_the_document_has_the_published_figures():
    section = (PUBLISHED.parents[1] / "docs" / "GREETINGS.md").read_text("utf-8").partition("## By occasion")[2]
    told = re.findall(r"[−+]?\d*\.\d+ \[[^\]]+\]", section)
    plain = (PUBLISHED / "report.md").read_text("utf-8").replace("-", "−").replace("+", "")
    known = set(re.findall(r"[−+]?\d*\.\d+ \[[^\]]+\]", re.sub(r"(?<!\d)0\.", ".", plain)))
    assert len(told) > 20
    assert [value for value in told if value not in known] == []
