r"""Before a long GRPO run: its first step as it will be, and what came of it. Takes the flags of the run; nothing is kept.

python -m scripts_grpo.preflight --config recipes/miniature/grpo.yaml --source runs/miniature/seed0/data/filtered \
    --model_name_or_path runs/miniature/seed0/base --adapter runs/miniature/seed0/generation \
    --reward runs/judge/judge.yaml --output_dir runs/my-grpo

Loads model and rewards, generates one batch, has every reward score it, makes one update, and prints the seconds, the memory
of a GPU, the share of cut and of failed completions, and the rewards. With several processes: launch it as the run is launched.
"""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_grpo.preflight")

import json
import os
import shutil
import sys
import time
from pathlib import Path

from diversity_tuning.cli import command
from diversity_tuning.errors import UserError
from diversity_tuning.recipe import explicit_settings
from scripts_grpo import generation_grpo_model_train

SHOWN = ("reward", "reward_std", "finished/reward", "truncated/share", "failed/share", "length/characters", "grad_norm")


@command
def main(argv=None) -> None:
    if {"-h", "--help"} & set(sys.argv[1:] if argv is None else argv):
        print(f"usage: python -m scripts_grpo.preflight [flags of scripts_grpo.generation_grpo_model_train]\n\n{__doc__}")
        raise SystemExit(0)
    argv = sys.argv[1:] if argv is None else list(argv)
    if not {"-h", "--help"} & set(argv):
        folder = Path(str(explicit_settings(argv).get("output_dir", "")) + ".preflight")
        if folder.exists():
            raise UserError(f"{folder}: is there already; move it away, since what a preflight writes is deleted")
        argv += ["--output_dir", str(folder), "--max_steps", "1", "--save_strategy", "no", "--report_to", "none"]
        argv += ["--logging_steps", "1", "--load_best_model_at_end", "false", "--eval_strategy", "no"]
    started = time.monotonic()
    generation_grpo_model_train.main(argv)
    if os.environ.get("RANK", "0") == "0":
        print("\n".join(report(folder, time.monotonic() - started)), flush=True)
        shutil.rmtree(folder)


def report(folder: Path, seconds: float) -> list[str]:
    """What the first step says of the run to come."""
    import torch

    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    step = next(row for row in rows if "reward" in row)
    lines = [f"one step, with loading: {seconds:.0f} s; the step: {step.get('step_time', float('nan')):.1f} s"]
    if torch.cuda.is_available():
        used, room = torch.cuda.max_memory_allocated(), torch.cuda.get_device_properties(0).total_memory
        lines.append(f"memory of this process's GPU: {used / 1e9:.1f} of {room / 1e9:.0f} GB")
    lines += [f"{name}: {step[name]:.3g}" for name in SHOWN if isinstance(step.get(name), int | float)]
    if step.get("reward_std") == 0 or step.get("groups/without_signal") == 1:
        lines.append("warning: every completion of a group has the same reward: nothing would be learned from this batch")
    return lines


if __name__ == "__main__":
    main()
