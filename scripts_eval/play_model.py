"""Write horror stories with a trained model: from a specification, a prompt, or questions in a terminal.

python -m scripts_eval.play_model --adapter runs/horror/seed0/dpo-hard
python -m scripts_eval.play_model --adapter runs/horror/seed0/dpo-hard --spec story.yaml --num_variations 3 > stories.txt
python -m scripts_eval.play_model --adapter runs/miniature/seed0/dpo --prompt "Anna and the brass key" --seed 7
python -m scripts_eval.play_model --checkpoint runs/horror/seed0/dpo-hard --mode oneshot --prompt "$(cat prompt.txt)"

A prompt with at least three fields of a specification ("Title: …", "Taboo rule: …", in any layout) is read as one and written
in the form that the model was trained on. Stories go to stdout, everything else to stderr. Without a terminal nothing is asked:
fields that --spec leaves out are drawn.
In interactive mode: Enter writes again, n takes a new specification, s saves, q leaves. Ctrl-C ends a story, Ctrl-D leaves.
"""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_eval.play_model")

import argparse
import sys

from diversity_tuning.cli import Parser, at_least, command, parse_with_recipe
from diversity_tuning.errors import UserError


def build_parser() -> argparse.ArgumentParser:
    parser = Parser("scripts_eval.play_model", __doc__)
    parser.add_argument(
        "--adapter", "--checkpoint", required=True, help="folder of an adapter or of a whole model, or a hub id"
    )
    parser.add_argument("--base_model", default=None, help="base model of the adapter; default: the one it names")
    parser.add_argument("--mode", choices=["oneshot", "interactive"], default=None, help="default: interactive in a terminal")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--spec", default=None, metavar="FILE.yaml", help="specification; fields left out are asked for or drawn")
    what.add_argument("--prompt", default=None, metavar="TEXT", help="a prompt; labelled fields in it (Title: …) are read")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--top_p", type=float, default=0.95)
    parser.add_argument("--top_k", type=int, default=50, help="0: no limit")
    parser.add_argument("--repetition_penalty", type=float, default=1.0)
    parser.add_argument("--max_new_tokens", type=at_least(1), default=224)
    parser.add_argument("--seed", type=int, default=0, help="decides the stories and what is drawn at random")
    parser.add_argument("--num_variations", type=at_least(1), default=1, help="stories per specification")
    parser.add_argument("--semantic_model", default="builtin:minilm", help="for the diversity of meaning; none: words only")
    parser.add_argument("--raw", action="store_true", help="show what the model wrote, special tokens and repetitions too")
    parser.add_argument("--save", default=None, metavar="FILE.json", help="save the session there at the end")
    parser.add_argument("--device", default=None, help="cpu, cuda, …; default: cuda where there is one")
    parser.add_argument("--dtype", default=None, help="precision of the weights; default: as saved")
    return parser


@command
def main(argv=None) -> int:
    args = parse_with_recipe(build_parser(), argv)
    from studies.horror.play.terminal import oneshot, play

    terminal = sys.stdin.isatty()
    mode = args.mode or ("interactive" if terminal and args.prompt is None else "oneshot")
    if mode == "interactive" and not terminal:
        raise UserError("--mode interactive: there is no terminal to ask in; give --mode oneshot, with --spec or --prompt")
    return play(args) if mode == "interactive" else oneshot(args)


if __name__ == "__main__":
    raise SystemExit(main())
