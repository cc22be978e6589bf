"""The benchmark of the adversarial search, small: its files, its figures, and that it does not search twice."""

import json

import datasets
import numpy as np

from benchmarks import adversarial
from studies.miniature.specification import draw_specifications


def test_the_benchmark(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(adversarial, "SEARCHES", {name: adversarial.SEARCHES[name] for name in ("both", "both, checked")})
    drawn = draw_specifications(np.random.default_rng(0), 8)
    prompts = [{"prompt": "\n".join(one.to_post())} for one in drawn]
    parts = {"train": datasets.Dataset.from_list(prompts[:4]), "test": datasets.Dataset.from_list(prompts[4:])}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "data")
    size = ["--seeds", "0", "--rounds", "1", "--num_prompts", "4", "--batch", "4"]
    command = ["--source", str(tmp_path / "data"), "--output", str(tmp_path / "out"), *size]
    adversarial.main(command)
    assert (tmp_path / "out" / "adversarial.png").read_bytes().startswith(b"\x89PNG")
    result = json.loads((tmp_path / "out" / "results.json").read_text())
    assert list(result["searches"]) == list(adversarial.SEARCHES)
    for (run,) in result["searches"].values():
        assert run["recall"][0] == 0
        assert run["precision"][0] is None
        assert len(run["accuracy"]) == 2
    assert len(result["judges"]) == 8
    assert result["judges"]["first, length bias 0"]["bad_passed"]["mean"] > 0.8
    assert str(tmp_path) not in json.dumps(result)
    capsys.readouterr()
    adversarial.main(command)
    assert capsys.readouterr().out.count("round 1 was the last, skipped") == len(adversarial.SEARCHES)
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == result


def test_means_over_the_stories_of_each_prompt():
    rows = [{"prompt": name, "label": label} for name in "ab" for label in (1, 0)]
    of = [{"rows": rows, "said": [1.0, 1.0, 0.0, None]}]
    right = adversarial._matrix([(rows, of[0]["said"])], lambda row, said: said == row["label"], of)
    np.testing.assert_array_equal(right, [[0.5, 0.0]])
    bad = adversarial._matrix([(rows, of[0]["said"])], lambda row, said: None if row["label"] else said, of)
    np.testing.assert_array_equal(bad, [[1.0, np.nan]])
