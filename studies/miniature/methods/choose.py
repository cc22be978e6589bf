r"""Choose one strength of every method on the validation prompts.

python -m studies.miniature.methods.choose --runs runs/miniature/seed0/eval-methods-validation/*/ \
    --models runs/miniature/seed0 --baseline dpo --strength 0.3 --output runs/miniature/seed0/chosen-preference

The rule: of a method's models that keep at least half of the baseline's gain in reward over SFT, the one with the greatest
semantic diversity; where none keeps as much, the one with the highest reward. Adapters are copied to OUTPUT/METHOD, and
OUTPUT/chosen.csv has every model's figures.
"""

import shutil
from pathlib import Path

from diversity_tuning.cli import Parser, command, parse_with_recipe
from diversity_tuning.errors import UserError

REWARD, DIVERSITY = "reddit_reward", "semantic_diversity"
KEPT = 0.5  # of the baseline's gain in reward


@command
def main(argv=None) -> None:
    parser = Parser("studies.miniature.methods.choose", __doc__)
    parser.add_argument(
        "--runs", nargs="+", required=True, help="scored runs of SFT and of every strength, on validation prompts"
    )
    parser.add_argument("--models", required=True, help="the folder of the trained adapters, each named as its run")
    parser.add_argument("--baseline", required=True, help="the method whose gain in reward over SFT is the measure")
    parser.add_argument("--strength", required=True, help="its strength that is measured")
    parser.add_argument("--output", required=True, help="folder for the chosen adapters")
    args = parse_with_recipe(parser, argv)
    from diversity_tuning.runs import is_finished, provenance

    settings = {"baseline": args.baseline, "strength": args.strength, "kept": KEPT}
    runs = [Path(folder) for folder in args.runs]
    record = provenance("choose", settings, {run.name: run / "metrics.json" for run in runs})
    if not is_finished(args.output, record, overwrite=True):
        write_chosen(runs, Path(args.models), args.baseline, args.strength, args.output, record)


def choose(models: list[dict], least: float) -> dict:
    """Of one method's models (``reward``, ``diversity``) the most diverse with a reward of ``least``, else the best."""
    good = [model for model in models if model["reward"] >= least]
    return max(good, key=lambda model: model["diversity"]) if good else max(models, key=lambda model: model["reward"])


def least_reward(models: list[dict], baseline: str, strength: str) -> float:
    """SFT's reward and half of what the baseline at this strength gains over it."""
    sft = _only([model for model in models if model["method"] == "sft"], "sft")
    measure = _only(
        [one for one in models if (one["method"], one["strength"]) == (baseline, strength)], f"{baseline} {strength}"
    )
    return sft["reward"] + KEPT * (measure["reward"] - sft["reward"])


def write_chosen(runs: list[Path], adapters: Path, baseline: str, strength: str, output: str, record: dict) -> None:
    """Copy the chosen adapters, write every model's figures, and print what was chosen."""
    import pandas as pd

    from diversity_tuning.runs import atomic_folder, write_provenance

    found = [_read(run) for run in runs]
    least = least_reward(found, baseline, strength)
    with atomic_folder(output) as folder:
        for method in dict.fromkeys(model["method"] for model in found if model["method"] != "sft"):
            chosen = choose([model for model in found if model["method"] == method], least)
            chosen["chosen"] = 1
            (folder / method).mkdir()
            for file in sorted(adapters.joinpath(chosen["run"]).iterdir()):
                if file.is_file():
                    shutil.copy2(file, folder / method / file.name)
            print(f"{method}: {chosen['strength']} (reward {chosen['reward']:.3f}, least {least:.3f})", flush=True)
        pd.DataFrame(found).to_csv(folder / "chosen.csv", index=False, float_format="%.6g")
        write_provenance(folder, record, counts={"models": len(found), "least_reward": least})


def _read(run: Path) -> dict:
    import json

    content = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    values = {name: content["means"][column]["mean"] for name, column in (("reward", REWARD), ("diversity", DIVERSITY))}
    return {"run": run.name, "method": content["method"], "strength": content["strength"], **values, "chosen": 0}


def _only(models: list[dict], what: str) -> dict:
    if len(models) != 1:
        raise UserError(f"--runs: {len(models)} runs of {what}; exactly one is needed")
    return models[0]


if __name__ == "__main__":
    main()
