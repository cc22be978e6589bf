"""--controls, after the paper's plan: what else could give DDPO's diversity, trained and sampled like DPO and DDPO.

Whether it is the pairs that the weights choose (deviations permuted within a prompt, or over all pairs), the size of the step
(constant weights, weights divided by their mean), the pairs of weight 0 (floors), or what costs less than weights: another
temperature, top-p or min-p when sampling, another β, an earlier stop. docs/RESULTS.md says what each answers.
"""

from studies.reproduce.stages import SFT, Lanes, Stage, earlier, lanes, sample, serve, train, weigh

DRAWS = ("1", "2")  # of every permutation, of all prompts or pairs anew
FLOORS = ("0.1", "0.2")
BETAS = (1 / 3, 1 / 2, 2, 10 / 3)  # times the recipe's
_UNCUT = "--top_k 0 --top_p 1"
# Strength of a run: flags of sampling. Top-k and top-p are the recipe's where they are not named.
DECODING = {
    "t=0.7": "--temperature 0.7",
    "t=1.3": "--temperature 1.3",
    "t=1.6": "--temperature 1.6",
    "t=1.3,top_p=0.8": "--temperature 1.3 --top_p 0.8",
    "t=1.6,top_p=0.8": "--temperature 1.6 --top_p 0.8",
    "t=1.3,min_p=0.1": f"--temperature 1.3 {_UNCUT} --min_p 0.1",
    "t=1.6,min_p=0.1": f"--temperature 1.6 {_UNCUT} --min_p 0.1",
}
# Method -> strengths: every DDPO of these trains on pairs of its own, but for the last one.
WEIGHTS = {"permuted-prompt": DRAWS, "permuted-all": DRAWS, "floor": FLOORS, "constant": ("1",), "normalised": ("1",)}
METHODS = (*WEIGHTS, "dpo", "dpo-decoding", "sft-decoding")  # as the report calls them; dpo: other β, earlier stops
_SAMPLED = {"dpo": "{run}/dpo", "sft": "{run}/generation"}


def curve(checkpoints: int) -> tuple[Stage | Lanes, ...]:
    """The checkpoints of DPO, scored where --full scores them, so that neither does it twice."""
    found = earlier({"dpo": checkpoints})
    return (
        serve("samples_curve", adapters={name: place for name, _, _, place in found}),
        lanes([sample(*words) for words in found]),
    )


def controls(checkpoints: int, beta: float) -> tuple[Stage | Lanes, ...]:
    """Every control of one seed. ``checkpoints``: how many a DPO leaves; ``beta``: of the recipe's DPO."""
    betas = [f"{beta * factor:.3g}" for factor in BETAS]
    weighted = [(f"{method}-{strength}", method, strength) for method, strengths in WEIGHTS.items() for strength in strengths]
    swept = [(f"dpo-beta-{one}", "dpo", f"beta={one}") for one in betas]
    stops = [  # of the smallest β, which learns fastest, and of the largest
        (f"{name}-{100 * place // checkpoints:02d}", "dpo", f"{strength},0.{100 * place // checkpoints:02d}", name, place)
        for name, _, strength in (swept[0], swept[-1])
        for place in range(1, checkpoints)
    ]
    at = {name: f"{{run}}/{model}/checkpoint@{place}" for name, _, _, model, place in stops}
    return (
        *(weigh_anew(method, strength) for _, method, strength in weighted if method != "normalised"),
        lanes(
            [train_weighted(*row) for row in weighted[:6]],
            [
                *(train_weighted(*row) for row in weighted[6:]),
                *(
                    train(name, "dpo", "data/pairs-both", f"{SFT} --beta {one}")
                    for (name, *_), one in zip(swept, betas, strict=True)
                ),
            ],
        ),
        serve("samples_controls", *(name for name, *_ in (*weighted, *swept)), adapters=at),
        *_serve_decoding(),
        lanes(
            [*(sample(*row) for row in (*weighted, *swept)), *(sample(*row[:3], at[row[0]]) for row in stops)],
            [_decode(policy, setting) for setting in DECODING for policy in _SAMPLED],
        ),
    )


def weigh_anew(method: str, strength: str) -> Stage:
    """Stage 3 with the weights of a control."""
    kind, _, scope = method.partition("-")
    flags = {
        "permuted": f"--permute {scope} --permute_seed {strength}",
        "floor": f"--min_score_non_zero --min_deviation {strength}",
        "constant": "--constant",
    }
    return weigh(f"{method}-{strength}", "semantic style", flags[kind])


def train_weighted(name: str, method: str, strength: str) -> Stage:
    """DDPO on the pairs of a control."""
    if method == "normalised":
        return train(name, "ddpo", "data/pairs-both", f"{SFT} --weight_normalisation pairs")
    return train(name, "ddpo", f"data/pairs-{name}", SFT)


def _decoded(policy: str, setting: str) -> str:
    """The folder of one policy's samples at one setting."""
    return f"{policy}-{setting.replace('=', '').replace(',', '-')}"


def _decode(policy: str, setting: str) -> Stage:
    return sample(_decoded(policy, setting), f"{policy}-decoding", setting, _SAMPLED[policy], DECODING[setting])


def _serve_decoding() -> list[Stage]:
    """With vLLM: a server for each setting, whose adapters are the policies."""
    return [
        serve(
            f"samples_{_decoded('decoding', setting)}",
            adapters={_decoded(policy, setting): place for policy, place in _SAMPLED.items()},
            flags=flags,
        )
        for setting, flags in DECODING.items()
    ]
