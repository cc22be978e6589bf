"""Stage 1: drop responses that are no story, and those that do not fit the model's context."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from diversity_tuning.builtin import model_source
from diversity_tuning.data import schema
from diversity_tuning.data.token_counts import TokenCounter
from diversity_tuning.errors import UserError
from diversity_tuning.names import missing_path

BOILERPLATE = ("**Welcome to the Prompt!**", "this submission has been removed", "**Off-Topic Discussion**")
REASONS = ("kept", *BOILERPLATE, "too long")
REASON = "_reason"  # a working column: per response, an index into REASONS


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


def filter_features() -> dict:
    """The columns of :func:`filter_batch`: those new in stage 1's output, and the working column."""
    from datasets import List, Value

    return {
        schema.FILTERED_COMMENT_TEXTS: List(Value("string")),
        schema.FILTERED_COMMENT_SCORES: List(Value("int64")),
        schema.FILTERED_TRANSFORMED_SCORES: List(Value("float64")),
        REASON: List(Value("int8")),
    }


def filter_batch(batch: dict, indices: list[int], counter: TokenCounter, max_tokens: int) -> dict:
    """Add the kept responses of a batch of rows, with their votes, and the reason for every response."""
    reasons = _reasons(batch, counter, max_tokens)
    columns = {REASON: reasons}
    for source, target in (
        (schema.COMMENT_TEXTS, schema.FILTERED_COMMENT_TEXTS),
        (schema.COMMENT_SCORES, schema.FILTERED_COMMENT_SCORES),
        (schema.TRANSFORMED_SCORE, schema.FILTERED_TRANSFORMED_SCORES),
    ):
        pairs = zip(batch[source], reasons, strict=True)
        columns[target] = [[value for value, why in zip(row, whys, strict=True) if why == 0] for row, whys in pairs]
    return columns


def _reasons(batch: dict, counter: TokenCounter, max_tokens: int) -> list[list[int]]:
    reasons = [[_boilerplate(text) for text in row] for row in batch[schema.COMMENT_TEXTS]]
    places, conversations = [], []
    for number, row in enumerate(batch[schema.COMMENT_TEXTS]):
        prompt = schema.prompt_text(batch[schema.POST_TITLE][number], batch[schema.POST_TEXT][number])
        kept = [place for place, why in enumerate(reasons[number]) if why == 0]
        places += [(number, place) for place in kept]
        conversations += [schema.to_messages(prompt, row[place]) for place in kept]
    for (number, place), length in zip(places, counter.conversations(conversations), strict=True):
        if length > max_tokens:
            reasons[number][place] = REASONS.index("too long")
    return reasons


def _boilerplate(text: str) -> int:
    return next((number for number, phrase in enumerate(BOILERPLATE, start=1) if phrase in text), 0)


def count_reasons(dataset) -> dict[str, int]:
    """How many responses were kept, and dropped for which reason."""
    counts: Counter = Counter()
    arrow = dataset.select_columns([REASON]).with_format("arrow")
    for start in range(0, len(dataset), 1000):
        flat = pc.list_flatten(arrow[start : start + 1000].column(REASON)).to_numpy()
        counts.update(dict(enumerate(np.bincount(flat, minlength=len(REASONS)).tolist())))
    return {reason: counts[number] for number, reason in enumerate(REASONS)}


def worth_telling(counts: dict[str, int]) -> dict[str, int]:
    """The counts without moderators' phrases that do not occur: they are Reddit's, and other data have none."""
    return {reason: count for reason, count in counts.items() if count or reason not in BOILERPLATE}
