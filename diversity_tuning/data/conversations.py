"""The turns of one row as messages, from the columns that public data sets have them in."""

from diversity_tuning.data import schema

_SHAREGPT_ROLES = {"human": "user", "gpt": "assistant", **{role: role for role in ("user", "assistant", "system")}}
_QUESTIONS = (schema.INSTRUCTION, "question", schema.INPUT)  # the user's turn, where there is no prompt: the first of them
_SYSTEMS = ("system", "system_prompt")
_HISTORY = "history"
LEADING = (*_SYSTEMS, _HISTORY)  # columns of turns that stand before the prompt
PROMPTS = (schema.PROMPT, schema.CONVERSATIONS, *_QUESTIONS)  # columns that may hold the prompt, in this order
# Columns that may hold turns, or say that a response is not to be trained on. Those that are not read are named to the user.
_TELLING = (*PROMPTS, *LEADING, schema.MESSAGES, schema.OUTPUT, schema.COMPLETION, schema.RESPONSE, "text", "tools", "label")


class Fault(Exception):
    """What is wrong in a column of the row at hand."""

    def __init__(self, column: str | None, what: str):
        self.column, self.what = column, what


def prompt_columns(names: list[str]) -> list[str]:
    """The columns of ``names`` that :func:`prompt_of` reads."""
    found = next((name for name in PROMPTS if name in names), None)
    both = [schema.INPUT] if found == schema.INSTRUCTION and schema.INPUT in names else []
    return [name for name in (*LEADING, found) if name in names] + both


def say_unread(where: str, names: list[str], read: list[str]) -> None:
    """Name the columns that may hold turns and are not read, on one line."""
    unread = [name for name in _TELLING if name in names and name not in read]
    if unread:
        print(f"{where}: not read: column {', '.join(repr(name) for name in unread)}", flush=True)


def prompt_of(row: dict) -> list[dict[str, str]] | None:
    """The prompt's own messages of one row, without :func:`led`; None where it has none."""
    column = next((name for name in PROMPTS if name in row), None)
    if column is None or row[column] is None:
        return None
    prompt = messages_of(row, column, "user")
    if column == schema.INSTRUCTION and row.get(schema.INPUT):  # Alpaca: the input stands below the instruction
        prompt[0]["content"] += "\n" + messages_of(row, schema.INPUT, "user")[0]["content"]
    return prompt


def led(row: dict, prompt: list[dict[str, str]]) -> list[dict[str, str]]:
    """``prompt`` with the row's system turn and its history before it, each once."""
    system, rest = (prompt[:1], prompt[1:]) if prompt and prompt[0]["role"] == "system" else ([], prompt)
    for column in _SYSTEMS:
        if row.get(column):
            given = messages_of(row, column, "system")
            if given[0]["role"] != "system" or len(given) > 1 or (system and system != given):
                raise Fault(column, "another system turn stands in the row; give one")
            system = given
    history = _history(row)
    return [*system, *([] if rest[: len(history)] == history else history), *rest]


def _history(row: dict) -> list[dict[str, str]]:
    """Earlier turns: a list of [question, answer], as LLaMA-Factory has it, or of messages."""
    value = row.get(_HISTORY)
    if not value:
        return []
    if not isinstance(value, list):
        raise Fault(_HISTORY, f"expected a list of question and answer, found {shown(value)}")
    if all(isinstance(turn, dict) for turn in value):
        return messages_of(row, _HISTORY, "history")
    if not all(isinstance(turn, list) and len(turn) == 2 and all(isinstance(text, str) for text in turn) for turn in value):
        raise Fault(_HISTORY, f"expected a list of question and answer, found {shown(value)}")
    return [message for turn in value for message in schema.to_messages(*turn)]


def messages_of(row: dict, column: str, role: str) -> list[dict[str, str]]:
    """A column of a row as messages; a text is one message of ``role``. Responses end with the assistant's message."""
    value = row[column]
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    value = [value] if isinstance(value, dict) else value
    if not isinstance(value, list) or not value or not all(isinstance(message, dict) for message in value):
        raise Fault(column, f"expected a text or a list of messages (role, content), found {shown(value)}")
    read = [_message(message, column) for message in value]
    if role == "assistant" and read[-1]["role"] != "assistant":
        raise Fault(column, f"ends with a message of role '{read[-1]['role']}', not the assistant's")
    if role == "assistant" and value[-1].get("weight") == 0:
        raise Fault(column, "its last message has weight 0: it is not to be trained on; leave the row out")
    return read


def _message(message: dict, column: str) -> dict[str, str]:
    if message.get("role") is None and message.get("from") is not None:  # ShareGPT's names
        if message["from"] not in _SHAREGPT_ROLES:
            raise Fault(column, f"a message from '{message['from']}'; expected {', '.join(_SHAREGPT_ROLES)}")
        role = _SHAREGPT_ROLES[message["from"]]
        message = {"role": role, "content": message.get("value"), "weight": message.get("weight")}
    texts = {"role": message.get("role"), "content": _joined(message.get("content"))}
    wrong = next((name for name, text in texts.items() if not isinstance(text, str)), None)
    if wrong:
        raise Fault(column, f"a message without a text as its '{wrong}'")
    more = next((name for name, other in message.items() if name not in (*texts, "weight") and other), None)
    if more:
        raise Fault(column, f"a message with '{more}'; only role and content can be trained on")
    return texts


def _joined(content: object) -> object:
    """Content in parts as one text, where all parts are texts."""
    parts = content if isinstance(content, list) and content else []
    if parts and all(
        isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str) for part in parts
    ):
        return "".join(part["text"] for part in parts)
    return content


def shown(value: object) -> str:
    """A value for a message to the user."""
    return "nothing" if value is None else repr(value)[:60]
