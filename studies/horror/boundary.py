"""The truncation and EOS policy of one example, and its boundary: where the prompt ends and the story begins.

One policy for data preparation, training and sampling: a prompt is never cut; a story that does not fit into ``max_length``
tokens is cut at its end and then has no EOS; a whole story ends with EOS; the loss counts story tokens (EOS included) only. A
prompt that leaves no room for a single story token is not an example.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from diversity_tuning.data import schema
from diversity_tuning.errors import UserError
from studies.horror.specification import from_mapping

MAX_LENGTH = 384  # tokens of prompt and story; the synthetic ones have fewer than 320


@dataclass(frozen=True)
class Encoded:
    """One example: ``ids[:boundary]`` is the prompt in the chat template, ``ids[boundary:]`` the story."""

    ids: list[int]
    boundary: int
    cut: bool  # the story's end is missing, and so is EOS


def encode_prompt(tokenizer, prompt: str) -> list[int]:
    """Token ids of a prompt in the chat template, up to where the story begins; what a model samples after."""
    messages = [{"role": "user", "content": prompt}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def encode_example(tokenizer, prompt: str, story: str, max_length: int = MAX_LENGTH) -> Encoded:
    """Token ids of prompt and story under the policy above; :class:`UserError` for a prompt that leaves no room."""
    head = encode_prompt(tokenizer, prompt)
    if len(head) >= max_length:
        raise UserError(f"the prompt has {len(head)} tokens, so no story fits into {max_length}; shorten the specification")
    text = tokenizer.apply_chat_template(schema.to_messages(prompt, story), tokenize=False)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    if ids[: len(head)] != head:
        raise UserError("the chat template writes another prompt before a story than before sampling; use one that does not")
    return Encoded(ids[:max_length], len(head), cut=len(ids) > max_length)


def boundaries(tokenizer, pairs: Iterable[tuple[str, str]], max_length: int = MAX_LENGTH) -> dict[str, float]:
    """Counts over (prompt, story) pairs: examples, cut ones, tokens of prompts and of stories (mean and longest)."""
    examples = [encode_example(tokenizer, *pair, max_length) for pair in pairs]
    heads, tails = [one.boundary for one in examples], [len(one.ids) - one.boundary for one in examples]
    number = max(len(examples), 1)
    return {
        "examples": len(examples),
        "cut": sum(one.cut for one in examples),
        "max_length": max_length,
        "prompt_tokens_mean": round(sum(heads) / number, 1),
        "prompt_tokens_longest": max(heads, default=0),
        "story_tokens_mean": round(sum(tails) / number, 1),
        "story_tokens_longest": max(tails, default=0),
    }


def pairs_of(rows):
    """(prompt, story) of every story of a data set."""
    for row in rows:
        if schema.CHOSEN in row:
            for side in (schema.CHOSEN, schema.REJECTED):
                yield row[side][0]["content"], row[side][-1]["content"]
        else:
            for story in row[schema.FILTERED_COMMENT_TEXTS]:  # a held-out specification has none
                yield from_mapping(row["specification"]).to_prompt(), story
