"""One table and figure of several reports: planted differences, who comes first, what is counted, what is refused."""

import pandas as pd
import pytest

from studies.real import measure, regimes


def write(folder, means: dict[str, dict[str, float]], regime="votes", folds=2):
    """A report of three prompts a fold; ``means``: model -> fold -> semantic diversity."""
    rows = [
        {"regime": regime, "seed": f"seed{fold}", "model": model, "prompt": f"{fold}{prompt}",
         **dict.fromkeys(measure.MEASURES, 0.5), "semantic_diversity": value + 0.01 * place}
        for model, of in means.items() for fold, value in of.items() for place, prompt in enumerate("abc")
    ]  # fmt: skip
    folder.mkdir()
    pd.DataFrame(rows).to_csv(folder / "prompts.csv", index=False)


def test_planted_differences_by_regime(tmp_path):
    both = {"sft": {0: 0.5, 1: 0.5}, "dpo": {0: 0.3, 1: 0.4}, "ddpo": {0: 0.4, 1: 0.6}}
    write(tmp_path / "first", both)
    write(tmp_path / "second", both | {"ddpo": {0: 0.9, 1: 0.9}, "spl": {1: 0.1}})
    write(tmp_path / "third", {"sft": {0: 0.2}, "dpo": {0: 0.1}, "grpo": {0: 0.3}}, regime="λ 0")
    write(tmp_path / "fourth", {"sft": {0: 0.2}, "dpo": {0: 0.1}}, regime="λ 0.3")
    words = [
        f"{name}={tmp_path / of}"
        for name, of in (("votes", "first"), ("lines", "fourth"), ("votes", "second"), ("lines", "third"))
    ]
    assert regimes.main(["--reports", *words, "--output", str(tmp_path / "out")]) == 0
    table = pd.read_csv(tmp_path / "out" / "regimes.csv").set_index(["regime", "models", "measure"])
    assert [*dict.fromkeys(key[:2] for key in table.index)] == [
        *(("votes", pair) for pair in ("dpo - sft", "ddpo - dpo", "spl - dpo")),
        *(("lines, λ 0", pair) for pair in ("dpo - sft", "grpo - dpo")),
        ("lines, λ 0.3", "dpo - sft"),
    ]  # fmt: skip
    found = table.xs("semantic_diversity", level="measure")
    # By hand: .1 and .2 on two folds; t(.975, 1) = 12.706, standard error .05.
    row = found.loc[("votes", "ddpo - dpo")]
    assert row[["mean", "t_low", "t_high"]].tolist() == pytest.approx([0.15, 0.15 - 0.6353, 0.15 + 0.6353], abs=1e-4)
    assert row[["prompts", "folds"]].tolist() == [6, 2]
    assert row["report"] == str(tmp_path / "first")  # of two reports of the same votes the first
    assert found.loc[("votes", "spl - dpo"), ["mean", "prompts", "folds"]].tolist() == pytest.approx([-0.3, 3, 1])
    assert pd.isna(found.loc[("votes", "spl - dpo"), "t_low"])
    # All have the same reward, so that the hull is the more various of SFT and DPO: .5; DDPO's folds are .4 and .6.
    above = table.xs("above_mixtures", level="measure")
    assert above.loc[("votes", "ddpo - dpo"), ["mean", "t_low", "t_high"]].tolist() == pytest.approx(
        [0, -1.2706, 1.2706], abs=1e-3
    )
    assert set(above.index) == {("votes", "ddpo - dpo"), ("votes", "spl - dpo"), ("lines, λ 0", "grpo - dpo")}
    text = (tmp_path / "out" / "report.md").read_text()
    assert "| lines, λ 0 | DPO − SFT | 3 | 1 |" in text
    assert "| lines, λ 0 | GRPO − DPO | 3 | 1 | +0.200 [+0.200, +0.200] |" in text
    assert (tmp_path / "out" / "regimes.png").stat().st_size > 10_000


def test_what_is_refused(tmp_path, capsys):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "prompts.csv").write_text("seed,model,prompt\n0,dpo,a\n")
    write(tmp_path / "lone", {"dpo": {0: 0.5}})
    for word, said in (
        ("results/real", "expected NAME=FOLDER"),
        (f"votes={tmp_path}", "not there; run the stages"),
        (f"votes={tmp_path / 'other'}", "without regime, semantic_diversity, reward_b, lints"),
        (f"votes={tmp_path / 'lone'}", "nothing to compare"),
    ):
        with pytest.raises(SystemExit, match="2"):
            regimes.main(["--reports", word, "--output", str(tmp_path / "out")])
        assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
