"""Ways of selecting preference pairs. One is a function and an entry of :data:`SELECTIONS`, which stages 2 and 4 read."""

from collections.abc import Callable
from dataclasses import Field, dataclass, field

from diversity_tuning.flags import flag
from diversity_tuning.objectives import load


@dataclass(frozen=True)
class Selection:
    """A way of selecting pairs among the responses to one prompt.

    ``place``: ``module:name`` of a function ``(responses, rng, **settings)`` that returns (chosen, rejected) indices into a
    :class:`~diversity_tuning.data.pair.Responses`. ``label``: in tables and figures; ``about``: in ``--help``. ``settings``:
    the function's own flags, each with its default. ``needs_vectors``: whether it reads deviations, and so is of stage 4; else
    it is of stage 2.
    """

    label: str
    about: str
    place: str
    settings: dict[str, Field] = field(default_factory=dict)
    needs_vectors: bool = False

    @property
    def function(self) -> Callable:
        """The function."""
        return load(self.place)


SELECTIONS = {
    "gap": Selection(
        "votes apart", "at random among pairs with votes --gap apart", "diversity_tuning.data.pair:by_gap",
        {
            "gap": flag("least difference of votes; -1: all pairs", default=5, least=-1),
            "strict_gap": flag("stop where no pair has the gap, instead of taking any votes", default=False),
        },
    ),
    "divpo": Selection(
        "DivPO", "the most deviating of the most voted against the least deviating of the least voted",
        "diversity_tuning.data.divpo:by_divpo",
        {
            "max_pair_num": flag("pairs of a prompt, at most", default=2, least=1),
            "rho": flag("share of the responses in each pool, in percent", default=25.0, least=0, most=100),
        },
        needs_vectors=True,
    ),
}  # fmt: skip


def selections_of(needs_vectors: bool) -> dict[str, Selection]:
    """The entries of one stage, its default first: those that read deviations (stage 4), or those that do not (stage 2)."""
    return {name: one for name, one in SELECTIONS.items() if one.needs_vectors == needs_vectors}
