"""What a step of each method costs: objectives of pairs against DPO, and what a deviation adds to a group of GRPO.

    OMP_NUM_THREADS=1 python -m benchmarks.methods --output results/benchmarks/methods

Writes OUTPUT.json, prints a table. Steps are those of benchmarks.training (random weights, LoRA, forward with the
reference's where there is one, backward, AdamW), all methods in turns in one process; ratios are of processor seconds.
DivPO and CrPO are DPO and DDPO on other pairs or weights. A deviation is timed on texts and vectors that are there: embedding
them, and the classes' threshold, are what its encoders cost.
"""

if not __package__:
    raise SystemExit("error: run it as python -m benchmarks.methods")

import statistics
import tempfile
import time

from diversity_tuning.cli import Parser, command
from diversity_tuning.runs import library_versions, write_json

PAIRS = ("DPO", "DDPO", "SPL", "ORPO", "DORPO")
GROUP, WORDS, WIDTH = 8, 100, 384  # completions of a prompt, words of each, numbers of a vector


@command
def main(argv=None) -> None:
    parser = Parser("benchmarks.methods", __doc__)
    parser.add_argument("--output", default="results/benchmarks/methods", help="path without suffix")
    parser.add_argument("--vocab", type=int, default=4096, help="vocabulary size")
    parser.add_argument("--length", type=int, default=512, help="tokens of prompt and response")
    parser.add_argument("--shape", choices=["small", "medium"], default="small", help="of the model")
    parser.add_argument("--rounds", type=int, default=7, help="timed steps of each method, in turns")
    args = parser.parse_args(argv)
    steps = step_costs(args.shape, args.vocab, args.length, args.rounds)
    groups = group_costs(args.rounds)
    case = {"shape": args.shape, "vocab": args.vocab, "length": args.length, "rounds": args.rounds}
    content = {"case": case, "steps": steps, "groups_ms": groups, "versions": library_versions()}
    write_json(f"{args.output}.json", content)
    for name, found in steps.items():
        print(f"{name:8} {found['seconds']:.3f} s  × {found['ratio']:.2f} of DPO [{found['least']:.2f}, {found['most']:.2f}]")
    for name, milliseconds in groups.items():
        print(f"{name:10} {milliseconds:.2f} ms a group of {GROUP}")


def step_costs(shape: str, vocab: int, length: int, rounds: int) -> dict[str, dict[str, float]]:
    """Median processor seconds of a step, and the median, least and most of its ratio to DPO's of the same round."""
    from benchmarks.training_step import make_trainer, timed_steps

    case = {"shape": shape, "vocab": vocab, "length": length, "rounds": rounds, "device": "cpu", "pairs": 1, "lm_head": "auto"}
    with tempfile.TemporaryDirectory() as folder:
        trainers = {name: make_trainer(name, case, folder) for name in PAIRS}
        times = {name: [cpu for _, cpu in found] for name, found in timed_steps(case, trainers).items()}
    costs = {}
    for name, seconds in times.items():
        ratios = [one / base for one, base in zip(seconds, times["DPO"], strict=True)]
        costs[name] = {"seconds": statistics.median(seconds), "ratio": statistics.median(ratios)}
        costs[name] |= {"least": min(ratios), "most": max(ratios)}
    return costs


def group_costs(rounds: int) -> dict[str, float]:
    """Median processor milliseconds of each deviation of a group."""
    import numpy as np

    from diversity_tuning.trainers.group_advantages import DEVIATIONS, Group

    generator = np.random.default_rng(0)
    texts = [" ".join(f"w{number}" for number in generator.integers(0, 500, WORDS)) for _ in range(GROUP)]
    group = Group(texts, [generator.normal(size=(GROUP, WIDTH)) for _ in range(2)], threshold=0.3)
    costs = {}
    for name, deviation in DEVIATIONS.items():
        taken = []
        for _ in range(rounds + 1):
            start = time.process_time()
            for _ in range(20):
                deviation.of(group)
            taken.append((time.process_time() - start) / 20 * 1000)
        if deviation.multiplies:
            costs[name] = statistics.median(taken[1:])  # the first round also imports
    return costs


if __name__ == "__main__":
    main()
