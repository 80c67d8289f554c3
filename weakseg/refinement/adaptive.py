"""Pixel-adaptive refinement: masks averaged over neighbours of like colour, again and again.

PAMR: Araslanov & Roth, "Single-stage semantic segmentation from image labels", CVPR 2020, §3.3.
PAR: Ru, Zheng, Zhan & Du, "Token contrast for weakly-supervised semantic segmentation", CVPR 2023 (ToCo), §3.3.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

EIGHT = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx)
DILATIONS = (1, 2, 4, 8, 12, 24)
PAMR_SHARPNESS = 0.1
PAR_SHARPNESS = 0.3
PAR_POSITION = 0.01  # how much the neighbours' distance counts beside their colours
TINY = 1e-8


def pixel_adaptive(
    images: Tensor, masks: Tensor, rule: Literal["par", "pamr"] = "par", rounds: int = 10,
    dilations: Sequence[int] = DILATIONS,
) -> Tensor:  # fmt: skip
    """Masks refined by `rounds` of m ← Σ_n w_n·m_n over 8 neighbours at each dilation; the pixel itself is not among them.

    pamr: w = softmax over the neighbours of the mean over RGB of -|ΔI| / (1e-8 + 0.1·σ), σ the standard deviation of the
    3×3 cells of all dilations together. par: w = softmax of the mean over RGB of -(|ΔI| / (σ + 1e-8) / 0.3)², σ over the
    neighbours, plus 0.01·softmax of the same of their distances. Edges are replicated.

    Args:
        images: (B, 3, H, W) RGB, of any type and range (σ takes the range out).
        masks: (B, C, h, w) floating point, brought to the images' size first (bilinear, corners aligned).

    Returns (B, C, H, W) in the masks' type. Raises ValueError for other shapes, or an unknown rule.

    Example:
        >>> images = torch.zeros(1, 3, 8, 8)
        >>> images[..., 4:] = 255  # a black and a white half
        >>> masks = torch.rand(1, 1, 8, 8)
        >>> refined = pixel_adaptive(images, masks, "pamr", rounds=200, dilations=(1,))
        >>> bool(refined[..., :4].std() < 0.05)  # each half has come to agree
        True
    """
    _check(images, masks, rule, dilations)
    kind = torch.promote_types(masks.dtype, torch.float32)
    colours, values = images.to(kind), masks.to(kind)
    values = functional.interpolate(values, images.shape[2:], mode="bilinear", align_corners=True)
    weights = _par_weights(colours, dilations) if rule == "par" else _pamr_weights(colours, dilations)
    for _ in range(rounds):
        shifted = _neighbours(values, dilations)
        values = sum((weights[:, number, None] * one for number, one in enumerate(shifted)), torch.zeros_like(values))
    return values.to(masks.dtype)


def _neighbours(maps: Tensor, dilations: Sequence[int]) -> Iterator[Tensor]:
    """The maps shifted to each neighbour in turn, (B, C, H, W) each."""
    most, (height, width) = max(dilations), maps.shape[2:]
    padded = functional.pad(maps, (most, most, most, most), mode="replicate")
    for dilation in dilations:
        for dy, dx in EIGHT:
            top, left = most + dy * dilation, most + dx * dilation
            yield padded[..., top : top + height, left : left + width]


def _pamr_weights(colours: Tensor, dilations: Sequence[int]) -> Tensor:
    """(B, neighbours, H, W)."""
    cells = [*_neighbours(colours, dilations), *[colours] * len(dilations)]
    scale = TINY + PAMR_SHARPNESS * _deviation(cells)
    logits = [-((one - colours).abs() / scale).mean(1) for one in cells[: len(EIGHT) * len(dilations)]]
    return torch.stack(logits, 1).softmax(1)


def _par_weights(colours: Tensor, dilations: Sequence[int]) -> Tensor:
    """(B, neighbours, H, W)."""
    cells = list(_neighbours(colours, dilations))
    scale = (_deviation(cells) + TINY) * PAR_SHARPNESS
    logits = [-((one - colours).abs() / scale).square().mean(1) for one in cells]
    distances = [dilation * (dy * dy + dx * dx) ** 0.5 for dilation in dilations for dy, dx in EIGHT]
    apart = torch.tensor(distances, dtype=colours.dtype, device=colours.device)
    near = -(apart / (apart.std() + TINY) / PAR_SHARPNESS).square()
    return torch.stack(logits, 1).softmax(1) + PAR_POSITION * near.softmax(0).view(1, -1, 1, 1)


def _deviation(cells: Sequence[Tensor]) -> Tensor:
    """Standard deviation (n - 1) over the cells, without a stack of them all."""
    mean = sum(cells[1:], cells[0].clone()) / len(cells)
    total = sum(((one - mean).square() for one in cells), torch.zeros_like(mean))
    return (total / (len(cells) - 1)).sqrt()


def _check(images: Tensor, masks: Tensor, rule: str, dilations: Sequence[int]) -> None:
    if rule not in ("par", "pamr"):
        raise ValueError(f"rule must be par or pamr, is {rule!r}")
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images must be RGB (B, 3, H, W), is {tuple(images.shape)}")
    if masks.ndim != 4 or len(masks) != len(images) or not masks.is_floating_point():
        raise ValueError(
            f"masks must be floating point ({len(images)}, C, h, w), is {masks.dtype} {tuple(masks.shape)}"
        )
    if not dilations or min(dilations) < 1:
        raise ValueError(f"dilations must be whole numbers from 1, is {tuple(dilations)}")
