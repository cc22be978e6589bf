"""Malformed sources and flags: each ends as one line naming the place, with exit code 2, and leaves nothing behind."""

import gzip
import json
import random
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, DatasetDict, config, load_from_disk

from diversity_tuning import stylometry
from diversity_tuning.data import tables
from scripts_dataset_cleaner import describe
from tests.scripts_dataset_cleaner.helpers import posts, row, stage

GOOD = row("[WP] a", ["x", "y"], [1, 2])


def lines(*rows) -> bytes:
    return b"".join(one if isinstance(one, bytes) else json.dumps(one).encode() + b"\n" for one in rows)


def without(column: str) -> dict:
    return {name: value for name, value in GOOD.items() if name != column}


def with_(**columns) -> dict:
    return {**GOOD, **columns}


def parquet(path, rows=None, table=None) -> None:
    pq.write_table(table if table is not None else pa.Table.from_pylist(rows), path)


JSONL = {
    "empty file": (b"", "no rows"),
    "blank lines only": (b"\n \n\n", "no rows"),
    "not json": (lines(GOOD, b"{oops\n"), "row 2: not valid JSON"),
    "cut off in the middle": (lines(GOOD, GOOD)[:-30], "row 2: not valid JSON"),
    "a list": (lines(GOOD, [1, 2]), "row 2: expected a JSON object"),
    "a number": (b"17\n", "row 1: expected a JSON object"),
    "null row": (lines(GOOD, None), "row 2: expected a JSON object"),
    "deep nesting": (lines(GOOD, b"[" * 100_000 + b"\n"), "row 2: not valid JSON"),
    "not utf-8": (lines(GOOD, b'{"post_title": "\xff"}\n'), "unreadable"),
    "utf-16": (json.dumps(GOOD).encode("utf-16"), "unreadable"),
    "gzip without the name": (gzip.compress(lines(GOOD)), "unreadable"),
    "lone surrogate": (lines(GOOD, with_(post_title="\ud800")), "row 2, column 'post_title'"),
    "lone surrogate in a response": (lines(GOOD, with_(comment_texts=["\ud800", "b"])), "row 2, column 'comment_texts'"),
    "no title": (lines(GOOD, without("post_title")), "row 2: no column 'post_title'"),
    "no text": (lines(without("post_text")), "row 1: no column 'post_text'"),
    "no responses": (lines(without("comment_texts")), "row 1: no column 'comment_texts'"),
    "no votes": (lines(GOOD, GOOD, without("comment_scores")), "row 3: no column 'comment_scores'"),
    "other columns": (lines({"prompt": "a", "chosen": "b"}), "row 1: no column 'post_title'"),
    "null title": (lines(GOOD, with_(post_title=None)), "row 2, column 'post_title': null"),
    "null responses": (lines(GOOD, with_(comment_texts=None)), "row 2, column 'comment_texts': null"),
    "null response": (lines(GOOD, with_(comment_texts=["x", None])), "row 2, column 'comment_texts': null inside"),
    "null vote": (lines(GOOD, with_(comment_scores=[1, None])), "row 2, column 'comment_scores': null inside"),
    "number as a title": (lines(GOOD, with_(post_title=7)), "row 2, column 'post_title'"),
    "all titles numbers": (lines(with_(post_title=7)), "row 1, column 'post_title': expected a text"),
    "responses as one text": (lines(GOOD, with_(comment_texts="xy")), "row 2, column 'comment_texts'"),
    "responses as an object": (lines(GOOD, with_(comment_texts={"a": 1})), "row 2, column 'comment_texts'"),
    "number as a response": (lines(GOOD, with_(comment_texts=["x", 5])), "row 2, column 'comment_texts'"),
    "votes as text": (lines(GOOD, with_(comment_scores=["1", "2"])), "row 2, column 'comment_scores'"),
    "all votes as text": (lines(with_(comment_scores=["1", "2"])), "row 1, column 'comment_scores': expected a list of whole"),
    "half a vote": (lines(GOOD, with_(comment_scores=[1, 2.5])), "row 2, column 'comment_scores': expected a list of whole"),
    "NaN vote": (lines(GOOD, GOOD, with_(comment_scores=[1, float("nan")])), "row 3, column 'comment_scores'"),
    "infinite vote": (lines(with_(comment_scores=[1, float("inf")])), "row 1, column 'comment_scores'"),
    "true as a vote": (lines(GOOD, with_(comment_scores=[1, True])), "row 2, column 'comment_scores'"),
    "vote of 80 bits": (lines(GOOD, with_(comment_scores=[1, 2**80])), "row 2, column 'comment_scores'"),
    "votes as a number": (lines(GOOD, with_(comment_scores=3)), "row 2, column 'comment_scores'"),
    "nested votes": (lines(GOOD, with_(comment_scores=[[1], [2]])), "row 2, column 'comment_scores'"),
    "fewer votes": (lines(GOOD, GOOD, with_(comment_scores=[1])), "row 3, column 'comment_scores': 1 entries"),
    "more votes": (lines(with_(comment_scores=[1, 2, 3])), "row 1, column 'comment_scores': 3 entries"),
    "fewer times": (lines(with_(comment_times=["noon"])), "row 1, column 'comment_times': 1 entries"),
    "wrong far down": (lines(*[GOOD] * 1203, with_(comment_scores=[1, 2.5])), "row 1204, column 'comment_scores'"),
    "one row": (lines(GOOD), "too few"),
}


def refused(capsys, root, run, *fragments) -> None:
    """``run`` ends with exit code 2 and one line holding ``fragments``; nothing new lies under ``root``."""
    before = sorted(root.rglob("*"))
    with pytest.raises(SystemExit) as stopped:
        run()
    assert stopped.value.code == 2
    said = capsys.readouterr().err.strip().splitlines()
    said = [line for line in said if not line.startswith(("Loading", "Map"))]
    assert len(said) == 1
    assert said[0].startswith("error: ")
    for fragment in fragments:
        assert str(fragment) in said[0]
    assert sorted(root.rglob("*")) == before


def score(source, output):
    return lambda: stage(0, "--source", source, "--data_path", output)


@pytest.mark.parametrize("name", JSONL)
def test_jsonl(name, tmp_path, capsys):
    content, fragment = JSONL[name]
    source = tmp_path / "posts.jsonl"
    source.write_bytes(content)
    refused(capsys, tmp_path, score(source, tmp_path / "new" / "out"), *([] if name == "one row" else [source]), fragment)


def truncated_gzip(path):
    path.write_bytes(gzip.compress(lines(*posts()))[:-200])


def damaged_gzip(path):
    content = bytearray(gzip.compress(lines(*posts())))
    content[200:260] = bytes(60)
    path.write_bytes(bytes(content))


def truncated_parquet(path):
    parquet(path, posts())
    path.write_bytes(path.read_bytes()[:-50])


def saved_and_cut(path):
    Dataset.from_list(posts()).save_to_disk(str(path))
    file = next(path.glob("*.arrow"))
    file.write_bytes(file.read_bytes()[:900])


def no_row(path):
    parquet(path, table=pa.Table.from_pylist([GOOD]).slice(0, 0))


def column_twice(path):
    parquet(path, table=pa.Table.from_arrays([pa.array(["a"])] * 2, names=["post_title"] * 2))


def foreign_folder(path):
    path.mkdir()
    (path / "a.txt").write_text("a")


def saved_empty(path):
    DatasetDict(train=Dataset.from_list([GOOD]).select([])).save_to_disk(str(path))


def of(*rows):
    return lambda path: parquet(path, list(rows))


FILES = {
    "truncated gzip": ("posts.jsonl.gz", truncated_gzip, "unreadable"),
    "damaged gzip": ("posts.jsonl.gz", damaged_gzip, ""),
    "plain text named gzip": ("posts.jsonl.gz", lambda path: path.write_bytes(lines(GOOD)), "unreadable"),
    "empty gzip": ("posts.jsonl.gz", lambda path: path.write_bytes(b""), "no rows"),
    "text named parquet": ("posts.parquet", lambda path: path.write_bytes(lines(GOOD)), "unreadable"),
    "empty parquet file": ("posts.parquet", lambda path: path.write_bytes(b""), "unreadable"),
    "truncated parquet": ("posts.parquet", truncated_parquet, "unreadable"),
    "parquet without a row": ("posts.parquet", no_row, "no rows"),
    "parquet without a column": ("posts.parquet", of(without("comment_texts")), "no column 'comment_texts'"),
    "parquet with half votes": ("posts.parquet", of(GOOD, with_(comment_scores=[0.5, 1])), "row 2, column 'comment_scores'"),
    "parquet with null votes": ("posts.parquet", of(GOOD, with_(comment_scores=None)), "row 2, column 'comment_scores'"),
    "parquet with a column twice": ("posts.parquet", column_twice, "there twice"),
    "parquet with bytes": ("posts.parquet", of(with_(post_title=b"a")), "row 1, column 'post_title'"),
    "unknown kind of file": ("posts.csv", lambda path: path.write_text("a,b\n"), "unknown kind of file"),
    "empty folder": ("folder", lambda path: path.mkdir(), "no readable dataset"),
    "folder of something else": ("folder", foreign_folder, "no readable dataset"),
    "saved data cut off": ("folder", saved_and_cut, ""),
    "saved split empty": ("folder", saved_empty, ""),
    "missing file": ("nothing.jsonl", lambda path: None, "no such file"),
    "missing folder": ("some/where/else", lambda path: None, "no such file or folder"),
}


@pytest.mark.parametrize("name", FILES)
def test_files(name, tmp_path, capsys):
    file, make, fragment = FILES[name]
    make(tmp_path / file)
    refused(capsys, tmp_path, score(tmp_path / file, tmp_path / "new" / "out"), tmp_path / file, fragment)


@pytest.mark.parametrize("source", ["no-such-owner/no-such-set", "", "a/b/c"])
def test_no_hub(source, tmp_path, capsys):
    refused(capsys, tmp_path, score(source, tmp_path / "out"), "no such file or folder")


RIGHT = {
    "whole numbers as floats": [with_(comment_scores=[1.0, 2.0]), GOOD],
    "integers and floats mixed": [with_(comment_scores=[1, 2.0]), GOOD],
    "no responses anywhere": [with_(comment_texts=[], comment_scores=[])] * 2,
    "no responses in the first rows": [*[with_(comment_texts=[], comment_scores=[])] * 600, GOOD],
    "null text of the post": [with_(post_text=None), GOOD],
    "equal votes everywhere": [with_(comment_scores=[3, 3])] * 2,
    "negative and zero votes": [with_(comment_scores=[-40, 0]), GOOD],
    "empty strings": [with_(post_title="", comment_texts=["", ""])] * 2,
    "control characters": [with_(comment_texts=["a\0b", "\u2028\u200b"])] * 2,
    "a million characters": [with_(comment_texts=["a" * 10**6, "b"]), GOOD],
    "one response": [with_(comment_texts=["x"], comment_scores=[4])] * 2,
    "largest and smallest votes": [with_(comment_scores=[2**62, -(2**62)]), GOOD],
    "times": [with_(comment_times=["noon", "night"])] * 2,
    "tag without a prompt": [with_(post_title="[WP]"), with_(post_title="[WP] [TT] [")],
    "no post score": [without("post_scores")] * 2,
    "post score as text": [GOOD, with_(post_scores="many")],
    "new column late": [*[GOOD] * 500, with_(author="me")],
    "column of two kinds": [*[with_(author="me")] * 500, with_(author=[1])],
    "objects without a key": [with_(media={})] * 2,
    "half an emoji in another column": [GOOD, with_(author="\ud83d")],
    "number of 65 bits in another column": [GOOD, with_(number=2**64)],
    "more columns": [with_(author="me", labels=["x"], extra=None), GOOD],
}


@pytest.mark.parametrize("name", RIGHT)
def test_unusual_but_right(name, tmp_path):
    (tmp_path / "posts.jsonl").write_bytes(lines(*RIGHT[name]))
    stage(0, "--source", tmp_path / "posts.jsonl", "--data_path", tmp_path / "out")
    splits = load_from_disk(str(tmp_path / "out"))
    assert sum(len(rows) for rows in splits.values()) == len(RIGHT[name])
    assert splits["train"].features["comment_scores"].feature.dtype == "int64"


@pytest.mark.parametrize(
    ("early", "late"),
    [
        (1, 0.97), (None, "x"), ({"flair": None}, {"flair": "x"}), ([None], ["x"]), ({"a": 1}, {"a": 1, "b": "x"}),
        ({}, {"a": 1}),
        (False, 16e8), (7, 2**64), ("x", [1]), ("absent", 5),
    ],
)  # fmt: skip
def test_a_column_that_no_stage_reads_changes_late(tmp_path, capsys, monkeypatch, early, late):
    """It is kept where one type holds all of it, and else left out and named; nothing of a value is lost."""
    rows = [with_(more=early) if early != "absent" else GOOD] * 600 + [with_(more=late)]
    (tmp_path / "posts.jsonl").write_bytes(lines(*rows))
    stage(0, "--source", tmp_path / "posts.jsonl", "--data_path", tmp_path / "out")
    found = [one for split in load_from_disk(str(tmp_path / "out")).values() for one in split]
    assert len(found) == 601
    said = capsys.readouterr().out
    if early is False or late in (2**64, [1]):
        assert "more" not in found[0]
        assert "no column can hold its values: column 'more'" in said
    else:
        assert sum(one["more"] == late for one in found) == 1
        assert "no column can hold" not in said
    monkeypatch.setattr(config, "HF_DATASETS_CACHE", tmp_path / "cache")
    assert len(tables.open_split(str(tmp_path / "posts.jsonl"), "train")) == 601


def test_odd_posts_through_all_stages(pipeline, tmp_path):
    odd = [
        row("one response", ["alone"], [4]),
        row("all votes equal", ["a", "b", "c"], [2, 2, 2]),
        row("a million characters", ["x" * 10**6, "fine", "good"], [50, 20, 1]),
        row("control characters", ["a\0b\x1b[2J", "\u2028\u202e", "\r\n"], [9, 3, 1]),
        row("empty", ["", "some words", "other words"], [9, 3, 1]),
        row("no responses", [], []),
        row("below zero", ["down", "further down"], [-3, -40]),
        row("no text", ["this one", "that one"], [8, 1], post_text=None),
        row("twice", ["same", "same", "another"], [1, 30, 2]),
    ]
    source, models = tmp_path / "posts.jsonl", pipeline.encoders[:-1]
    source.write_bytes(lines(*posts(), *odd))
    stage(0, "--source", source, "--data_path", tmp_path / "0")
    stage(1, "--source", tmp_path / "0", "--data_path", tmp_path / "1", "--model_to_use", pipeline.tokenizer)
    filtered = load_from_disk(str(tmp_path / "1"))
    kept = {one["post_title"]: one["filtered_comment_texts"] for split in filtered.values() for one in split}
    assert kept["a million characters"] == ["fine", "good"]
    assert kept["control characters"] == odd[3]["comment_texts"][:1]  # nothing of the others can be seen
    rows = tmp_path / "rows"
    stage(2, "--source", tmp_path / "1", "--data_path_pair", tmp_path / "2", "--data_path_filtered", rows)
    stage(3, "--source_pair", tmp_path / "2", "--data_path_pair_div", tmp_path / "3", *models, tmp_path / "cache")
    stage(4, "--source", rows, "--data_path_pair", tmp_path / "4", *models, tmp_path / "cache")
    pairs = [one for split in load_from_disk(str(tmp_path / "3")).values() for one in split]
    drawn: dict = {}
    for one in pairs:
        drawn.setdefault(one["chosen"][0]["content"].strip(), []).append((one["score_chosen"], one["score_rejected"]))
        assert 0 <= one["deviation_chosen"] < float("inf")
    assert not drawn.keys() & {"one response", "all votes equal", "no responses"}
    assert drawn["below zero"] == [(-3, -40)]
    assert drawn["twice"] == [(30, 2)]
    assert drawn["no text"] == [(8, 1)]


def test_no_votes_that_differ(pipeline, tmp_path, capsys):
    (tmp_path / "posts.jsonl").write_bytes(lines(*[with_(comment_scores=[3, 3])] * 4))
    stage(0, "--source", tmp_path / "posts.jsonl", "--data_path", tmp_path / "0")
    stage(1, "--source", tmp_path / "0", "--data_path", tmp_path / "1", "--model_to_use", pipeline.tokenizer)
    capsys.readouterr()
    arguments = ("--source", tmp_path / "1", "--data_path_pair", tmp_path / "2", "--data_path_filtered", tmp_path / "3")
    refused(capsys, tmp_path, lambda: stage(2, *arguments), "no pair can be drawn")


NASTY = [None, float("nan"), float("inf"), 2**70, -1, 1.5, True, 0, "x", "", "a\0", "\ud800", [], [None], [1, "a"], [[1]], {}]


def damage(rng: random.Random) -> bytes:
    """A good source with something wrong, or only odd, in one row, cell or byte."""
    rows = posts(6, 3)
    kind = rng.choice(("cell", "cell", "entry", "column", "byte", "cut"))
    victim = rng.choice(rows)
    column = rng.choice(list(victim))
    if kind == "cell":
        victim[column] = rng.choice(NASTY)
    elif kind == "entry":
        column = rng.choice(("comment_texts", "comment_scores"))
        victim[column] = [*victim[column][1:], rng.choice(NASTY)]
    elif kind == "column":
        victim[rng.choice((column.upper(), column + " ", "other"))] = victim.pop(column)
    content = bytearray(lines(*rows))
    if kind == "byte":
        content[rng.randrange(len(content))] = rng.randrange(256)
    return bytes(content[: rng.randrange(len(content))] if kind == "cut" else content)


@pytest.mark.parametrize("seed", range(60))
def test_damage_by_chance(seed, tmp_path, capsys):
    """The right result or one line; never a traceback, never anything half-written."""
    (tmp_path / "posts.jsonl").write_bytes(damage(random.Random(seed)))
    code = ending(score(tmp_path / "posts.jsonl", tmp_path / "out"))
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith(("error: ", "Traceback", "  File"))]
    if code:
        assert code == 2
        assert [line.startswith("error: ") for line in said] == [True]
        assert [path.name for path in tmp_path.iterdir()] == ["posts.jsonl"]
        return
    assert said == []
    for one in (one for split in load_from_disk(str(tmp_path / "out")).values() for one in split):
        assert len(one["comment_texts"]) == len(one["comment_scores"]) == len(one["transformed_score"])
        assert all(type(vote) is int for vote in one["comment_scores"])
        assert all(-1 <= value <= 1 for value in one["transformed_score"])


def ending(run) -> int:
    """The exit code of a command."""
    try:
        run()
    except SystemExit as stopped:
        return stopped.code
    return 0


def test_byte_order_mark_and_windows_line_ends(tmp_path):
    (tmp_path / "posts.jsonl").write_bytes(b"\xef\xbb\xbf" + lines(GOOD, GOOD).replace(b"\n", b"\r\n"))
    stage(0, "--source", tmp_path / "posts.jsonl", "--data_path", tmp_path / "out")
    assert len(load_from_disk(str(tmp_path / "out"))["train"]) == 1


@pytest.mark.parametrize(
    ("number", "arguments", "fragment"),
    [
        (1, ["--source", "nowhere", "--data_path", "OUT"], "run stage 0 first"),
        (2, ["--source", "nowhere", "--data_path_pair", "OUT"], "run stage 1 first"),
        (3, ["--source_pair", "nowhere", "--data_path_pair_div", "OUT"], "run stage 2 first"),
        (4, ["--source", "nowhere", "--data_path_pair", "OUT"], "run stage 2 first"),
        (2, ["--source", "SCORED", "--data_path_pair", "OUT"], "the output of stage 1 is expected here"),
        (3, ["--source_pair", "UNPAIRED", "--data_path_pair_div", "OUT", "MODELS"], "the output of stage 2 is expected here"),
        (4, ["--source", "PAIRS", "--data_path_pair", "OUT", "MODELS"], "the output of stage 2 is expected here"),
        (1, ["--source", "SCORED", "--data_path", "OUT", "--model_to_use", "no/model"], "cannot be loaded"),
        (1, ["--source", "SCORED", "--data_path", "OUT", "--max_tokens", "0"], "--max_tokens"),
        (1, ["--source", "SCORED", "--data_path", "SCORED"], "separate folders"),
        (2, ["--source", "FILTERED", "--data_path_pair", "OUT", "--data_path_filtered", "OUT"], "separate folders"),
        (2, ["--source", "FILTERED", "--data_path_pair", "OUT", "--gap", "-2"], "--gap"),
        (2, ["--source", "FILTERED", "--data_path_pair", "OUT", "--gap", "five"], "--gap"),
        (2, ["--source", "FILTERED", "--data_path_pair", "OUT", "--gap", "9999", "--strict_gap"], "no pair can be drawn"),
        (2, ["--source", "FILTERED"], "--data_path_pair"),
        (2, ["--source", "FILTERED", "--data_path_pair", "OUT", "--wrong"], "--wrong"),
        (2, ["--source", "FILTERED", "--data_path_pair", "OUT", "--num_proc", "0"], "--num_proc"),
        (2, ["--source", "FILTERED", "--data_path_pair", "OUT", "--seed", "-1"], "--seed"),
        (2, ["--source", "FILTERED", "--data_path_pair", "OUT", "--config", "no.yaml"], "no such recipe"),
        (3, ["--source_pair", "PAIRS", "--data_path_pair_div", "OUT", "--score_process", "topic"], "--score_process"),
        (3, ["--source_pair", "PAIRS", "--data_path_pair_div", "OUT", "--score_process", "style", "style"], "given twice"),
        (3, ["--source_pair", "PAIRS", "--data_path_pair_div", "OUT", "--max_cutoff", "3"], "even number"),
        (3, ["--source_pair", "PAIRS", "--data_path_pair_div", "OUT", "--max_cutoff", "0"], "even number"),
        (3, ["--source_pair", "PAIRS", "--data_path_pair_div", "OUT", "--min_deviation", "2"], "--min_deviation"),
        (3, ["--source_pair", "PAIRS", "--data_path_pair_div", "OUT", "--semantic_model", "no/model"], "cannot be loaded"),
        (3, ["--source_pair", "PAIRS", "--data_path_pair_div", "OUT", "--style_model", "builtin:stylometry:x"], ""),
        (4, ["--source", "UNPAIRED", "--data_path_pair", "OUT", "--rho", "101"], "--rho"),
        (4, ["--source", "UNPAIRED", "--data_path_pair", "OUT", "--max_pair_num", "0"], "--max_pair_num"),
        (0, ["--source", "SOURCE", "--data_path", "OUT", "--test_size", "1.5"], "--test_size"),
        (0, ["--source", "SOURCE", "--data_path", "OUT", "--test_size", "0.6", "--validation_size", "0.6"], "below 1"),
    ],
)
def test_flags(pipeline, tmp_path, capsys, number, arguments, fragment):
    places = {name.upper(): str(value) for name, value in vars(pipeline).items() if name != "encoders"}
    places["OUT"] = str(tmp_path / "new" / "out")
    filled = [places.get(argument, argument) for argument in arguments if argument != "MODELS"]
    if "MODELS" in arguments:
        filled += [str(argument) for argument in pipeline.encoders]
    refused(capsys, tmp_path, lambda: stage(number, *filled), fragment)


def test_damaged_stage_output(pipeline, tmp_path, capsys):
    shutil.copytree(pipeline.pairs, tmp_path / "pairs")
    file = next((tmp_path / "pairs" / "train").glob("*.arrow"))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    arguments = ("--source_pair", tmp_path / "pairs", "--data_path_pair_div", tmp_path / "out", *pipeline.encoders)
    refused(capsys, tmp_path, lambda: stage(3, *arguments), tmp_path / "pairs")


def test_hand_made_pairs_with_faults(pipeline, tmp_path, capsys):
    message = [{"role": "user", "content": "p"}, {"role": "assistant", "content": "r"}]
    good = {"chosen": message, "rejected": message, "score_chosen": 2, "score_rejected": 1}
    faults = {
        "one message": ({"chosen": message[:1]}, "column 'chosen': expected a user message"),
        "no content": (
            {"rejected": [message[0], {"role": "assistant", "content": None}]},
            "column 'rejected': a message without",
        ),
        "null votes": ({"score_chosen": None}, "column 'score_chosen': null"),
    }
    for name, (fault, fragment) in faults.items():
        folder = tmp_path / name
        DatasetDict(train=Dataset.from_list([good, {**good, **fault}])).save_to_disk(str(folder))
        arguments = ("--source_pair", folder, "--data_path_pair_div", tmp_path / "out", *pipeline.encoders)
        refused(capsys, tmp_path, lambda arguments=arguments: stage(3, *arguments), folder, "row 2", fragment)


def test_a_source_in_another_encoding(tmp_path, capsys):
    text = json.dumps(row("[WP] Café", ["a", "b"], [1, 2]), ensure_ascii=False)
    (tmp_path / "posts.jsonl").write_bytes(text.encode("latin-1"))
    refused(capsys, tmp_path, score(tmp_path / "posts.jsonl", tmp_path / "out"), "save it as UTF-8")


def test_output_with_foreign_content_is_refused(pipeline, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "novel.txt").write_text("do not touch")
    refused(capsys, tmp_path, score(pipeline.source, tmp_path / "mine"), "choose another folder")
    assert (tmp_path / "mine" / "novel.txt").read_text() == "do not touch"


def test_tokenizer_without_a_chat_template(pipeline, tmp_path, capsys):
    shutil.copytree(pipeline.tokenizer, tmp_path / "plain")
    (tmp_path / "plain" / "chat_template.jinja").unlink()
    arguments = ("--source", pipeline.scored, "--data_path", tmp_path / "out", "--model_to_use", tmp_path / "plain")
    refused(capsys, tmp_path, lambda: stage(1, *arguments), "no chat template")


def test_stylometry_errors(pipeline, tmp_path, capsys):
    def fit(*arguments):
        return lambda: stylometry.main(["fit", *map(str, arguments)])

    refused(capsys, tmp_path, fit("--source", "nowhere", "--output", tmp_path / "out"), "run stage 1 first")
    refused(capsys, tmp_path, fit("--source", pipeline.scored, "--output", tmp_path / "out"), "stage 1 is expected")
    refused(capsys, tmp_path, fit("--source", pipeline.filtered, "--output", tmp_path / "out", "--dimension", 1), "--dimension")


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("deviation_chosen", "much", "row 1, column 'deviation_chosen': expected a number"),
        ("deviation_rejected", float("nan"), "row 1, column 'deviation_rejected': NaN or infinity"),
        ("score_chosen", "9", "row 1, column 'score_chosen': expected a whole number"),
        ("chosen", "text", "row 1, column 'chosen': expected a list of messages"),
    ],
)
def test_pairs_edited_by_hand_are_described_or_one_line(tmp_path, capsys, column, value, message):
    message_of = [{"role": "user", "content": "p"}, {"role": "assistant", "content": "a"}]
    pair = {"chosen": message_of, "rejected": message_of, "score_chosen": 2, "score_rejected": 1}
    pair |= {"deviation_chosen": 1.0, "deviation_rejected": 1.0}
    DatasetDict({"train": Dataset.from_list([{**pair, column: value}])}).save_to_disk(str(tmp_path / "pairs"))
    capsys.readouterr()
    refused(capsys, tmp_path, lambda: describe.main(["--source", str(tmp_path / "pairs")]), message)


@pytest.mark.parametrize("name", ["x" * 300, "a", "a/b"])
def test_names_too_long_and_loops_of_links(tmp_path, capsys, name):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / "posts.jsonl").write_bytes(lines(*posts()))
    refused(capsys, tmp_path, score(tmp_path / "posts.jsonl", tmp_path / name))
    refused(capsys, tmp_path, score(tmp_path / name, tmp_path / "out"))
    refused(capsys, tmp_path, lambda: describe.main(["--source", str(tmp_path / name)]))
