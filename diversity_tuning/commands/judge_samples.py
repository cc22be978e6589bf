r"""The final evaluation of policies by a judge: its verdicts on their samples, side by side, with intervals over prompts.

python -m scripts_eval.sample --source test.jsonl --base_model runs/mine/grpo --output runs/eval/grpo
python -m scripts_eval.judge_samples --reward runs/judge/judge.yaml --runs runs/eval/sft runs/eval/grpo \
    --output runs/eval/judged

--runs: run folders of scripts_eval.sample. The first one is what the others are compared with, on the prompts that both have.
Any judge or reward that scripts_eval.judge_agreement takes; take another one than the policy was trained with, and give how
far it agrees with people beside its figures. Writes judged.jsonl, judged.json and judged.md.
"""

import dataclasses
from pathlib import Path

from diversity_tuning.cli import command
from diversity_tuning.commands.judges import ScorerConfig, about
from diversity_tuning.errors import UserError
from diversity_tuning.flags import flag, parse_flags
from diversity_tuning.runs import atomic_folder, is_finished, provenance, write_json, write_provenance, write_text


@dataclasses.dataclass(frozen=True, kw_only=True)
class JudgedSamplesConfig(ScorerConfig):
    """Whose samples are judged, and by whom."""

    runs: list[str] = flag("run folders of scripts_eval.sample; the first is compared with the others")


@command
def main(argv=None) -> None:
    config = parse_flags(JudgedSamplesConfig, "scripts_eval.judge_samples", __doc__, argv, extra="evaluation")
    inputs = {f"run_{number}": Path(run) / "samples.jsonl" for number, run in enumerate(config.runs)}
    settings = {name: getattr(config, name) for name in ("reward", "seed", "draws")}
    record = provenance("judge_samples", settings, inputs | ({"reward": config.reward} if Path(config.reward).exists() else {}))
    if not is_finished(config.output, record, config.overwrite):
        print(run(config, record), flush=True)


def run(config: JudgedSamplesConfig, record: dict) -> str:
    """Judge every sample once, write the folder, and return the table."""
    import pandas as pd

    from diversity_tuning.evaluation.sampling.samples import read_samples

    if len(set(config.runs)) < len(config.runs):
        raise UserError("--runs: a folder is given twice")
    samples = {name: pd.DataFrame(read_samples(name)).assign(run=name) for name in config.runs}
    if empty := [name for name, rows in samples.items() if rows.empty]:
        raise UserError(f"{empty[0]}: no samples")
    judged = pd.concat(samples.values(), ignore_index=True)
    reward, score = config.load()
    judged["score"] = score(list(judged["prompt"]), list(judged["response"]))
    found = figures(judged, config.draws, config.seed)
    table = _table(found, getattr(reward, "reasons", {}))
    with atomic_folder(config.output) as folder:
        lines = judged[["run", "prompt_id", "sample", "score"]].to_json(orient="records", lines=True)
        write_text(folder / "judged.jsonl", lines)
        write_json(folder / "judged.json", found)
        write_text(folder / "judged.md", table + "\n")
        write_provenance(folder, record, **about(reward))
    return table


def figures(judged, draws: int, seed: int) -> dict[str, dict]:
    """Of each run: mean score with its interval over prompts, length, and the difference from the first run.

    ``judged``: a row a sample, with ``run``, ``prompt``, ``response`` and ``score`` (NaN where there is none; left out).
    """
    from diversity_tuning.evaluation.statistics import mean_interval, paired_difference

    means = judged.dropna(subset="score").groupby(["run", "prompt"], sort=False)["score"].mean()
    found, first = {}, None
    for name, rows in judged.groupby("run", sort=False):
        own = means[means.index.get_level_values("run") == name].droplevel("run")
        first = own if first is None else first
        both, difference = own.index[own.index.isin(first.index)], None
        if found and len(both):
            told = paired_difference(own[both].to_numpy(), first[both].to_numpy(), draws, seed)
            difference = {"prompts": len(both), **{key: told[key] for key in ("mean", "low", "high", "p")}}
        found[name] = {
            "responses": len(rows),
            "prompts": len(own),
            "without_verdict": int(rows["score"].isna().sum()),
            "characters": float(rows["response"].str.len().mean()),
            "score": mean_interval(own.to_numpy(), draws=draws, seed=seed) if len(own) else None,
            "difference": difference,
        }
    return found


def _table(found: dict[str, dict], reasons: dict[str, int]) -> str:
    from diversity_tuning.evaluation.rendering import NONE, Table, interval, markdown, p_value

    rows = []
    for name, one in found.items():
        apart = one["difference"]
        rows.append([
            Path(name).name, str(one["responses"]), str(one["prompts"]), interval(one["score"]) if one["score"] else NONE,
            f"{interval(apart, '', '+')}, {p_value(apart['p'])} (n = {apart['prompts']})" if apart else NONE,
            f"{one['characters']:.0f}", str(one["without_verdict"]),
        ])  # fmt: skip
    header = ["run", "samples", "prompts", "score", "minus the first", "characters", "without a verdict"]
    note = "Score: mean over prompts of the mean over a prompt's samples. 95% over prompts: other seeds may differ more.\n"
    told = "".join(f"\nwithout a verdict: {count} × {reason}" for reason, count in reasons.items())
    return markdown(Table("judged", "Samples as judged", note, header, rows)) + told
