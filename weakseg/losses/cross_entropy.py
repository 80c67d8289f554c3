"""Cross-entropy on label maps."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy

from weakseg.losses.precision import in_full_precision
from weakseg.losses.shapes import check_maps, check_target


@in_full_precision
def cross_entropy_loss(
    logits: Tensor, target: Tensor, ignore_index: int = 255, num_locations: Tensor | None = None
) -> Tensor:
    """Cross-entropy averaged over the batch's locations that are not `ignore_index` (GS §3).

    Args:
        logits: (B, C, H, W).
        target: (B, H, W), any integer type, class ids 0..C-1 or `ignore_index`.
        num_locations: what to divide the sum by if this is part of a larger batch; None: the number here.

    Returns:
        Scalar; 0, with a gradient of 0, if every location is ignored.

    Raises:
        ValueError: shapes or types that do not go together.

    Example:
        >>> import torch
        >>> logits = torch.zeros(1, 2, 1, 2)
        >>> round(float(cross_entropy_loss(logits, torch.tensor([[[1, 255]]]))), 4)  # log 2; 255 does not count
        0.6931
    """
    check_maps("logits", logits)
    check_target(target, logits)
    total = cross_entropy(logits, target.long(), ignore_index=ignore_index, reduction="sum")
    return total / ((target != ignore_index).sum().clamp(min=1) if num_locations is None else num_locations)
