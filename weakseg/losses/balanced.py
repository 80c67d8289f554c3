"""Cross-entropy in which foreground and background count alike, with label smoothing.

Source: the released code of AMN (Lee, Kim & Shim, CVPR 2022, §3.1, which smooths with ε = 0.4), RIB and CLIP-ES.
"""

import torch
from torch import Tensor
from torch.nn import functional

from weakseg.losses.precision import in_full_precision
from weakseg.losses.shapes import check_maps, check_target


@in_full_precision
def balanced_cross_entropy(
    logits: Tensor, target: Tensor, ignore_index: int = 255, label_smoothing: float = 0.0
) -> Tensor:
    """½·(mean over the batch's foreground locations + mean over its background locations) of the cross-entropy.

    Its targets are 1 - ε for a location's class and ε / (C-1) for each other. A kind that is absent contributes 0.

    Args:
        logits: (B, C, H, W), background first.
        target: (B, H, W) class ids of any integer type; locations of `ignore_index` do not count.
        label_smoothing: ε, in [0, 1).

    Returns a scalar, never NaN. Raises ValueError for other shapes or values.

    Example:
        >>> logits = torch.zeros(1, 3, 1, 4)  # every class as likely: log 3 wherever one looks
        >>> target = torch.tensor([[[0, 2, 2, 255]]])
        >>> round(float(balanced_cross_entropy(logits, target)), 4)
        1.0986
    """
    _check(logits, target, ignore_index, label_smoothing)
    others = logits.shape[1] - 1
    known = target != ignore_index
    ids = torch.where(known, target, 0).long()
    log_probs = functional.log_softmax(logits, 1)
    own = log_probs.gather(1, ids[:, None])[:, 0]
    costs = -(1 - label_smoothing) * own - label_smoothing / others * (log_probs.sum(1) - own)
    kinds = (known & (ids > 0), known & (ids == 0))
    means = [torch.where(kind, costs, 0).sum() / kind.sum().clamp(min=1) for kind in kinds]
    return (means[0] + means[1]) / 2


def _check(logits: Tensor, target: Tensor, ignore_index: int, label_smoothing: float) -> None:
    check_maps("logits", logits, least_classes=2)
    check_target(target, logits)
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing must be in [0, 1), is {label_smoothing}")
    if 0 <= ignore_index < logits.shape[1]:
        raise ValueError(f"ignore_index {ignore_index} is one of the {logits.shape[1]} classes")
