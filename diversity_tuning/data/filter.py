"""Stage 1: drop responses that are no story, and those that do not fit the model's context; replace escaped characters.

``released`` drops what the released code drops: three phrases of moderators (:data:`BOILERPLATE`) and what is too long.
"""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from diversity_tuning.builtin import model_source
from diversity_tuning.data import placeholders, schema
from diversity_tuning.data.token_counts import TokenCounter
from diversity_tuning.data.validate import FILTERED, INTEGERS
from diversity_tuning.errors import UserError
from diversity_tuning.names import missing_path

BOILERPLATE = ("**Welcome to the Prompt!**", "this submission has been removed", "**Off-Topic Discussion**")
REASONS = ("kept", *BOILERPLATE, "too long", "empty", "deleted or removed", "notice of a bot", "no prompt")
_NO_STORY = {
    "empty": placeholders.is_empty,
    "deleted or removed": placeholders.is_placeholder,
    "notice of a bot": placeholders.is_notice,
}
FILTERS = ("stories", "released")
REASON = "_reason"  # a working column: per response, an index into REASONS
MENDED = "_mended"  # a working column: per row, how often each of CHANGES was made
ADDED = {**FILTERED.kinds, REASON: INTEGERS, MENDED: INTEGERS}  # columns of :func:`filter_batch`
CHANGES = ("responses with HTML entities", "prompts with HTML entities", "post texts that were deleted or removed")


def load_tokenizer(name: str):
    """The tokenizer of a model, which must have a chat template."""
    if missing := missing_path(name):
        raise UserError(f"--model_to_use {name}: {missing}")
    source = model_source(name)
    try:
        tokenizer = _tokenizer_class(source).from_pretrained(source)
    except Exception as error:  # the hub client, gated models and broken folders each fail in their own way
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"--model_to_use {name}: its tokenizer cannot be loaded ({reason})") from None
    if not tokenizer.chat_template:
        raise UserError(f"--model_to_use {name}: its tokenizer has no chat template; give an instruct model")
    return tokenizer


def _tokenizer_class(name: str):
    """The class that ``AutoTokenizer`` would choose; where that is sure, without importing it: it imports torch."""
    folder = Path(name)
    settings = folder / "tokenizer_config.json"
    alone = settings.is_file() and (folder / "tokenizer.json").is_file() and not (folder / "config.json").exists()
    if alone and json.loads(settings.read_text()).get("tokenizer_class") == "TokenizersBackend":
        from transformers import PreTrainedTokenizerFast

        return PreTrainedTokenizerFast
    from transformers import AutoTokenizer

    return AutoTokenizer


def filter_batch(batch: dict, indices: list[int], counter: TokenCounter, max_tokens: int, rules: str = FILTERS[0]) -> dict:
    """Add the kept responses of a batch of rows, with their votes, and the reason for every response.

    ``rules``: one of :data:`FILTERS`. Except for ``released``, HTML entities of prompts and kept responses are replaced.
    """
    posts = zip(batch[schema.POST_TITLE], batch[schema.POST_TEXT], batch[schema.COMMENT_TEXTS], strict=True)
    rows = [_mended(*post) if rules != "released" else (*post, [0] * len(CHANGES)) for post in posts]
    titles, texts, responses, changes = map(list, zip(*rows, strict=True))
    reasons = [_why_dropped(*row[:3], rules) for row in rows]
    _mark_long(reasons, rows, counter, max_tokens)
    for number, (before, after) in enumerate(zip(batch[schema.COMMENT_TEXTS], responses, strict=True)):
        changes[number][0] = sum(
            why == 0 and one != other for why, one, other in zip(reasons[number], before, after, strict=True)
        )
    columns = {schema.POST_TITLE: titles, schema.POST_TEXT: texts, REASON: reasons, MENDED: changes}
    for source, target in (
        (responses, schema.FILTERED_COMMENT_TEXTS),
        (batch[schema.COMMENT_SCORES], schema.FILTERED_COMMENT_SCORES),
        (batch[schema.TRANSFORMED_SCORE], schema.FILTERED_TRANSFORMED_SCORES),
    ):
        pairs = zip(source, reasons, strict=True)
        columns[target] = [[value for value, why in zip(row, whys, strict=True) if why == 0] for row, whys in pairs]
    return columns


def _mended(title: str, text: str | None, responses: list[str]) -> tuple:
    """A post without HTML entities and without a placeholder under its title, and the changes but for its responses'."""
    post = placeholders.unescape(title), placeholders.unescape(text or "")
    escaped = post != (title, text or "")
    gone = placeholders.is_placeholder(post[1])
    return post[0], "" if gone else post[1], [placeholders.unescape(one) for one in responses], [0, int(escaped), int(gone)]


def _why_dropped(title: str, text: str | None, responses: list[str], rules: str) -> list[int]:
    """Index into :data:`REASONS` of every response of a post, before any length is counted."""
    no_prompt = all(placeholders.is_empty(part) or placeholders.is_placeholder(part) for part in (title, text))
    reasons = []
    for response in responses:
        why = next((phrase for phrase in BOILERPLATE if phrase in response), None)
        if why is None and rules != "released":
            found = (reason for reason, holds in _NO_STORY.items() if holds(response))
            why = next(found, "no prompt" if no_prompt else None)
        reasons.append(REASONS.index(why or "kept"))
    return reasons


def _mark_long(reasons: list[list[int]], rows: list[tuple], counter: TokenCounter, max_tokens: int) -> None:
    places, conversations = [], []
    for number, (title, text, responses, _) in enumerate(rows):
        kept = [place for place, why in enumerate(reasons[number]) if why == 0]
        places += [(number, place) for place in kept]
        conversations += [schema.to_messages(schema.prompt_text(title, text), responses[place]) for place in kept]
    for (number, place), length in zip(places, counter.conversations(conversations), strict=True):
        if length > max_tokens:
            reasons[number][place] = REASONS.index("too long")


def count_reasons(dataset) -> dict[str, int]:
    """How many responses were kept, and dropped for which reason."""
    counts: Counter = Counter()
    for flat in _flat(dataset, REASON):
        counts.update(dict(enumerate(np.bincount(flat, minlength=len(REASONS)).tolist())))
    return {reason: counts[number] for number, reason in enumerate(REASONS)}


def count_changes(dataset) -> dict[str, int]:
    """How often each of :data:`CHANGES` was made; those that were not are left out."""
    totals = sum(flat.reshape(-1, len(CHANGES)).sum(axis=0) for flat in _flat(dataset, MENDED))
    return {change: int(total) for change, total in zip(CHANGES, totals, strict=True) if total}


def _flat(dataset, column: str):
    """The values of a column of lists, a thousand rows at a time."""
    arrow = dataset.select_columns([column]).with_format("arrow")
    for batch in arrow.iter(1000):
        yield pc.list_flatten(batch.column(0)).to_numpy()


def worth_telling(counts: dict[str, int]) -> dict[str, int]:
    """The counts without reasons that do not occur, but for those that every source has: kept, and too long."""
    return {reason: count for reason, count in counts.items() if count or reason in ("kept", "too long")}
