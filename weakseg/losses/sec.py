"""The SEC loss, term by term (Kolesnikov & Lampert, ECCV 2016, equations 1 to 5), and cross-entropy.

Every function computes in float32 whatever the autocast state (float64 stays float64) and is finite,
gradient included, for any finite logits: no cue, no class, all classes, a batch of one, any grid, any number
of classes. Shapes that do not go together raise ValueError, which names the argument and the shape wanted.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from weakseg.errors import UserError
from weakseg.losses.crf_target import MIN_PROB, floor_log_probs
from weakseg.losses.pooling import global_weighted_rank_pool
from weakseg.losses.precision import in_full_precision
from weakseg.losses.shapes import check_like, check_maps, check_tags

SEC_TERMS = ("seed", "expand", "constrain")


# Far below the floor of `floored_softmax`, so no log of floored probabilities is changed by it.
_SMALLEST_PROB = 1e-12


@in_full_precision
def floored_softmax(logits: Tensor, min_prob: float = MIN_PROB) -> Tensor:
    """p = softmax(logits) + min_prob, renormalized over the classes, as SEC's released softmax layer does.

    Args:
        logits: (B, C, H, W) scores.
        min_prob: what is added to each probability; the released layers' 1e-4.

    Returns:
        (B, C, H, W) probabilities, each at least min_prob / (1 + C·min_prob).

    Example:
        >>> probs = floored_softmax(torch.tensor([1000.0, 0.0]).view(1, 2, 1, 1))
        >>> [f"{float(p):.6f}" for p in probs.flatten()]  # never 0, so its logarithm is finite
        ['0.999900', '0.000100']
    """
    # In float64: where p is close to 1, rounding before `expand_loss` takes log(1 - p) puts its gradient 4e-5
    # off the released layers'. softmax sums to 1, so the normalizer is a constant.
    probs = (torch.softmax(logits.double(), dim=1) + min_prob) / (1 + logits.shape[1] * min_prob)
    return probs.to(logits.dtype)


@in_full_precision
def seed_loss(probs: Tensor, cues: Tensor, include_background: bool = True) -> Tensor:
    """Seeding loss (SEC, equation 2): per image -sum(cues * log p) / sum(cues), then the mean over images.

    An image without cues contributes 0 (in the released code: NaN).

    Args:
        probs: (B, C, H, W) probabilities, class 0 = background.
        cues: (B, C, H, W) bool.
        include_background: count background cues, as the released code does; False is equation 2 as printed.

    Returns:
        Scalar.

    Example:
        >>> probs = torch.tensor([0.2, 0.5, 0.8, 0.5]).view(1, 2, 1, 2)  # background, then one class, at two locations
        >>> cues = torch.tensor([False, False, True, False]).view(1, 2, 1, 2)
        >>> round(float(seed_loss(probs, cues)), 4)  # -log 0.8: the location without a cue does not count
        0.2231
    """
    check_maps("probs", probs)
    check_like("cues", cues, "probs", probs)
    first_class = 0 if include_background else 1
    weights = cues[:, first_class:].to(probs.dtype)
    log_likelihood = (weights * _safe_log(probs[:, first_class:])).sum((1, 2, 3))
    return -(log_likelihood / weights.sum((1, 2, 3)).clamp(min=1)).mean()


@in_full_precision
def expand_loss(
    probs: Tensor,
    image_labels: Tensor,
    decay_present: float = 0.996,
    decay_absent: float = 0.0,
    decay_background: float = 0.999,
) -> Tensor:
    """Expansion loss (SEC, equation 4), mean over images.

    Per image: -mean over present c of log G_c(d+) - mean over absent c of log(1 - G_c(d-)) - log G_bg(d_bg),
    where G is `pooling.global_weighted_rank_pool`. A mean over no class is 0 (in the released code: NaN).

    Args:
        probs: (B, C, H, W) probabilities, class 0 = background.
        image_labels: (B, C-1) bool, the foreground classes present.
        decay_present: d+; 0, 0.996 and 1 are GMP, GWRP and GAP of SEC's figure 6. The defaults belong to a 41x41
            grid; `pooling.decay_for_share` gives those of any other.
        decay_absent, decay_background: d- and d_bg.

    Returns a scalar. Raises ValueError for a decay outside [0, 1].

    Example:
        >>> probs = torch.tensor([0.5, 0.5, 0.25, 0.25, 0.25, 0.25]).view(1, 3, 1, 2)
        >>> present = torch.tensor([[True, False]])  # the first class is in the image, the second is not
        >>> round(float(expand_loss(probs, present)), 4)  # -log 0.25 - log(1 - 0.25) - log 0.5
        2.3671
    """
    check_maps("probs", probs)
    check_tags(image_labels, "probs", probs)
    if not all(0 <= value <= 1 for value in (decay_present, decay_absent, decay_background)):
        raise ValueError(f"decays must lie in [0, 1], got {decay_present}, {decay_absent} and {decay_background}")
    present = image_labels.bool()
    decay = torch.full(probs.shape[:2], decay_background, dtype=torch.float64, device=probs.device)
    decay[:, 1:] = decay_absent
    decay[:, 1:].masked_fill_(present, decay_present)
    pooled = global_weighted_rank_pool(probs, decay)
    foreground, background = pooled[:, 1:], pooled[:, 0]
    log_present = _mean_where(present, _safe_log(foreground))
    log_absent = _mean_where(~present, _safe_log(1 - foreground))
    return -(log_present + log_absent + _safe_log(background)).mean()


@in_full_precision
def constrain_loss(probs: Tensor, crf_log_probs: Tensor) -> Tensor:
    """Constrain-to-boundary loss (SEC, equation 5): mean over images and locations of sum_c Q log(Q / p).

    Q = exp(crf_log_probs) is floored at 1e-4 and renormalized here (`floor_log_probs`). Gradients flow
    through Q if `crf_log_probs` requires them (the paper's text): pass it detached for the released code
    since 2018, through `with_2016_gradient` for the code of 2016.

    Args:
        probs: (B, C, H, W) probabilities.
        crf_log_probs: (B, C, H, W), log of the CRF's normalized Q.

    Returns:
        Scalar, at least 0.

    Example:
        >>> probs = torch.tensor([0.5, 0.5]).view(1, 2, 1, 1)
        >>> crf = torch.tensor([0.9, 0.1]).view(1, 2, 1, 1)
        >>> round(float(constrain_loss(probs, crf.log())), 4), float(constrain_loss(probs, probs.log()))
        (0.3681, 0.0)
    """
    check_maps("probs", probs)
    check_like("crf_log_probs", crf_log_probs, "probs", probs)
    log_q = floor_log_probs(crf_log_probs)
    return (log_q.exp() * (log_q - _safe_log(probs))).sum(1).mean()


def sec_loss_terms(
    logits: Tensor,
    cues: Tensor,
    image_labels: Tensor,
    crf_log_probs: Tensor | None,
    weights: Mapping[str, float],
    *,
    decay_present: float = 0.996,
    decay_absent: float = 0.0,
    decay_background: float = 0.999,
    include_background: bool = True,
) -> dict[str, Tensor]:
    """The unweighted terms of SEC's loss (equation 1) by name; those of weight 0 are not computed.

    Args:
        logits: (B, C, H, W) scores before the softmax.
        cues, include_background: see `seed_loss`; image_labels and decays: see `expand_loss`.
        crf_log_probs: see `constrain_loss`; None if the weight of "constrain" is 0.
        weights: of "seed", "expand" and "constrain"; missing ones are 0.

    Returns scalars by name. Raises UserError for unknown or no weights, ValueError if `crf_log_probs` is missing.

    Example:
        >>> logits, cues, tag = torch.zeros(1, 2, 1, 1), torch.ones(1, 2, 1, 1).bool(), torch.tensor([[True]])
        >>> terms = sec_loss_terms(logits, cues, tag, None, {"seed": 1.0, "expand": 1.0})
        >>> {name: round(float(term), 4) for name, term in terms.items()}
        {'seed': 0.6931, 'expand': 1.3863}
    """
    used = _used_terms(weights)
    probs = floored_softmax(logits)
    terms: dict[str, Tensor] = {}
    if "seed" in used:
        terms["seed"] = seed_loss(probs, cues, include_background=include_background)
    if "expand" in used:
        terms["expand"] = expand_loss(probs, image_labels, decay_present, decay_absent, decay_background)
    if "constrain" in used:
        if crf_log_probs is None:
            raise ValueError("the constrain term has a weight, so it needs crf_log_probs")
        terms["constrain"] = constrain_loss(probs, crf_log_probs)
    return terms


def _used_terms(weights: Mapping[str, float]) -> set[str]:
    unknown = sorted(set(weights) - set(SEC_TERMS))
    if unknown:
        raise UserError(f"loss weights: {', '.join(unknown)}: no such term; there are {', '.join(SEC_TERMS)}")
    used = {name for name, weight in weights.items() if weight != 0}
    if not used:
        raise UserError(f"loss weights: all are 0; give at least one of {', '.join(SEC_TERMS)} a weight")
    return used


def _safe_log(probs: Tensor) -> Tensor:
    return probs.clamp(min=_SMALLEST_PROB).log()


def _mean_where(selected: Tensor, values: Tensor) -> Tensor:
    """(B, C) bool, (B, C) -> (B,): each row's mean over its selected values, 0 where there are none."""
    return values.where(selected, values.new_zeros(())).sum(1) / selected.sum(1).clamp(min=1)
