"""--claims: DDPO against mixtures of DPO's models and SFT, on seeds of its own, as docs/LOG.md announces it.

Of a seed only what its outcomes need: plots, voices and craft are labelled by rules, so no reward model is trained. Style and
meaning are measured beside them.
"""

from studies.miniature.claims import MODEL
from studies.reproduce.controls import train_weighted, weigh_anew
from studies.reproduce.stages import PAPER, SFT, Lanes, Stage, earlier, lanes, sample, serve, train

UNUSED = ("dpo", "orpo", "reward", "gold", "distinct", "samples", "eval_")  # words in the names of SEED's stages that go
BETAS = ("0.1", "0.6", "1", "2", "4")  # of DPO, beside the recipe's
PERMUTED = ("permuted-prompt-1", "permuted-prompt", "1")  # name, method, strength
FLAGS = ("--anchor", "sft", "--controls", "permuted-prompt", "dpo", "sft", "--baselines", "dpo", MODEL)


def rows(checkpoints: int) -> tuple[Stage | Lanes, ...]:
    """What follows the stages of one seed. ``checkpoints``: how many a DPO leaves; the earlier ones are sampled."""
    swept = [(f"dpo-beta-{beta}", "dpo", f"beta={beta}") for beta in BETAS]
    trained = [
        train("dpo", "dpo", "data/pairs-both", SFT),
        train(MODEL, "ddpo", "data/pairs-both", SFT),
        train_weighted(*PERMUTED),
    ]
    trained += [train(f"dpo-beta-{beta}", "dpo", "data/pairs-both", f"{SFT} --beta {beta}") for beta in BETAS]
    stops = earlier({"dpo": checkpoints})
    models = [("sft", "sft", "1", "{run}/generation"), ("dpo",), (MODEL,), PERMUTED, *swept, *stops]
    samples = [sample(*model, scores="--reward_model none") for model in models]
    places = {"sft": "{run}/generation", **{name: place for name, _, _, place in stops}}
    return (
        weigh_anew(*PERMUTED[1:]),
        lanes(trained[::2], trained[1::2]),
        serve("samples_claims", "dpo", MODEL, PERMUTED[0], *(name for name, *_ in swept), adapters=places),
        lanes(samples[::2], samples[1::2]),
    )


def report(methods: tuple[str, ...] = ()) -> tuple[Stage | Lanes, ...]:
    """The report's rows; the outcomes are those of these methods, DDPO's own where there are none."""
    own = f" --methods {' '.join(methods)}" if methods else ""
    return (*PAPER.report, Stage("claims", "world", f"python -m studies.miniature.claims --report {{report}}{own}"))
