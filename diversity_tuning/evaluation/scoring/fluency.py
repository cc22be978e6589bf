"""How likely responses are under a language model: garbled text, which embeddings take for diversity, is unlikely."""

import numpy as np
import torch

from diversity_tuning.generation.local import encode_conversations
from diversity_tuning.generation.requests import user_request
from diversity_tuning.policy import load_policy

_MOST_LOGITS = 2**28  # of one batch; 1 GiB in float32


@torch.inference_mode()
def log_probs(
    prompts: list[str], responses: list[str], name: str, device: str | None = None, system_prompt: str | None = None,
    trust_remote_code: bool = False, dtype: str | None = None,
) -> np.ndarray:  # fmt: skip
    """Mean log-probability of a response's tokens under the model ``name``, after its prompt in the chat template.

    In nats, shape ``(n,)``, at most 0; NaN for a response without a token. Softmax over the whole vocabulary at temperature 1.
    What is longer than the model's context is cut. ``dtype`` None keeps the precision of the weights.
    """
    model, tokenizer = load_policy(name, device=device, dtype=dtype, trust_remote_code=trust_remote_code)
    asked = encode_conversations(tokenizer, [user_request(prompt) for prompt in prompts], system_prompt)
    answered = tokenizer(responses, add_special_tokens=False)["input_ids"] if responses else []
    context = getattr(model.config, "max_position_embeddings", None)
    texts = [(one + other)[:context] for one, other in zip(asked, answered, strict=True)]
    order = sorted(range(len(texts)), key=lambda place: -len(texts[place]))
    found = np.full(len(texts), np.nan)
    while order:
        rows = max(1, _MOST_LOGITS // (max(1, len(texts[order[0]])) * model.get_input_embeddings().num_embeddings))
        batch, order = order[:rows], order[rows:]
        found[batch] = _of_batch(model, [texts[place] for place in batch], [len(asked[place]) for place in batch])
    return found


def _of_batch(model, texts: list[list[int]], starts: list[int]) -> list[float]:
    """The means of one batch, filled up on the right, where no token before can see it."""
    length = max(map(len, texts))
    ids = torch.tensor([text + [0] * (length - len(text)) for text in texts], device=model.device)
    mask = torch.tensor([[1] * len(text) + [0] * (length - len(text)) for text in texts], device=model.device)
    if length < 2:
        return [float("nan")] * len(texts)
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    means = []
    for row, (text, start) in enumerate(zip(texts, starts, strict=True)):
        if len(text) <= start:
            means.append(float("nan"))
            continue
        of_response = logits[row, start - 1 : len(text) - 1].float().log_softmax(-1)
        means.append(of_response.gather(1, ids[row, start : len(text), None]).mean().item())
    return means
