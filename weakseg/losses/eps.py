"""EPS: saliency as pixel-level feedback for a classifier's heat maps (Lee, Lee, Lee & Shim, CVPR 2021)."""

import torch
from torch import Tensor
from torch.nn import functional

from weakseg.losses.precision import in_full_precision
from weakseg.losses.shapes import check_maps, check_tags

TINY = 1e-4  # the released code's


@in_full_precision
def eps_saliency_loss(
    logits: Tensor, saliency: Tensor, image_labels: Tensor, threshold: float = 0.4, foreground_weight: float = 0.5
) -> Tensor:
    """Mean squared error of the saliency that a classifier's maps amount to (EPS §3.2 to §3.4, equations 1 to 4).

    p = softmax of the logits over the classes. A tag whose map lies in the salient region for more than `threshold` of
    its area (share = Σ round(p)·round(saliency) / (Σ round(p) + 1e-4), held constant) is foreground F; any other tag
    joins the background B. The estimate is M = λ·Σ_F p + (1 - λ)·(1 - Σ_B p), λ = `foreground_weight`.

    Args:
        logits: (B, C, h, w), background first.
        saliency: (B, h, w) in [0, 1], on the logits' grid.
        image_labels: (B, C-1) bool, the photos' tags.

    Returns a scalar, never NaN. Raises ValueError for shapes that do not go together.

    Example:
        >>> logits = torch.zeros(1, 2, 2, 2)
        >>> logits[0, 1] = torch.tensor([[9.0, 9.0], [-9.0, -9.0]])  # the tag fills the upper half
        >>> saliency = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
        >>> round(float(eps_saliency_loss(logits, saliency, torch.tensor([[True]]))), 4)
        0.0
    """
    _check(logits, saliency, image_labels)
    probs = functional.softmax(logits, 1)
    tags = image_labels.bool()[:, :, None, None]
    covered = probs[:, 1:].detach().round()
    inside = (covered * saliency[:, None].round()).sum((2, 3), keepdim=True)
    foreground = tags & (inside / (covered.sum((2, 3), keepdim=True) + TINY) > threshold)
    front = torch.where(foreground, probs[:, 1:], 0).sum(1)
    back = torch.where(tags & ~foreground, probs[:, 1:], 0).sum(1) + probs[:, 0]
    estimate = foreground_weight * front + (1 - foreground_weight) * (1 - back)
    return functional.mse_loss(estimate, saliency.to(estimate.dtype))


def _check(logits: Tensor, saliency: Tensor, image_labels: Tensor) -> None:
    check_maps("logits", logits, least_classes=2)
    if saliency.shape != (len(logits), *logits.shape[2:]):
        raise ValueError(f"saliency must be (B, h, w) = {(len(logits), *logits.shape[2:])}, is {tuple(saliency.shape)}")
    check_tags(image_labels, "logits", logits)
