r"""The final evaluation of policies by a judge: its verdicts on their samples, side by side, with intervals over prompts.

python -m scripts_eval.sample --source test.jsonl --base_model runs/mine/grpo --output runs/eval/grpo
python -m scripts_eval.judge_samples --reward runs/judge/judge.yaml --runs runs/eval/sft runs/eval/grpo \
    --output runs/eval/judged

--runs: run folders of scripts_eval.sample. The first one is what the others are compared with, on the prompts that both have.
Any judge or reward that scripts_eval.judge_agreement takes; take another one than the policy was trained with, and give how
far it agrees with people beside its figures. Writes judged.jsonl, judged.json and judged.md.
"""

import dataclasses
import json
from pathlib import Path

from diversity_tuning.cli import command
from diversity_tuning.commands.judges import ScorerConfig, about
from diversity_tuning.errors import UserError
from diversity_tuning.flags import flag, parse_flags
from diversity_tuning.runs import atomic_folder, is_finished, provenance, write_provenance, write_text


@dataclasses.dataclass(frozen=True, kw_only=True)
class JudgedSamplesConfig(ScorerConfig):
    """Whose samples are judged, and by whom."""

    runs: list[str] = flag("run folders of scripts_eval.sample; the first is compared with the others")


@command
def main(argv=None) -> None:
    config = parse_flags(JudgedSamplesConfig, "scripts_eval.judge_samples", __doc__, argv)
    inputs = {f"run_{number}": Path(run) / "samples.jsonl" for number, run in enumerate(config.runs)}
    settings = {name: getattr(config, name) for name in ("reward", "seed", "draws")}
    record = provenance("judge_samples", settings, inputs | ({"reward": config.reward} if Path(config.reward).exists() else {}))
    if not is_finished(config.output, record, config.overwrite):
        print(run(config, record), flush=True)


def run(config: JudgedSamplesConfig, record: dict) -> str:
    """Judge every sample once, write the folder, and return the table."""
    from diversity_tuning.evaluation.sampling.samples import read_samples

    if len(set(config.runs)) < len(config.runs):
        raise UserError("--runs: a folder is given twice")
    samples = {name: read_samples(name) for name in config.runs}
    empty = next((name for name, rows in samples.items() if not rows), None)
    if empty:
        raise UserError(f"{empty}: no samples")
    reward, score = config.load()
    rows = [(name, row) for name in config.runs for row in samples[name]]
    scores = score([row.prompt for _, row in rows], [row.response for _, row in rows])
    judged = [
        {"run": name, "prompt_id": row.prompt_id, "sample": row.sample, "score": float(one) if one == one else None}
        for (name, row), one in zip(rows, scores, strict=True)
    ]
    found = {name: _figures(name, config, samples, judged) for name in config.runs}
    table = _table(found, getattr(reward, "reasons", {}))
    with atomic_folder(config.output) as folder:
        write_text(folder / "judged.jsonl", "".join(json.dumps(one) + "\n" for one in judged))
        write_text(folder / "judged.json", json.dumps(found, indent=2) + "\n")
        write_text(folder / "judged.md", table + "\n")
        write_provenance(folder, record, **about(reward))
    return table


def _by_prompt(judged: list[dict], name: str, prompts: dict[int, str]) -> dict[str, float]:
    """Mean score of a run's samples of each prompt, those without a verdict left out."""
    scores: dict[str, list[float]] = {}
    for one in judged:
        if one["run"] == name and one["score"] is not None:
            scores.setdefault(prompts[one["prompt_id"]], []).append(one["score"])
    return {prompt: sum(values) / len(values) for prompt, values in scores.items()}


def _figures(name: str, config: JudgedSamplesConfig, samples: dict, judged: list[dict]) -> dict:
    """One run: mean score with its interval over prompts, length, and the difference from the first run."""
    import numpy as np

    from diversity_tuning.evaluation.statistics import mean_interval, paired_difference

    own, first = (
        _by_prompt(judged, run, {row.prompt_id: row.prompt for row in samples[run]}) for run in (name, config.runs[0])
    )
    both = [prompt for prompt in own if prompt in first]
    difference = None
    if name != config.runs[0] and both:
        one, other = (np.array([values[prompt] for prompt in both]) for values in (own, first))
        told = paired_difference(one, other, config.draws, config.seed)
        difference = {"prompts": len(both), **{key: told[key] for key in ("mean", "low", "high", "p")}}
    return {
        "responses": len(samples[name]),
        "prompts": len(own),
        "without_verdict": sum(one["run"] == name and one["score"] is None for one in judged),
        "characters": sum(len(row.response) for row in samples[name]) / len(samples[name]),
        "score": mean_interval(np.array(list(own.values())), draws=config.draws, seed=config.seed) if own else None,
        "difference": difference,
    }


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
