r"""Log-probabilities of the labels under a frozen LM head, with their gradient made in the forward pass.

For a token with hidden state h and label y, and rows W_v of the head (no bias), let z_v = W_v·h. Then

    log p_y = z_y − log Σ_v exp z_v        ∇_h log p_y = g = W_y − Σ_v p_v W_v        (p = softmax z)

In the backward pass each token's log-probability meets one number, ∂loss/∂(log p_y), so with a head that is not trained all
that is needed there is g: (tokens × width), like the hidden states. It is made in the pass over tiles of the vocabulary that
makes log p_y, by the online softmax of Milakov and Gimelshein (2018, arXiv 1805.02867) as attention uses it (Dao et al. 2022,
arXiv 2205.14135): the hidden states are the queries, the rows of W the keys and the values. With a running maximum m, sum s and
sum of weighted rows u, which start at −∞, 0 and 0, a tile T of vocabulary entries makes of them

    m' = max(m, max_T z_v)      r = exp(m − m')      s' = r·s + Σ_T exp(z_v − m')      u' = r·u + Σ_T exp(z_v − m') W_v

and at the end log Σ exp z = m + log s, Σ p_v W_v = u/s, g = W_y − u/s. The entropy is log s − d/s with the sum
d' = r·(d + (m − m')·s) + Σ_T exp(z_v − m')(z_v − m'). As m + log s − h·u/s, which is equal in exact arithmetic, it would be the
difference of rounded and of unrounded logits: in bfloat16 off by 0.1 nats, more than the whole entropy of a confident token.
The mean logit over the vocabulary is h·mean(W). These are two products of the size tokens × vocabulary × width, as with full
logits, of which no more than two tiles are held at a time. TRL's fused head
(``trl.kernels.chunked_logprob``), which can train W too, makes the logits again in the backward pass: three products, and the
exponentials twice.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

OUTPUTS = ("log_probs", "entropy", "mean_logits", "is_top1")
_TOKENS, _ENTRIES = 512, 1024  # of a tile: 2 MiB in float32, which stays in a core's cache


def label_log_probs(hidden: Tensor, weight: Tensor, labels: Tensor, outputs: tuple[str, ...] = OUTPUTS) -> tuple:
    """Log-probability of each label, with gradient for ``hidden`` only.

    ``hidden`` has shape ``(tokens, width)``, ``weight`` ``(vocabulary, width)``, ``labels`` ``(tokens,)`` with values from 0 to
    vocabulary − 1. Returns ``log_probs``, ``entropy`` (nats), ``mean_logits`` and ``is_top1`` (bool: the label is the first
    of the largest logits), each of shape ``(tokens,)``, None where not in ``outputs``. Only ``log_probs``, which are always
    there, have a gradient. Products are taken in the dtype of ``hidden`` or of autocast; everything else, and the answer, is
    float32 (float64 for float64). Raises ValueError where ``weight`` needs a gradient.
    """
    differentiable = torch.is_grad_enabled()
    if differentiable and weight.requires_grad:
        raise ValueError("label_log_probs gives no gradient to the weight: detach it, or use another head")
    return _LabelLogProbs.apply(hidden, weight, labels, outputs, differentiable and hidden.requires_grad)


class _LabelLogProbs(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden, weight, labels, outputs, keep_gradient):
        ctx.set_materialize_grads(False)
        device = hidden.device.type
        product = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
        exact = torch.float64 if hidden.dtype == torch.float64 else torch.float32
        with torch.autocast(device, enabled=False):
            scan = _Scan(weight, product, exact, keep_gradient, spread="entropy" in outputs, rank="is_top1" in outputs)
            parts = [scan(h, y) for h, y in zip(hidden.split(_TOKENS), labels.split(_TOKENS), strict=True)]
            log_z, target, is_top1, entropy, expected = (
                None if x[0] is None else torch.cat(x) for x in zip(*parts, strict=True)
            )
            log_probs = target - log_z
            mean_logits = hidden.to(exact) @ weight.mean(0, dtype=exact) if "mean_logits" in outputs else None
            if keep_gradient:
                ctx.save_for_backward(expected.neg_().add_(weight[labels].to(product)))
        ctx.dtype = hidden.dtype
        ctx.mark_non_differentiable(*(x for x in (entropy, mean_logits, is_top1) if x is not None))
        return log_probs, entropy, mean_logits, is_top1

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream, *_):
        if upstream is None:
            return None, None, None, None, None
        (gradient,) = ctx.saved_tensors
        return (upstream.unsqueeze(-1) * gradient).to(ctx.dtype), None, None, None, None


@dataclass
class _Scan:
    """One pass over the vocabulary for up to ``_TOKENS`` tokens; the equations of this module."""

    weight: Tensor
    product: torch.dtype  # of the matrix products' factors
    exact: torch.dtype  # of everything else
    weigh: bool  # also Σ p_v W_v
    spread: bool  # also the entropy
    rank: bool  # also whether the label is the first of the largest

    def __post_init__(self):
        def tile(dtype):
            return torch.empty(_TOKENS * min(_ENTRIES, len(self.weight)), dtype=dtype, device=self.weight.device)

        self.logits = tile(self.exact)
        self.raw = self.logits if self.product == self.exact else tile(self.product)
        self.powers = tile(self.exact) if self.spread else self.logits

    def __call__(self, hidden: Tensor, labels: Tensor) -> tuple[Tensor | None, ...]:
        """log Σ exp z, z_y, whether y is the top one, the entropy, Σ p_v W_v."""
        hidden = hidden.to(self.product)
        like = dict(dtype=self.exact, device=hidden.device)
        largest, total = torch.full((len(hidden),), -torch.inf, **like), torch.zeros(len(hidden), **like)
        weighted = torch.zeros(hidden.shape, **like) if self.weigh else None
        target, before, distance = (torch.zeros_like(total) for _ in range(3))
        for start, rows in self._rows_by_tile(labels):
            entries = self.weight[start : start + _ENTRIES].to(self.product)
            logits = self._logits(hidden, entries)
            columns = labels[rows] - start
            target[rows] = logits[rows, columns]
            if self.rank:
                before[rows] = torch.maximum(largest[rows], _largest_before(logits[rows], columns))
            grown = torch.maximum(largest, logits.amax(-1))
            sunk = (largest - grown).clamp_(min=torch.finfo(self.exact).min)  # of the first tile −∞, which times 0 is NaN
            rescale = torch.exp(sunk)
            largest = grown
            powers = torch.exp(logits.sub_(largest.unsqueeze(-1)), out=self.powers[: logits.numel()].view(logits.shape))
            if self.spread:
                distance.addcmul_(sunk, total).mul_(rescale).add_(logits.mul_(powers).sum(-1))
            total.mul_(rescale).add_(powers.sum(-1))
            if self.weigh:
                _add_product(weighted.mul_(rescale.unsqueeze(-1)), powers, entries)
        is_top1 = (target >= largest) & (target > before) if self.rank else None
        entropy = total.log() - distance / total if self.spread else None
        return largest + total.log(), target, is_top1, entropy, weighted.div_(total.unsqueeze(-1)) if self.weigh else None

    def _rows_by_tile(self, labels):
        """The first entry of each tile, and which tokens have their label in it."""
        ordered, order = labels.sort()
        starts = torch.arange(0, len(self.weight) + _ENTRIES, _ENTRIES, device=labels.device)
        bounds = torch.searchsorted(ordered, starts).tolist()
        for i, start in enumerate(range(0, len(self.weight), _ENTRIES)):
            yield start, order[bounds[i] : bounds[i + 1]]

    def _logits(self, hidden, entries):
        shape = len(hidden), len(entries)
        raw, logits = (buffer[: shape[0] * shape[1]].view(shape) for buffer in (self.raw, self.logits))
        torch.mm(hidden, entries.t(), out=raw)
        return logits if raw.dtype == logits.dtype else logits.copy_(raw)


def _largest_before(logits: Tensor, columns: Tensor) -> Tensor:
    """The largest of each row's logits to the left of its column, −∞ where there is none."""
    to_the_right = torch.arange(logits.size(1), device=logits.device) >= columns.unsqueeze(-1)
    return logits.masked_fill(to_the_right, -torch.inf).amax(-1)


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """``total += left @ right``, summed in the dtype of ``total``; ``right`` may be narrower."""
    if right.dtype == total.dtype:
        total.addmm_(left, right)
    elif total.device.type == "cuda":
        torch.addmm(total, left.to(right.dtype), right, out_dtype=total.dtype, out=total)
    else:
        total.addmm_(left, right.to(total.dtype))
