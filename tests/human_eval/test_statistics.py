"""Counts by hand, the paper's reported counts, and simulated people with a known preference."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from diversity_tuning.commands.human_power import REPORTED, main
from diversity_tuning.human_eval import statistics as stats
from diversity_tuning.human_eval.simulation import ONE, OTHER, Design, detection_rates, simulate_answers


def answers(*rows):
    """(annotator, id, choice[, side]) as answers."""
    table = [(row[0], row[1], row[2], row[3] if len(row) > 3 else None, 10.0) for row in rows]
    return pd.DataFrame(table, columns=["annotator", "id", "choice", "side", "seconds"])


@pytest.mark.parametrize(
    ("wins", "losses", "p"),
    [
        (5, 0, 2 / 32), (0, 5, 2 / 32), (4, 1, 12 / 32), (3, 3, 1.0), (1, 0, 1.0),
        (34, 12, 0.001641), (50, 0, 2**-49), (31, 13, 0.009560),  # the paper's 68-24, 100-0 and 62-26 percent of 50
    ],
)  # fmt: skip
def test_sign_test(wins, losses, p):
    assert stats.sign_test(wins, losses) == pytest.approx(p, rel=1e-3)
    assert stats.sign_test(losses, wins) == stats.sign_test(wins, losses)
    tail = sum(math.comb(wins + losses, k) for k in range(min(wins, losses) + 1)) / 2 ** (wins + losses)
    assert stats.sign_test(wins, losses) == pytest.approx(min(1.0, 2 * tail))


def test_nothing_decided():
    assert math.isnan(stats.sign_test(0, 0))
    assert all(map(math.isnan, stats.share(0, 0).values()))


def test_reported_counts_are_printed_with_their_p(capsys):
    main(["--items", "10", "--preference", "0.5", "--studies", "2"])
    printed = capsys.readouterr().out
    assert len(REPORTED) == 3
    for line in ("68% to 24%, 34 to 12, p = 0.0016", "100% to 0%, 50 to 0, p = 1.8e-15", "62% to 26%, 31 to 13, p = 0.0096"):
        assert line in printed


def test_wilson_interval():
    found = stats.share(34, 50)  # Wilson by hand: centre (34 + 1.96²/2) / (50 + 1.96²)
    z = 1.959964
    centre, half = (34 + z**2 / 2) / (50 + z**2), z / (50 + z**2) * math.sqrt(34 * 16 / 50 + z**2 / 4)
    assert (found["low"], found["high"]) == pytest.approx((centre - half, centre + half), abs=1e-6)
    assert stats.share(0, 5)["low"] == 0
    assert stats.share(5, 5)["high"] == 1


def test_an_item_counts_once_by_its_majority():
    rows = [(n, "i1", c) for n, c in enumerate(["x", "x", "y"])]
    rows += [(n, "i2", c) for n, c in enumerate(["x", "y", "undecided"])]
    rows += [(n, "i3", c) for n, c in enumerate(["undecided", "undecided", "y"])]
    rows += [(0, "i4", "y")]
    rows += [(n, "i5", c) for n, c in enumerate(["x", "x", "y", "y"])]
    found = stats.win_rates(answers(*rows), "x", "y")
    assert {name: found[name] for name in ("one", "other", "undecided", "items")} == {
        "one": 1, "other": 1, "undecided": 3, "items": 5,
    }  # fmt: skip
    assert found["one_mean"] == 0.2
    assert found["p"] == 1.0


def test_agreement():
    assert stats.agreement(answers(*[(n, f"i{k}", "xy"[k % 2]) for k in range(6) for n in range(3)]))["mean"] == 1
    # Krippendorff (2011), Computing Krippendorff's alpha-reliability, example C: four observers, twelve units
    table = {
        "a": [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
        "b": [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
        "c": [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
        "d": [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
    }
    rows = [(name, f"u{k:02d}", str(value)) for name, own in table.items() for k, value in enumerate(own) if value]
    found = stats.agreement(answers(*rows))
    assert found["mean"] == pytest.approx(0.743, abs=5e-4)
    assert found["low"] < found["mean"] < found["high"]


def test_pairs_agree():
    rows = [(n, "i1", c) for n, c in enumerate("xxy")] + [(n, "i2", "y") for n in range(2)] + [(0, "i3", "x")]
    assert stats.pairs_agree(answers(*rows)) == (1 + 1) / (3 + 1)
    assert math.isnan(stats.pairs_agree(answers((0, "i1", "x"))))


def test_agreement_is_not_defined_without_two_answers_or_two_values():
    lonely = answers((1, "i1", "x"), (2, "i2", "y"))
    unanimous = answers((1, "i1", "x"), (2, "i1", "x"))
    for rows in (lonely, unanimous):
        assert all(map(math.isnan, stats.agreement(rows).values()))


def test_position_is_told_from_preference():
    always_a = answers(*[(1, f"i{k}", "xy"[k % 2], "A") for k in range(20)])
    assert stats.position_bias(always_a)["p"] < 1e-4
    assert stats.win_rates(always_a, "x", "y")["p"] == 1.0
    always_x = answers(*[(1, f"i{k}", "x", "AB"[k % 2]) for k in range(20)])
    assert stats.position_bias(always_x)["p"] == 1.0
    assert stats.win_rates(always_x, "x", "y")["p"] < 1e-4


def test_net_preference_knows_that_one_person_is_one_person():
    """A hundred answers of a single extreme annotator among four weigh less than a hundred of a hundred people."""
    one_loud = answers(*[(0, f"i{k}", "x") for k in range(40)], *[(n, f"i{k}", "y") for n in (1, 2, 3) for k in range(13)])
    many = answers(*[(k, f"i{k}", "x") for k in range(40)], *[(100 + k, f"i{k}", "y") for k in range(39)])
    assert abs(stats.net_preference(one_loud, "x", "y")["mean"]) < 0.02
    assert stats.net_preference(one_loud, "x", "y")["high"] > stats.net_preference(many, "x", "y")["high"] + 0.2


def test_annotator_rates():
    rows = answers((1, "i1", "x"), (1, "i2", "y"), (1, "i3", "undecided"), (2, "i1", "x"))
    assert stats.annotator_rates(rows, "x", "y").to_dict("records") == [
        {"annotator": 1, "answers": 3, "one": 1, "other": 1, "undecided": 1, "seconds": 10.0},
        {"annotator": 2, "answers": 1, "one": 1, "other": 0, "undecided": 0, "seconds": 10.0},
    ]


def test_simulated_studies_have_the_shape_that_was_asked_for():
    found = simulate_answers(Design(), np.random.default_rng(0))
    assert found.groupby("id").size().eq(3).all()
    assert found.groupby("annotator").size().eq(25).all()
    assert not found.duplicated(["annotator", "id"]).any()
    assert found["id"].nunique() == 50
    sides = (
        found[found["side"].notna()].groupby("id")[["side", "choice"]].apply(lambda g: len(set(zip(*g.values.T, strict=True))))
    )
    assert sides.max() <= 2  # the same set is A for every annotator of an item


def test_false_positives_and_power():
    """Bounds that a right test breaks once in 10,000 runs of other seeds, and a wrong one nearly always."""
    studies = 100
    none = detection_rates(Design(preference=0.5), studies)
    limit = binom.ppf(0.9999, studies, 0.05) / studies
    assert none["sign_test"] <= limit
    assert none["net_preference"] <= limit
    assert none["position"] <= limit
    strong = detection_rates(Design(preference=0.75), studies)
    assert strong["sign_test"] > 0.9
    assert strong["net_preference"] > 0.75
    assert strong["position"] <= limit
    pulled = detection_rates(Design(preference=0.5, position=1.0), studies)
    assert pulled["position"] > 0.9
    assert pulled["sign_test"] <= limit


def test_a_known_preference_is_found_again():
    found = simulate_answers(Design(items=2000, preference=0.7, item_spread=0, annotator_spread=0), np.random.default_rng(1))
    net = stats.net_preference(found, ONE, OTHER)
    assert net["mean"] == pytest.approx(0.9 * 0.4, abs=0.04)
    assert net["low"] < 0.36 < net["high"]
