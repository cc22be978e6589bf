"""Names in figures and in Markdown are shown as they are typed."""

import numpy as np
import pytest

from diversity_tuning.data import describe
from diversity_tuning.drawing import pyplot, save_figure, show_as_typed
from diversity_tuning.evaluation.rendering import Table, markdown
from diversity_tuning.training.curves import plot_curves

NAME = r"run $\frac{$1$ of $\nope$"  # no formula: matplotlib's parser raises on it


def test_curves_of_a_run_with_any_name(tmp_path):
    rows = [{"step": step, "loss": 1.0, f"diversity/{NAME}": 0.5} for step in range(3)]
    plot_curves(rows, tmp_path / "curves.png", NAME)
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_histograms_of_data_with_any_name(tmp_path):
    describe.draw_histograms(tmp_path / "h.png", {NAME: {NAME: np.geomspace(1, 1e5, 50)}}, NAME)
    assert (tmp_path / "h.png").stat().st_size > 1000


def test_figures_with_any_name(tmp_path):
    figure, axis = pyplot().subplots()
    axis.plot([1, 2], [1, 1e4], label=NAME)
    axis.set(yscale="log", title=NAME)
    axis.set_xticks([1, 2], [NAME, "b"])
    axis.legend()
    show_as_typed(figure)
    assert not axis.title.get_parse_math()
    assert axis.get_yticklabels()[0].get_parse_math(), "10 to a power is a formula"
    assert save_figure(figure, tmp_path / "f", kinds=("png",))[0].stat().st_size > 1000


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("<b>x</b>", "&lt;b>x&lt;/b>"), ("![x](http://there/y.png)", r"![x\](http://there/y.png)"), ("a|b", r"a\|b"),
        ("*a* `b`", r"\*a\* \`b\`"), (".1 [.0, .2], p < .001", ".1 [.0, .2], p < .001"), ("ddpo_both (1.0)", "ddpo_both (1.0)"),
    ],
)  # fmt: skip
def test_a_name_in_a_table_is_no_markup(name, shown):
    assert f"\n| {shown} |\n" in markdown(Table("t", "title", "`note`", ["model"], [[name]]))
