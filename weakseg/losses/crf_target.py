"""What the constrain term is compared with: the dense CRF's log Q, floored, and the gradients that go through it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from weakseg.losses.precision import in_full_precision

MIN_PROB = 1e-4  # "min_prob" of SEC's released layers


@in_full_precision
def floor_log_probs(log_probs: Tensor, min_prob: float = MIN_PROB) -> Tensor:
    """log of exp(log_probs) floored at `min_prob` and renormalized over dim 1; (B, C, H, W) normalized.

    Renormalizing takes floored values down to at least min_prob / (1 + C min_prob). A location with nothing
    below that is left as it is: so flooring twice, e.g. what the authors' CRF layer gives, changes nothing.
    """
    probs = log_probs.exp()
    floored = probs.clamp(min=min_prob)
    floored = (floored / floored.sum(1, keepdim=True)).log()
    is_floored = probs.amin(1, keepdim=True) >= min_prob / (1 + probs.shape[1] * min_prob)
    return torch.where(is_floored, log_probs, floored)


@in_full_precision
def with_2016_gradient(crf_log_probs: Tensor, scores: Tensor) -> Tensor:
    """The floored log Q, whose gradient reaches `scores` by the rule of SEC's code of 2016.

    That code's CRF layer returned log Q and handed (1 - Q) * dL/dlog Q back to the scores it had been given:
    the derivative of a softmax's own logarithm, cross terms and message passing left out. No gradient reaches
    `crf_log_probs`.

    Args:
        crf_log_probs: (B, C, H, W), log of the CRF's Q, from any backend.
        scores: (B, C, H, W), what the CRF was run on.

    Returns:
        (B, C, H, W), for `constrain_loss`.

    Example:
        >>> scores = torch.zeros(1, 2, 1, 1, requires_grad=True)
        >>> log_q = torch.tensor([0.9, 0.1]).view(1, 2, 1, 1).log()
        >>> with_2016_gradient(log_q, scores).sum().backward()
        >>> [round(float(g), 4) for g in scores.grad.flatten()]  # 1 - Q
        [0.1, 0.9]
    """
    log_q: Tensor = _Gradient2016.apply(scores, floor_log_probs(crf_log_probs.detach()))
    return log_q


class _Gradient2016(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, log_q: Tensor) -> Tensor:
        ctx.save_for_backward(log_q)
        return log_q.clone()

    @staticmethod
    def backward(ctx: Any, grad_log_q: Tensor) -> tuple[Tensor, None]:
        (log_q,) = ctx.saved_tensors
        return (1 - log_q.exp()) * grad_log_q, None
