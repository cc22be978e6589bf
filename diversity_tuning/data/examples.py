"""Training examples as conversations, from the forms of rows in use: texts or messages, with or without a prompt column.

A plain text becomes a message, a prompt the user's and a response the assistant's, so that the policy's chat template is
applied to every source alike. Columns ``system`` (or ``system_prompt``) and ``history`` become turns before the prompt. Columns
that may hold turns and are not read are named on one line. Faults are a :class:`UserError` that names the source, the row
(from 1) and the column.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from diversity_tuning.data import schema
from diversity_tuning.data.conversations import LEADING, Fault, led, messages_of, prompt_columns, prompt_of, say_unread, shown
from diversity_tuning.data.tables import read_split, where_of
from diversity_tuning.errors import UserError
from diversity_tuning.partition import number_or_none

_SFT_FORMS = (
    f"'{schema.POST_TITLE}' with '{schema.FILTERED_COMMENT_TEXTS}' (the output of stage 1), '{schema.PROMPT}' with "
    f"'{schema.COMPLETION}' (or '{schema.RESPONSE}'), '{schema.INSTRUCTION}' with '{schema.OUTPUT}', or '{schema.MESSAGES}'"
)


def read_pairs(source, weight_column: str | None = None, split: str = schema.TRAIN, *, where: str | None = None):
    """Preference pairs as conversations, as the training commands read them: columns ``prompt``, ``chosen``, ``rejected``.

    The policy's chat template is applied to conversations; the trainers take plain texts as they stand, without it. ``source``
    is a file, folder or hub id, as every command takes them, or a ``datasets.Dataset``; the forms of rows are those of
    :func:`preference_pairs`. ``weight_column`` stays, and its values must be finite numbers. Raises :class:`UserError` naming
    source, row (from 1) and column; ``where`` is the source's name in it.
    """
    named = isinstance(source, str | Path)
    where = where or (where_of(str(source), split) if named else "the pairs")
    rows = read_split(str(source), split) if named else source
    keep = [weight_column] if weight_column else []
    if weight_column and weight_column not in rows.column_names:  # the trainer's error names what may have been meant
        keep = [name for name in rows.column_names if str(getattr(rows.features[name], "dtype", "")).startswith("float")]
    pairs = preference_pairs(rows, where, keep=keep)
    if weight_column in pairs.column_names:
        check_numbers(pairs, weight_column, where)
    return pairs


def preference_pairs(rows, where: str, keep: Sequence[str] | None = None):
    """Pairs as TRL has them, with the prompt apart: columns ``prompt``, ``chosen``, ``rejected`` are lists of messages.

    ``rows`` (``datasets.Dataset``) have ``chosen`` and ``rejected``, both texts or both lists of messages, and ``prompt``, a
    text or messages. The prompt may be missing where both sides are whole conversations: it is the messages that both begin
    with. ShareGPT's form (``conversations``, and messages of ``from`` and ``value``), and ``question``, ``instruction`` or
    ``input`` as the prompt, are read as well. Of the other columns those in ``keep`` stay, or all. ``where`` is for errors.
    """
    names = rows.column_names
    missing = [name for name in (schema.CHOSEN, schema.REJECTED) if name not in names]
    if missing:
        raise UserError(f"{where}: no column '{missing[0]}'; it has {', '.join(names)}")
    used = [*prompt_columns(names), schema.CHOSEN, schema.REJECTED]
    say_unread(where, names, used)
    others = [name for name in names if name not in used and (keep is None or name in keep)]
    columns = (schema.PROMPT, schema.CHOSEN, schema.REJECTED)
    return _as_conversations(rows.select_columns([*used, *others]), columns, _pair, where, others)


def prompt_completions(rows, where: str):
    """One example per response: columns ``prompt`` and ``completion`` are lists of messages; no other columns.

    ``rows`` have the columns of stage 1, or ``prompt`` with ``completion`` or ``response`` (texts or messages), or
    ``messages`` (ShareGPT: ``conversations``), whose last one, the assistant's, is the completion and all before it the prompt,
    or Alpaca's ``instruction``, ``input`` (may be missing or empty) and ``output``. Rows of KTO's form that are labelled as
    undesired are left out (:func:`desired`).
    """
    rows = desired(rows, where)
    names = rows.column_names
    if {schema.POST_TITLE, schema.POST_TEXT, schema.FILTERED_COMMENT_TEXTS} <= set(names):
        say_unread(where, names, [])
        return rows.map(_explode, batched=True, batch_size=100, remove_columns=names)
    prompt = [name for name in prompt_columns(names) if name != schema.CONVERSATIONS]
    asked = prompt[-1:] and prompt_of(dict.fromkeys(prompt, "")) is not None
    completion = next((name for name in (schema.COMPLETION, schema.RESPONSE, schema.OUTPUT) if name in names), None)
    conversation = next((name for name in (schema.MESSAGES, schema.CONVERSATIONS) if name in names), None)
    if asked and completion:
        read, used = partial(_prompt_completion, completion=completion), [*prompt, completion]
    elif conversation:
        leading = [name for name in prompt_columns(names) if name in LEADING]
        read, used = partial(_conversation, column=conversation), [*leading, conversation]
    else:
        raise UserError(f"{where}: no column {_SFT_FORMS}; it has {', '.join(names)}")
    say_unread(where, names, used)
    return _as_conversations(rows.select_columns(used), (schema.PROMPT, schema.COMPLETION), read, where)


def desired(rows, where: str):
    """The rows without those whose ``label`` (KTO's form) is false, which nobody should imitate; one line says how many.

    Labels are true or false, 1 or 0. A column ``label`` of anything else says something else, and all rows stay.
    """
    if schema.LABEL not in rows.column_names:
        return rows
    labels = rows[schema.LABEL][:]
    good = [is_desired(label) for label in labels]
    if any(one is None and label is not None for one, label in zip(good, labels, strict=True)):
        return rows
    if None in good:
        raise UserError(f"{where}: row {good.index(None) + 1}, column '{schema.LABEL}': expected true or false, found nothing")
    kept = [row for row, one in enumerate(good) if one]
    if not kept:
        raise UserError(f"{where}: every row has the label false, so there is nothing to imitate")
    if len(kept) < len(good):
        print(f"{where}: {len(good) - len(kept)} of {len(good)} rows have the label false and are left out", flush=True)
    return rows.select(kept)


def is_desired(label) -> bool | None:
    """What a label of KTO's form says, true or false, 1 or 0; None where it says nothing of the kind."""
    word = str(label).lower()
    return True if word in ("true", "1", "1.0") else False if word in ("false", "0", "0.0") else None


def prompts(rows, where: str):
    """The prompts of rows that are not stages 0's or 1's, as lists of messages in a column ``prompt``; no other columns.

    ``rows`` have a prompt as :func:`preference_pairs` takes it, or are pairs of whole conversations, or have ``messages``, of
    which those before the last response are the prompt.
    """
    names = rows.column_names
    used = prompt_columns(names)
    sides = [name for name in (schema.CHOSEN, schema.REJECTED) if name in names]
    if len(sides) == 2:
        column = schema.PROMPT if schema.PROMPT in names else schema.CHOSEN
        read, used = (lambda row: (_question(_pair(row)[0], column),)), [*used, *sides]
    elif any(name not in LEADING for name in used):
        read = _asked
    elif schema.CHOSEN in names or schema.MESSAGES in names:
        column = schema.CHOSEN if schema.CHOSEN in names else schema.MESSAGES
        read, used = partial(_asked, column=column), [*used, column]
    else:
        raise UserError(f"{where}: no prompts: no column '{schema.PROMPT}', '{schema.POST_TITLE}' or '{schema.CHOSEN}'")
    say_unread(where, names, [*used, schema.OUTPUT, schema.COMPLETION, schema.RESPONSE])
    return _as_conversations(rows.select_columns(used), (schema.PROMPT,), read, where)


def rated_responses(rows, where: str):
    """Rows for the reward model: those of stage 1 as they are, or ``prompt``, ``response`` (texts) and ``score`` (a number)."""
    own = (schema.PROMPT, schema.RESPONSE, schema.SCORE)
    if schema.POST_TITLE in rows.column_names or not set(own) <= set(rows.column_names):
        needed = (schema.FILTERED_COMMENT_TEXTS, schema.FILTERED_TRANSFORMED_SCORES, schema.POST_TITLE, schema.POST_TEXT)
        missing = [name for name in needed if name not in rows.column_names]
        if missing:
            raise UserError(
                f"{where}: no column '{missing[0]}'; give the output of stage 1, or rows of {', '.join(own)}; it has "
                f"{', '.join(rows.column_names)}"
            )
        return rows
    check_numbers(rows, schema.SCORE, where)
    for name in (schema.PROMPT, schema.RESPONSE):
        for number, value in enumerate(rows[name], start=1):
            if not isinstance(value, str):
                raise UserError(f"{where}: row {number}, column '{name}': expected a text, found {shown(value)}")
    return rows.select_columns(list(own))


def check_numbers(rows, column: str, where: str) -> None:
    """Every value of a column is a finite number."""
    values = rows.select_columns([column]).with_format("arrow")[:][column].combine_chunks()
    if pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
        wrong = pc.fill_null(pc.invert(pc.is_finite(values)), True)
        bad = pc.index(wrong, True).as_py()
    else:
        bad = next((row for row, value in enumerate(values.to_pylist()) if number_or_none(value) is None), -1)
        bad = 0 if bad < 0 else bad  # texts that hold numbers are texts
    if bad >= 0:
        raise UserError(f"{where}: row {bad + 1}, column '{column}': expected a number, found {shown(values[bad].as_py())}")


def _as_conversations(rows, columns: tuple[str, ...], read: Callable[[dict], tuple], where: str, keep: Sequence[str] = ()):
    """``rows`` with ``columns`` of messages that ``read`` makes of each row, and the columns ``keep``."""
    from datasets import Features, List, Value

    message = List({"role": Value("string"), "content": Value("string")})
    others = {name: rows.features[name] for name in keep}

    def convert(batch, indices):
        made = {name: [] for name in columns}
        for place, index in enumerate(indices):
            try:
                found = read({name: values[place] for name, values in batch.items()})
            except Fault as fault:
                column = f", column '{fault.column}'" if fault.column else ""
                raise UserError(f"{where}: row {index + 1}{column}: {fault.what}") from None
            for name, messages in zip(columns, found, strict=True):
                made[name].append(messages)
        return {**{name: batch[name] for name in others}, **made}

    return rows.map(
        convert, batched=True, batch_size=200, with_indices=True, remove_columns=rows.column_names,
        features=Features({**others, **dict.fromkeys(columns, message)}),
    )  # fmt: skip


def _pair(row: dict) -> tuple[list, list, list]:
    """Prompt, chosen, rejected of one row."""
    sides = [messages_of(row, name, "assistant") for name in (schema.CHOSEN, schema.REJECTED)]
    given = prompt_of(row)
    if given is None or (len(given) == 1 and not isinstance(row[_prompt_column(row)], list)):
        prompt, *sides = _parted(row, given, *sides)
    else:
        parted = [_after(given, side, name) for side, name in zip(sides, (schema.CHOSEN, schema.REJECTED), strict=True)]
        prompt, sides = parted[0][0], [side for _, side in parted]
        if parted[1][0] != prompt:
            raise Fault(schema.REJECTED, f"does not begin with the same messages as '{schema.CHOSEN}'")
    return led(row, prompt), *sides


def _prompt_column(row: dict) -> str:
    return next(name for name in prompt_columns(list(row)) if name not in LEADING)


def _parted(row: dict, given: list | None, chosen: list, rejected: list) -> tuple[list, list, list]:
    """Prompt, chosen, rejected where the prompt is a text, or None: whole conversations hold it themselves."""
    answers = all(side[0]["role"] == "assistant" for side in (chosen, rejected))
    if answers and given:
        return given, chosen, rejected
    if answers:
        raise Fault(schema.PROMPT, f"missing, and '{schema.CHOSEN}' is no conversation that would begin with it")
    shared = next((i for i, (one, other) in enumerate(zip(chosen, rejected, strict=False)) if one != other), None)
    shared = min(len(chosen), len(rejected)) - 1 if shared is None else shared
    if shared == 0:
        raise Fault(schema.REJECTED, f"does not begin with the same message as '{schema.CHOSEN}', so there is no prompt")
    if given and given[0]["content"].strip() not in [message["content"].strip() for message in chosen[:shared]]:
        raise Fault(
            _prompt_column(row), "is not among the messages that both sides begin with; leave it out, or out of the sides"
        )
    return chosen[:shared], chosen[shared:], rejected[shared:]


def _after(prompt: list, side: list, column: str) -> tuple[list, list]:
    """(the whole prompt, what follows it in ``side``), whether the side repeats the prompt, with or without its system turn."""
    system, asked = (prompt[:1], prompt[1:]) if prompt[0]["role"] == "system" else ([], prompt)
    own, rest = (side[:1], side[1:]) if side[0]["role"] == "system" else ([], side)
    if rest[: len(asked)] == asked and len(rest) > len(asked):
        if system and own and system != own:
            raise Fault(column, f"begins with another system turn than '{schema.PROMPT}'")
        return [*(system or own), *asked], rest[len(asked) :]
    if own or (rest[0]["role"] == "user" and prompt[-1]["role"] == "user"):
        raise Fault(column, f"begins with a message of role '{side[0]['role']}' that '{schema.PROMPT}' does not have")
    return prompt, side


def _prompt_completion(row: dict, completion: str) -> tuple[list, list]:
    prompt = prompt_of(row)
    if prompt is None:
        raise Fault(_prompt_column(row), "expected a text or a list of messages (role, content), found nothing")
    whole, answer = _after(prompt, messages_of(row, completion, "assistant"), completion)
    return led(row, whole), answer


def _conversation(row: dict, column: str) -> tuple[list, list]:
    messages = messages_of(row, column, "assistant")
    if len(messages) < 2:
        raise Fault(column, "expected at least a user's and an assistant's message")
    return led(row, messages[:-1]), messages[-1:]


def _asked(row: dict, column: str | None = None) -> tuple[list]:
    """The prompt of one row; of a column of whole conversations, without the last response."""
    if column:
        prompt = messages_of(row, column, "assistant" if column == schema.CHOSEN else "user")
    else:
        column, prompt = _prompt_column(row), prompt_of(row) or []
    if column != schema.PROMPT and prompt and prompt[-1]["role"] == "assistant":
        prompt = prompt[:-1]
    return (_question(led(row, prompt), column),)


def _question(prompt: list, column: str) -> list:
    if not prompt or not all(message["content"].strip() for message in prompt):
        raise Fault(None, "no prompt")
    if prompt[-1]["role"] != "user":
        raise Fault(column, f"ends with a message of role '{prompt[-1]['role']}', not the user's")
    return prompt


def _explode(batch: dict) -> dict[str, list]:
    """The kept responses of stage 1, one example each."""
    found = [schema.to_messages(prompt, response) for _, prompt, response in schema.kept_responses(batch)]
    return {schema.PROMPT: [[user] for user, _ in found], schema.COMPLETION: [[assistant] for _, assistant in found]}
