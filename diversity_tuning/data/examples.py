"""Training examples as conversations, from the forms of rows in use: texts or messages, with or without a prompt column.

A plain text becomes a message, a prompt the user's and a response the assistant's, so that the policy's chat template is
applied to every source alike. Faults are a :class:`UserError` that names the source, the row (from 1) and the column.
"""

from collections.abc import Callable
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from diversity_tuning.data import schema
from diversity_tuning.errors import UserError

_SFT_FORMS = (
    f"'{schema.POST_TITLE}' with '{schema.FILTERED_COMMENT_TEXTS}' (the output of stage 1), '{schema.PROMPT}' with "
    f"'{schema.COMPLETION}' (or '{schema.RESPONSE}'), '{schema.INSTRUCTION}' with '{schema.OUTPUT}', or '{schema.MESSAGES}'"
)
_SHAREGPT_ROLES = {"human": "user", "gpt": "assistant", "system": "system"}


class _Fault(Exception):
    """What is wrong in a column of the row at hand."""

    def __init__(self, column: str, what: str):
        self.column, self.what = column, what


def preference_pairs(rows, where: str):
    """Pairs as TRL has them, with the prompt apart: columns ``prompt``, ``chosen``, ``rejected`` are lists of messages.

    ``rows`` (``datasets.Dataset``) have ``chosen`` and ``rejected``, both texts or both lists of messages, and ``prompt``, a
    text or messages. The prompt may be missing where both sides are whole conversations: it is the messages that both begin
    with. ShareGPT's form (``conversations``, and messages of ``from`` and ``value``) is read as well. Other columns, such as
    weights, stay. ``where`` names the source in errors.
    """
    if schema.PROMPT not in rows.column_names and schema.CONVERSATIONS in rows.column_names:
        rows = rows.rename_column(schema.CONVERSATIONS, schema.PROMPT)
    missing = [name for name in (schema.CHOSEN, schema.REJECTED) if name not in rows.column_names]
    if missing:
        raise UserError(f"{where}: no column '{missing[0]}'; it has {', '.join(rows.column_names)}")
    return _as_conversations(rows, (schema.PROMPT, schema.CHOSEN, schema.REJECTED), _pair, where)


def prompt_completions(rows, where: str):
    """One example per response: columns ``prompt`` and ``completion`` are lists of messages; no other columns.

    ``rows`` have the columns of stage 1, or ``prompt`` with ``completion`` or ``response`` (texts or messages), or
    ``messages`` (ShareGPT: ``conversations``), whose last one, the assistant's, is the completion and all before it the prompt,
    or Alpaca's ``instruction``, ``input`` (may be missing or empty) and ``output``.
    """
    if schema.MESSAGES not in rows.column_names and schema.CONVERSATIONS in rows.column_names:
        rows = rows.rename_column(schema.CONVERSATIONS, schema.MESSAGES)
    names = set(rows.column_names)
    if {schema.POST_TITLE, schema.POST_TEXT, schema.FILTERED_COMMENT_TEXTS} <= names:
        return rows.map(_explode, batched=True, batch_size=100, remove_columns=rows.column_names)
    completion = next((name for name in (schema.COMPLETION, schema.RESPONSE) if name in names), None)
    if schema.PROMPT in names and completion:
        read, used = partial(_prompt_completion, completion=completion), [schema.PROMPT, completion]
    elif schema.MESSAGES in names:
        read, used = _conversation, [schema.MESSAGES]
    elif {schema.INSTRUCTION, schema.OUTPUT} <= names:
        read, used = _instruction, [name for name in (schema.INSTRUCTION, schema.INPUT, schema.OUTPUT) if name in names]
    else:
        raise UserError(f"{where}: no column {_SFT_FORMS}; it has {', '.join(rows.column_names)}")
    return _as_conversations(rows.select_columns(used), (schema.PROMPT, schema.COMPLETION), read, where, keep=False)


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
                raise UserError(f"{where}: row {number}, column '{name}': expected a text, found {_shown(value)}")
    return rows.select_columns(list(own))


def check_numbers(rows, column: str, where: str) -> None:
    """Every value of a column is a finite number."""
    values = rows.select_columns([column]).with_format("arrow")[:][column].combine_chunks()
    if pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
        wrong = pc.fill_null(pc.invert(pc.is_finite(values)), True)
        bad = pc.index(wrong, True).as_py()
    else:
        bad = next((row for row, value in enumerate(values.to_pylist()) if not _is_number(value)), -1)
        bad = 0 if bad < 0 else bad  # texts that hold numbers are texts
    if bad >= 0:
        raise UserError(f"{where}: row {bad + 1}, column '{column}': expected a number, found {_shown(values[bad].as_py())}")


def _is_number(value: object) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _as_conversations(rows, columns: tuple[str, ...], read: Callable[[dict], tuple], where: str, keep: bool = True):
    """``rows`` with ``columns`` of messages that ``read`` makes of each row, and their other columns if ``keep``."""
    from datasets import Features, List, Value

    message = List({"role": Value("string"), "content": Value("string")})
    others = {name: kind for name, kind in rows.features.items() if keep and name not in columns}

    def convert(batch, indices):
        made = {name: [] for name in columns}
        for place, index in enumerate(indices):
            try:
                found = read({name: values[place] for name, values in batch.items()})
            except _Fault as fault:
                raise UserError(f"{where}: row {index + 1}, column '{fault.column}': {fault.what}") from None
            for name, messages in zip(columns, found, strict=True):
                made[name].append(messages)
        return {**{name: batch[name] for name in others}, **made}

    return rows.map(
        convert, batched=True, batch_size=200, with_indices=True, remove_columns=rows.column_names,
        features=Features({**others, **dict.fromkeys(columns, message)}),
    )  # fmt: skip


def _pair(row: dict) -> tuple[list, list, list]:
    """Prompt, chosen, rejected of one row."""
    chosen, rejected = (_messages(row, name, "assistant") for name in (schema.CHOSEN, schema.REJECTED))
    apart = len(chosen) == len(rejected) == 1
    if row.get(schema.PROMPT) is None and apart:
        raise _Fault(schema.PROMPT, f"missing, and '{schema.CHOSEN}' is no conversation that would begin with it")
    prompt = _messages(row, schema.PROMPT, "user") if row.get(schema.PROMPT) is not None else []
    if apart or isinstance(row.get(schema.PROMPT), list):
        repeated = not apart and all(side[: len(prompt)] == prompt for side in (chosen, rejected))
        start = len(prompt) if repeated else 0
        return prompt, chosen[start:], rejected[start:]
    # Whole conversations. A prompt that is given as a text as well is their first message.
    shared = next((i for i, (one, other) in enumerate(zip(chosen, rejected, strict=False)) if one != other), None)
    shared = min(len(chosen), len(rejected)) - 1 if shared is None else shared
    if shared == 0:
        raise _Fault(schema.REJECTED, f"does not begin with the same message as '{schema.CHOSEN}', so there is no prompt")
    return chosen[:shared], chosen[shared:], rejected[shared:]


def _prompt_completion(row: dict, completion: str) -> tuple[list, list]:
    return _messages(row, schema.PROMPT, "user"), _messages(row, completion, "assistant")


def _instruction(row: dict) -> tuple[list, list]:
    """Alpaca's instruction and, below it, its input."""
    prompt = _messages(row, schema.INSTRUCTION, "user")
    if row.get(schema.INPUT):
        prompt[0]["content"] += "\n" + _messages(row, schema.INPUT, "user")[0]["content"]
    return prompt, _messages(row, schema.OUTPUT, "assistant")


def _conversation(row: dict) -> tuple[list, list]:
    messages = _messages(row, schema.MESSAGES, "assistant")
    if len(messages) < 2:
        raise _Fault(schema.MESSAGES, "expected at least a user's and an assistant's message")
    return messages[:-1], messages[-1:]


def _messages(row: dict, column: str, role: str) -> list[dict[str, str]]:
    """A column of a row as messages; a text is one message of ``role``. Responses end with the assistant's message."""
    value = row[column]
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    value = [value] if isinstance(value, dict) else value
    if not isinstance(value, list) or not value or not all(isinstance(message, dict) for message in value):
        raise _Fault(column, f"expected a text or a list of messages (role, content), found {_shown(value)}")
    value = [_from_sharegpt(message, column) for message in value]
    for message in value:
        texts = {name: message.get(name) for name in ("role", "content")}
        wrong = next((name for name, text in texts.items() if not isinstance(text, str)), None)
        if wrong:
            raise _Fault(column, f"a message without a text as its '{wrong}'")
        more = next((name for name, other in message.items() if name not in texts and other), None)
        if more:
            raise _Fault(column, f"a message with '{more}'; only role and content can be trained on")
    if role == "assistant" and value[-1]["role"] != "assistant":
        raise _Fault(column, f"ends with a message of role '{value[-1]['role']}', not the assistant's")
    return [{"role": message["role"], "content": message["content"]} for message in value]


def _from_sharegpt(message: dict, column: str) -> dict:
    """A message of ``from`` and ``value`` in the usual names; any other as it is."""
    if message.get("role") is not None or message.get("from") is None:
        return message
    if message["from"] not in _SHAREGPT_ROLES:
        raise _Fault(column, f"a message from '{message['from']}'; expected {', '.join(_SHAREGPT_ROLES)}")
    return {"role": _SHAREGPT_ROLES[message["from"]], "content": message.get("value")}


def _shown(value: object) -> str:
    return "nothing" if value is None else repr(value)[:60]


def _explode(batch: dict) -> dict[str, list]:
    """The kept responses of stage 1, one example each."""
    prompts, completions = [], []
    columns = (schema.POST_TITLE, schema.POST_TEXT, schema.FILTERED_COMMENT_TEXTS)
    for title, text, responses in zip(*(batch[name] for name in columns), strict=True):
        for response in responses:
            user, assistant = schema.to_messages(schema.prompt_text(title, text), response)
            prompts.append([user])
            completions.append([assistant])
    return {schema.PROMPT: prompts, schema.COMPLETION: completions}
