r"""Record where stories begin: tokens of prompts and stories, and how many stories ``max_length`` cuts, per data set and split.

    python -m studies.horror.boundaries --data runs/horror/seed0/data --tokenizer runs/horror/seed0/tokenizer \
        --output runs/horror/seed0/boundaries.json
"""

if not __package__:
    raise SystemExit("error: run it as python -m studies.horror.boundaries")

import json
from pathlib import Path

from diversity_tuning.cli import Parser, at_least, command, parse_with_recipe
from diversity_tuning.runs import write_text
from studies.horror.boundary import MAX_LENGTH, boundaries, pairs_of


@command
def main(argv=None) -> None:
    parser = Parser("studies.horror.boundaries", __doc__)
    parser.add_argument("--data", required=True, help="output folder of the specifications command")
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--max_length", type=at_least(2), default=MAX_LENGTH, help="tokens of prompt and story")
    parser.add_argument("--output", required=True, help="JSON file")
    args = parse_with_recipe(parser, argv)
    from datasets import load_from_disk
    from transformers import PreTrainedTokenizerFast

    from diversity_tuning.opening import from_pretrained

    tokenizer = from_pretrained(PreTrainedTokenizerFast, args.tokenizer)
    found = {}
    for name in ("sft", "easy", "hard"):
        for split, rows in load_from_disk(str(Path(args.data) / name)).items():
            found[f"{name}/{split}"] = boundaries(tokenizer, pairs_of(rows), args.max_length)
    text = json.dumps(found, indent=2)
    write_text(args.output, text + "\n")
    print(text, flush=True)


if __name__ == "__main__":
    main()
