"""A human study from two evaluated runs: which prompts, which stories, and the files that come of them.

``items.jsonl`` is all that annotators may get. ``key.csv`` says which condition each set was.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from diversity_tuning.data.schema import PROMPT, PROMPT_ID, RESPONSE
from diversity_tuning.errors import UserError
from diversity_tuning.evaluation.csvfiles import read_csv, write_csv
from diversity_tuning.evaluation.files import METRICS, SAMPLES, SCORES
from diversity_tuning.evaluation.sampling.samples import read_samples
from diversity_tuning.flags import flag
from diversity_tuning.generation.engine import EngineConfig, engine_settings
from diversity_tuning.human_eval.items import Blinding, draw_blinding, draw_order, item_html, item_id
from diversity_tuning.human_eval.summaries import Story, SummaryFile
from diversity_tuning.next_steps import print_next
from diversity_tuning.ranges import Flags
from diversity_tuning.runs import atomic_folder, is_finished, provenance, write_json, write_json_lines, write_provenance

ITEMS, KEY, REPORT = "items.jsonl", "key.csv", "report.json"
KEY_COLUMNS = ["id", PROMPT_ID, PROMPT, "set_a", "set_b", "samples_a", "samples_b"]
_SUMMARIES = "summaries"  # heading of --help
_REMOVED = re.compile(r"\[\s*(?:removed|deleted)\b[^\]]*\]", re.IGNORECASE)
_SETTINGS = "num_prompts skip num_samples no_summaries summary_words summary_tokens temperature seed".split()


@dataclass(frozen=True)
class StudyConfig(Flags):
    """A study of two evaluated runs: which folders, how many items, and how the stories are shown."""

    runs: Sequence[str] = flag("two evaluated run folders", count=2, metavar=("ONE", "OTHER"))
    output: str = flag("folder to write to")
    seed: int = flag("decides prompts, stories and which set is A; one that nobody guesses", least=0)
    names: Sequence[str] | None = flag("condition names; default: the runs'", default=None, count=2, metavar=("ONE", "OTHER"))
    num_prompts: int = flag("items to make", default=50, least=1)
    skip: int = flag("prompts to pass over, those that an earlier study has shown", default=0, least=0)
    num_samples: int = flag("stories per set; the two questions are made for 4", default=4, least=1)
    overwrite: bool = flag("redo what is there", default=False)
    no_summaries: bool = flag("show the full texts, in boxes that scroll", default=False, group=_SUMMARIES)
    summary_words: int = flag("length to ask for", default=100, least=1, group=_SUMMARIES)
    summary_tokens: int = flag("a summary that is longer counts as failed", default=400, least=1, group=_SUMMARIES)
    temperature: float = flag("of the summaries", default=0.3, above=0, group=_SUMMARIES)
    summaries: str | None = flag("file that keeps them; default: OUTPUT.summaries.jsonl", default=None, group=_SUMMARIES)
    engine: EngineConfig = field(default_factory=EngineConfig)  # writes the summaries


@dataclass
class Condition:
    """One run's stories: prompt -> sample number -> text."""

    name: str
    stories: dict[str, dict[int, str]]
    ids: dict[str, int]


def read_condition(folder: str | Path, name: str | None) -> Condition:
    """The stories of an evaluated run; the human ones of the gold data too. The name comes from its metrics unless given."""
    folder = Path(folder)
    if name is None:
        try:
            name = json.loads((folder / METRICS).read_text(encoding="utf-8"))["name"]
        except FileNotFoundError:
            raise UserError(f"{folder}: not an evaluated run (no {METRICS}); run scripts_eval.score or give --names") from None
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{folder / METRICS}: not written by scripts_eval; give --names") from None
    if (folder / SAMPLES).is_file():
        rows = [(row.prompt_id, row.prompt, row.sample, row.response) for row in read_samples(folder)]
    else:
        table = read_csv(folder / SCORES, [PROMPT_ID, PROMPT, "sample", RESPONSE])
        rows = list(table[[PROMPT_ID, PROMPT, "sample", RESPONSE]].itertuples(index=False))
    condition = Condition(name, {}, {})
    for prompt_id, prompt, sample, response in rows:
        condition.stories.setdefault(prompt, {})[int(sample)] = response
        condition.ids.setdefault(prompt, int(prompt_id))
    return condition


def usable_prompts(one: Condition, other: Condition, num_samples: int) -> tuple[list[str], dict[str, list[int]]]:
    """Prompts that can be shown, and the ids of those that cannot, by reason."""
    usable, dropped = [], {}
    for prompt in dict.fromkeys([*one.stories, *other.stories]):
        reason = _why_not(prompt, one, other, num_samples)
        if reason is None:
            usable.append(prompt)
        else:
            dropped.setdefault(reason, []).append(one.ids.get(prompt, other.ids.get(prompt)))
    return usable, dropped


def _why_not(prompt: str, one: Condition, other: Condition, num_samples: int) -> str | None:
    if _REMOVED.search(prompt):
        return "removed or deleted prompt"
    for condition in (one, other):
        stories = condition.stories.get(prompt)
        if stories is None:
            return f"not in {condition.name}"
        if len(stories) < num_samples:
            return f"fewer than {num_samples} stories in {condition.name}"
        if not all(text.strip() for text in stories.values()):
            return f"empty story in {condition.name}"
    return None


def prepare_study(config: StudyConfig) -> None:
    """Write the items, the key and the report into ``config.output``, or say that they are there."""
    names = config.names or [None, None]
    one, other = (read_condition(run, name) for run, name in zip(config.runs, names, strict=True))
    if one.name == other.name:
        raise UserError(f"both runs are named '{one.name}'; tell them apart with --names ONE OTHER")
    record = study_record(config, [one.name, other.name])
    output = Path(config.output)
    if is_finished(output, record, config.overwrite):
        return
    usable, dropped = usable_prompts(one, other, config.num_samples)
    chosen = draw_order(usable, config.seed)[config.skip : config.skip + config.num_prompts]
    if not chosen:
        raise UserError(f"no prompt is left to show: {len(usable)} can be shown, --skip {config.skip}")
    conditions = {one.name: one, other.name: other}
    drawn = {}
    for prompt in chosen:
        numbers = {name: list(condition.stories[prompt]) for name, condition in conditions.items()}
        drawn[prompt] = draw_blinding(prompt, numbers, config.num_samples, config.seed)
    summaries = None if config.no_summaries else _summarise(config, record, conditions, drawn)
    items, key = [], []
    for prompt, blinding in drawn.items():
        sets = [_texts(prompt, conditions, blinding, side, summaries) for side in "ab"]
        page = item_html(prompt, *sets, full_texts=config.no_summaries)
        identity = item_id(page)
        items.append({"id": identity, "text": page})
        shown = {f"samples_{side}": " ".join(map(str, getattr(blinding, f"samples_{side}"))) for side in "ab"}
        where = {"id": identity, PROMPT_ID: one.ids[prompt], PROMPT: prompt}
        key.append({**where, "set_a": blinding.set_a, "set_b": blinding.set_b, **shown})
    items.sort(key=lambda item: item["id"])  # Potato goes by id; the order of the file tells nothing then
    report = _report(config, usable, dropped, drawn, conditions, summaries)
    with atomic_folder(output) as folder:
        write_json_lines(folder / ITEMS, items)
        write_csv(folder / KEY, pd.DataFrame(key, columns=KEY_COLUMNS))
        write_json(folder / REPORT, report, ensure_ascii=False)
        write_provenance(folder, record)
    _say(output, report)


def study_record(config: StudyConfig, names: list[str]) -> dict:
    """Settings and fingerprints that decide the study."""
    engine = config.engine
    settings = {name: getattr(config, name) for name in _SETTINGS} | {"names": names}
    files = [next(Path(run) / file for file in (SAMPLES, SCORES) if (Path(run) / file).is_file()) for run in config.runs]
    inputs = dict(zip(("one", "other"), files, strict=True))
    if config.no_summaries:
        settings = {name: value for name, value in settings.items() if not name.startswith(("summary", "temp"))}
    else:
        settings |= {"engine": engine.engine, **engine_settings(engine)}
        if engine.engine == "local":
            inputs |= {"base_model": engine.base_model, "adapter": engine.adapter}
    return provenance("prepare_human_eval_data", settings, inputs)


def _stories(prompt: str, conditions: dict[str, Condition], blinding: Blinding, side: str) -> list[Story]:
    texts = conditions[getattr(blinding, f"set_{side}")].stories[prompt]
    return [(prompt, texts[number]) for number in getattr(blinding, f"samples_{side}")]


def _texts(prompt, conditions, blinding: Blinding, side: str, summaries: SummaryFile | None) -> list[str]:
    stories = _stories(prompt, conditions, blinding, side)
    return [text if summaries is None else summaries.get((prompt, text)) for _, text in stories]


def _summarise(config, record: dict, conditions, drawn: dict[str, Blinding]) -> SummaryFile:
    from diversity_tuning.generation.engine import make_engine
    from diversity_tuning.generation.requests import SamplingSettings

    model = {name: record["inputs"].get(name) for name in ("base_model", "adapter")} | engine_settings(config.engine)
    settings = SamplingSettings(config.temperature, repetition_penalty=1.0, max_new_tokens=config.summary_tokens)
    kept = {"model": model, "temperature": config.temperature, "seed": config.seed}  # a whole summary is whole under any limit
    file = SummaryFile(config.summaries or f"{config.output.rstrip('/')}.summaries.jsonl", kept, config.summary_words)
    stories = [story for prompt, b in drawn.items() for side in "ab" for story in _stories(prompt, conditions, b, side)]
    failed = file.fill(make_engine(config.engine), stories, settings, config.seed)
    missing = [story for story in dict.fromkeys(stories) if file.get(story) is None]
    if missing:
        (prompt, text), why = missing[0], failed.get(missing[0], "no answer")
        raise UserError(
            f"{len(missing)} of {len(set(stories))} summaries are missing (first: {why}; prompt '{prompt[:40]}', story "
            f"'{text[:40]}'); nothing was written but {file.path}, run again to ask for those only"
        )
    return file


def _report(config, usable, dropped, drawn, conditions, summaries: SummaryFile | None) -> dict:
    report = {
        "conditions": sorted(conditions),
        "prompts_usable": len(usable),
        "prompts_skipped": min(config.skip, len(usable)),
        "prompts_shown": len(drawn),
        "prompts_missing": config.num_prompts - len(drawn),
        "dropped": {reason: {"prompts": len(ids), "prompt_ids": sorted(ids)} for reason, ids in sorted(dropped.items())},
        "shown_as": "full texts" if summaries is None else "summaries",
    }
    for name in sorted(conditions):
        sides = [(p, b, "a" if b.set_a == name else "b") for p, b in drawn.items()]
        words = [len(text.split()) for p, b, side in sides for text in _texts(p, conditions, b, side, summaries)]
        low, middle, high = (int(value) for value in np.quantile(words, [0, 0.5, 1]))
        report[f"words_{name}"] = {"min": low, "median": middle, "max": high}
    return report


def _say(output: Path, report: dict) -> None:
    print(
        f"{output}: {report['prompts_shown']} items of {' and '.join(report['conditions'])}, {report['shown_as']}", flush=True
    )
    if report["prompts_missing"]:
        print(f"{report['prompts_missing']} items fewer than asked for: no more prompts can be shown", flush=True)
    for reason, dropped in report["dropped"].items():
        print(f"left out: {dropped['prompts']} prompts, {reason}", flush=True)
    print(f"give annotators {output / ITEMS} only; {output / KEY} says which set was which", flush=True)
    print_next("human_items", output)
