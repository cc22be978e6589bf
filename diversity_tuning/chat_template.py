"""Chat templates of base models: what a base model borrows from its Instruct sibling, and the token that ends a response.

A base model was never shown its sibling's end of turn. In Llama 3.1's base, users of fine-tuning libraries report, the rows of
``<|eot_id|>``, of the header tokens and of the reserved ones are untrained and alike. LoRA leaves the LM head alone, so a token
that shares its row with n others never gets more than 1/(n + 1) of the probability, and the policy does not stop. So the
response of a base model ends with the token that its texts ended with. The tokens that open a turn, and the one that ends the
user's, stay the sibling's: they are only read, and the layers learn what a marker means whatever its row holds.
"""

import json
import re
from contextlib import suppress
from dataclasses import dataclass

from jinja2 import TemplateError
from transformers import AddedToken, PreTrainedModel, PreTrainedTokenizerBase

from diversity_tuning.errors import UserError


@dataclass(frozen=True)
class Family:
    """What a base model lacks and its Instruct sibling has."""

    template_from: str  # the sibling whose tokenizer (same vocabulary) brings the chat template
    pad_token: str  # never a token that a text may hold
    end_of_turn: str  # what the sibling's template writes after a turn; trained in the sibling alone
    end_of_text: str  # what the base model was trained to end a text with


FAMILIES = {
    "llama": Family("meta-llama/Llama-3.1-8B-Instruct", "<|finetune_right_pad_id|>", "<|eot_id|>", "<|end_of_text|>"),
    "mistral": Family("mistralai/Mistral-7B-Instruct-v0.3", "<unk>", "</s>", "</s>"),
    "gemma2": Family("google/gemma-2-2b-it", "<pad>", "<end_of_turn>", "<eos>"),
    "qwen2": Family("Qwen/Qwen2.5-7B-Instruct", "<|fim_pad|>", "<|im_end|>", "<|endoftext|>"),
}


def complete_tokenizer(
    tokenizer: PreTrainedTokenizerBase, family: Family | None, stops: tuple[int, ...] = (), rows: int = 0
) -> PreTrainedTokenizerBase:
    """Set EOS to the token that ends a response, and a pad token that no text holds (:func:`set_pad_token`).

    ``stops``: the token ids that the model's own files say it ends with. A family's end of turn that is not among them was not
    trained, and gives way to the family's end of text (:func:`end_responses_with`).
    """
    vocabulary = tokenizer.get_vocab()
    ending = end_of_response(tokenizer)
    if family and ending == family.end_of_turn and vocabulary.get(ending) not in stops:
        if family.end_of_text not in vocabulary:
            raise UserError(
                f"{tokenizer.name_or_path}: its template ends a response with {ending}, which the base model was not trained "
                f"on, and {family.end_of_text} is not in the vocabulary; give --chat_template_from another tokenizer"
            )
        ending = family.end_of_text
        end_responses_with(tokenizer, family.end_of_turn, ending)
    if ending in vocabulary:
        tokenizer.eos_token = ending
    if family and family.pad_token in vocabulary:
        tokenizer.pad_token = family.pad_token
    return set_pad_token(tokenizer, stops, rows)


def set_pad_token(tokenizer: PreTrainedTokenizerBase, stops: tuple[int, ...] = (), rows: int = 0) -> PreTrainedTokenizerBase:
    """Give the tokenizer a pad token that no text holds, if it has none such: not EOS, nor what it or its template writes.

    In this order: a special token named so, a reserved one, the unknown token where every text has known tokens, any other
    special token (``stops``, the ids that end a text, last), a new token where the model has more ``rows`` than there are
    tokens, and in byte-level vocabularies the token of a byte that is never in UTF-8. :class:`UserError` where there is none.
    """
    written = _written(tokenizer)
    if tokenizer.pad_token is not None and tokenizer.pad_token not in written:
        return tokenizer
    vocabulary = tokenizer.get_vocab()
    special = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special} | set(
        tokenizer.all_special_tokens
    )
    free = [token for token in special if token in vocabulary and token not in written and not _MEDIA.search(token)]
    if tokenizer.unk_token_id in tokenizer.encode("\U0010fffe\ue000\u2603", add_special_tokens=False):
        free = [token for token in free if token != tokenizer.unk_token]
    if free:
        tokenizer.pad_token = min(free, key=lambda token: (_rank(token, tokenizer, stops), vocabulary[token]))
    elif max(vocabulary.values()) + 1 < rows:
        tokenizer.add_special_tokens({"pad_token": "<|pad|>"})
    elif _NEVER in vocabulary and len(tokenizer.tokenize(_NEVER)) > 1:
        # As a word of its own only: the letter ÿ within one stays what it is.
        tokenizer.add_special_tokens({"pad_token": AddedToken(_NEVER, single_word=True, special=True, normalized=False)})
    else:
        raise UserError(
            f"{tokenizer.name_or_path}: no pad token other than EOS that no text holds, so the policy could not learn to stop; "
            "give --chat_template_from a folder with this tokenizer and a pad_token"
        )
    return tokenizer


_NEVER = "\u00ff"  # how byte-level vocabularies write the byte 255, which no text in UTF-8 has
_MEDIA = re.compile("image|video|audio|vision", re.IGNORECASE)  # multimodal models count these
_RESERVED = re.compile("reserved|unused|extra|dummy|placeholder|control|special_", re.IGNORECASE)


def _written(tokenizer: PreTrainedTokenizerBase) -> set[str]:
    """Tokens that texts hold: EOS, those that the tokenizer adds to a text (BOS), and those that the template writes."""
    found = {tokenizer.eos_token, *tokenizer.convert_ids_to_tokens(tokenizer.encode("text"))}
    turns = [{"role": role, "content": "text"} for role in ("system", "user", "assistant", "user")]
    for conversation in (turns, turns[1:]):
        if tokenizer.chat_template is None:
            break
        with suppress(TemplateError):  # no system turn
            text = tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)
            found |= set(tokenizer.tokenize(text))
    return found


def _rank(token: str, tokenizer: PreTrainedTokenizerBase, stops: tuple[int, ...]) -> int:
    """How well a special token serves as pad: 0 is best."""
    if "pad" in token.lower():
        return 0
    if _RESERVED.search(token):
        return 1
    if token == tokenizer.unk_token:
        return 2
    return 4 if tokenizer.convert_tokens_to_ids(token) in stops else 3


def end_of_response(tokenizer: PreTrainedTokenizerBase) -> str:
    """What the chat template writes after a response, without white space: a token, or an empty text."""
    turns = [{"role": "user", "content": "question"}, {"role": "assistant", "content": "answer"}]
    return tokenizer.apply_chat_template(turns, tokenize=False).rpartition("answer")[2].strip()


def end_responses_with(tokenizer: PreTrainedTokenizerBase, old: str, new: str) -> None:
    """Change the chat template such that a response ends with ``new``; the turns of others end with ``old`` as before.

    Every string of the template that is ``old``, with or without a line break after it, becomes an expression that asks whose
    turn it is.
    """
    whose = "(message is defined and message['role'] == 'assistant')"
    tokenizer.chat_template = re.sub(
        rf"""(['"]){re.escape(old)}(\\n|\n)?\1""",
        lambda found: f"(('{new}' if {whose} else '{old}') ~ '{found[2] or ''}')",
        tokenizer.chat_template,
    )
    if end_of_response(tokenizer) != new:
        raise UserError(
            f"{tokenizer.name_or_path}: its chat template ends a response with {old}, which the base model was not trained "
            f"on, in a way that cannot be changed to {new}; give --chat_template_from another tokenizer"
        )


def put_words(tokenizer: PreTrainedTokenizerBase, system_prompt: str | None, instruction: str | None) -> None:
    """Write a system line and an instruction around the prompt into the chat template, for training and sampling alike.

    ``system_prompt`` stands before conversations that have no system line of their own; an empty one keeps a template from
    writing its own. ``instruction`` holds ``{prompt}`` once, where the first message of the user is put, without white space
    around it. The template is saved with the model, so whatever samples from it reads what it was trained on.
    """
    steps = []
    if system_prompt is not None:
        line = f"{{%- set messages = [{{'role': 'system', 'content': {_literal(system_prompt)}}}] + messages %}}"
        steps.append(f"{{%- if not messages or messages[0]['role'] != 'system' %}}{line}{{%- endif %}}")
    if instruction is not None:
        before, found, after = instruction.partition("{prompt}")
        if not found or "{prompt}" in after:
            raise UserError(f"--instruction {instruction!r}: must hold {{prompt}} once, where the prompt is to stand")
        asked = f"{_literal(before)} ~ (message['content'] | trim) ~ {_literal(after)}"
        steps.append(
            "{%- set put = namespace(messages=[], waits=true) %}{%- for message in messages %}"
            "{%- if put.waits and message['role'] == 'user' %}{%- set put.waits = false %}"
            f"{{%- set put.messages = put.messages + [{{'role': 'user', 'content': {asked}}}] %}}"
            "{%- else %}{%- set put.messages = put.messages + [message] %}{%- endif %}{%- endfor %}"
            "{%- set messages = put.messages %}"
        )
    tokenizer.chat_template = "".join(steps) + tokenizer.chat_template
    try:
        end_of_response(tokenizer)
    except TemplateError as error:
        raise UserError(f"{tokenizer.name_or_path}: its chat template takes no --system_prompt ({error})") from None


def _literal(text: str) -> str:
    """A text as a string of a template."""
    return json.dumps(text, ensure_ascii=False)


def check_can_stop(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, base_model: str) -> None:
    """Refuse a token that ends a response where its row in the LM head was never trained, and will not be.

    Such a row is zero, or equal to that of another token, with which it shares its probability for ever. For models whose head
    stays as it is (LoRA). A head that is quantized, or that this process holds a part of only, is not looked at.
    """
    weight = model.get_output_embeddings().weight
    if weight.is_meta or not weight.is_floating_point() or weight.dim() != 2 or len(weight) <= tokenizer.eos_token_id:
        return
    row = weight[tokenizer.eos_token_id]
    alike = (weight[:, 0] == row[0]).nonzero().flatten()
    twins = (weight[alike] == row).all(dim=1).sum().item() - 1
    if twins == 0 and row.abs().max() > 1e-16:
        return
    found = f"is equal to that of {twins} other tokens" if twins else "is zero"
    raise UserError(
        f"{base_model}: a response ends with {tokenizer.eos_token}, whose row in the LM head {found}: it was never trained, "
        "and LoRA does not train it, so the policy would not stop; give --chat_template_from a tokenizer that ends with another"
    )


def own_stops(model_config, generation_config) -> tuple[int, ...]:
    """The token ids that a model's files say it ends with; ``generation_config`` may be None."""
    found = getattr(generation_config, "eos_token_id", None)
    found = getattr(model_config, "eos_token_id", None) if found is None else found
    return tuple(found) if isinstance(found, list | tuple) else () if found is None else (found,)
