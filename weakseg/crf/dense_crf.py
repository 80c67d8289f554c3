"""Dense CRF by mean field (Krähenbühl & Koltun, NIPS 2011), for a batch of images on a grid.

`lattice` is what both papers ran: pydensecrf's approximation, on CPU worker processes. `exact` sums over all
pairs of locations in torch, on any device, and can be differentiated. On 41×41 the two differ on about 3 % of
the argmax labels, which is the lattice's approximation.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from weakseg.crf import lattice_workers
from weakseg.crf.exact import Images, check_inputs, exact_mean_field
from weakseg.crf.params import MIN_PROB, CRFParams

Backend = Literal["lattice", "exact"]


def mean_field(
    images: Images,
    scores: Tensor,
    params: CRFParams,
    backend: Backend = "lattice",
    *,
    gradient: Literal["none", "exact"] = "none",
    min_prob: float | None = None,
    workers: int | None = None,
    max_bytes: int = 1 << 30,
) -> Tensor:
    """Log-probabilities of the dense CRF by mean field (Krähenbühl & Koltun, NIPS 2011).

    SEC's train-time CRF takes raw logits, BGR images and `SEC.scaled(image side / grid side)`.

    Args:
        images, scores, params: (B, H, W, 3) uint8; (B, C, H, W) logits or log-probabilities; for the grid's own pixels.
        backend: "lattice", the permutohedral lattice on CPU workers, or "exact", all pairs on any device.
        gradient: "exact" differentiates through the unrolled mean field (backend exact); "none" returns a constant.
        min_prob: floor of the result, then renormalized; None: 1e-4 (SEC's released layer) for lattice, 0 for exact.
        workers: processes of the lattice, None for `runtime.worker_count`; the result does not depend on it.
        max_bytes: bound on the exact backend's kernel; what does not fit is computed in groups and blocks.

    Returns (B, C, H, W) on the device of `scores`, float32 (float64 stays). Raises ValueError for misfits.

    Example:
        >>> images = torch.tensor([0, 0, 0, 255, 255, 255], dtype=torch.uint8).view(1, 1, 6, 1).expand(1, 1, 6, 3)
        >>> scores = torch.zeros(1, 2, 1, 6)
        >>> scores[0, 0, 0, 0], scores[0, 1, 0, 5] = 1.0, 1.0  # a hint for the black half and one for the white
        >>> mean_field(images, scores, CRFParams(4, 10, 5, 0, 1), backend="exact").argmax(1)
        tensor([[[0, 0, 0, 1, 1, 1]]])
    """
    check_inputs(images, scores, backend, gradient)
    if backend == "lattice":
        return start_mean_field(images, scores, params, min_prob=min_prob, workers=workers)()
    with torch.set_grad_enabled(gradient == "exact" and torch.is_grad_enabled()):
        return _floored(_exact(images, scores, params, max_bytes), min_prob or 0.0)


def _exact(images: Images, scores: Tensor, params: CRFParams, max_bytes: int) -> Tensor:
    """`exact_mean_field` on the device of `scores`, in full precision whatever the autocast state."""
    if not isinstance(images, Tensor):
        images = torch.from_numpy(np.require(images, requirements=["C", "W"]))
    pixels = images.to(scores.device, non_blocking=True)
    dtype = torch.promote_types(scores.dtype, torch.float32)
    with torch.autocast(scores.device.type, enabled=False):
        return exact_mean_field(pixels, scores.to(dtype), params, max_bytes)


def start_mean_field(
    images: Images,
    scores: Tensor,
    params: CRFParams,
    *,
    min_prob: float | None = None,
    workers: int | None = None,
) -> Callable[[], Tensor]:
    """Start the lattice backend in worker processes; call the result to wait for it.

    Lets a training step do other work meanwhile. Arguments and result as in `mean_field`.
    """
    check_inputs(images, scores, "lattice", "none")
    maps = scores.detach().to("cpu", torch.float32).numpy()
    pixels = images.cpu().numpy() if isinstance(images, Tensor) else images
    floor = MIN_PROB if min_prob is None else min_prob
    wait = lattice_workers.start_batch(pixels, maps, params, floor, workers)
    dtype = torch.promote_types(scores.dtype, torch.float32)
    return lambda: torch.from_numpy(wait()).to(scores.device, dtype)


def _floored(log_probs: Tensor, min_prob: float) -> Tensor:
    """log of max(p, min_prob), renormalized over the classes (dimension 1)."""
    if min_prob <= 0:
        return log_probs
    return F.log_softmax(log_probs.clamp_min(float(np.log(min_prob))), 1)
