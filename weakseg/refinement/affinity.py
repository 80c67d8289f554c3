"""Affinities of nearby cells from a boundary map (IRN: Ahn, Cho & Kwak, CVPR 2019, §4.2), and the loss that trains one.

Two cells belong together as far as no boundary lies on the line between them: a_ij = 1 - max of B over its cells.
"""

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

IGNORED = 255
FLOOR = 1e-5  # keeps both logarithms finite


class Line(NamedTuple):
    """From a cell to another (dy, dx) away, and the offsets of the cells between, both ends included."""

    dy: int
    dx: int
    cells: tuple[tuple[int, int], ...]


@cache
def lines(radius: int) -> tuple[Line, ...]:
    """Half of the directions within `radius`; the other half is their mirror image, and affinities are symmetric."""
    along = [(0, x) for x in range(1, radius)]
    below = [(y, x) for y in range(1, radius) for x in range(-radius + 1, radius) if x * x + y * y < radius * radius]
    return tuple(Line(dy, dx, tuple(_cells(dy, dx))) for dy, dx in along + below)


def _cells(dy: int, dx: int) -> Iterator[tuple[int, int]]:
    """The cells of the bounding box less than one cell away from the line."""
    for y in range(dy + 1):
        for x in range(min(dx, 0), max(dx, 0) + 1):
            if (dy * x - dx * y) ** 2 < dy * dy + dx * dx:
                yield y, x


def affinity_along(edges: Tensor, line: Line, rows: slice, columns: slice) -> Tensor:
    """a_ij (..., rows, columns) of the source cells in `rows` and `columns` of edges (..., h, w)."""
    highest = None
    for dy, dx in line.cells:
        at = edges[..., rows.start + dy : rows.stop + dy, columns.start + dx : columns.stop + dx]
        highest = at if highest is None else torch.maximum(highest, at)
    assert highest is not None
    return 1 - highest


def affinity_loss(edges: Tensor, labels: Tensor, radius: int = 10) -> Tensor:
    """Cross-entropy of the affinities with what the labels say, kinds of pairs balanced (IRN §4.2, equations 6 and 7).

    ½·[½·mean over equal foreground pairs of -log(a + 1e-5) + ½·mean over equal background pairs of the same]
    + ½·mean over unequal pairs of -log(1 + 1e-5 - a). A kind without pairs contributes 0.

    Args:
        edges: (B, h, w) boundary map in [0, 1].
        labels: (B, h, w) class ids, 0 = background; pairs with a 255 do not count.
        radius: pairs less than so many cells apart count. Both sides must be larger than it allows.

    Returns a scalar. Raises ValueError for shapes or types that do not go together.

    Example:
        >>> labels = torch.zeros(1, 5, 6, dtype=torch.uint8)
        >>> labels[..., 3:] = 7
        >>> edges = torch.zeros(1, 5, 6)  # no boundary where there should be one: ½·-log(1e-5)
        >>> round(float(affinity_loss(edges, labels, radius=2)), 2)
        5.76
    """
    sums, counts = affinity_sums(edges, labels, radius)
    means = sums / counts.clamp(min=1)
    return 0.25 * (means[0] + means[1]) + 0.5 * means[2]


def affinity_sums(edges: Tensor, labels: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    """Sums of the costs of equal foreground, equal background and unequal pairs, and how many there are, (3,) each."""
    _check(edges, labels, radius)
    ids = labels.long()
    rows = slice(0, edges.shape[1] - (radius - 1))
    columns = slice(radius - 1, edges.shape[2] - (radius - 1))
    sources = ids[:, rows, columns]
    sums = torch.zeros(3, dtype=torch.promote_types(edges.dtype, torch.float32), device=edges.device)
    counts = torch.zeros(3, dtype=sums.dtype, device=edges.device)
    for line in lines(radius):
        targets = ids[:, rows.start + line.dy : rows.stop + line.dy, columns.start + line.dx : columns.stop + line.dx]
        affinity = affinity_along(edges, line, rows, columns).to(sums.dtype)
        known, equal = (sources != IGNORED) & (targets != IGNORED), sources == targets
        kinds = torch.stack([known & equal & (sources > 0), known & equal & (sources == 0), known & ~equal])
        together, apart = -torch.log(affinity + FLOOR), -torch.log(1 + FLOOR - affinity)
        costs = torch.stack([together, together, apart])
        sums = sums + torch.where(kinds, costs, 0).sum((1, 2, 3))
        counts = counts + kinds.sum((1, 2, 3))
    return sums, counts


def _check(edges: Tensor, labels: Tensor, radius: int) -> None:
    if edges.ndim != 3 or not edges.is_floating_point():
        raise ValueError(f"edges must be floating point (B, h, w), is {edges.dtype} {tuple(edges.shape)}")
    if labels.shape != edges.shape or labels.is_floating_point():
        raise ValueError(f"labels must be class ids {tuple(edges.shape)}, is {labels.dtype} {tuple(labels.shape)}")
    if radius < 2 or edges.shape[1] < radius or edges.shape[2] < 2 * radius - 1:
        raise ValueError(
            f"radius {radius} needs at least {radius}x{2 * radius - 1} cells, edges has {tuple(edges.shape[1:])}"
        )
