"""The paper, end to end: data, reward model, SFT, DPO, DDPO, ORPO, DORPO, samples, scores, tables, figure.

bash reproduce.sh                            the miniature: a laptop, two cores, no network but for pip
bash reproduce.sh --full                     three seeds, intermediate checkpoints, DDPO-sem, DDPO-sty, DivPO
bash reproduce.sh --seeds 0 1 2 3 4 5 6 7    the main comparison on these seeds; --full, --controls, --rlaif too
bash reproduce.sh --controls                 permuted and constant weights, floors, other β, temperature, top-p, min-p
bash reproduce.sh --claims --seeds 8 9 10    DDPO against mixtures of DPO's models and SFT, outcomes announced in docs/LOG.md
bash reproduce.sh --popularity 0 0.5 1 1.5   the same texts with votes that favour the common more and more
bash reproduce.sh --ablation                 at most 4, 8 or all responses a prompt x three kinds of weights, DivPO (figure 3)
bash reproduce.sh --methods                  SPL, CrPO, DivPO beside DDPO, each at its own strength: docs/METHODS.md
bash reproduce.sh --claims --methods --strengths spl=3 crpo=2    these beside the models of --claims, for their own outcomes
bash reproduce.sh --rlaif                    GRPO with several rewards and deviations beside DPO and DDPO: docs/RLAIF.md
bash reproduce.sh --recipe smollm2 --source FILE      own texts and votes, a small pretrained model: docs/OWN_DATA.md
bash reproduce.sh --recipe smollm2 --source FILE --folds --seeds 0 1 2    does weighting pay on these votes: docs/REAL.md
bash reproduce.sh --recipe smollm2 --source FILE --folds --methods        and SPL, CrPO, DivPO, ORPO, DORPO, min-p
bash reproduce.sh --recipe smollm2 --source FILE --folds --rlaif          and GRPO with and without deviation
bash reproduce.sh --recipe smollm2 --source FILE --folds captions --dial     captions, and votes that favour the common more
bash reproduce.sh --recipe captions --source FILE     real captions with real votes: docs/CAPTIONS.md
bash reproduce.sh --recipe llama-3.1-8b      r/WritingPrompts on eight GPUs; other machines: docs/RUN_8B.md
bash reproduce.sh --recipe llama-3.1-8b --dry_run     print the commands, each of which runs as printed

A finished stage is skipped, a killed one resumes where it stopped: run the same command again. The plans of stages are the
YAML files in studies/reproduce/data.
"""

import argparse
import os
import shlex
import shutil
import signal
import sys
from pathlib import Path

from diversity_tuning.cli import STOPPED
from diversity_tuning.errors import UserError
from diversity_tuning.locks import hold, release
from diversity_tuning.names import nearest
from diversity_tuning.outputs import check_place
from studies.reproduce import dial, estimate_horror
from studies.reproduce.commands import Run
from studies.reproduce.ending import print_ending
from studies.reproduce.estimate import estimate
from studies.reproduce.methods import GROUPS
from studies.reproduce.plans import KINDS, Part, parts, table_of
from studies.reproduce.runner import Runner, StageFailed, cores, multiplies_bfloat16, print_parts
from studies.reproduce.source import check_source

ROOT = Path(__file__).parents[2]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):
        print(f"error: {message}; see bash reproduce.sh --help", file=sys.stderr)
        raise SystemExit(2)


WEIGHED = "3_data_prep_for_diversified_training"  # the stage that every study here has


def make_parser() -> argparse.ArgumentParser:
    text, _, example = (__doc__ or "").partition("\n\n")
    parser = _Parser(
        prog="bash reproduce.sh", description=text, epilog=example, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--recipe", default="miniature", help="a folder of recipes/ (default: miniature)")
    seeds = parser.add_mutually_exclusive_group()
    seeds.add_argument("--seed", type=int, default=0, help="of data, training and samples (default: 0)")
    seeds.add_argument("--seeds", type=int, nargs="+", metavar="N", help="several, one report (default with --full: 0 1 2)")
    parser.add_argument(
        "--split", default="", choices=("train", "validation", "test"),
        help="what to evaluate on: validation to choose settings (default: the recipe's, which is test)",
    )  # fmt: skip
    parser.add_argument("--source", default="", help="your file of texts and votes, for --recipe smollm2 and captions")
    parser.add_argument(
        "--size", choices=("quick", "full"), help="of recipes with smollm2: a look, or the whole (default: quick)"
    )
    parser.add_argument("--out", default=None, help="folder to write to (default: runs/RECIPE)")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--full", action="store_true", help="several seeds, and everything that results/ shows")
    kind.add_argument("--controls", action="store_true", help="what else could give the diversity: docs/RESULTS.md")
    kind.add_argument(
        "--popularity", type=float, nargs="*", metavar="P",
        help="the miniature with votes that favour the common more and more (default: 0 0.5 1 1.5): docs/RESULTS.md",
    )  # fmt: skip
    kind.add_argument("--ablation", action="store_true", help="the paper's figure 3")
    kind.add_argument(
        "--methods", nargs="?", const=GROUPS[0], choices=GROUPS,
        help="methods of the field side by side, of pairs (default) or of reinforcement: docs/METHODS.md",
    )  # fmt: skip
    kind.add_argument(
        "--rlaif", action="store_true", help="GRPO after SFT: docs/RLAIF.md; with --folds two runs of it: docs/REAL.md"
    )
    parser.add_argument(
        "--strengths", nargs="+", action="extend", default=[], metavar="METHOD=VALUE",
        help="of --methods: the one strength of these methods (default: three of each, to choose from)",
    )  # fmt: skip
    parser.add_argument(
        "--claims", action="store_true",
        help="DDPO against mixtures of DPO's models and SFT: docs/LOG.md; with --methods and --strengths those as well",
    )  # fmt: skip
    parser.add_argument(
        "--folds", nargs="?", const="", metavar="LIKE",
        help="of --recipe smollm2: hold out whole prompts, seed by seed: docs/REAL.md; with --methods or --rlaif these as well."
        " LIKE: settings for texts like captions or storyer, folds-LIKE.yaml of the recipe (default: folds.yaml)",
    )  # fmt: skip
    parser.add_argument(
        "--dial", type=float, nargs="*", metavar="L",
        help="with --folds: also with votes that lose L standard deviations for one of deviation (default: 0 0.3 0.6)",
    )  # fmt: skip
    parser.add_argument(
        "--engine", choices=("auto", "local", "vllm"), default="auto",
        help="what samples: a vLLM server with all adapters, or transformers on every GPU (default: vllm where it is installed"
        " and the recipe is not of a small model)",
    )  # fmt: skip
    parser.add_argument("--train_flags", default="", help='for SFT, DPO, DDPO, ORPO, DORPO: "--gradient_accumulation_steps 8"')
    parser.add_argument("--reward_flags", default="", help="for the reward model")
    parser.add_argument("--dry_run", action="store_true", help="print the commands and run nothing")
    return parser


def plan(args: argparse.Namespace, environment: dict[str, str]) -> list[Part]:
    """The parts that the flags ask for. An unknown recipe is a :class:`UserError`."""
    recipes = sorted(path.name for path in (ROOT / "recipes").iterdir() if path.is_dir())
    if args.recipe not in recipes:
        hint = nearest(args.recipe, recipes) or "; there are: " + " ".join(recipes)
        raise UserError(f"no recipe '{args.recipe}'{hint}")
    there = sorted(path.stem for path in (ROOT / "recipes" / args.recipe).glob("*.yaml"))
    if WEIGHED not in there:
        raise UserError(
            f"recipe '{args.recipe}' has {', '.join(there)} and no {WEIGHED}: it is not a study of pairs and δ; "
            "its commands are given one by one, as docs/RLAIF.md has them"
        )
    check_source(args.source, table_of(args.recipe).own_data, args.recipe)
    table = table_of(args.recipe)
    if args.size and not table.laptop:
        raise UserError(f"--size: the recipe {args.recipe} has one size; leave the flag out")
    root = _folder(args)
    kind = _kind(args)
    if args.dial is not None and args.folds is None:
        raise UserError("--dial: goes with --folds; the miniature's votes are changed by --popularity")
    sizes = [name.removeprefix("folds-") for name in there if name.startswith("folds-")]
    if args.folds and args.folds not in sizes:
        raise UserError(f"--folds {args.folds}: the recipe {args.recipe} has settings for: {', '.join(sizes) or 'none'}")
    seeds = args.seeds or ([0, 1, 2] if kind == "full" else [args.seed])
    if len(set(seeds)) < len(seeds) or not all(0 <= seed < 2**32 for seed in seeds):  # NumPy has no others
        raise UserError(f"--seeds {' '.join(map(str, seeds))}: give numbers from 0 up, below 2^32, each once")
    check_place(ROOT / root)
    run = Run(
        recipe=args.recipe, seed=seeds[0], folder=f"{root}/seed{seeds[0]}", split=args.split, source=args.source,
        train_flags=_words("--train_flags", args.train_flags), reward_flags=_words("--reward_flags", args.reward_flags),
        accelerate=environment.get("ACCELERATE") or ("cpu" if table.laptop else "multi_gpu"), size=_size(args),
        dtype="bfloat16" if table.laptop and environment.get("ACCELERATE", "cpu") == "cpu" and multiplies_bfloat16() else "",
        processes=environment.get("PROCESSES", ""), launcher_flags=environment.get("LAUNCHER_FLAGS", ""),
        engine=_engine(args, environment), root=ROOT,
    )  # fmt: skip
    values = args.popularity if kind == "popularity" else () if args.dial is None else args.dial or dial.VALUES
    group = "rlaif" if kind == "folds" and args.rlaif else args.methods or ""
    return list(parts(run, root, kind, seeds, values or (), group, _strengths(args)))


def _kind(args: argparse.Namespace) -> str:
    """The one of :data:`KINDS` that the flags name; --folds and --claims go with --methods as well, --folds with --rlaif."""
    named = [name for name in KINDS if name and getattr(args, name) not in (False, None)]
    base = next((name for name in named if name in ("folds", "claims")), "")
    beside = ("methods", "rlaif") if base == "folds" else ("methods",)
    if others := [name for name in named if base and name not in (base, *beside)]:
        told = " or ".join(f"--{name}" for name in beside)
        raise UserError(f"--{base} --{others[0]}: of the others --{base} goes with {told} alone; leave one out")
    return base or next(iter(named), "")


def _strengths(args: argparse.Namespace) -> dict[str, str]:
    """Method -> strength of --strengths."""
    told = [word.split("=", 1) for word in args.strengths]
    if bad := [word for word, pair in zip(args.strengths, told, strict=True) if len(pair) < 2 or not all(pair)]:
        raise UserError(f"--strengths {bad[0]}: give METHOD=NUMBER, such as spl=3")
    if told and (not args.methods or args.folds is not None):
        raise UserError("--strengths: of --methods on the miniature; leave it out")
    if len(dict(told)) < len(told):
        raise UserError(f"--strengths {' '.join(args.strengths)}: give each method once")
    return dict(told)


def _size(args: argparse.Namespace) -> str:
    if args.folds is not None:
        return f"folds-{args.folds}" if args.folds else "folds"
    return (args.size or "quick") if table_of(args.recipe).laptop else ""


def _folder(args: argparse.Namespace) -> str:
    """Where everything is written to; a quick look has a folder of its own."""
    size = _size(args)
    return args.out or f"runs/{args.recipe}" + (f"-{size}" if size not in ("", "full") else "")


def _words(flag: str, text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise UserError(f"{flag} {text}: {error}") from None


def _engine(args: argparse.Namespace, environment: dict[str, str]) -> str:
    if args.engine != "auto":
        return args.engine
    own_model = (ROOT / "recipes" / args.recipe / "base_model.yaml").is_file() or table_of(args.recipe).laptop
    path = f"{ROOT / '.venv' / 'bin'}{os.pathsep}{environment.get('PATH', '')}"
    found = environment.get("VLLM") or shutil.which("vllm", path=path)
    return "vllm" if found and not own_model else "local"


def _print_estimate(parts: list[Part], args: argparse.Namespace) -> None:
    """How long it will take, where that is known; a comment, so that the printed commands stay a script."""
    if not table_of(args.recipe).laptop:
        return
    made = parts[0].run.has("specifications")  # its texts are made here
    if line := estimate_horror.estimate(parts, cores()) if made else estimate(parts, args.source, cores()):
        print(f"# {line}", flush=True)


def main(argv: list[str] | None = None) -> int:
    args = make_parser().parse_args(argv)
    try:
        wanted = plan(args, dict(os.environ))
        if args.dry_run:
            before = signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` is no error
            print_parts(wanted, ROOT)
            _print_estimate(wanted, args)
            sys.stdout.flush()
            signal.signal(signal.SIGPIPE, before)  # a program that calls this is not killed by a closed socket later
            return 0
        _print_estimate(wanted, args)
        hold(ROOT / _folder(args))  # the stages take those of their own outputs
        Runner(ROOT).run(wanted)
        print_ending(wanted, ROOT, args)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except StageFailed:
        return 1
    except KeyboardInterrupt:
        print(STOPPED, file=sys.stderr)
        return 130
    except SystemExit as ended:
        if ended.code == 128 + signal.SIGTERM:
            print(STOPPED, file=sys.stderr)
        raise
    finally:
        release()
    return 0


if __name__ == "__main__":
    sys.exit(main())
