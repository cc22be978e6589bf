r"""Find the principles of an LLM judge: an adversary that tries to fool it, and reflection on its errors on labelled responses.

    OPENAI_API_KEY=… python -m scripts_adversarial.main --labels labels.jsonl --queries prompts.jsonl --output runs/judge \
        --engine openai --model gpt-4o --max_cost 20 --price_input 2.5 --price_output 10
    python -m scripts_adversarial.main --labels labels.jsonl --held_out other_labels.jsonl --output runs/judge --rounds 20 \
        --engine openai --base_url http://localhost:8000/v1 --model MODEL --language zh --task greetings

Without an LLM, on the miniature's stories (the judge is simulated):

    python -m studies.miniature.flawed_stories --source runs/miniature/seed0/data/filtered --output runs/labels
    python -m studies.miniature.simulated_llm --port 8123 &
    python -m scripts_adversarial.main --labels runs/labels/train.jsonl --held_out runs/labels/heldout.jsonl \
        --output runs/judge --engine openai --base_url http://127.0.0.1:8123/v1 --model simulated

Labels: rows of prompt (or query), response, label (1 good, 0 bad). Every round is judged by held-out labels; judge.yaml holds
the principles of the best one, for --reward. A killed run, and one that reached a cap, goes on when the command is given again;
so does a finished one with more --rounds.
"""

if not __package__:
    raise SystemExit("error: run it as python -m scripts_adversarial.main")

from dataclasses import asdict

from diversity_tuning.cli import command
from diversity_tuning.flags import parse_flags
from diversity_tuning.next_steps import print_next


@command
def main(argv=None) -> None:
    from diversity_tuning.judging.principles import SAMPLING
    from studies.judges.adversarial_run import AdversarialConfig, find_principles

    config = parse_flags(
        AdversarialConfig, "scripts_adversarial.main", __doc__, argv, defaults=asdict(SAMPLING), extra="evaluation"
    )
    find_principles(config, say=lambda line: print(line, flush=True))
    print_next("adversarial", config.output)


if __name__ == "__main__":
    main()
