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
    """Log-probabilities (B, C, H, W) of the dense CRF, on the device of `scores`, float32 (float64 stays).

    images (B, H, W, 3) uint8, scores (B, C, H, W) logits or log-probabilities. SEC's train-time CRF takes the
    raw logits, BGR images and `SEC.scaled(image side / grid side)` (golden `crf_log_probs`).

    gradient: "exact" differentiates through the unrolled mean field with respect to the scores (backend
    exact); "none" returns a constant.
    min_prob: floor of the result, which is then renormalized; None: 1e-4 for the lattice, as in the
    released layer, and 0 (no floor, mean field as published) for exact.
    workers: processes of the lattice, None for `runtime.worker_count`; the result does not depend on
    it.
    max_bytes: bound on the pairwise kernel the exact backend holds at a time; beyond it come some ten tensors
    the size of `scores`. Images are taken in groups that fit; one that alone doesn't has its kernel
    recomputed in blocks of columns in every step.

    Raises ValueError for shapes, types or options that do not go together.
    """
    check_inputs(images, scores, backend, gradient)
    if backend == "lattice":
        return start_mean_field(images, scores, params, min_prob=min_prob, workers=workers)()
    if not isinstance(images, Tensor):
        images = torch.from_numpy(np.require(images, requirements=["C", "W"]))
    pixels = images.to(scores.device, non_blocking=True)
    dtype = torch.promote_types(scores.dtype, torch.float32)
    tracked = gradient == "exact" and torch.is_grad_enabled()
    with torch.autocast(scores.device.type, enabled=False), torch.set_grad_enabled(tracked):
        return _floored(exact_mean_field(pixels, scores.to(dtype), params, max_bytes), min_prob or 0.0)


def start_mean_field(
    images: Images,
    scores: Tensor,
    params: CRFParams,
    *,
    min_prob: float | None = None,
    workers: int | None = None,
) -> Callable[[], Tensor]:
    """The lattice backend begun in the worker processes; call the result to wait for it.

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
