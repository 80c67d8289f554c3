"""Global weighted rank pooling (GWRP): a score map per class becomes one score per class.

Source: SEC (Kolesnikov & Lampert, ECCV 2016), §3.2 "expand", equation 3.
"""

from __future__ import annotations

import torch
from torch import Tensor

from weakseg.losses.precision import in_full_precision


def decay_for_share(share_of_locations: float, num_locations: int) -> float:
    """The decay at which the top `share_of_locations` of the locations hold half of GWRP's weight.

    d = 0.5^(1 / (share * n)): SEC's rule of thumb (section 4.1), which carries over to any grid. On 41x41,
    0.1 and 0.3 give SEC's 0.996 and 0.999, rounded.

    Args:
        share_of_locations: in (0, 1].
        num_locations: n = H * W >= 1.

    Returns:
        d in (0, 1).

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> round(decay_for_share(0.1, 41 * 41), 3)
        0.996
    """
    if not 0 < share_of_locations <= 1 or num_locations < 1:
        raise ValueError(
            f"share_of_locations must lie in (0, 1] and num_locations be at least 1, "
            f"got {share_of_locations} and {num_locations}"
        )
    return float(0.5 ** (1 / (share_of_locations * num_locations)))


@in_full_precision
def global_weighted_rank_pool(scores: Tensor, decay: float | Tensor) -> Tensor:
    """G_c(d) = sum_j d^(j-1) s_(j),c / sum_j d^(j-1) over the scores in descending order (SEC, equation 3).

    d = 0 is the maximum exactly (0^0 = 1; tied maxima share the gradient), d = 1 the mean; neither sorts.

    Args:
        scores: (B, C, H, W), at least one location.
        decay: in [0, 1]; a number, or a tensor that broadcasts to (B, C), e.g. (C,) or (B, 1). No gradient
            flows to it.

    Returns:
        (B, C), in float32 (float64 for float64 scores).

    Raises:
        ValueError: scores of another shape, or a decay outside [0, 1]; those in a tensor on a GPU are not checked.

    Example:
        >>> scores = torch.tensor([1.0, 4.0, 2.0]).view(1, 1, 1, 3)
        >>> [float(global_weighted_rank_pool(scores, decay)) for decay in (0, 0.5, 1)]  # maximum, between, mean
        [4.0, 3.0, 2.3333332538604736]
    """
    if scores.ndim != 4 or 0 in scores.shape[2:]:
        raise ValueError(f"scores must be (B, C, H, W) with at least one location, is {tuple(scores.shape)}")
    flat = scores.flatten(2)
    if isinstance(decay, Tensor):
        return _pool_by_row(flat, decay.detach().to(scores.device, torch.float64).expand(flat.shape[:2]))
    if not 0 <= decay <= 1:
        raise ValueError(f"decay must lie in [0, 1], got {decay}")
    if decay == 0:
        return flat.amax(2)
    if decay == 1:
        return flat.mean(2)
    return _pool_sorted(flat, torch.tensor(decay, dtype=torch.float64, device=scores.device))


def _pool_by_row(flat: Tensor, decay: Tensor) -> Tensor:
    """(B, C, n) scores, (B, C) decays -> (B, C); on a CPU only rows with 0 < decay < 1 are sorted.

    On other devices to look at the decays, for their range or for rows to choose, would make the host wait.
    """
    if not _may_look_at(decay):
        ends = torch.where(decay == 1, flat.mean(2), flat.amax(2))
        return torch.where((decay > 0) & (decay < 1), _pool_sorted(flat, decay), ends)
    if not bool(((decay >= 0) & (decay <= 1)).all()):
        raise ValueError(f"decay must lie in [0, 1], got {decay.min().item()} to {decay.max().item()}")
    pooled = torch.where(decay == 1, flat.mean(2), flat.amax(2))
    rows = ((decay > 0) & (decay < 1)).flatten().nonzero().squeeze(1)
    ranked = _pool_sorted(flat.flatten(0, 1).index_select(0, rows), decay.flatten()[rows])
    return pooled.flatten().index_copy(0, rows, ranked).view_as(pooled)


def _may_look_at(decay: Tensor) -> bool:
    return decay.device.type == "cpu"


def _pool_sorted(flat: Tensor, decay: Tensor) -> Tensor:
    """(..., n) scores, decays of the leading shape or a scalar -> (...)."""
    descending = flat.sort(dim=-1, descending=True, stable=True).values
    # float64: at 1681 locations a decay rounded to float32 bends the last weights by 5e-5.
    ranks = torch.arange(flat.shape[-1], dtype=torch.float64, device=flat.device)
    weights = decay.unsqueeze(-1) ** ranks
    weights = weights / weights.sum(-1, keepdim=True)
    return (descending * weights.to(flat.dtype)).sum(-1)
