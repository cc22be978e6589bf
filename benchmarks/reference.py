"""Stages 0 to 2 as the words of the pipeline say them: a loop over rows, every text in memory, every pair enumerated.

python -m benchmarks.reference --source out/posts.jsonl --tokenizer FOLDER

Shares no code with the stages. Prints one line of JSON: seconds of each stage, without imports, and what came out.
"""

if not __package__:
    raise SystemExit("error: run it as python -m benchmarks.reference")

import hashlib
import json
import math
import random
import re
import time

from benchmarks.synthetic import read_rows
from diversity_tuning.cli import Parser, command

NO_STORY = ("**Welcome to the Prompt!**", "this submission has been removed", "**Off-Topic Discussion**")


def score(rows: list[dict], compressions: int = 100) -> tuple[list[dict], list[dict]]:
    """Titles without tags, votes in [-1, 1], one row in ten for testing."""
    votes = [vote for row in rows for vote in row["comment_scores"]]
    lowest, highest = min(votes), max(votes)

    def compress(value: float) -> float:
        for _ in range(compressions):
            value = math.log(value + 1)
        return value

    for row in rows:
        while match := re.match(r"\s*\[[^\[\]]*\]", row["post_title"]):
            row["post_title"] = row["post_title"][match.end() :]
        row["post_title"] = row["post_title"].strip()
        bottom, top = compress(1), compress(highest - lowest + 1)
        row["transformed_score"] = [
            2 * (compress(vote - lowest + 1) - bottom) / (top - bottom) - 1 for vote in row["comment_scores"]
        ]
    order = list(range(len(rows)))
    random.Random(42).shuffle(order)
    tenth = math.ceil(len(rows) / 10)
    return [rows[place] for place in order[tenth:]], [rows[place] for place in order[:tenth]]


def keep(rows: list[dict], tokenizer, most_tokens: int = 2048) -> None:
    """Mark in every row the responses that are stories and fit."""
    for row in rows:
        row["kept"] = []
        for place, text in enumerate(row["comment_texts"]):
            if any(phrase in text for phrase in NO_STORY):
                continue
            prompt = row["post_title"] + "\n" + row["post_text"]
            messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": text}]
            if len(tokenizer.apply_chat_template(messages, return_dict=True)["input_ids"]) <= most_tokens:
                row["kept"].append(place)


def pair(rows: list[dict], gap: int = 5) -> list[tuple[str, str, str, int, int]]:
    """Draw pairs without replacement from the list of all valid pairs, made anew for every draw."""
    generator = random.Random(42)
    pairs = []
    for row in rows:
        texts, votes = row["comment_texts"], row["comment_scores"]
        best: dict[str, int] = {}
        for place in row["kept"]:
            if texts[place] not in best or votes[place] > votes[best[texts[place]]]:
                best[texts[place]] = place
        free = set(best.values())
        for least in (gap, 1):
            while valid := [(one, two) for one in free for two in free if votes[one] - votes[two] >= least]:
                one, two = generator.choice(valid)
                free -= {one, two}
                pairs.append((row["post_title"], texts[one], texts[two], votes[one], votes[two]))
    return pairs


def digest_of(responses) -> str:
    """One digest of (title, text, vote, score) quadruples, whatever their order."""
    total = 0
    for title, text, vote, value in responses:
        # log(1 + x) a hundred times over differs by 1e-12 between two ways of writing it: six digits, so that none is cut amid
        line = f"{title}\0{text}\0{vote}\0{value:.6f}".replace("-0.000000", "0.000000")
        total ^= int.from_bytes(hashlib.sha256(line.encode()).digest()[:8], "little")
    return f"{total:016x}"


@command
def main(argv=None) -> None:
    parser = Parser("benchmarks.reference", __doc__)
    parser.add_argument("--source", required=True, help=".jsonl or .jsonl.gz")
    parser.add_argument("--tokenizer", required=True, help="folder or id of a tokenizer with a chat template")
    args = parser.parse_args(argv)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(args.tokenizer)
    clock = [(time.perf_counter(), time.process_time())]
    splits = score(list(read_rows(args.source)))
    clock.append((time.perf_counter(), time.process_time()))
    for rows in splits:
        keep(rows, tokenizer)
    clock.append((time.perf_counter(), time.process_time()))
    pairs = [pair(rows) for rows in splits]
    clock.append((time.perf_counter(), time.process_time()))
    kept = [
        (row["post_title"], row["comment_texts"][place], row["comment_scores"][place], row["transformed_score"][place])
        for rows in splits
        for row in rows
        for place in row["kept"]
    ]
    costs = {
        str(stage): {"seconds": clock[stage + 1][0] - clock[stage][0], "cpu_seconds": clock[stage + 1][1] - clock[stage][1]}
        for stage in range(3)
    }
    print(json.dumps({"stages": costs, "kept": len(kept), "digest": digest_of(kept), "pairs": sum(map(len, pairs))}))


if __name__ == "__main__":
    main()
