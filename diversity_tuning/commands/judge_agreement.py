r"""How well a judge or reward agrees with people: accuracy, F1, AUC, Cohen's kappa, pairs, by length, beside length alone.

    python -m scripts_eval.judge_agreement --reward runs/mine/reward_pairs --labels labels.jsonl --output runs/agreement
    python -m scripts_eval.judge_agreement --reward builtin:length --pairs pairs.jsonl --output runs/agreement-length
    python -m scripts_eval.judge_agreement --reward runs/judge/judge.yaml --labels labels.jsonl --output runs/agreement-judge
    python -m scripts_eval.judge_agreement --reward runs/reward --annotations runs/human/study/annotations \
        --key runs/human/ddpo-dpo/key.csv --runs runs/eval/ddpo runs/eval/dpo --output runs/agreement-human

Labels: rows of prompt (or query), response, label (1 good, 0 bad). Pairs: rows of prompt, chosen, rejected. Texts or messages,
in any form that a training command takes (.jsonl, .json, .parquet, .csv, …). Annotations: the story that each annotator of a
human study found best, against each of the others on the page. Writes agreement.json, agreement.png. An LLM judge
(judge.yaml) is asked twice for every good response: once beside another prompt. Its verdicts need no threshold.
"""

import dataclasses
import sys

from diversity_tuning.cli import command
from diversity_tuning.commands.judges import ScorerConfig, about
from diversity_tuning.errors import UserError
from diversity_tuning.flags import flag, parse_flags
from diversity_tuning.reward_functions import is_judge
from diversity_tuning.runs import atomic_folder, is_finished, provenance, write_provenance

FEW = 30  # good or bad responses: with fewer, what is printed comes with a warning
_SHOWN = ("accuracy", "f1", "auc", "kappa", "pair_accuracy", "own_vs_other")


@dataclasses.dataclass(frozen=True, kw_only=True)
class AgreementConfig(ScorerConfig):
    """Who judges, and what people said: one of labels, pairs and annotations."""

    labels: str | None = flag("what people said: rows of prompt, response, label", default=None)
    pairs: str | None = flag("what people preferred: rows of prompt, chosen, rejected", default=None)
    annotations: list[str] | None = flag("what people preferred: annotations/ of human studies", default=None)
    key: list[str] | None = flag("with --annotations: key.csv of every item file", default=None)
    runs: list[str] | None = flag("with --annotations: the evaluated runs whose stories were shown", default=None)
    trained_on: list[str] | None = flag("leave out what shares a prompt or text with these", default=None, metavar="FILE")
    threshold: float | None = flag(
        "score above which a response is good; default: learned, cross-fitted; of judge.yaml .5", default=None
    )

    def __post_init__(self):
        super().__post_init__()
        if sum(map(bool, (self.labels, self.pairs, self.annotations))) != 1:
            raise UserError("one of --labels, --pairs and --annotations is needed, and no more")
        if bool(self.annotations) != bool(self.key and self.runs):
            raise UserError("--annotations, --key and --runs go together")


@command
def main(argv=None) -> None:
    config = parse_flags(AgreementConfig, "scripts_eval.judge_agreement", __doc__, argv, extra="evaluation")
    record = record_of(config)
    if not is_finished(config.output, record, config.overwrite):
        tell(run(config, record))


def record_of(config: AgreementConfig) -> dict:
    """The provenance: settings, and the fingerprint of every file and folder that is read."""
    inputs = {"labels": config.labels, "pairs": config.pairs}
    for name in ("annotations", "key", "runs", "trained_on"):
        inputs |= {f"{name}_{number}": path for number, path in enumerate(getattr(config, name) or [])}
    settings = {name: getattr(config, name) for name in ("reward", "threshold", "draws", "seed")}
    if not config.reward.startswith("builtin:"):
        inputs["reward"] = config.reward
    return provenance("judge_agreement", settings, inputs)


def run(config: AgreementConfig, record: dict) -> dict:
    """Read, judge, compare; the content of agreement.json, and ``left_out``, ``reasons``."""
    from diversity_tuning.judging.check import check
    from diversity_tuning.judging.read import read_labels_or_pairs

    data = people(config)
    rows = len(data.responses)
    for path in config.trained_on or []:
        data = data.without(read_labels_or_pairs(path))
    if not data.responses:
        source = config.labels or config.pairs or config.annotations[0]
        raise UserError(f"{source}: all {rows} responses share a prompt or text with --trained_on")
    reward, score = config.load()
    threshold = 0.5 if config.threshold is None and is_judge(config.reward) else config.threshold
    left_out = rows - len(data.responses)
    with atomic_folder(config.output) as folder:
        result = check(score, data, folder, config.reward, threshold, config.draws, config.seed)
        write_provenance(folder, record, counts={"responses_left_out_as_trained_on": left_out}, **about(reward))
    return {**result, "left_out": left_out, "reasons": getattr(reward, "reasons", {})}


def people(config: AgreementConfig):
    """What people said, from the one source that was given."""
    from diversity_tuning.human_eval.annotations import preferred_stories
    from diversity_tuning.judging.read import read_labels, read_pairs

    if config.annotations:
        return preferred_stories(config.annotations, config.key, config.runs)
    return read_labels(config.labels) if config.labels else read_pairs(config.pairs)


def tell(result: dict) -> None:
    """Print every figure with its interval beside that of length alone, and what they rest on; warn where that is little."""
    from diversity_tuning.judging.agreement import shown

    good, n = result["good"], result["responses"]
    left_out = f", {result['left_out']} left out as trained on" if result["left_out"] else ""
    print(f"{n} responses to {result['prompts']} prompts, {good} good; {result['pairs']} pairs{left_out}. 95% over prompts")
    print(f"{'':13}  {result['judge']:24}  length alone")
    for name in _SHOWN:
        print(f"{name:13}  {shown(result[name]):24}  {shown(result['length'][name])}", flush=True)
    if result["without_verdict"]:
        print(f"without a verdict, left out: {result['without_verdict']}")
        for reason, count in sorted(result["reasons"].items(), key=lambda one: -one[1])[:5]:
            print(f"  {count} × {reason}", flush=True)
    if min(good, n - good) < FEW:
        few, kind = (good, "good") if good <= n - good else (n - good, "bad")
        print(f"warning: {few} of {n} responses are {kind}; with fewer than {FEW} the figures say little", file=sys.stderr)
