"""Sampling with a local transformers model, such that a sample does not depend on the batch it is in.

`generate` draws from one global generator, so what a row gets depends on its neighbours. Here every row has its own noise: the
Gumbel-max trick (argmax of log-probabilities plus Gumbel noise is a draw from the distribution) with noise computed from the
row's key, the step and the token by a counter-based hash. Rows equal those of another batch size, order or device up to
floating-point rounding of the logits.
"""

import functools
import itertools
from collections.abc import Iterator

import numpy as np
import torch
from jinja2 import TemplateError
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)  # fmt: skip
from transformers.generation import MinPLogitsWarper, RepetitionPenaltyLogitsProcessor

from diversity_tuning.errors import UserError
from diversity_tuning.generation.cache import block_cache
from diversity_tuning.generation.requests import ChatRequest, Failure, Sample, SamplingSettings, chat_messages, row_key
from diversity_tuning.generation.rows import generate, left_padded, sample_rows
from diversity_tuning.policy import load_policy, steady_length, stop_ids
from diversity_tuning.public import printable
from diversity_tuning.thinking import NOT_CLOSED, cut_thinking, decode_response, template_opens_thinking

# Settings of a model that sampling replaces by its own, or that say nothing about how it samples.
_REPLACED = set(
    "bos_token_id eos_token_id pad_token_id transformers_version do_sample temperature top_k top_p min_p repetition_penalty"
    " max_length max_new_tokens num_beams use_cache _from_model_config cache_implementation".split()
)

PADDINGS = (3, 7, 11, 64)  # columns
# How far rounding may move logits, in their standard deviations: in float32; in less at some width, and at any.
SINGLE, HALF, HALF_AT_MOST = 0.01, 0.1, 0.5


class LocalEngine:
    """A model of this machine as an :class:`Engine`, loaded when first asked. A prompt it cannot read is a failure."""

    def __init__(
        self, base_model: str, adapter: str | None = None, device: str | None = None, dtype: str | None = None,
        trust_remote_code: bool = False, batch_size: int = 64, template_from: str | None = None,
    ):  # fmt: skip
        self.batch_size = batch_size
        self._arguments = (base_model, adapter, device, dtype, trust_remote_code, template_from)

    @functools.cached_property
    def policy(self) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        """Model and tokenizer."""
        model, tokenizer = load_policy(*self._arguments)
        say_ignored(self._arguments[0], model.generation_config)
        if self.batch_size > 1 and not ignores_padding(model, tokenizer):
            raise UserError(
                f"{self._arguments[0]}: what a {model.config.model_type} model writes depends on the texts beside it in a"
                " batch, since it reads their padding; give --sample_batch_size 1"
            )
        return model, tokenizer

    def open(self) -> None:
        """Load the model, or a :class:`UserError`: before anything is written."""
        _ = self.policy

    def complete(
        self, requests: list[ChatRequest], settings: SamplingSettings, seed: int = 0
    ) -> Iterator[list[tuple[int, Sample | Failure]]]:
        """As :class:`Engine` says, batch by batch; batches hold prompts of similar length, longest first.

        A prompt that leaves no room for ``max_new_tokens`` in the model's context is a :class:`UserError` before anything is
        sampled. A prompt that does not fit itself is a failure, and so is a conversation that has grown too long.
        """
        if not requests:
            return
        model, tokenizer = self.policy
        conversations = {request.messages: request for request in requests}
        encoded = encode_conversations(tokenizer, list(conversations.values()), settings.system_prompt)
        tokens = dict(zip(conversations, encoded, strict=True))
        context = getattr(model.config, "max_position_embeddings", None) or float("inf")
        check_context(context, [ids for messages, ids in tokens.items() if len(messages) == 1], settings.max_new_tokens)
        prompts, room = [tokens[request.messages] for request in requests], context - settings.max_new_tokens
        too_long = [i for i, prompt in enumerate(prompts) if len(prompt) > room]
        if too_long:
            told = "the conversation has {} tokens, room is for {}"
            yield [(i, Failure(told.format(len(prompts[i]), max(room, 0)))) for i in too_long]
        first = {messages: i for i, messages in reversed(list(enumerate(request.messages for request in requests)))}
        order = sorted(  # samples of one prompt stand together, since it is read once in a batch
            set(range(len(requests))) - set(too_long), key=lambda i: (-len(prompts[i]), first[requests[i].messages], i)
        )
        stops = set(stop_ids(model.generation_config, tokenizer))
        steady = steady_length(model.config)
        alone = sum(len(prompts[i]) + settings.max_new_tokens > steady for i in order)
        if alone and self.batch_size > 1:
            told = f"{alone} responses may end beyond {steady} tokens, where the longest text of a batch decides on the others"
            print(f"{told}: they are sampled one at a time", flush=True)
        starts = [*range(alone), *range(alone, len(order), self.batch_size), len(order)]
        for start, end in itertools.pairwise(starts):  # longest first: memory fails early
            rows = order[start:end]
            keys = [row_key(seed, requests[i].key, requests[i].sample) for i in rows]
            asked = [prompts[i] for i in rows]
            processors = functools.partial(_processors_of_rows, settings, keys)
            written = sample_rows(model, tokenizer, asked, settings.max_new_tokens, processors)
            yield [(i, read_tokens(tokenizer, ids, stops, len(prompts[i]))) for i, ids in zip(rows, written, strict=True)]


def encode_conversations(
    tokenizer: PreTrainedTokenizerBase, requests: list[ChatRequest], system_prompt: str | None = None
) -> list[list[int]]:
    """Token ids of every conversation in the chat template, up to where the response begins."""
    try:
        texts = [
            tokenizer.apply_chat_template(chat_messages(request, system_prompt), tokenize=False, add_generation_prompt=True)
            for request in requests
        ]
    except TemplateError as error:
        raise UserError(f"the chat template refuses the conversation ({error}); try it without --system_prompt") from None
    return tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []


def check_context(context: float, prompts: list[list[int]], max_new_tokens: int) -> None:
    """A :class:`UserError` where the longest prompt that fits the model's ``context`` leaves no room for the response."""
    longest = max((len(prompt) for prompt in prompts if len(prompt) < context), default=0)
    room = context - longest
    if max_new_tokens > room:
        raise UserError(
            f"the longest prompt has {longest} tokens, which with {max_new_tokens} new ones is more than the {context} the"
            f" model can read; give at most --max_new_tokens {room} (with --verbalized K, {room} / K)"
        )


def say_ignored(base_model: str, settings: GenerationConfig) -> None:
    """Print which of a model's own generation settings sampling does not use: it has its own, the same for every engine."""
    ignored = {name: value for name, value in settings.to_diff_dict().items() if name not in _REPLACED and value}
    if ignored:
        listed = ", ".join(f"{name} {str(value)[:40]}" for name, value in sorted(ignored.items()))
        print(printable(f"{base_model}: its generation_config.json sets {listed}; sampling does not use that"), flush=True)


@torch.inference_mode()
def ignores_padding(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a short text gets the same next token's logits whatever stands in its padding, and with none, up to rounding.

    Rounding in bfloat16 moves the logits by up to a tenth of their spread at some widths of padding and not at all at others,
    since sums are made in another order. There one width must agree within that tenth, the others within half of the spread.
    """
    usable = [token for token in range(len(tokenizer)) if token not in tokenizer.all_special_ids][:64]
    text = (usable or [0])[-5:]

    def scores(padding: int, pad: int = tokenizer.pad_token_id) -> torch.Tensor:
        ids, mask = left_padded([text], pad, model.device, padding)
        settings = {"output_logits": True, "return_dict_in_generate": True}
        return generate(model, tokenizer, ids, mask, 1, settings, past_key_values=block_cache(model)).logits[0][0].float()

    def apart(one: torch.Tensor, other: torch.Tensor) -> float:
        """Root mean square difference, in standard deviations of the logits; 0 for equal ones."""
        finite = one.isfinite() & other.isfinite()
        off = (one - other)[finite].square().mean().sqrt()
        return float(off / one[finite].std()) if off else 0.0

    plain = scores(0)
    if plain.isnan().any():
        raise UserError(
            "the model's scores of a short text are not numbers: its weights are damaged, or overflow in its precision"
        )
    padded = {width: scores(width) for width in PADDINGS}
    by_width = [apart(plain, one) for one in padded.values()]
    by_content = max(apart(padded[width], scores(width, text[0])) for width in PADDINGS[-2:])
    if next(model.parameters()).dtype == torch.float32:
        return max(by_content, *by_width) <= SINGLE
    return max(by_content, min(by_width)) <= HALF and max(by_width) <= HALF_AT_MOST


def read_tokens(
    tokenizer: PreTrainedTokenizerBase, ids: list[int], stops: set[int], tokens_in: int | None = None
) -> Sample | Failure:
    """The response up to the first stop token, which is not counted, without reasoning; a failure where that is all.

    ``tokens_in``: how many the prompt had.
    """
    end = next((i for i, token in enumerate(ids) if token in stops), len(ids))
    text = decode_response(tokenizer, ids[:end])
    told = cut_thinking(text, template_opens_thinking(tokenizer))
    if told is None:
        return Failure(NOT_CLOSED)
    return Sample(told.strip(), end < len(ids), end, tokens_in, len(text) - len(told))


def _processors_of_rows(
    settings: SamplingSettings, keys: list[int], mask: torch.Tensor, rows: list[int]
) -> LogitsProcessorList:
    return logits_processors(settings, mask, [keys[row] for row in rows])


def logits_processors(settings: SamplingSettings, mask: torch.Tensor, keys: list[int]) -> LogitsProcessorList:
    """Penalty, then temperature, top-k, top-p, min-p and noise, the order of `generate`. ``mask``: of the prompts."""
    draw = SeededDraw(settings.temperature, settings.top_k, settings.top_p, keys, mask.shape[1], settings.min_p)
    if settings.repetition_penalty == 1.0:
        return LogitsProcessorList([draw])
    return LogitsProcessorList([RepetitionPenalty(settings.repetition_penalty, mask), draw])


class RepetitionPenalty(LogitsProcessor):
    """The repetition penalty of transformers, blind to padding: else a padded row would be punished for its pad token."""

    def __init__(self, penalty: float, mask: torch.Tensor):
        self.penalty = RepetitionPenaltyLogitsProcessor(penalty)
        self.padding = mask == 0

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        width = self.padding.shape[1]
        last = input_ids[:, width - 1 : width]  # a token of the prompt, so naming it again changes nothing
        prompt = torch.where(self.padding, last, input_ids[:, :width])
        return self.penalty(torch.cat([prompt, input_ids[:, width:]], dim=1), scores)


class SeededDraw(LogitsProcessor):
    """Draw each row's token with its own noise: what is left of the scores is 0 for that token and −inf for the others.

    Top-p is applied to the top-k scores alone instead of to the whole vocabulary: the same tokens are kept as by the warpers of
    transformers (but for scores equal to the k-th, which those keep all), without a sort of the vocabulary at every step.
    """

    def __init__(self, temperature: float, top_k: int, top_p: float, keys: list[int], start: int, min_p: float = 0.0):
        self.temperature, self.top_k, self.top_p = temperature, top_k, top_p
        self.min_p = MinPLogitsWarper(min_p) if min_p > 0 else None
        self.keys = np.array(keys, dtype=np.uint64)[:, None]
        self.start = start

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        values, tokens = self.kept(scores)
        noise = gumbel(self.keys, input_ids.shape[1] - self.start, tokens.cpu().numpy())
        best = (values + torch.from_numpy(noise).to(values.device)).argmax(dim=-1, keepdim=True)
        return torch.full_like(scores, -torch.inf).scatter_(1, tokens.gather(1, best), 0.0)

    def kept(self, scores: torch.FloatTensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores over temperature, largest first and −inf where cut, and their tokens: both ``(rows, top_k or vocabulary)``."""
        size = scores.shape[-1]
        values, tokens = (scores.float() / self.temperature).topk(min(self.top_k or size, size), dim=-1)
        if self.top_p < 1:
            probabilities = values.softmax(dim=-1)
            better = probabilities.cumsum(dim=-1) - probabilities  # the first has none better, so it always stays
            values = values.masked_fill(better >= self.top_p, -torch.inf)
        return values if self.min_p is None else self.min_p(None, values), tokens


def gumbel(keys: np.ndarray, step: int, tokens: np.ndarray) -> np.ndarray:
    """Standard Gumbel noise, float32 of the shape of ``keys`` (uint64) with ``tokens`` (ints): a pure function of all three.

    Bits are SplitMix64 (Steele et al. 2014) applied to the key, then the step, then the token.
    """
    bits = _mix(_mix(_mix(keys) + np.uint64(step)) + tokens.astype(np.uint64))
    uniform = ((bits >> np.uint64(12)).astype(np.float64) + 0.5) / 2.0**52  # strictly between 0 and 1
    return -np.log(-np.log(uniform)).astype(np.float32)


def _mix(x: np.ndarray) -> np.ndarray:
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
