"""The prompts of a batch of pairs in one pass, each token of them once: most of the tokens where responses are short.

A row of the packed batch is a tree: what prompts have in common (a system turn, an instruction, the same prompt of both sides
or of several pairs) stands once, then come the rest of each prompt and the responses behind it. The last token of the prompt
stands before each response anew, at its own position, since the first token of each is predicted from it. A token attends to
what stands before it in its own sequence, so hidden states are those of whole rows, up to the order of summation.
"""

import functools
import math
from types import SimpleNamespace

import torch
from torch import Tensor

from diversity_tuning.errors import UserError
from diversity_tuning.policy import steady_length

_FIELDS = ("log_probs", "entropy", "mean_logits", "is_top1")
_ROOM = 512  # tokens of a row, or of the longest pair; attention over more costs as much as is shared


class SharedPrompts:
    """Stands for a causal model with TRL's fused head, whose rows are pairs: the chosen ones, then as many rejected ones."""

    def __init__(self, model):
        self.model = model

    def __call__(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor, **settings) -> SimpleNamespace:
        """``log_probs`` and what else the head gives, ``(2 * pairs, length − 1)`` each, as the model itself; 0 without label.

        ``labels`` are −100 in prompts; ``settings`` go to the model. What else a batch has by row is a :class:`UserError`.
        """
        if others := sorted(name for name, value in settings.items() if isinstance(value, Tensor)):
            raise UserError(f"--share_prompts true: prompts hold more than text ({', '.join(others)}); leave the flag out")
        last = (attention_mask.sum(1, keepdim=True) - 1).clamp(min=0)  # predicts nothing
        packed, places = pack(input_ids, attention_mask.scatter(1, last, 0), labels, _ROOM)
        found = self.model(**packed, **settings)
        shape = input_ids.size(0), input_ids.size(1) - 1

        def apart(values: Tensor | None) -> Tensor | None:
            if values is None:
                return None
            row, position, source, place = places
            return values.new_zeros(shape).index_put((row, position), values[source, place])

        return SimpleNamespace(**{name: apart(getattr(found, name, None)) for name in _FIELDS}, aux_loss=None)


def pack(ids: Tensor, attention: Tensor, labels: Tensor, room: int = 0) -> tuple[dict[str, Tensor], Tensor]:
    """(what the model reads, where the label of each packed position was).

    The first has ``input_ids``, ``position_ids`` and ``shift_labels`` ``(rows, packed)``, and an ``attention_mask``
    ``(rows, 1, packed, packed)``, True where a query may look. Pairs share a row up to ``room`` tokens, or the longest pair's.
    The second is int ``(4, labels)``: row and position before, of what predicts the label, then row and position in the pack.
    """
    device = ids.device
    ids, attention, labels = ids.cpu(), attention.cpu(), labels.cpu()
    lengths = attention.sum(1)
    first = torch.where((labels != -100).any(1), (labels != -100).int().argmax(1), lengths)
    begins = torch.minimum((first - 1).clamp(min=0), lengths).tolist()  # of the responses, with one token of the prompt
    rows = _rows(ids, begins, lengths.tolist(), room)
    shape, most = (len(rows), max(map(_size, rows))), max(map(len, rows)) + 1
    packed_ids, positions, segment = (ids.new_full(shape, fill) for fill in (0, 0, most - 1))
    shifted = ids.new_full(shape, -100)
    reach = torch.diag(torch.full((most,), ids.size(1) + 1, dtype=torch.int32)).repeat(len(rows), 1, 1)
    places = []
    for row, parts in enumerate(rows):
        at = 0
        for number, (side, start, end, before) in enumerate(parts):
            here = slice(at, at + end - start)
            packed_ids[row, here] = ids[side, start:end]
            positions[row, here] = torch.arange(start, end)
            segment[row, here] = number
            for other, until in before.items():
                reach[row, number, other] = until
            if start == begins[side]:
                wanted = labels[side, start + 1 : end + 1]
                shifted[row, at : at + len(wanted)] = wanted
                place = (wanted != -100).nonzero().flatten()
                rest = (torch.full_like(place, side), start + place, torch.full_like(place, row), at + place)
                places.append(torch.stack(rest))
            at = here.stop
    packed = {"input_ids": packed_ids, "position_ids": positions, "shift_labels": shifted}
    packed = {name: value.to(device) for name, value in packed.items()}
    packed["attention_mask"] = _allowed(packed["position_ids"], segment.to(device), reach.to(device))[:, None]
    return packed, torch.cat(places, dim=1).to(device)


def _allowed(positions: Tensor, segment: Tensor, reach: Tensor) -> Tensor:
    """Which keys a query may look at, bool ``(rows, packed, packed)``: up to its position, and its part's reach into theirs."""
    allowed = torch.empty(*positions.shape, positions.size(1), dtype=torch.bool, device=positions.device)
    for at, part, until, into in zip(positions, segment, reach, allowed, strict=True):
        torch.logical_and(at < until[part][:, part], at <= at[:, None], out=into)
    return allowed


def _rows(ids: Tensor, begins: list[int], lengths: list[int], room: int) -> list[list[tuple]]:
    """The parts of each row: side, its first position, the one behind its last, and how far it sees into other parts.

    The longest pairs first; each goes where it adds the fewest tokens. Of some widths the one with the least area is taken.
    """

    @functools.cache
    def common(one: int, other: int, end: int) -> int:
        return (ids[one, :end] == ids[other, :end]).int().cumprod(0).sum().item()

    def with_pair(parts: list[tuple], pair: int) -> list[tuple]:
        parts = list(parts)
        for side in (pair, pair + len(ids) // 2):
            begin, shared, sees = begins[side], 0, {}
            for number, (other, start, end, before) in enumerate(parts):
                if start < end == begins[other] and (alike := common(side, other, min(begin, end))) > shared:
                    shared, sees = alike, {**before, number: end}
            sees = {number: min(until, shared) for number, until in sees.items()}
            if shared < begin:
                parts.append((side, shared, begin, sees))
                sees = {**sees, len(parts) - 1: begin}
            parts.append((side, begin, lengths[side], sees))
        return parts

    def filled(width: int) -> list[list[tuple]]:
        rows: list[list[tuple]] = []
        for pair in sorted(range(len(alone)), key=lambda pair: -_size(alone[pair])):
            fuller = [(at, with_pair(row, pair)) for at, row in enumerate(rows)]
            fitting = [(_size(new) - _size(rows[at]), at, new) for at, new in fuller if _size(new) <= width]
            _, at, new = min(fitting, default=(0, len(rows), alone[pair]))
            rows[at : at + 1] = [new]
        return rows

    alone = [with_pair([], pair) for pair in range(len(ids) // 2)]
    longest = max(map(_size, alone))
    widths = [longest, *(room >> halved for halved in (2, 1, 0) if room >> halved > longest)]
    return min(map(filled, widths), key=lambda rows: len(rows) * max(map(_size, rows)))


def _size(parts: list[tuple]) -> int:
    return sum(end - start for _, start, end, _ in parts)


def check_sharing(model, aux_loss: bool, max_length: int | None = None) -> None:
    """Raise a :class:`UserError` for a model whose attention cannot be told who may look where, or whose rows are not alone.

    Rows depend on each other by a router's loss, by dropout, and where the longest row, of up to ``max_length`` tokens, decides
    the rotary frequencies.
    """
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    steady = steady_length(config)
    obstacles = {
        f"attention is computed by {config._attn_implementation}, not by sdpa": config._attn_implementation != "sdpa",
        "some layers do not attend to the whole text": kinds != {"full_attention"} or getattr(config, "sliding_window", None),
        "its attention reads distances from the mask (ALiBi), not from positions": getattr(config, "alibi", False),
        f"beyond {steady} tokens (max_length) its positions depend on the longest text of a batch": (
            (max_length or math.inf) > steady
        ),
        "its dropout is on, and both sides would get the same mask (disable_dropout, attention_dropout)": _drops_out(model),
        "its experts have a loss of their own": aux_loss,
        "its adapter puts tokens before the prompt": any(
            one.is_prompt_learning for one in (getattr(model, "peft_config", None) or {}).values()
        ),
    }
    if found := [reason for reason, applies in obstacles.items() if applies]:
        raise UserError(f"--share_prompts true: not with this model ({'; '.join(found)}); leave the flag out")


def _drops_out(model) -> bool:
    """Whether a layer is dropout, or keeps a rate of it that is above 0."""
    kept = ((name, rate) for layer in model.modules() for name, rate in vars(layer).items() if isinstance(rate, float))
    layers = (layer.p for layer in model.modules() if isinstance(layer, torch.nn.modules.dropout._DropoutNd))
    return any(rate > 0 for name, rate in kept if "drop" in name) or any(rate > 0 for rate in layers)


@torch.no_grad()
def compare_sharing(model, sharing, inputs: dict[str, Tensor], exact: bool) -> None:
    """Raise a :class:`UserError` where the first two pairs' log-probabilities are not the model's own.

    ``inputs``: a batch's ``input_ids``, ``attention_mask`` and ``completion_mask``. ``exact``: computed in float32.
    """
    pairs = len(inputs["input_ids"]) // 2
    rows = [side + pair for side in (0, pairs) for pair in range(min(2, pairs))]
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
