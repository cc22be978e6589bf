"""Sampling and scoring as the released protocol has it: one prompt at a time, and the whole CSV written after each of them.

Written from the description of the protocol, for `benchmarks.evaluation`. Models are loaded as ours are; sampling is
`generate`, a prompt's responses together (``num_return_sequences``, as a public fork has it) or one by one.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from diversity_tuning.embeddings import load_encoder
from diversity_tuning.evaluation.sampling.samples import select_prompts
from diversity_tuning.policy import load_policy
from diversity_tuning.reward_model import load_reward_model, reward_text


def loop(
    source: str, models: dict[str, str], settings: dict, count: int, output: Path, together: bool = True, device: str = "cpu"
) -> pd.DataFrame:
    """Rows of ``count`` prompts. ``models``: base_model, adapter, reward_model, semantic_model, style_model."""
    at_once = settings["num_samples"] if together else 1
    policy, tokenizer = load_policy(models["base_model"], models.get("adapter"), device)
    reward = load_reward_model(models["reward_model"], device)
    encoders = [load_encoder(models[name], device) for name in ("semantic_model", "style_model")]
    torch.manual_seed(0)
    rows: list[dict] = []
    for prompt_id, prompt in select_prompts(source, settings["split"], settings["start"], count).items():
        responses: list[str] = []
        while len(responses) < settings["num_samples"]:
            responses += _responses(policy, tokenizer, prompt, settings, at_once)
        rewards = _rewards(reward, prompt, responses)
        diversities = [_diversity(encoder.encode(responses)) for encoder in encoders]
        for i, response in enumerate(responses):
            row = {"prompt_id": prompt_id, "prompt": prompt, "response": response}
            row["reddit_reward"] = rewards[i]
            row["semantic_diversity"], row["style_diversity"] = (values[i] for values in diversities)
            rows.append(row)
        pd.DataFrame(rows).to_csv(output, index=False)
    return pd.DataFrame(rows)


def _responses(policy, tokenizer, prompt: str, settings: dict, at_once: int) -> list[str]:
    sampled = sampled_tokens(policy, tokenizer, prompt, settings, at_once)
    return [text.strip() for text in tokenizer.batch_decode(sampled, skip_special_tokens=True)]


@torch.inference_mode()
def sampled_tokens(policy, tokenizer, prompt: str, settings: dict, at_once: int) -> torch.Tensor:
    """New tokens ``(at_once, columns)`` of one call of `generate`, padded after their end."""
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    ).to(policy.device)
    names = ("temperature", "top_k", "top_p", "repetition_penalty", "max_new_tokens")
    sampled = policy.generate(**ids, do_sample=True, num_return_sequences=at_once, **{name: settings[name] for name in names})
    return sampled[:, ids["input_ids"].shape[1] :]


@torch.inference_mode()
def _rewards(reward, prompt: str, responses: list[str]) -> list[float]:
    texts = [reward_text(prompt, response) for response in responses]
    batch = reward.tokenizer(texts, truncation=True, max_length=reward.max_length, padding=True, return_tensors="pt")
    ids, mask = (batch[name].to(reward.model.device) for name in ("input_ids", "attention_mask"))
    return reward.model(input_ids=ids, attention_mask=mask).logits.squeeze(-1).tolist()


def _diversity(vectors: np.ndarray) -> list[float]:
    """Mean cosine distance of each response to the others."""
    distances = 1 - vectors @ vectors.T
    return [float(np.mean([distances[i, j] for j in range(len(vectors)) if j != i])) for i in range(len(vectors))]
