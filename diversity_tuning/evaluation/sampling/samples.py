"""Which prompts, the processes that share them, and the samples file: appended to, so that a killed run can be resumed."""

import json
import os
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

from diversity_tuning.data.schema import POST_TEXT, POST_TITLE, PROMPT, prompt_text
from diversity_tuning.data.tables import read_split, require_columns, where_of
from diversity_tuning.errors import UserError
from diversity_tuning.evaluation.files import SAMPLES
from diversity_tuning.group import leave, prepare
from diversity_tuning.outputs import LineFile


@dataclass(frozen=True)
class SampleRow:
    """One line of ``samples.jsonl``."""

    prompt_id: int  # row number in the split
    prompt: str
    sample: int  # 0 … num_samples − 1
    response: str
    finished: bool  # EOS was seen; else cut at max_new_tokens
    tokens: int | None  # generated, EOS not counted; None where a server does not say
    thinking: int = 0  # characters of reasoning that stood before the response and were cut off; tokens counts them, too
    unread: int = 0  # answers to its request, before this one, without the form that was asked for

    def __post_init__(self):
        """:class:`TypeError` or :class:`ValueError` for values that no sample has."""
        for name, kind in SampleRow.__annotations__.items():
            value = getattr(self, name)
            if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
                raise TypeError(name)
        if min(self.key) < 0:
            raise ValueError("prompt_id and sample are counted from 0")

    @property
    def key(self) -> tuple[int, int]:
        """Which one it is."""
        return self.prompt_id, self.sample


def select_prompts(source: str, split: str, start: int, num_prompts: int, say: bool = True) -> dict[int, str]:
    """Row number -> prompt, for up to ``num_prompts`` rows from ``start`` on; each prompt once, and no empty one.

    A row is a post (title and text), as the data stages write it, or has a column ``prompt``.
    """
    rows, where = read_split(source, split), where_of(source, split)
    posts = POST_TITLE in rows.column_names
    require_columns(rows, (POST_TITLE, POST_TEXT) if posts else (PROMPT,), where)
    if num_prompts < 1 or start < 0:
        raise UserError("--num_prompts must be at least 1 and --start at least 0")
    if start >= len(rows):
        raise UserError(f"{source}: --start {start} is beyond the {len(rows)} rows of split '{split}'")
    stop = min(start + num_prompts, len(rows))
    if say and stop < start + num_prompts:
        print(f"split '{split}' has {len(rows)} rows: {stop - start} prompts instead of {num_prompts}", flush=True)
    chosen = rows.select(range(start, stop))
    if posts:
        prompts = [prompt_text(title, text) for title, text in zip(chosen[POST_TITLE], chosen[POST_TEXT], strict=True)]
    else:
        prompts = [_of_one_turn(prompt) for prompt in chosen[PROMPT]]
    first: dict[str, int] = {}
    empty = 0
    for row, prompt in enumerate(prompts, start=start):
        if not isinstance(prompt, str):
            raise UserError(f"{where}: row {row + 1}, column '{PROMPT}': expected a text, or one message of a user")
        if prompt.strip():
            first.setdefault(prompt, row)
        else:
            empty += 1
    again = len(chosen) - empty - len(first)
    if say and again:
        print(f"{again} of {len(chosen)} prompts were posted before among them and are used once", flush=True)
    if say and empty:
        print(f"{empty} of {len(chosen)} prompts are empty and left out", flush=True)
    if not first:
        raise UserError(f"{where}: rows {start + 1} to {stop}: every prompt is empty")
    return {row: prompt for prompt, row in first.items()}


def _of_one_turn(prompt: object) -> object:
    """The text of a prompt that is one message of a user; anything else as it is."""
    one = prompt[0] if isinstance(prompt, list) and len(prompt) == 1 else None
    return one.get("content") if isinstance(one, dict) and one.get("role") == "user" else prompt


def read_samples(folder: str | Path, name: str = SAMPLES) -> list[SampleRow]:
    """The whole lines of ``samples.jsonl``, or the file ``name``, ordered by prompt and sample.

    A last line cut by a kill is not counted. :class:`UserError` for lines that are no samples, or contradict each other.
    """
    path = Path(folder) / name
    if not path.is_file():
        raise UserError(f"{path}: no samples here; run scripts_eval.sample first")
    rows: dict[tuple[int, int], SampleRow] = {}
    prompts: dict[int, str] = {}
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.endswith(b"\n"):
                break
            try:
                row = SampleRow(**json.loads(line))
            except (ValueError, TypeError, RecursionError):
                raise UserError(f"{path}, line {number}: not a sample; delete the line, or give --overwrite") from None
            rows.setdefault(row.key, row)
            if prompts.setdefault(row.prompt_id, row.prompt) != row.prompt:
                raise UserError(f"{path}, line {number}: another prompt than above has prompt_id {row.prompt_id}")
    return [rows[key] for key in sorted(rows)]


def merge_shards(folder: str | Path) -> int:
    """Move what each of several processes has written into ``samples.jsonl``, made where it is not there.

    Rows that it has already are dropped. Returns how many it then has.
    """
    with LineFile(Path(folder) / SAMPLES) as file:
        there = {row.key for row in read_samples(folder)}
        for shard in sorted(Path(folder).glob("samples-[0-9]*.jsonl")):
            rows = [row for row in read_samples(folder, shard.name) if row.key not in there]
            file.append(map(asdict, rows))
            there |= {row.key for row in rows}
            shard.unlink()
    return len(there)


class Processes:
    """This process among ``count``: its number ``rank`` (0 is the ``first``) and its ``device``, None for the default."""

    def __init__(self, device: str | None = None):
        self.count, self.rank, self.device = int(os.environ.get("WORLD_SIZE", "1")), 0, device
        self._state = None
        if self.count > 1:
            import torch
            from accelerate import PartialState

            prepare()

            cpu = device == "cpu" or not torch.accelerator.is_available()
            # One process may wait for another for as long as sampling takes.
            self._state = PartialState(cpu=cpu, timeout=timedelta(days=30))
            if self._state.num_processes != self.count:
                raise UserError(
                    f"{self.count} processes were started and do not find each other; start them with accelerate launch"
                )
            self.rank, self.device = self._state.process_index, device or str(self._state.device)

    @property
    def first(self) -> bool:
        return self.rank == 0

    def share(self, prompts: dict[int, str]) -> dict[int, str]:
        """This process's part of the prompts, longest first; all parts are about as much work."""
        return dict(sorted(prompts.items(), key=lambda item: -len(item[1]))[self.rank :: self.count])

    def wait(self) -> None:
        """Until every process is here."""
        if self._state:
            self._state.wait_for_everyone()

    def together(self, items: list) -> list:
        """The items of all processes, in every one of them, once all are here."""
        if not self._state:
            return items
        from accelerate.utils import gather_object

        return gather_object(items)

    def end(self) -> None:
        """Let each process go its own way."""
        if self._state:
            leave()
            self._state = None
