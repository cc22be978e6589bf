"""The reward model: a sequence classifier with one output that predicts the transformed votes of a response."""

from pathlib import Path

import numpy as np
import torch
from datasets import Dataset, concatenate_datasets
from peft import PeftConfig
from tqdm import tqdm
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from diversity_tuning.chat_template import set_pad_token
from diversity_tuning.data.examples import preference_pairs, rated_responses
from diversity_tuning.data.schema import (
    CHOSEN,
    FILTERED_TRANSFORMED_SCORES,
    POST_TITLE,
    PROMPT,
    REJECTED,
    RESPONSE,
    SCORE,
    kept_responses,
    text_of,
)
from diversity_tuning.errors import UserError
from diversity_tuning.names import missing_path
from diversity_tuning.opening import from_pretrained
from diversity_tuning.policy import attach_adapter, on_device

MAX_LENGTH = 2048  # tokens of prompt and response together
_MAX_LENGTH = "reward_max_length"  # among the tokenizer's settings: what a reward model was trained to be cut at


def reward_tokenizer(tokenizer: PreTrainedTokenizerBase, max_length: int | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer with a pad token that no text holds; ``max_length`` is kept with it when it is saved."""
    set_pad_token(tokenizer)
    if max_length is not None:
        tokenizer.init_kwargs[_MAX_LENGTH] = max_length
    return tokenizer


def reward_text(prompt: str, response: str) -> str:
    """What the reward model reads."""
    return f"<prompt>{prompt}</prompt><response>{response}</response>"


class RewardModel:
    """Scores texts; higher is better. Rewards live on the scale of the transformed votes, mostly in [−1, 1]."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_length: int = MAX_LENGTH):
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.max_length = max_length

    @torch.inference_mode()
    def score(self, prompts: list[str], responses: list[str], batch_size: int = 32) -> np.ndarray:
        """Rewards of ``responses[i]`` to ``prompts[i]``: float64, shape ``(n,)``. Batches are sorted by length."""
        texts = [reward_text(*pair) for pair in zip(prompts, responses, strict=True)]
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        rewards = np.empty(len(texts))
        for start in tqdm(range(0, len(order), batch_size), desc="rewards", unit="batch", leave=False, disable=None):
            rows = order[start : start + batch_size]
            batch = self.tokenizer(
                [texts[i] for i in rows], truncation=True, max_length=self.max_length, padding=True, return_tensors="pt"
            )
            inputs = {key: batch[key].to(self.model.device) for key in ("input_ids", "attention_mask")}
            rewards[rows] = self.model(**inputs).logits.squeeze(-1).double().cpu().numpy()
        return rewards


def load_reward_model(
    path: str, device: str | None = None, dtype: str | None = None, trust_remote_code: bool = False
) -> RewardModel:
    """Load what :mod:`scripts_reward_modeling.reward_model_train` saved: a full model, or a LoRA adapter with its head.

    A head or adapter with missing or unexpected weights is a :class:`UserError`, never a warning.
    """
    if missing := missing_path(path):
        raise UserError(f"{path}: {missing} (the reward model)")
    if Path(path).is_dir() and (Path(path) / "adapter_config.json").is_file():
        base = _adapter_base(path)
        tokenizer = reward_tokenizer(from_pretrained(AutoTokenizer, path))
        model = new_reward_model(base, tokenizer, dtype, trust_remote_code)
        model = attach_adapter(model, path, base)
    else:
        tokenizer = reward_tokenizer(from_pretrained(AutoTokenizer, path, trust_remote_code=trust_remote_code))
        model = from_pretrained(
            AutoModelForSequenceClassification, path, exactly="a trained reward model", dtype=dtype or "auto",
            trust_remote_code=trust_remote_code,
        )  # fmt: skip
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    _pool_before(model, tokenizer)
    return RewardModel(on_device(model, device), tokenizer, tokenizer.init_kwargs.get(_MAX_LENGTH, MAX_LENGTH))


def _pool_before(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Tell the model which token pads: it reads the reward at the last other one. Multimodal models ask the text's settings."""
    for config in (model.config, model.config.get_text_config()):
        config.pad_token_id = tokenizer.pad_token_id


def _adapter_base(path: str) -> str:
    """The base model of a reward adapter; a :class:`UserError` for another kind of adapter."""
    try:
        config = PeftConfig.from_pretrained(path)
    except Exception as error:
        raise UserError(f"{path}: its adapter_config.json cannot be read ({type(error).__name__})") from None
    if not config.modules_to_save:
        raise UserError(f"{path}: an adapter without a reward head (its modules_to_save is empty)")
    return config.base_model_name_or_path


def new_reward_model(
    base_model: str, tokenizer: PreTrainedTokenizerBase, dtype: str | None = None, trust_remote_code: bool = False, **options
) -> PreTrainedModel:
    """A base model with a fresh head of one output; further ``options`` as in ``from_pretrained``."""
    model = from_pretrained(
        AutoModelForSequenceClassification, base_model, new_head=True, num_labels=1, dtype=dtype or "auto",
        trust_remote_code=trust_remote_code, **options,
    )  # fmt: skip
    _pool_before(model, tokenizer)
    return model


def reward_dataset(
    rows: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    num_proc: int | None = None,
    where: str = "the source",
) -> Dataset:
    """One example per response: ``input_ids`` (cut at ``max_length``) and ``labels``, its transformed votes or score.

    ``rows`` are those of stage 1, or have ``prompt``, ``response`` and ``score``. Raises :class:`UserError` for others, naming
    ``where`` they are from.
    """
    rows = rated_responses(rows, where)

    posts = POST_TITLE in rows.column_names

    def convert(batch):
        if posts:
            kept = kept_responses(batch, FILTERED_TRANSFORMED_SCORES)
            read = [(reward_text(prompt, response), score) for _, prompt, response, score in kept]
        else:
            pairs = zip(batch[PROMPT], batch[RESPONSE], batch[SCORE], strict=True)
            read = [(reward_text(prompt, response), float(score)) for prompt, response, score in pairs]
        texts = [text for text, _ in read]
        ids = tokenizer(texts, truncation=True, max_length=max_length)["input_ids"] if texts else []
        return {"input_ids": ids, "labels": [label for _, label in read]}

    return rows.map(convert, batched=True, batch_size=100, remove_columns=rows.column_names, num_proc=num_proc)


def reward_pair_dataset(rows: Dataset, where: str = "the source") -> Dataset:
    """What the reward model reads of each pair: columns ``prompt``, ``response`` (the chosen one), ``chosen``, ``rejected``.

    ``rows`` are pairs as :func:`diversity_tuning.data.examples.preference_pairs` takes them. ``prompt`` and ``response`` are
    plain texts, ``chosen`` and ``rejected`` those of :func:`reward_text`.
    """

    def read(batch):
        prompts, chosen, rejected = ([text_of(value) for value in batch[name]] for name in (PROMPT, CHOSEN, REJECTED))
        sides = {name: list(map(reward_text, prompts, texts)) for name, texts in ((CHOSEN, chosen), (REJECTED, rejected))}
        return {PROMPT: prompts, RESPONSE: chosen, **sides}

    pairs = preference_pairs(rows, where, keep=[])
    return pairs.map(read, batched=True, batch_size=200, remove_columns=pairs.column_names)


def with_mismatched_prompts(pairs: Dataset, share: float, seed: int, where: str = "the source") -> Dataset:
    """The pairs, and after them ``share`` × as many whose rejected response is the chosen one of another prompt.

    ``pairs`` are those of :func:`reward_pair_dataset`. Which pairs are used and what they are put with is drawn by ``seed``,
    without replacement. Raises :class:`UserError` when there is no other prompt.
    """
    rng = np.random.default_rng(seed)
    prompts, responses = np.array(pairs[PROMPT][:], dtype=object), np.array(pairs[RESPONSE][:], dtype=object)
    if len(set(prompts)) < 2:
        raise UserError(f"{where}: every pair has the same prompt, so none can be put with another (--mismatched_prompts)")
    own = rng.permutation(len(pairs))[: round(share * len(pairs))]
    other = other_prompts(prompts, responses, rng)[own]
    own, other = own[other != own], other[other != own]
    added = {
        PROMPT: prompts[own].tolist(),
        RESPONSE: responses[own].tolist(),
        CHOSEN: list(map(reward_text, prompts[own], responses[own])),
        REJECTED: list(map(reward_text, prompts[own], responses[other])),
    }
    return concatenate_datasets([pairs, Dataset.from_dict(added, features=pairs.features)])


def other_prompts(prompts: np.ndarray, responses: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """For each row the number of a random row with another prompt and another response: int ``(n,)``.

    ``prompts`` and ``responses`` are object arrays ``(n,)`` of texts. A row for which no other fits gets itself.
    """
    everyone = np.arange(len(prompts))
    other = rng.permutation(len(prompts))
    for _ in range(100):
        wrong = everyone[(prompts == prompts[other]) | (responses == responses[other])]
        if not len(wrong):
            break
        other[wrong] = rng.integers(0, len(prompts), len(wrong))
    for row in wrong:
        fitting = everyone[(prompts != prompts[row]) & (responses != responses[row])]
        other[row] = rng.choice(fitting) if len(fitting) else row
    return other
