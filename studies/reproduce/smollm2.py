"""The stages of the recipe smollm2 (docs/OWN_DATA.md): own texts with votes and a small pretrained model, on a laptop.

The paper's stages without ORPO and DORPO, in two lanes of about the same length on two cores, and beside the trained models
the untouched one, which is sampled with the same words around the prompt.
"""

from studies.reproduce.stages import PAPER, SFT, Stage, Table, lanes, sample, train, weigh

_BEFORE_WEIGHTS = tuple(row for row in PAPER.seed if isinstance(row, Stage) and row.needs[0].isdigit())
_STYLOMETRY, _CHECK, _GOLD = PAPER.stages("stylometry", "reward_check", "eval_gold")

SMOLLM2 = Table(
    seed=(
        *_BEFORE_WEIGHTS,
        _STYLOMETRY,
        weigh("both", "semantic style"),
        lanes([train("generation", "generation", "data/filtered")], [train("reward", "reward", "data/filtered")]),
        lanes(
            [train("dpo", "dpo", "data/pairs-both", SFT), sample("untouched", adapter=""), sample("dpo")],
            [
                train("ddpo-both", "ddpo", "data/pairs-both", SFT),
                sample("sft", adapter="{run}/generation"),
                sample("ddpo-both"),
                _CHECK,
                _GOLD,
            ],
        ),
    ),
    compare=("ddpo-both:dpo", "dpo:sft"),
    after=(("less docs/OWN_DATA.md", "what the numbers mean, and other settings"),),
    own_data=True,
    laptop=True,
)
