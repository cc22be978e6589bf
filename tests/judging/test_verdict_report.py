"""The report on the stages: figures by hand, and against the functions of agreement."""

import json

import numpy as np
import pytest

from diversity_tuning.errors import UserError
from diversity_tuning.judging import agreement
from studies.judges.verdict_report import check_labels, summarise, write_report

CASES = [(1, 1, 1), (1, 0, 0), (0, 1, 1), (0, 0, 1), (1, 0, 1), (0, 0, 0), (1, 1, 0), (1, 1, 1)]  # judge, reflect, label


def rows(cases=CASES):
    used = {"calls": 1, "tokens_in": 100, "tokens_out": 10}
    return [
        {
            "prompt": f"p{i % 3}", "response": "x" * (i + 1), "label": label, "judge": {"verdict": judge},
            "reflect": {"verdict": reflect}, "usage": dict.fromkeys(("positive", "negative", "judge", "reflect"), used),
        }
        for i, (judge, reflect, label) in enumerate(cases)
    ]  # fmt: skip


def broken(reason):
    return {
        "prompt": "p0", "response": f"bad {reason}", "failed": {"stage": "judge", "reason": reason, "reply": ""},
        "usage": {"judge": {"calls": 3, "tokens_in": 300, "tokens_out": 30}},
    }  # fmt: skip


def test_by_hand(tmp_path):
    data = [*rows(), broken("no JSON"), broken("refused")]
    summary = write_report([*data, data[0]], tmp_path, prices=(1.0, 10.0))
    assert (summary["responses"], summary["judged"], summary["prompts"]) == (10, 8, 3)
    assert summary["overturned"] == {"0_to_1": 1, "1_to_0": 2, "kept_0": 2, "kept_1": 3}
    assert summary["failed"] == {"positive": {}, "negative": {}, "judge": {"no JSON": 1, "refused": 1}, "reflect": {}}
    assert summary["usage"]["judge"]["calls"] == pytest.approx((8 + 6) / 10)
    assert summary["usage"]["reflect"] == {
        "responses": 8, "calls": 1, "tokens_in": 100, "tokens_out": 10, "cost": pytest.approx((100 + 100) / 1e6),
    }  # fmt: skip
    found = summary["agreement"]
    assert found["overturned"] == {"right": 2, "wrong": 1}
    assert found["judge"]["accuracy"]["value"] == 4 / 8
    assert found["reflect"]["accuracy"]["value"] == 5 / 8
    assert found["reflect_minus_judge"]["accuracy"]["value"] == pytest.approx(1 / 8)
    assert found["judge"]["good"] == 5 / 8
    assert json.loads((tmp_path / "summary.json").read_text()) == json.loads(json.dumps(summary))
    text = (tmp_path / "summary.md").read_text()
    assert "Reflect overturned 3: 1 to good, 2 to bad." in text
    assert "| judge | 1.40 | 140 | 14 | 0.000280 | 2 |" in text
    assert "2 became right and 1 wrong" in text
    assert (tmp_path / "verdicts.png").stat().st_size > 5000


def test_the_figures_are_those_of_agreement():
    found = summarise(rows())["agreement"]
    judge, _, labels = (np.array(column, dtype=bool) for column in zip(*CASES, strict=True))
    for name in ("f1", "kappa"):
        assert found["judge"][name]["value"] == pytest.approx(getattr(agreement, name)(judge, labels)[0])
    lengths = np.arange(1, 9)
    assert found["labels"]["length_auc"]["value"] == pytest.approx(agreement.auc(lengths, labels)[0])
    assert found["judge"]["accuracy"]["low"] < 0.5 < found["judge"]["accuracy"]["high"]
    assert summarise(rows()[::-1]) == summarise(rows())


def test_without_labels_or_prices():
    data = [{name: value for name, value in one.items() if name != "label"} for one in rows()]
    summary = summarise(data)
    assert summary["agreement"] is None
    assert summary["usage"]["judge"]["cost"] is None
    assert summarise(data, "gold")["agreement"] is None
    with pytest.raises(UserError, match="no column 'gold' "):
        check_labels(data, "gold")
    with pytest.raises(UserError, match="expected 0 "):
        check_labels([{**data[0], "gold": 0.5}], "gold")
    named = [{**one, "label": "horror"} for one in data]
    check_labels(named, None)
    assert summarise(named)["agreement"] is None
    part = [{**one, "gold": None if i else 1.0} for i, one in enumerate(data)]
    assert summarise(part, "gold")["agreement"]["n"] == 1


def test_one_class_and_no_response(tmp_path):
    """Nothing is undefined loudly: the figures that do not exist are null."""
    summary = write_report(rows([(1, 1, 1), (1, 1, 1)]), tmp_path, model="simulated")
    assert (tmp_path / "summary.md").read_text().startswith("Judge: simulated (a simulated LLM).\n")
    assert summary["agreement"]["judge"]["kappa"]["value"] is None
    assert summary["overturned"]["kept_1"] == 2
