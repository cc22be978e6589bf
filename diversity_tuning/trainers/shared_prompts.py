"""Both responses of a pair behind one pass over their prompt, which is most of the tokens where responses are short.

A row of the packed batch is [prompt | chosen | rejected]. The last token of the prompt stands before each response, twice at
one position, since the first token of each is predicted from it. A token attends to the prompt and to what stands before it
in its own response, so hidden states are those of two rows, up to the order of summation.
"""

from types import SimpleNamespace

import torch
from torch import Tensor

from diversity_tuning.errors import UserError

_FIELDS = ("log_probs", "entropy", "mean_logits", "is_top1")


class SharedPrompts:
    """Stands for a causal model with TRL's fused head, whose rows are pairs: the chosen ones, then as many rejected ones."""

    def __init__(self, model):
        self.model = model

    def __call__(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor, **settings) -> SimpleNamespace:
        """``log_probs`` and what else the head gives, ``(2 * pairs, length − 1)`` each, as the model itself; 0 without label.

        ``labels`` are −100 in prompts; ``settings`` go to the model.
        """
        packed, places = pack(input_ids, attention_mask, labels)
        found = self.model(**packed, **settings)
        shape = input_ids.size(0), input_ids.size(1) - 1

        def apart(values: Tensor | None) -> Tensor | None:
            if values is None:
                return None
            row, position, source, place = places
            return values.new_zeros(shape).index_put((row, position), values[source, place])

        return SimpleNamespace(**{name: apart(getattr(found, name, None)) for name in _FIELDS}, aux_loss=None)


def pack(ids: Tensor, attention: Tensor, labels: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """(what the model reads, where the label of each packed position was).

    The first has a row per pair: ``input_ids``, ``position_ids`` and ``shift_labels`` ``(pairs, packed)``, and an
    ``attention_mask`` ``(pairs, 1, packed, packed)``, True where a query may look. The second is int ``(4, labels)``: row and
    position before, of what predicts the label, then row and position in the pack.
    """
    pairs = len(ids) // 2
    lengths = attention.sum(1).tolist()
    first = torch.where((labels != -100).any(1), (labels != -100).int().argmax(1), attention.sum(1)).tolist()
    rows, places = [], []
    for pair in range(pairs):
        sides = (pair, pair + pairs)
        most = min(first[side] for side in sides)
        alike = (ids[sides[0], :most] == ids[sides[1], :most]).int().cumprod(0).sum().item()
        shared = max(alike - 1, 0)
        parts = [(0, sides[0], 0, shared), *((part, side, shared, lengths[side]) for part, side in enumerate(sides, 1))]
        rows.append(parts)
    width = max(sum(end - start for _, _, start, end in parts) for parts in rows)
    packed_ids, positions, segment = (ids.new_full((pairs, width), fill) for fill in (0, 0, -1))
    shifted = ids.new_full((pairs, width), -100)
    for pair, parts in enumerate(rows):
        at = 0
        for part, side, start, end in parts:
            here = slice(at, at + end - start)
            packed_ids[pair, here] = ids[side, start:end]
            positions[pair, here] = torch.arange(start, end, device=ids.device)
            segment[pair, here] = part
            if part and end - start > 1:
                shifted[pair, at : at + end - start - 1] = labels[side, start + 1 : end]
                for place in (labels[side, start + 1 : end] != -100).nonzero().flatten().tolist():
                    places.append((side, start + place, pair, at + place))
            at = here.stop
    query, key = segment[:, :, None], segment[:, None, :]
    order = torch.arange(width, device=ids.device)
    allowed = ((key == 0) | (key == query)) & (order[:, None] >= order[None, :])
    packed = {
        "input_ids": packed_ids,
        "position_ids": positions,
        "shift_labels": shifted,
        "attention_mask": allowed[:, None],
    }
    return packed, torch.tensor(places, device=ids.device).view(-1, 4).T


def check_sharing(model, aux_loss: bool) -> None:
    """Raise a :class:`UserError` for a model whose attention cannot be told who may look where, or that has a router's loss."""
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    obstacles = {
        f"attention is computed by {config._attn_implementation}, not by sdpa": config._attn_implementation != "sdpa",
        "some layers do not attend to the whole text": kinds != {"full_attention"} or getattr(config, "sliding_window", None),
        "its experts have a loss of their own": aux_loss,
        "its adapter puts tokens before the prompt": any(
            one.is_prompt_learning for one in (getattr(model, "peft_config", None) or {}).values()
        ),
    }
    if found := [reason for reason, applies in obstacles.items() if applies]:
        raise UserError(f"--share_prompts true: not with this model ({'; '.join(found)}); leave the flag out")


@torch.no_grad()
def compare_sharing(model, sharing, inputs: dict[str, Tensor], exact: bool) -> None:
    """Raise a :class:`UserError` where the first pair's log-probabilities are not the model's own.

    ``inputs``: a batch's ``input_ids``, ``attention_mask`` and ``completion_mask``. ``exact``: computed in float32.
    """
    rows = [0, len(inputs["input_ids"]) // 2]
    given = {name: inputs[name][rows] for name in ("input_ids", "attention_mask")}
    labels = given["input_ids"].masked_fill(inputs["completion_mask"][rows] == 0, -100)
    was_training = model.training
    model.eval()
    one, other = (
        each(**given, labels=labels, fused_lm_head=True, use_cache=False).log_probs.float() for each in (model, sharing)
    )
    model.train(was_training)
    off = (one[:, -other.size(1) :] - other).square().sum().sqrt() / (labels != -100).sum().clamp(min=1).sqrt()
    if not off <= (1e-3 if exact else 0.2):  # a logit of 16 to 32 is known to an eighth in bfloat16
        raise UserError(
            f"--share_prompts true: log-probabilities are {off:.3g} nats a token off those of whole rows; leave the flag out"
        )
