"""Stories that try to be something else, evaluated runs and Potato's files, made by hand."""

import json
from pathlib import Path

from diversity_tuning.evaluation.sampling.samples import SAMPLES

HOSTILE = [
    "<script>document.title='owned'</script><img src=x onerror=alert(1)>",
    "{{7*7}} {% raw %} {{ config }} ${7*7} <%= 7*7 %>",
    "# Head\n\n**bold** _it_ `code` [link](javascript:alert(1))\n- a\n1. b\n\n> quote\n\n    four  spaces\tand a tab",
    "\U0001f600 \U0001f469\u200d\U0001f680 \U0001f1eb\U0001f1f7 e\u0301",
    "\u0645\u0631\u062d\u0628\u0627 (1)\n\u05e9\u05dc\u05d5\u05dd! \u202ereversed \u2066isolated",
    "data: the data:text/html and vbscript:x expression(1) &mdash; &lt;b&gt; &#60; </div></div></form><!-- -->",
    "x" * 3000,
    "word " * 19_999 + "end",
]


def write_run(folder: Path, name: str, stories: dict[str, list[str]]) -> Path:
    """A run folder as scripts_eval leaves it, of prompt -> responses."""
    folder.mkdir(parents=True)
    rows = [
        {"prompt_id": row, "prompt": prompt, "sample": number, "response": text, "finished": True, "tokens": len(text)}
        for row, (prompt, texts) in enumerate(stories.items())
        for number, text in enumerate(texts)
    ]
    (folder / SAMPLES).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "metrics.json").write_text(json.dumps({"name": name}))
    return folder


def write_state(
    folder: Path, annotator: str, answers: dict[str, dict[str, str]], seconds: dict[str, float] | None = None
) -> Path:
    """The file that Potato 2.12 keeps of an annotator: item -> question -> label."""
    state = {
        "user_id": annotator,
        "instance_id_to_label_to_value": {
            item: [[{"schema": question, "name": label}, label] for question, label in given.items()]
            for item, given in answers.items()
        },
        "instance_id_to_behavioral_data": {
            "__phase_page__": {"total_time_ms": 999},
            **{item: {"total_time_ms": 1000 * time} for item, time in (seconds or {}).items()},
        },
    }
    path = folder / annotator / "user_state.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(state), encoding="utf-8")
    return path
