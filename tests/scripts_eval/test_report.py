"""The report of synthetic runs: tables, differences, fronts, figure; without torch."""

import base64
import gzip
import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from diversity_tuning import drawing
from diversity_tuning.evaluation import registry
from diversity_tuning.evaluation.diagnostics import KEY, by_module
from diversity_tuning.evaluation.rendering import Table, latex
from diversity_tuning.evaluation.report import figures, overview, styles, tradeoff_figure
from diversity_tuning.evaluation.report.figures import method_styles
from diversity_tuning.evaluation.report.label_placement import place_labels
from diversity_tuning.evaluation.report.runs import Run, RunGroup, find_runs, group_runs, read_run
from diversity_tuning.evaluation.report.tables import pair_models
from scripts_eval import report
from studies.miniature import recognise
from studies.results.publish import publish
from tests.evaluation.synthetic import hash_of, write_run, write_study

COMPARE = ["--compare", "ddpo-both:dpo", "dorpo-both:orpo", "ddpo-both (1.0):gold"]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def output(study, tmp_path_factory):
    output = tmp_path_factory.mktemp("report") / "all"
    report.main([f"--results={study}", f"--output={output}", *COMPARE, "--anchor=sft"])
    return output


def test_every_seed_and_their_mean(output):
    table = pd.read_csv(output / "models.csv")
    rows = table[table["model"] == "dpo (1.0)"].set_index("seed")
    assert list(rows.index) == ["0", "1", "all"]
    assert rows["reddit_reward_mean"]["all"] == pytest.approx(rows["reddit_reward_mean"][["0", "1"]].mean())
    assert (table["reddit_reward_low"] < table["reddit_reward_mean"]).all()
    assert {"semantic_equal_length_mean", "distinct_voice_mean", "words_mean"} <= set(table.columns)


def test_paired_differences_by_strength_seed_and_pooled(output):
    table = pd.read_csv(output / "differences.csv")
    found = table[(table["difference"] == "ddpo-both (2.0) − dpo (2.0)") & (table["metric"] == "semantic_diversity")]
    assert list(found["seed"]) == ["0", "1", "all"]
    assert found["mean"].to_numpy() == pytest.approx([0.045] * 3, abs=0.015)
    assert (found["p"] < 0.001).all()
    gold = table[(table["difference"] == "ddpo-both (1.0) − references") & (table["metric"] == "reddit_reward")]
    assert list(gold["seed"]) == ["0", "1", "all"]


def test_difference_at_equal_reward(output):
    table = pd.read_csv(output / "fronts.csv")
    found = table[(table["model"] == "ddpo-both (1.0)") & (table["metric"] == "semantic_diversity")]
    assert list(found["points"]) == [4, 4, 4]
    assert found["mean"].to_numpy() == pytest.approx([0.021] * 3, abs=0.015)
    assert (found["low"] > 0).all()


def test_outside_the_range_is_said(study, tmp_path):
    runs = [str(study / name) for name in ("dpo-0.5-0", "dpo-1.0-0")]
    write_run(tmp_path / "far", "ddpo-both", "1.0", 0, 3.0, 0.3)
    report.main(
        ["--runs", *runs, str(tmp_path / "far"), f"--output={tmp_path / 'out'}", "--compare", "ddpo-both:dpo", "--no-figure"]
    )
    assert "outside the range" in (tmp_path / "out" / "report.md").read_text()


def test_markdown_and_figure(output):
    text = (output / "report.md").read_text()
    assert "| ddpo-both (0.5) | all |" in text
    for line in text.splitlines():
        assert not line.startswith("|") or line.endswith("|")
    assert (output / "reward_diversity.png").read_bytes().startswith(b"\x89PNG")
    assert (output / "reward_diversity.pdf").read_bytes().startswith(b"%PDF")


def test_the_report_opens_with_a_summary(output):
    text = (output / "summary.txt").read_text()
    table, sentences = text.split("\n\n")
    assert len(table.splitlines()) == 2 + 10  # a row per model, all seeds together
    assert max(map(len, table.splitlines())) <= 100
    assert "10 models, 2 seeds, 60 prompts a model" in sentences
    assert re.search(
        r"ddpo-both \(2.0\) compared with dpo \(2.0\): reward lower by .*; semantic diversity higher by", sentences
    )
    report_md = (output / "report.md").read_text()
    order = ["# Quality and diversity of sft,", "10 models", "## Overview", "![Reward", "## Models", "## Glossary"]
    places = [report_md.index(part) for part in order]
    assert places == sorted(places)


def test_a_difference_of_seeds_whose_t_holds_0_is_called_a_direction():
    """Three seeds: the bootstrap excludes 0 in both metrics, t in one; a single seed has no t."""
    common = {"difference": "ddpo − dpo", "p": 1e-4, "prompts": 9}
    rows = [
        {"seed": "all", "metric": "reddit_reward", "mean": -0.07, "low": -0.1, "high": -0.04, "t_low": -0.15, "t_high": 0.01},
        {"seed": "all", "metric": "semantic_diversity", "mean": 0.1, "low": 0.08, "high": 0.12, "t_low": 0.03, "t_high": 0.2},
    ]
    told = overview._difference(pd.DataFrame([row | common for row in rows]))
    assert "reward lower by 0.070 [0.040, 0.100] (p < .001; t [-0.150, +0.010], a direction: t holds 0)" in told
    assert "semantic diversity higher by 0.100 [0.080, 0.120] (p < .001; t [+0.030, +0.200])" in told
    alone = rows[0] | common | {"seed": 0, "t_low": float("nan"), "t_high": float("nan")}
    assert "reward lower by 0.070 [0.040, 0.100] (p < .001)." in overview._difference(pd.DataFrame([alone]))


def test_base_and_sft_come_first(study, tmp_path):
    for name in ("base", "zero"):
        write_run(tmp_path / name, name, None, None, 0.1, 0.4)
    runs = [str(folder) for folder in (tmp_path / "zero", study / "gold", study / "sft-0", tmp_path / "base")]
    report.main(["--runs", *runs, f"--output={tmp_path / 'out'}", "--no-figure"])
    assert list(pd.read_csv(tmp_path / "out" / "models.csv")["model"]) == ["base", "sft", "zero", "references"]


def test_runs_that_differ_in_prompts_are_warned_of(study, tmp_path, capsys):
    write_run(tmp_path / "few", "few", None, 0, 0.5, 0.3)
    rows = pd.read_csv(tmp_path / "few" / "prompts.csv").iloc[:50]
    rows.to_csv(tmp_path / "few" / "prompts.csv", index=False)
    same = [str(study / "gold"), str(study / "sft-0"), str(study / "sft-1")]
    report.main(["--runs", *same, f"--output={tmp_path / 'same'}", "--no-figure"])
    assert "warning" not in capsys.readouterr().err
    report.main(["--runs", *same, str(tmp_path / "few"), f"--output={tmp_path / 'out'}", "--no-figure"])
    said = capsys.readouterr().err
    assert "warning: the runs do not have the same prompts: 50 prompts in common" in said
    assert "few 50" in said
    assert "Warning: the runs do not have the same prompts" in (tmp_path / "out" / "report.html").read_text()


def test_a_metric_that_never_varies_is_drawn(tmp_path):
    write_run(tmp_path / "a", "a", None, 0, 0.5, 0.3)
    change(tmp_path / "a", good=0.1, compression_ratio=1.0)  # the bootstrap's mean of 0.1 is not 0.1 to the last bit
    make(tmp_path / "out")
    assert (tmp_path / "out" / "auxiliary.png").is_file()


def test_leaders_are_no_error_bars():
    """Lines from labels to points are grey and slanted; bars are coloured and along the axes."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(3, 3))
    points = [(0.5 + 0.001 * i, 0.5) for i in range(9)]
    axis.plot(*zip(*points, strict=True), "o")
    axis.margins(2)
    figure.canvas.draw()
    place_labels(axis, [(f"method-{i}", point, "red") for i, point in enumerate(points)])
    leaders = [text for text in axis.texts if getattr(text, "arrow_patch", None)]
    assert leaders
    for leader in leaders:
        assert matplotlib.colors.to_hex(leader.arrow_patch.get_edgecolor()) == "#777777"
        assert min(map(abs, leader.xyann)) > 1
    plt.close(figure)


@pytest.fixture(scope="module")
def controlled(tmp_path_factory):
    """Two seeds with craft and plots: DPO at four strengths, DDPO, and controls; the folder of the runs and of the report."""
    root = tmp_path_factory.mktemp("controlled")

    def write(name, method, strength, seed, reward, diversity, craft):
        run = write_run(root / "runs" / f"{name}-{seed}", method, strength, seed, reward, diversity)
        prompts = pd.read_csv(run / "prompts.csv")
        noise = np.random.default_rng([hash_of(name), seed]).normal(0, 0.1, 60)
        prompts = prompts.assign(craft=craft + noise, distinct_direction=10 * diversity + noise)
        prompts.to_csv(run / "prompts.csv", index=False)

    for seed in (0, 1):
        write("sft", "sft", "1", seed, 0.2, 0.40, 1.5)
        for strength, reward, diversity, craft in (
            ("0.33", 0.4, 0.38, 2.0), ("1", 0.8, 0.30, 3.0), ("beta=0.6", 0.6, 0.34, 2.5), ("beta=1", 0.5, 0.36, 2.2),
        ):  # fmt: skip
            write(f"dpo-{strength}", "dpo", strength, seed, reward, diversity, craft)
        write("ddpo", "ddpo-both", "1", seed, 0.7, 0.38, 2.6)
        write("permuted-1", "permuted-prompt", "1", seed, 0.65, 0.33, 2.4)
        write("permuted-2", "permuted-prompt", "2", seed, 0.66, 0.33, 2.4)
        write("hot", "dpo-decoding", "t=1.6", seed, 0.75, 0.38, 1.8)
    flags = [
        "--compare",
        "ddpo-both:dpo",
        "--controls",
        "permuted-prompt",
        "dpo",
        "dpo-decoding",
        "--baselines",
        "dpo",
        "ddpo-both",
    ]
    report.main([f"--results={root / 'runs'}", f"--output={root / 'out'}", *flags, "--anchor=sft", "--note=synthetic data"])
    return root


def rows_of(text, title):
    """The cells of a table of report.md, header first."""
    lines = text.split(f"## {title}\n")[1].split("\n## ")[0].splitlines()
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|") and "---" not in line
    ]


def test_controls_against_both_baselines(controlled):
    text = (controlled / "out" / "report.md").read_text()
    header, *rows = rows_of(text, "Controls: differences to dpo (1)")
    assert header == ["model", "seeds", "plots ↑", "voices ↑", "craft ↑", "reward ↑", "semantic ↑", "style ↑"]
    assert [row[0] for row in rows] == [
        "ddpo-both", "permuted-prompt (1)", "permuted-prompt (2)", "dpo (0.33)", "dpo (beta=0.6)", "dpo (beta=1)",
        "dpo-decoding",
    ]  # fmt: skip
    assert {row[1] for row in rows} == {"2"}
    craft = float(rows[-1][4].split()[0])
    assert craft == pytest.approx(-1.2, abs=0.05)
    _, first, *_ = rows_of(text, "Controls: differences to ddpo-both")
    assert first[0] == "dpo (1)"
    table = pd.read_csv(controlled / "out" / "controls.csv")
    found = table[(table["difference"] == "dpo-decoding − dpo (1)") & (table["metric"] == "craft")].set_index("seed")
    assert float(rows[-1][4].split()[0]) == pytest.approx(found.loc["all", "mean"], abs=5e-4)
    assert list(found.index) == ["0", "1", "all"]
    assert {"t_low", "t_high"} <= set(table.columns)
    compared = set(pd.read_csv(controlled / "out" / "differences.csv")["difference"])
    assert compared == {"ddpo-both − dpo (1)"}, "a single model goes with that of its strength"


def test_equal_craft_beside_equal_reward(controlled):
    """DPO's curve at craft 2.6 is .332, at reward .7 it is .32; every strength of it and SFT are points."""
    table = pd.read_csv(controlled / "out" / "controls-fronts.csv", dtype={"seed": str})
    assert set(table["seed"]) == {"all"}
    assert set(table["points"]) == {5}
    assert set(table["model"]) == {"ddpo-both", "permuted-prompt (1)", "permuted-prompt (2)", "dpo-decoding"}
    found = table[(table["model"] == "ddpo-both") & (table["metric"] == "semantic_diversity")].set_index("quality")
    assert found.loc["craft", "mean"] == pytest.approx(0.38 - 0.332, abs=0.015)
    assert found.loc["reddit_reward", "mean"] == pytest.approx(0.38 - 0.32, abs=0.015)
    assert found.loc["craft", "at"] == pytest.approx(2.6, abs=0.05)
    assert set(table["metric"]) == {"distinct_direction", "distinct_voice", "semantic_diversity", "style_diversity"}
    text = (controlled / "out" / "report.md").read_text()
    for title in ("Diversity at equal reward", "Diversity at equal craft", "Controls: diversity at equal craft"):
        assert rows_of(text, title)[1][0] == "ddpo-both"
    # The controls' own axis: garbled samples lie on DPO's curve of reward, and not on that of craft
    hot = table[(table["model"] == "dpo-decoding") & (table["metric"] == "semantic_diversity")].set_index("quality")["mean"]
    assert hot["reddit_reward"] > 0.05 > hot["craft"]


def test_the_figure_of_controls(controlled):
    """A row per quality; arrows from DPO to DDPO of each seed; grey controls; seeds, kind of data, what is better."""
    from matplotlib.colors import to_hex

    models = group_runs([read_run(folder) for folder in find_runs(controlled / "runs")])
    content = tradeoff_figure.Content(
        models, pair_models(models, "ddpo-both:dpo"), ["permuted-prompt", "dpo-decoding"], "synthetic"
    )
    figure = tradeoff_figure.draw_tradeoff(content, ("semantic_diversity", "style_diversity"))
    assert [axis.get_xlabel() for axis in figure.axes] == ["reward →"] * 2 + ["craft →"] * 2
    assert figure.get_suptitle() == "synthetic, 2 seeds"
    for axis in figure.axes:
        texts = [text.get_text() for text in axis.texts if text.get_text()]
        assert sorted(texts) == ["better", "ddpo-both", "dpo (1)", "sft"], "controls and other strengths have no label"
        arrows = [
            text
            for text in axis.texts
            if getattr(text, "arrow_patch", None) and text.xycoords == "data" and not text.get_text()
        ]
        arrows = [arrow for arrow in arrows if arrow.arrow_patch.get_arrowstyle().__class__.__name__ == "CurveB"]
        assert len(arrows) == 2
        means = {model.label: [np.nanmean(model.matrix("semantic_diversity"), axis=1)] for model in content.main}
        if axis is figure.axes[0]:
            assert sorted(arrow.xy[1] for arrow in arrows) == pytest.approx(sorted(means["ddpo-both"][0]))
            assert sorted(arrow.xyann[1] for arrow in arrows) == pytest.approx(sorted(means["dpo (1)"][0]))
        grey = [line for line in axis.lines if str(line.get_label()).startswith("control:")]
        assert len(grey) == 3
        assert {to_hex(line.get_color()) for line in grey} == {"#8a8a8a"}
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {
        "mean, 95% interval", "one seed", "unweighted → weighted, one seed", "control: permuted-prompt",
        "other strength of a method", "hull of a method's models and SFT, 95% band",
    } <= set(legend)  # fmt: skip
    assert len(legend) == len(set(legend))
    assert sum("without intervals" in text for text in legend) == 1
    assert {"reward_diversity.png", "plots_voices.png"} <= {path.name for path in (controlled / "out").iterdir()}


def test_arrows_are_named_by_what_they_join_and_left_out_where_they_are_many(controlled):
    models = group_runs([read_run(folder) for folder in find_runs(controlled / "runs")])

    def named(*pairs):
        content = tradeoff_figure.Content(models, [pair for words in pairs for pair in pair_models(models, words)])
        figure = tradeoff_figure.draw_tradeoff(content, ("semantic_diversity",))  # the legend is the same for any number
        return [text.get_text() for text in figure.legends[0].get_texts() if "→" in text.get_text()]

    assert named("ddpo-both:dpo") == ["unweighted → weighted, one seed"]
    assert named("ddpo-both:dpo", "dpo:sft") == ["baseline → model, one seed"]
    assert named() == named(*["ddpo-both:dpo"] * 5) == []


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--controls", "dpo"], "give both or none"),
        (["--controls", "nobody", "--baselines", "dpo"], "no run of a method called 'nobody'"),
        (["--controls", "dpo", "--baselines", "nobody"], "no run called 'nobody'"),
    ],
)
def test_what_is_wrong_with_controls(controlled, capsys, flags, message):
    with pytest.raises(SystemExit) as ended:
        report.main([f"--results={controlled / 'runs'}", f"--output={controlled / 'no'}", "--no-figure", *flags])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
    assert not (controlled / "no").exists()


def test_tables_of_latex(output):
    names = {path.stem for path in output.glob("*.tex")}
    parts = {f"{name}{part}" for name in ("models", "differences") for part in ("", "-further", "-other")}
    assert names == {"overview", "counts", "fronts", *parts}
    text = (output / "differences.tex").read_text()
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len({row.count("&") for row in rows}) == 1
    assert text.count("{tabular}") == 2
    assert text.count("{") == text.count("}")
    assert "ddpo-both (0.5) $-$ dpo (0.5)" in text
    assert "p $<$ .001" in text
    assert not set("−–<_") & set("".join(rows).replace(r"\_", "").replace("$<$", ""))


def test_latex_escapes():
    table = Table("x", "T", "", ["a_b", "50%"], [[r"\{$&#~^|", "-0.5 [-1, 2]"]])
    row = latex(table).splitlines()[-3]
    assert row == r"\textbackslash{}\{\$\&\#\textasciitilde{}\textasciicircum{}$|$ & $-$0.5 [$-$1, 2] \\"
    assert r"a\_b & 50\% \\" in latex(table)


def test_ablation_draws_strengths_in_order(tmp_path, monkeypatch):
    folders = []
    for method, shift in (("ddpo-both", 0.0), ("ddpo-minimum", 0.02), ("dpo", -0.05)):
        for strength, more in (("all", 0.03), ("8", 0.02), ("4", 0.0)):
            folder = tmp_path / f"{method}-{strength}"
            folders.append(str(write_run(folder, method, strength, 0, 0.5 + 2 * more, 0.3 + shift + more)))
    folders.append(str(write_run(tmp_path / "divpo", "divpo", "1", 0, 0.55, 0.33)))
    output, drawn = tmp_path / "out", []
    keep = figures.save_figure
    monkeypatch.setattr(figures, "save_figure", lambda figure, *more: drawn.append(figure) or keep(figure, *more))
    report.main(["--runs", *folders, "--compare", "ddpo-both:dpo", "ddpo-both:divpo", "--ablation", f"--output={output}"])
    assert {"ablation.png", "ablation.pdf"} <= {path.name for path in output.iterdir()}
    figure = next(figure for figure in drawn if len(figure.axes) == 3)
    axis = figure.axes[1]
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["4", "8", "all"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["divpo", "ddpo-both", "ddpo-minimum", "dpo"]
    means = {name: read_run(tmp_path / f"ddpo-both-{name}").prompts["semantic_diversity"].mean() for name in ("4", "8", "all")}
    assert list(axis.containers[0].lines[0].get_ydata()) == pytest.approx(list(means.values()))
    table = pd.read_csv(output / "differences.csv")
    assert set(table["difference"]) >= {"ddpo-both (4) − dpo (4)", "ddpo-both (all) − dpo (all)", "ddpo-both (8) − divpo"}


def test_page_is_whole_and_escaped(tmp_path):
    evil = '<script>alert(1)</script> & "quotes"\n\nSecond line'
    for method in ("gold", "dpo"):
        folder = write_run(tmp_path / method, method, None, 0, 0.5, 0.3)
        prompts = pd.read_csv(folder / "prompts.csv")
        prompts.loc[0, "prompt"] = evil
        prompts.to_csv(folder / "prompts.csv", index=False)
        rows = [
            {
                "prompt": prompt,
                "response": f"{evil} by {method}",
                "reddit_reward": 0.5,
                "semantic_diversity": None,
                "style_diversity": 1,
            }
            for prompt in prompts["prompt"]
            for _ in range(5)
        ]
        pd.DataFrame(rows).to_csv(folder / "scores.csv", index=False)
    report.main(["--runs", str(tmp_path / "gold"), str(tmp_path / "dpo"), f"--output={tmp_path / 'out'}", "--samples=3"])
    text = (tmp_path / "out" / "report.html").read_text()
    page = Page()
    page.feed(text)
    assert text.index('id="summary"') < text.index('id="figures"') < text.index('id="samples"') < text.index('id="glossary"')
    assert "<title>Quality and diversity of references and dpo</title>" in text
    assert re.search(r'<a href="#metric-reddit_reward"><abbr title="Score that the reward model[^"]+">reward', text)
    assert page.tags["script"] == 1  # the page's own, allowed by its hash
    assert page.tags["details"] == 3
    assert page.tags["h4"] == 3 * 2
    assert page.texts.count(f"{evil} by dpo") == 3 * 4  # four samples a prompt
    assert page.texts.count("reward 0.50 · style 1.00") == 3 * 2 * 4
    assert all(link.startswith(("data:image/png;base64,", "#")) for link in page.links)
    assert {link[1:] for link in page.links if link.startswith("#")} <= page.ids
    assert any(link.startswith("data:") for link in page.links)
    script = text.split("<script>")[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text
    assert "http" not in text.replace("http-equiv", "")


class Page(HTMLParser):
    """Counts tags, keeps texts and whatever a page would load."""

    def __init__(self):
        super().__init__()
        self.tags, self.texts, self.links, self.ids = Counter(), [], [], set()

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        self.links += [value for name, value in attrs if name in ("src", "href")]
        self.ids |= {value for name, value in attrs if name == "id"}

    def handle_data(self, data):
        self.texts.append(data)


def test_any_two_models(study, tmp_path):
    runs = [str(study / name) for name in ("gold", "sft-0", "dpo-1.0-0", "orpo-0")]
    report.main(["--runs", *runs, f"--output={tmp_path / 'out'}", "--no-figure", "--compare=all"])
    table = pd.read_csv(tmp_path / "out" / "differences.csv")
    assert table["difference"].nunique() == 6
    assert table["p"].between(0, 1).all()


def test_labels_do_not_overlap():
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(5, 4.6))
    points = [(0.1 * i, 0.3 + 0.01 * (i % 3)) for i in range(8)]
    axis.plot(*zip(*points, strict=True), "o")
    axis.margins(0.2)
    figure.canvas.draw()
    notes = place_labels(axis, [(f"method-{i}", point, "black") for i, point in enumerate(points)])
    boxes = [note.get_window_extent() for note in notes]
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])
    plt.close(figure)


def test_a_method_has_one_colour(study):
    models = group_runs([read_run(folder) for folder in find_runs(study)])
    found = method_styles(models)
    assert len(set(found.values())) == len(found) == 6


def test_a_method_has_the_same_colour_in_every_figure(tmp_path):
    def styled(*methods):
        folders = [tmp_path / method for method in methods]
        return method_styles(group_runs([read_run(folder) for folder in folders]))

    methods = ["dpo", "ddpo-both", "mine", "gpt", "gold", "divpo"]
    for method in methods:
        write_run(tmp_path / method, method, None, 0, 0.5, 0.3)
    every, few = styled(*methods), styled("gpt", "divpo", "ddpo-both", "gold", "dpo")
    assert len(set(every.values())) == len(every)
    assert {method: every[method] for method in few if method != "gpt"} == {m: few[m] for m in few if m != "gpt"}


def test_no_torch(study, tmp_path):
    command = [sys.executable, "-X", "importtime", "-m", "scripts_eval.report", "--runs", study / "gold"]
    done = subprocess.run([*command, "--output", tmp_path / "out"], capture_output=True, text=True, check=True)
    imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert not imported & {"torch", "transformers"}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--compare", "dpo"], "give two models as one:other"),
        (["--compare", "dpo:nobody"], "no run called 'nobody'"),
        (["--anchor", "nobody", "--compare", "ddpo-both:dpo"], "no run called 'nobody'"),
    ],
)
def test_one_line_says_what_is_wrong(study, tmp_path, capsys, flags, message):
    with pytest.raises(SystemExit):
        report.main([f"--results={study}", f"--output={tmp_path / 'out'}", "--no-figure", *flags])
    assert message in capsys.readouterr().err


def test_no_runs_and_twins(study, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit):
        report.main([f"--results={tmp_path / 'empty'}", f"--output={tmp_path / 'out'}"])
    assert "no scored run below it" in capsys.readouterr().err
    shutil.copytree(study / "gold", tmp_path / "twin")
    with pytest.raises(SystemExit):
        report.main(["--runs", str(study / "gold"), str(tmp_path / "twin"), f"--output={tmp_path / 'out'}"])
    assert "leave one out" in capsys.readouterr().err


def test_seeds_with_data_of_their_own_are_pooled(tmp_path):
    """Three seeds, none of whose prompts another has: differences are paired within seeds and pooled over them."""
    folders = []
    for seed in (0, 1, 2):
        for method, diversity in (("gold", 0.36), ("dpo", 0.30), ("ddpo-both", 0.35)):
            folder = write_run(tmp_path / f"{method}-{seed}", method, "1", seed, 0.5, diversity)
            rows = pd.read_csv(folder / "prompts.csv")
            rows["prompt"] = f"seed {seed}, " + rows["prompt"]
            rows.sample(frac=1, random_state=seed).to_csv(folder / "prompts.csv", index=False)
            folders.append(str(folder))
    report.main(["--runs", *folders, "--output", str(tmp_path / "out"), "--compare", "ddpo-both:dpo", "--no-figure"])
    rows = pd.read_csv(tmp_path / "out" / "differences.csv").query("metric == 'semantic_diversity'").set_index("seed")
    assert list(rows.index) == ["0", "1", "2", "all"]
    assert rows.loc["all", "mean"] == pytest.approx(rows.loc[["0", "1", "2"], "mean"].mean())
    assert rows.loc["all", "low"] > 0.03
    assert rows.loc["all", "t_low"] > 0.03
    assert rows.loc["all", "prompts"] == rows.loc[["0", "1", "2"], "prompts"].sum()
    assert rows.loc[["0", "1", "2"], "t_low"].isna().all()


def test_no_prompt_is_dropped_to_match_numbers_between_seeds(tmp_path):
    for seed, kept in ((0, 40), (1, 25)):
        for method, diversity in (("dpo", 0.30), ("ddpo-both", 0.35)):
            folder = write_run(tmp_path / f"{method}-{seed}", method, "1", seed, 0.5, diversity)
            rows = pd.read_csv(folder / "prompts.csv").iloc[:kept]
            rows["prompt"] = f"seed {seed}, " + rows["prompt"]
            rows.to_csv(folder / "prompts.csv", index=False)
    make(tmp_path / "out", "--compare", "ddpo-both:dpo", "--no-figure")
    rows = pd.read_csv(tmp_path / "out" / "differences.csv").query("metric == 'semantic_diversity'").set_index("seed")
    assert list(rows["prompts"]) == [40, 25, 65]
    assert rows.loc["all", "mean"] == pytest.approx(rows.loc[["0", "1"], "mean"].mean())  # seeds count equally


def test_a_published_run_gives_the_same_report_without_texts(tmp_path):
    folders = []
    for seed in (0, 1):
        for method, diversity in (("dpo", 0.30), ("ddpo-both", 0.35)):
            folder = write_run(tmp_path / "runs" / f"{method}-{seed}", method, "1", seed, 0.5, diversity)
            rows = pd.read_csv(folder / "prompts.csv")
            rows["prompt"] = f"seed {seed}, a secret, " + rows["prompt"]
            rows.to_csv(folder / "prompts.csv", index=False)
            content = json.loads((folder / "metrics.json").read_text())
            (folder / "metrics.json").write_text(json.dumps({"means": {}, **content}))
            folders.append(folder)
    published = tmp_path / "results" / "mini"
    publish(sorted(folders), published)
    for path in published.iterdir():
        assert b"secret" not in (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes())
    make(tmp_path / "runs" / "report", "--compare", "ddpo-both:dpo", "--no-figure")
    flags = ["--compare", "ddpo-both:dpo", "--no-figure", "--samples=0"]
    report.main(["--runs", str(published), "--output", str(tmp_path / "report"), *flags])
    for name in ("models.csv", "differences.csv"):
        ours, theirs = (pd.read_csv(place / "report" / name) for place in (tmp_path, tmp_path / "runs"))
        pd.testing.assert_frame_equal(ours, theirs, rtol=1e-5, atol=1e-6)


def make(output, *flags):
    """Report of the run folders beside ``output``."""
    folders = sorted(str(path.parent) for path in output.parent.glob("*/metrics.json"))
    report.main(["--runs", *folders, "--output", str(output), "--samples=0", *flags])
    return (output / "report.md").read_text()


def change(folder, **columns):
    rows = pd.read_csv(folder / "prompts.csv").assign(**columns)
    rows.to_csv(folder / "prompts.csv", index=False)


def test_a_run_without_a_diversity_is_left_out_of_that_panel(tmp_path):
    for method in ("a", "b", "c"):
        write_run(tmp_path / method, method, None, 0, 0.5, 0.3)
    change(tmp_path / "a", semantic_diversity=np.nan)
    make(tmp_path / "out")
    assert (tmp_path / "out" / "reward_diversity.png").is_file()
    for method in ("a", "b", "c"):
        change(tmp_path / method, semantic_diversity=np.nan, style_diversity=np.nan)
    make(tmp_path / "none")
    assert not (tmp_path / "none" / "reward_diversity.png").exists()


def test_a_prompt_that_comes_twice_counts_twice(tmp_path):
    for method, diversity in (("a", 0.3), ("b", 0.4)):
        write_run(tmp_path / method, method, None, 0, 0.5, diversity)
        rows = pd.read_csv(tmp_path / method / "prompts.csv")
        rows["prompt"] = rows["prompt"].replace("prompt 1", "prompt 0")
        rows.to_csv(tmp_path / method / "prompts.csv", index=False)
    change(tmp_path / "b", prompt=pd.read_csv(tmp_path / "b" / "prompts.csv")["prompt"].replace("prompt 2", "another"))
    make(tmp_path / "out", "--compare", "b:a", "--no-figure")
    models = pd.read_csv(tmp_path / "out" / "models.csv").set_index("model")
    mean = pd.read_csv(tmp_path / "a" / "prompts.csv")["semantic_diversity"].mean()
    assert models.loc["a", "semantic_diversity_mean"] == pytest.approx(mean)
    assert set(pd.read_csv(tmp_path / "out" / "differences.csv")["prompts"]) == {59}


def test_prompts_are_not_numbered_across_different_models(tmp_path, capsys):
    write_run(tmp_path / "gold", "gold", None, None, 0.5, 0.3)
    write_run(tmp_path / "gpt", "gpt", None, 42, 0.5, 0.3)
    change(tmp_path / "gpt", prompt=[f"other {i}" for i in range(60)])
    text = make(tmp_path / "out", "--compare", "gpt:gold")
    assert "Paired differences" not in text
    assert "gpt and references: no prompt in common, so not compared" in capsys.readouterr().out
    assert "| gpt | 42 |" in text  # and not 42.0


def test_a_run_on_other_prompts_among_seeds_is_named(tmp_path, capsys):
    for seed in (0, 1):
        for method in ("dpo", "ddpo"):
            folder = write_run(tmp_path / f"{method}-{seed}", method, None, seed, 0.5, 0.3)
            change(folder, prompt=[f"seed {seed} {i}" for i in range(60)])
    change(write_run(tmp_path / "stray", "stray", None, 0, 0.5, 0.3), prompt=[f"stray {i}" for i in range(60)])
    with pytest.raises(SystemExit):
        make(tmp_path / "out")
    assert "stray: shares no prompt with the other runs of seed 0" in capsys.readouterr().err


def test_names_may_hold_colons(tmp_path):
    for method in ("llama3.1:8b", "gpt"):
        write_run(tmp_path / method.replace(":", "-"), method, None, None, 0.5, 0.3)
    for pairs in (["all"], ["llama3.1:8b:gpt", "--no-figure"]):
        assert "llama3.1:8b" in make(tmp_path / "out", "--compare", *pairs).split("Paired differences")[1]


def test_failures_are_counted(tmp_path):
    folder = write_run(tmp_path / "gpt", "gpt", None, None, 0.5, 0.3)
    content = json.loads((folder / "metrics.json").read_text())
    content["counts"]["failed"] = 7
    (folder / "metrics.json").write_text(json.dumps(content))
    assert "| gpt | – | 240 | 7 |" in make(tmp_path / "out", "--no-figure")


def test_the_strongest_of_a_name_is_shown_and_other_prompts_are_not(tmp_path):
    for strength in ("1", "0.33", "0.66"):
        write_run(tmp_path / f"ddpo-{strength}", "ddpo", strength, 0, 0.5, 0.3)
    write_run(tmp_path / "gpt", "gpt", None, 42, 0.5, 0.3)
    write_run(tmp_path / "far", "far", None, 7, 0.5, 0.3)
    change(tmp_path / "far", prompt=[f"other {i}" for i in range(60)])
    for folder in [path.parent for path in tmp_path.glob("*/prompts.csv")]:
        rows = pd.read_csv(folder / "prompts.csv").assign(response=f"by {folder.name}")
        rows.to_csv(folder / "scores.csv", index=False)
    make(tmp_path / "out", "--samples=2")
    text = (tmp_path / "out" / "report.html").read_text()
    assert text.count("<p>by ddpo-1</p>") == text.count("<p>by gpt</p>") == 2
    assert "<p>by ddpo-0.66</p>" not in text
    assert "Not shown, with other prompts: far." in text


def test_synthetic_text_is_called_synthetic(study, tmp_path):
    """The data's own responses are the synthetic authors' where the rules for the miniature labelled them; never gold."""
    for name in ("gold", "dpo-1.0-0"):
        shutil.copytree(study / name, tmp_path / name)
        content = json.loads((tmp_path / name / "metrics.json").read_text())
        (tmp_path / name / "metrics.json").write_text(json.dumps(content | {KEY: by_module(recognise).record()}))
    flags = ["--compare", "dpo:gold", "--samples=0"]
    for kind, folder in (("synthetic", tmp_path), ("real", study)):
        runs = [str(folder / name) for name in ("gold", "dpo-1.0-0")]
        report.main(["--runs", *runs, f"--output={tmp_path / 'out' / kind}", *flags])
    synthetic, real = (tmp_path / "out" / kind for kind in ("synthetic", "real"))
    for file in ("report.md", "report.html", "summary.txt", "models.csv", "differences.csv"):
        assert "synthetic authors" in (synthetic / file).read_text(), file
        assert "references" in (real / file).read_text(), file
        shown = (synthetic / file).read_text() + (real / file).read_text()
        assert file.endswith(".csv") or not re.search(r"\bgold\b", shown), file
    notes = [json.loads((folder / "provenance.json").read_text())["settings"]["note"] for folder in (synthetic, real)]
    assert notes == ["synthetic data", None]


def test_ten_methods_of_other_names_have_ten_colours(tmp_path):
    folders = [write_run(tmp_path / f"m{i}", f"m{i}", None, 0, 0.5, 0.3) for i in range(10)]
    found = method_styles(group_runs([read_run(folder) for folder in folders])).values()
    assert len({colour for colour, _ in found}) == len({marker for _, marker in found}) == 10


def test_controls_have_shapes_of_no_method():
    names = ("gold", "sft", *styles._PAPER, "mine", "yours")
    shapes = {marker for _, marker in method_styles([RunGroup(name, name, None, []) for name in names]).values()}
    assert len(shapes) == len(names) == 12
    controls = set(styles.control_markers(f"control {i}" for i in range(8)).values())
    assert len(controls) == 8
    assert len(controls & set("1234")) <= 1, "they are rotations of each other"
    assert not controls & shapes


@pytest.mark.parametrize("number", [4, 37])
def test_a_figure_of_means_is_no_taller_than_a_screen(tmp_path, monkeypatch, number):
    """Panels of many models stand in one line, so that no row is far from its label."""
    metrics = registry.in_table("main", "further")
    prompts = pd.DataFrame({metric.column: [0.1, 0.2, 0.4] for metric in metrics})
    models = [RunGroup(f"m{i}", "m", str(i), [Run(tmp_path, f"m{i}", "m", str(i), None, {}, prompts)]) for i in range(number)]
    drawn = {}
    monkeypatch.setattr(figures, "save_figure", lambda figure, path: drawn.setdefault(path.name, figure) and [])
    figures.plot_means(models, metrics, tmp_path, "means")
    width, height = drawn["means"].get_size_inches()
    lines = {axis.get_subplotspec().rowspan.start for axis in drawn["means"].axes}
    assert len(metrics) > 4
    assert (len(lines) == 1) == (number == 37)
    assert height < 10
    assert width < 3.2 * len(metrics)


def test_controls_are_grey_in_the_figures_of_means_too(controlled, tmp_path, monkeypatch):
    models = group_runs([read_run(folder) for folder in find_runs(controlled / "runs")])
    drawn = {}
    monkeypatch.setattr(figures, "save_figure", lambda figure, path: drawn.setdefault(path.name, figure) and [])
    own = sorted({model.method for model in models} - {"sft", "dpo", "ddpo-both"})
    assert len(own) >= 2
    controls = [own[0], "absent", *own[1:]]
    assert {type(marker) for marker in map(styles.control_markers(controls).get, own)} == {str, tuple}
    figures.plot_means(models, registry.in_table("main"), tmp_path, "means", controls, "synthetic")
    assert drawn["means"].get_suptitle() == "synthetic, 2 seeds"
    axis = drawn["means"].axes[0]
    labels = [label.get_text() for label in axis.get_yticklabels()]
    colours = [container.lines[0].get_color() for container in axis.containers]
    grey = {label for label, colour in zip(labels, colours, strict=True) if colour == drawing.GREY}
    assert grey == {model.label for model in models if model.method in controls}
