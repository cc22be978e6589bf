"""Every column name and the format of the prompt, each defined once. The names are those of the published data and scripts."""

from collections.abc import Iterator

# Source: one row per post.
POST_TITLE = "post_title"  # str
POST_TEXT = "post_text"  # str, may be empty
POST_SCORES = "post_scores"  # int
COMMENT_TEXTS = "comment_texts"  # list[str], the responses
COMMENT_SCORES = "comment_scores"  # list[int], their votes
COMMENT_TIMES = "comment_times"  # list[str], optional

# Stage 0 adds the votes mapped to [-1, 1]; stage 1 the responses that are kept.
TRANSFORMED_SCORE = "transformed_score"  # list[float]
FILTERED_COMMENT_TEXTS = "filtered_comment_texts"
FILTERED_COMMENT_SCORES = "filtered_comment_scores"
FILTERED_TRANSFORMED_SCORES = "filtered_transformed_scores"

# Stage 2: one row per pair, or (unpaired) one row per prompt with the responses that were used.
CHOSEN = "chosen"  # list of messages: user, assistant
REJECTED = "rejected"
SCORE_CHOSEN = "score_chosen"  # votes
SCORE_REJECTED = "score_rejected"
POSTTRAINING_COMMENT_TEXT = "posttraining_comment_text"
POSTTRAINING_SCORE = "posttraining_score"
POSTTRAINING_TRANSFORMED_SCORE = "posttraining_transformed_score"

# Stages 3 and 4: the deviation delta of each side, the loss weight.
DEVIATION_CHOSEN = "deviation_chosen"  # float >= 0, mean 1 over the responses of a prompt
DEVIATION_REJECTED = "deviation_rejected"
CREATIVITY = "creativity"  # float >= 0: CrPO's weight of a pair

# One sampled response per row, as published; our own columns come after these.
PROMPT_ID = "prompt_id"
PROMPT = "prompt"
RESPONSE = "response"
REDDIT_REWARD = "reddit_reward"
SEMANTIC_DIVERSITY = "semantic_diversity"
STYLE_DIVERSITY = "style_diversity"

# Columns of other data sets, named as in TRL; RESPONSE is accepted for COMPLETION too.
COMPLETION = "completion"
LABEL = "label"
MESSAGES = "messages"
SCORE = "score"
CONVERSATIONS = "conversations"  # ShareGPT's messages: {"from": "human" | "gpt" | "system", "value": text}
INSTRUCTION, INPUT, OUTPUT = "instruction", "input", "output"  # Alpaca's prompt in two parts, and the response

# Every column that some command reads, whatever it is needed for there; others may hold anything.
READ = frozenset(value for name, value in list(globals().items()) if name.isupper()) - {POST_SCORES} | {"weight", "label"}

TRAIN, VALIDATION, TEST = "train", "validation", "test"


def prompt_text(title: str, text: str | None) -> str:
    """The prompt of a post: title, newline, text."""
    return f"{title}\n{text or ''}"


def kept_responses(batch: dict, *columns: str) -> Iterator[tuple]:
    """``(row, prompt, response, …)`` of each response that stage 1 kept in a batch of rows, and its values of ``columns``."""
    lists = [batch[name] for name in (FILTERED_COMMENT_TEXTS, *columns)]
    for row, (title, text, *values) in enumerate(zip(batch[POST_TITLE], batch[POST_TEXT], *lists, strict=True)):
        yield from ((row, prompt_text(title, text), *each) for each in zip(*values, strict=True))


def to_messages(prompt: str, response: str) -> list[dict[str, str]]:
    """One side of a preference pair as a conversation."""
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]


def text_of(messages: list[dict[str, str]]) -> str:
    """A prompt's or response's messages as one text: their contents, a line break between them."""
    return "\n".join(message["content"] for message in messages)
