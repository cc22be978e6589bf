"""studies.real.prepare: small clones laid out as the sources' repositories are, and what is refused."""

import dataclasses
import gzip
import json
import os
import pickle
import subprocess

import pytest

from studies.real import prepare


@pytest.fixture
def clone(tmp_path):
    """The layouts of the three repositories in one folder, with a few rows each."""
    ocsai = tmp_path / "clone" / "data" / "ocsai1"
    ocsai.mkdir(parents=True)
    answers = {
        "train": [
            ("DT Uses", "box", " a  hat", 31), ("DT Uses", "box", "a hat", 34), ("DT Uses", "pants", "a flag", 20),
            ("DT Completion", "When I got on the bus, I saw", " a yeti", 40),
        ],
        "val": [("DT Instances", "noise", "a drum", 11), ("DT Instances", "red", "a nose", 12),
                ("DT Consequences", "if PEOPLE NEEDED NO SLEEP", "tea\nis out", 23)],
    }  # fmt: skip
    for part, rows in answers.items():
        lines = [
            json.dumps({"prompt": f"{task} Prompt:{about}\nResponse:{text}\nScore:\n", "completion": str(score)})
            for task, about, text, score in rows
        ]
        (ocsai / f"finetune-gt_alltests2_no-testdata_prepared_{part}.jsonl").write_text("\n".join(lines) + "\n")
    contests = tmp_path / "clone" / "contests"
    (contests / "metadata").mkdir(parents=True)
    (contests / "summaries").mkdir()
    (contests / "metadata" / "descriptions.txt").write_text('contest,description\n7,Cat, with hat \n8,No summary\n9,"Two"\n')
    head = "rank,funny,somewhat_funny,unfunny,count,score,precision,contest,caption\n"
    seven = '1,9,1,0,10,1.9,.1,7,"Well, well, well"\n2,3,0,0,4,1,.1,7, Well then. \n3,8,0,0,9,1,.1,7,Well then.\n'
    seven += "4,1,0,0,2,1,.1,7,Short!\n"
    (contests / "summaries" / "7_summary_LilUCB.csv").write_text(head + seven)
    (contests / "summaries" / "7_summary_RoundRobin.csv").write_text(head + "1,0,0,0,1,1,.1,7,Not this one\n")
    nine = "target_id," + head + "5,1,2.0,0,0,6,1,.1,9,Nine lives left\n"
    (contests / "summaries" / "9_summary_KLUCB.csv").write_text(nine)
    ranked = [
        ["[WP] A door. ", "It opens. <\\newline> So.", "It shuts.", 1, 1],
        ["[WP] A door.", "It shuts.", "It is red.", 1, 1],
    ]
    (tmp_path / "clone" / "data" / "train_rank_data_small.pkl").write_bytes(pickle.dumps(ranked, protocol=3))
    return tmp_path / "clone"


@pytest.fixture
def small(monkeypatch):
    counts = {"ocsai": (6, 6), "captions": (2, 3), "storyer": (1, 3)}
    small = {
        name: dataclasses.replace(source, prompts=counts[name][0], responses=counts[name][1])
        for name, source in prepare.SOURCES.items()
    }
    monkeypatch.setattr(prepare, "SOURCES", small)


def made(name, clone, output):
    prepare.main([name, "--from", str(clone), "--output", str(output)])
    opened = gzip.open if output.suffix == ".gz" else open
    with opened(output, "rt", encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream]
    assert all({"post_title", "post_text", "post_scores", "comment_texts", "comment_scores"} == set(row) for row in rows)
    return {
        row["post_title"]: (row["post_scores"], dict(zip(row["comment_texts"], row["comment_scores"], strict=True)))
        for row in rows
    }


@pytest.mark.usefixtures("small")
def test_rows_of_every_source(clone, tmp_path, capsys):
    assert made("ocsai", clone, tmp_path / "o.jsonl.gz") == {
        "What is a surprising use for a box?": (0, {"a hat": 32}),
        "What is a surprising use for pants?": (0, {"a flag": 20}),
        "Continue in a surprising way: When I got on the bus, I saw": (0, {"a yeti": 40}),
        "What is a surprising example of something that makes a noise?": (0, {"a drum": 11}),
        "What is a surprising example of something that is red?": (0, {"a nose": 12}),
        "What would be a surprising consequence if people needed no sleep?": (0, {"tea is out": 23}),
    }
    assert made("captions", clone, tmp_path / "c.jsonl") == {
        "[CC] Cat, with hat": (14, {"Well, well, well": 9, "Well then.": 3}),
        '[CC] "Two"': (6, {"Nine lives left": 2}),
    }
    assert made("storyer", clone, tmp_path / "s.jsonl") == {
        "[WP] A door.": (0, {"It opens. \n So.": 1, "It shuts.": 0, "It is red.": 0})
    }
    said = capsys.readouterr().out
    assert "licence: MIT" in said
    assert "licence: CC BY 4.0" in said
    assert "none stated" in said
    assert "1 prompts, 3 responses" in said


def refused(capsys, clone, tmp_path, name, said):
    with pytest.raises(SystemExit) as caught:
        prepare.main([name, "--from", str(clone), "--output", str(tmp_path / "out.jsonl")])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out.jsonl").exists()


def test_other_counts_than_the_recorded_ones_name_the_commit(clone, tmp_path, capsys):
    refused(capsys, clone, tmp_path, "ocsai", "git -C")
    refused(capsys, clone, tmp_path, "captions", "instead of 135 and 747,909")


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("name", "file"),
    [("ocsai", "data/ocsai1/finetune-gt_alltests2_no-testdata_prepared_val.jsonl"),
     ("captions", "contests/metadata/descriptions.txt"), ("captions", "contests/summaries/9_summary_KLUCB.csv"),
     ("storyer", "data/train_rank_data_small.pkl")],
)  # fmt: skip
def test_a_file_that_is_missing_or_other_than_expected_is_one_line(clone, tmp_path, capsys, name, file):
    (clone / file).write_text("version https://git-lfs.github.com/spec/v1\n")
    refused(capsys, clone, tmp_path, name, file)
    (clone / file).write_text("a,b\nnonsense,row\n")
    refused(capsys, clone, tmp_path, name, "" if file.endswith("txt") else file)
    (clone / file).unlink()
    refused(capsys, clone, tmp_path, name, "" if file.endswith("csv") else file)
    refused(capsys, tmp_path / "nowhere", tmp_path, name, "nowhere: no such folder")


class _Harm:
    def __reduce__(self):
        return os.system, ("echo harm",)


@pytest.mark.usefixtures("small")
def test_a_pickle_that_could_run_code_is_refused(clone, tmp_path, capsys):
    (clone / "data" / "train_rank_data_small.pkl").write_bytes(pickle.dumps([_Harm()]))
    refused(capsys, clone, tmp_path, "storyer", "it names posix.system")


@pytest.mark.usefixtures("small")
def test_download_clones_and_never_writes_over_a_folder(clone, tmp_path, capsys, monkeypatch):
    asked = []

    def run(words, **_):
        asked.append(words[1:])
        if words[1] == "clone":
            clone.rename(words[-1])
        return subprocess.CompletedProcess(words, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    argv = ["storyer", "--download", str(tmp_path / "new"), "--output", str(tmp_path / "out.jsonl")]
    prepare.main(argv)
    assert [words[0] for words in asked] == ["clone", "-C"]
    assert asked[1][-1] == prepare.SOURCES["storyer"].commit
    with pytest.raises(SystemExit):
        prepare.main([*argv[:-1], str(tmp_path / "other.jsonl")])
    assert "is there already; give it as --from" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        prepare.main(["storyer", "--from", str(tmp_path / "new"), "--output", str(tmp_path / "out.jsonl")])
    assert "out.jsonl: is there already" in capsys.readouterr().err
