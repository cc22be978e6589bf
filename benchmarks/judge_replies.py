r"""How many replies of a real LLM each judging role can use, with and without a JSON schema. The table is printed and written.

python -m studies.miniature.flawed_stories --source runs/miniature/seed0/data/filtered --num_prompts 4 --output runs/labels
python -m benchmarks.judge_replies --source runs/labels/train.jsonl --engine openai --base_url http://127.0.0.1:8000/v1 \
    --model MODEL --max_new_tokens 256 --output runs/judge-replies

Every role reads the same responses. What it would read of the roles before it is written here, so that each is measured by
itself. All roles are asked at once. `usable` counts a first reply; `after 3` the replies to the same prompt asked again twice.
"""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from diversity_tuning.cli import command
from diversity_tuning.flags import flag, parse_flags
from diversity_tuning.generation.engine import EngineConfig, make_engine
from diversity_tuning.generation.requests import SamplingSettings
from diversity_tuning.judging.read import read_candidates
from diversity_tuning.judging.roles import ROLES, SETTINGS, Answer, ask, load_role
from studies.judges.adversarial import start_rules
from studies.judges.stages import with_response_format

_BEFORE = {
    "examples": [], "strengths": {"plot": "It leads from one event to the next."},
    "weaknesses": {"end": "It stops before anything is settled."},
    "judge_verdict": {"verdict": 0, "reason": "The end settles nothing."},
    "verdict": {"verdict": 1, "reason": "It reads well."}, "label": 0, "kind": "principles",
    "feedback": ["It did not see that the end settles nothing.", "It passed over a sentence that stands twice."],
}  # fmt: skip


@dataclass(frozen=True)
class RepliesConfig:
    """Who is asked about what."""

    source: str = flag("responses to judge: rows of prompt and response")
    output: str = flag("folder for replies.json and replies.md")
    count: int = flag("responses of them", default=10, least=1)
    roles: list[str] = flag("roles", factory=lambda: list(ROLES), choices=list(ROLES))
    formats: list[str] = flag("response formats", factory=lambda: ["none", "json_schema"])
    attempts: int = flag("replies to one prompt at most", default=3, least=1)
    engine: EngineConfig = field(default_factory=EngineConfig)
    sampling: SamplingSettings = SETTINGS


def measured(config: RepliesConfig, rows: list[dict], role: str, form: str) -> dict:
    """Counts of one role's replies with one response format."""
    engine = make_engine(replace(with_response_format(config.engine, form), concurrency=len(rows), cache=""))
    rules = start_rules("principles", "en")
    inputs = [
        {
            **_BEFORE,
            "query": row["prompt"],
            "response": row["response"],
            "principles": rules,
            "strategies": rules,
            "rules": rules,
        }
        for row in rows
    ]
    if role == "optimizer":  # which reads no response
        inputs = [
            {**one, "feedback": [*_BEFORE["feedback"], row["response"][:80]]} for one, row in zip(inputs, rows, strict=True)
        ]
    answers = ask(engine, load_role(role), inputs, config.sampling, attempts=config.attempts, patience=None)
    good = [one for one in answers if isinstance(one, Answer)]
    failed = Counter(one.reason.split(":")[0].split(" (")[0] for one in answers if not isinstance(one, Answer))
    cut = sum("was cut" in one.reason for one in answers if not isinstance(one, Answer))
    calls = sum(one.usage.calls for one in answers)
    return {
        "role": role, "format": form, "asked": len(answers), "usable": sum(one.usage.calls == 1 for one in good),
        "after": len(good), "cut": cut, "tokens": round(sum(one.usage.tokens_out for one in answers) / max(calls, 1)),
        "verdicts": dict(Counter(one.value["verdict"] for one in good if "verdict" in one.value)),
        "failed": dict(failed), "refused": getattr(engine, "format_refused", ""), "values": [one.value for one in good],
        "raw": [one.raw for one in answers if not isinstance(one, Answer)],
    }  # fmt: skip


def table(found: list[dict], attempts: int) -> str:
    """The counts as Markdown."""
    lines = [
        f"| role | response_format | usable | after {attempts} | cut | tokens a reply | verdicts 1 / 0 | most often wrong |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for one in found:
        verdicts = f"{one['verdicts'].get(1, 0)} / {one['verdicts'].get(0, 0)}" if one["verdicts"] else "–"
        wrong = max(one["failed"], key=one["failed"].get) if one["failed"] else "–"
        cells = [one["role"], one["format"], f"{one['usable']} of {one['asked']}", one["after"], one["cut"], one["tokens"]]
        lines.append("| " + " | ".join(map(str, [*cells, verdicts, wrong])) + " |")
    return "\n".join(lines) + "\n"


@command
def main(argv=None) -> None:
    config = parse_flags(RepliesConfig, "benchmarks.judge_replies", __doc__, argv, defaults=asdict(SETTINGS))
    rows = read_candidates(config.source)[: config.count]
    cases = [(role, form) for role in config.roles for form in config.formats]
    with ThreadPoolExecutor(len(cases)) as pool:
        found = list(pool.map(lambda case: measured(config, rows, *case), cases))
    output = Path(config.output)
    output.mkdir(parents=True, exist_ok=True)
    (output / "replies.json").write_text(json.dumps(found, indent=1, ensure_ascii=False))
    (output / "replies.md").write_text(table(found, config.attempts))
    print(table(found, config.attempts))


if __name__ == "__main__":
    main()
