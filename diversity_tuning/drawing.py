"""What all figures share: colours, axes without a display, and files that are the same for the same numbers."""

from pathlib import Path

# Okabe and Ito's colours, a dark red, three of Tol's: told apart with any colour vision.
BLUE, VERMILION, GREEN, PINK, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
WINE, INDIGO, OLIVE, PURPLE = "#7A1F3D", "#332288", "#999933", "#AA4499"
COLOURS = (BLUE, VERMILION, GREEN, PINK, ORANGE, SKY, WINE, INDIGO, OLIVE, PURPLE)
RUST = "#C24E00"  # vermilion, darker: white words on it can be read
BLACK, DARK, SLATE, LEADER, GREY = "#000000", "#444444", "#666666", "#777777", "#8a8a8a"  # LEADER: from a point to its label
LIGHT, FAINT = "#e5e5e5", "#f3f3f3"


def pyplot():
    """matplotlib.pyplot without a display, with the settings of all figures."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "pdf.fonttype": 42})
    return plt


def draw_grid(axis) -> None:
    """Thin grey lines behind everything."""
    axis.grid(color=LIGHT, lw=0.6)
    axis.set_axisbelow(True)


def add_title(figure, title: str) -> None:
    """Small, at the left."""
    figure.suptitle(title, x=0.01, ha="left", fontsize=10, color=DARK)


def show_as_typed(figure) -> None:
    """Let no name be read as a formula: a ``$`` in it is a ``$``. The numbers of a logarithmic axis stay formulas."""
    from matplotlib.text import Text

    formulas = set()
    for axis in (one for axes in figure.axes for one in (axes.xaxis, axes.yaxis)):
        labels = [*axis.get_majorticklabels(), *axis.get_minorticklabels()]  # made here where they are not yet
        formulas |= set() if axis.get_scale() == "linear" else set(map(id, labels))
    for text in figure.findobj(Text):
        text.set_parse_math(id(text) in formulas)


def whiskers(interval: dict[str, float]) -> list[list[float]]:
    """Lengths below and above the mean. Equal values leave rounding of the bootstrap, which may lie on the wrong side."""
    below, above = interval["mean"] - interval["low"], interval["high"] - interval["mean"]
    return [[max(below, 0.0)], [max(above, 0.0)]]


def save_figure(figure, path: Path, kinds: tuple[str, ...] = ("png", "pdf"), dpi: int = 160) -> list[Path]:
    """Write and close a figure as ``path`` with each ending; the same numbers give the same bytes."""
    paths = [path.with_name(f"{path.name}.{kind}") for kind in kinds]
    show_as_typed(figure)
    for one in paths:
        figure.savefig(one, dpi=dpi, metadata={"CreationDate": None} if one.suffix == ".pdf" else {})
    pyplot().close(figure)
    return paths
