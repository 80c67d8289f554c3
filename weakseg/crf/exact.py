"""The dense CRF's mean field as a sum over all pairs of locations, in torch, on any device."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from weakseg.crf.params import KEEP_FLOOR, CRFParams, competitors

Images = Tensor | npt.NDArray[np.uint8]


def exact_mean_field(
    images: Tensor, scores: Tensor, params: CRFParams, max_bytes: int, potts: Tensor | None = None
) -> Tensor:
    """Groups of images whose kernels fit together; for gradients, a group's kernel is rebuilt in backward."""
    locations = scores.shape[2] * scores.shape[3]
    group = max(1, max_bytes // max(1, locations**2 * scores.element_size()) - 1)  # 1: see _Pairwise._kernel
    if len(scores) <= group:
        return _unrolled(images, scores, params, max_bytes, potts)
    parts = [
        checkpoint(_unrolled, *part, params, max_bytes, potts, use_reentrant=False, preserve_rng_state=False)
        if torch.is_grad_enabled()
        else _unrolled(*part, params, max_bytes, potts)
        for part in zip(torch.split(images, group), torch.split(scores, group), strict=True)
    ]
    return torch.cat(parts)


def _unrolled(images: Tensor, scores: Tensor, params: CRFParams, max_bytes: int, potts: Tensor | None) -> Tensor:
    """Q₀ = softmax(scores); `steps` times Q ← softmax(scores + K' Q). Returns log Q.

    potts (C,): factors on both Potts weights of each class.
    """
    pairwise = _Pairwise(images, params, scores.dtype, max_bytes)
    log_probs = F.log_softmax(scores, 1)
    for _ in range(params.steps):
        messages: Tensor = _Message.apply(log_probs.exp(), pairwise)
        if potts is not None:
            messages = messages * potts[:, None, None]
        log_probs = F.log_softmax(scores + messages, 1)
    return log_probs


class _Message(torch.autograd.Function):
    """K' Q. K' is symmetric, so the gradient is K' too, and no blocks of K are kept for it."""

    @staticmethod
    def forward(ctx: Any, probs: Tensor, pairwise: "_Pairwise") -> Tensor:
        ctx.pairwise = pairwise
        return pairwise.apply(probs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return ctx.pairwise.apply(grad), None


class _Pairwise:
    """w_b K'_b + w_g K'_g of a group of images (B, H, W, 3), as an operator on (B, C, H, W).

    The Gaussian kernel is a product of one along rows and one along columns, normalization included, so it is two small
    matrices. The bilateral one is exp(E) with E_ij = −½‖Δxy‖²/σ_xy² − ½‖Δrgb‖²/σ_rgb²; its normalization and weight are
    applied to Q, before and after, which saves two passes over the (N, N) entries.
    """

    def __init__(self, images: Tensor, params: CRFParams, dtype: torch.dtype, max_bytes: int) -> None:
        self.batch, self.height, self.width = images.shape[:3]
        count = self.height * self.width
        self.params = params
        self.left, self.right = _colour_factors(images.reshape(self.batch, count, 3).to(dtype))
        sides = (self.height, self.width)
        squares = [_squared_offsets(side, images.device, dtype) for side in sides]
        self.rows, self.columns = (square * (-0.5 / params.bilateral_sigma_xy**2) for square in squares)
        self.smooth = [_normalized(torch.exp(sq * (-0.5 / params.gaussian_sigma_xy**2))) for sq in squares]
        column_bytes = (self.batch + 1) * count * self.left.element_size()  # 1: the position term
        block = min(count, max(1, max_bytes // column_bytes))
        self.blocks = [slice(start, start + block) for start in range(0, count, block)]
        self.resident = self._kernel(self.blocks[0]) if len(self.blocks) == 1 else None
        # `sum` adds pairwise; a matmul with ones would be ten times less precise, in every step the same way.
        sums = [self._kept_or_built(chosen).sum(1, keepdim=True) for chosen in self.blocks]
        self.scale = torch.cat(sums, 2).rsqrt_()  # (B, 1, N)

    def _kernel(self, chosen: slice) -> Tensor:
        """Columns `chosen` of K_b, (B, N, n): one matmul, then in place."""
        count = self.height * self.width
        columns = torch.arange(count, device=self.left.device)[chosen]
        row_term, column_term = self.rows[:, columns // self.width], self.columns[:, columns % self.width]
        position = (row_term[:, None] + column_term[None]).view(count, len(columns))
        # The product is exact in whole numbers; a matmul's own alpha would be rounded into it.
        kernel = torch.bmm(self.left, self.right[..., chosen])
        torch.add(position, kernel, alpha=0.5 / self.params.bilateral_sigma_rgb**2, out=kernel)
        # Below -80 exp is almost denormal: negligible next to the 1 of i = j, and four times slower.
        return kernel.clamp_min_(-80).exp_()

    def _kept_or_built(self, chosen: slice) -> Tensor:
        """A block of K_b. Do not bind it to a name, so it is freed before the next one is built."""
        return self._kernel(chosen) if self.resident is None else self.resident

    def _sum(self, values: Tensor) -> Tensor:
        """values @ K_b, (B, C, N) → (B, C, N)."""
        return torch.cat([torch.bmm(values, self._kept_or_built(chosen)) for chosen in self.blocks], 2)

    def apply(self, probs: Tensor) -> Tensor:
        bilateral = self._sum(probs.flatten(2) * self.scale).mul_(self.scale).view_as(probs)
        smooth_rows, smooth_columns = self.smooth
        gaussian = torch.matmul(smooth_rows, torch.matmul(probs, smooth_columns))
        return bilateral.mul_(self.params.bilateral_weight).add_(gaussian, alpha=self.params.gaussian_weight)


def _squared_offsets(side: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """(side, side): (i − j)²."""
    position = torch.arange(side, device=device, dtype=dtype)
    return (position[:, None] - position[None]).square_()


def _normalized(kernel: Tensor) -> Tensor:
    """D^{−½} K D^{−½}, D the row sums."""
    scale = kernel.sum(1).rsqrt_()
    return kernel * scale[:, None] * scale[None]


def _colour_factors(colours: Tensor) -> tuple[Tensor, Tensor]:
    """(B, N, 7) and (B, 7, N) whose product is −‖rgb_i − rgb_j‖², without rounding.

    ‖a − b‖² by a matmul loses digits to cancellation, unless its terms are whole numbers that fit the
    mantissa. Centred colours do, and so do their squared norms in two parts (multiples of 256, and the rest):
    8 bits each, so the product is exact in float32 and under TF32 alike.
    """
    centred = colours - 128
    norms = centred.square().sum(2, keepdim=True)
    fine = norms % 256
    coarse, one = norms - fine, torch.ones_like(norms)
    left = torch.cat([2 * centred, -coarse, -fine, -one, -one], 2)
    right = torch.cat([centred, one, one, coarse, fine], 2)
    return left, right.transpose(1, 2).contiguous()


def exact_labels(
    image: npt.NDArray[np.uint8],
    log_probs: npt.NDArray[np.float32],
    params: CRFParams,
    keep_floor: float = KEEP_FLOOR,
    *,
    device: torch.device | str = "cpu",
    max_bytes: int = 1 << 30,
) -> npt.NDArray[np.uint8]:
    """`lattice_labels` with the exact backend, on any device: the most probable class (H, W) uint8.

    Meant for GPUs, and to measure the lattice's approximation. Time grows with the square of the pixels, memory does not.

    Args:
        image: (H, W, 3) uint8.
        log_probs: (C, H, W) float32.
        params: weights and widths at the photo's size.
        keep_floor: see `lattice_labels`.
        max_bytes: see `mean_field`.

    Raises ValueError for shapes or types that do not go together.

    Example:
        >>> image = np.array([[[0, 0, 0]] * 3 + [[255, 255, 255]] * 3], np.uint8)  # a black and a white half
        >>> probs = np.array([[[0.8, 0.5, 0.5, 0.5, 0.5, 0.2]], [[0.2, 0.5, 0.5, 0.5, 0.5, 0.8]]], np.float32)
        >>> exact_labels(image, np.log(probs), CRFParams(4, 10, 5, 0, 1))
        array([[0, 0, 0, 1, 1, 1]], dtype=uint8)
    """
    scores = torch.from_numpy(log_probs)[None]
    check_inputs(image[None], scores, "exact", "none")
    kept, competing, factors = competitors(log_probs, keep_floor)
    if len(kept) == 1:
        return np.full(image.shape[:2], kept[0], np.uint8)
    pixels = torch.from_numpy(np.require(image, requirements=["C", "W"])).to(device)
    potts = None if factors is None else torch.from_numpy(factors).to(device)
    with torch.inference_mode():
        log_q = exact_mean_field(pixels[None], torch.from_numpy(competing)[None].to(device), params, max_bytes, potts)
        best = log_q[0, : len(kept)].argmax(0).cpu().numpy()
    labels: npt.NDArray[np.uint8] = kept[best]
    return labels


def check_inputs(images: Images, scores: Tensor, backend: str, gradient: str) -> None:
    if backend not in ("lattice", "exact") or gradient not in ("none", "exact"):
        raise ValueError(f"unknown CRF backend {backend!r} or gradient {gradient!r}")
    if gradient == "exact" and backend != "exact":
        raise ValueError("gradient='exact' needs backend='exact': the lattice cannot be differentiated")
    if scores.ndim != 4 or not scores.is_floating_point():
        raise ValueError(f"scores must be floating point (B, C, H, W), are {scores.dtype} {tuple(scores.shape)}")
    expected = (scores.shape[0], *scores.shape[2:], 3)
    if tuple(images.shape) != expected or images.dtype not in (torch.uint8, np.uint8):
        raise ValueError(f"images must be uint8 {expected}, are {images.dtype} {tuple(images.shape)}")
