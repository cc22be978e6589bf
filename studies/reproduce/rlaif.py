"""The stages of --rlaif (docs/RLAIF.md), after those of one seed: a judge, GRPO with several rewards and deviations, report."""

from studies.reproduce.stages import SFT, Lanes, Stage, lanes, sample, stage, train

STYLE = "builtin:stylometry:{run}/stylometry"
BOTH = f"--encoders builtin:minilm {STYLE}"
REWARD = "--reward {run}/reward"
DARLING = "--distinct_threshold {run}/distinct --scale_rewards none"  # as published: not divided by the standard deviation
# What the report compares, and the policies of one seed's stages that stand beside GRPO.
PAIRS = (
    "grpo-advantage:grpo", "grpo-darling:grpo", "grpo-judge:grpo", "grpo-advantage:grpo-darling", "grpo:dpo",
    "grpo-advantage:ddpo-both",
)  # fmt: skip
COMPARED = ("sft", "dpo", "ddpo-both")
UNUSED = ("orpo", "gold")  # words in the names of stages that the report does not need


def grpo(name: str, flags: str) -> Stage:
    """GRPO from the SFT adapter on the prompts of the data."""
    return train(name, "grpo", "data/filtered", f"{SFT} {flags}")


def checkpoints(model: str, count: int, places: tuple[int, ...]) -> list[Stage]:
    """Samples of the checkpoints with these numbers, of ``count`` equally far apart; the last one is the model itself."""
    made = []
    for place in places:
        folder = f"{{run}}/{model}/checkpoint@{place}"
        made.append(sample(f"{model}-{100 * place // count}", model, f"{place / count:.2f}", folder))
    return made


def rows(saved: dict[str, int]) -> tuple[Stage | Lanes, ...]:
    """``saved``: how many checkpoints DPO and GRPO leave. Plain runs log style alone: meaning costs a third of a step."""
    points = saved["grpo"]
    return (
        lanes(
            [stage("labels"), stage("judge"), grpo("grpo", f"{REWARD} --encoders {STYLE}"), stage("own_prompt")],
            [grpo("grpo-advantage", f"{REWARD} --deviation advantage {BOTH}")],
        ),
        lanes(
            [grpo("grpo-darling", f"{REWARD} --deviation darling {DARLING} {BOTH}")],
            [stage("judged"), sample("grpo-judge")],
        ),
        lanes(
            [sample("grpo"), *checkpoints("grpo", points, tuple(range(points // 2, points)))],
            [
                sample("grpo-advantage"),
                *checkpoints("grpo-advantage", points, (points - 1,)),
                sample("grpo-darling"),
                *checkpoints("dpo", saved["dpo"], (saved["dpo"] - 1,)),
            ],
        ),
    )


REPORT = (stage("report_rlaif"),)
