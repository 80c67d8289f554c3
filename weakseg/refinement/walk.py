"""Random walks that spread heat maps up to the boundaries (IRN: Ahn, Cho & Kwak, CVPR 2019, §5.1)."""

import math
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from weakseg.refinement.affinity import affinity_along, lines

TOLERANCE = 1e-7  # of the polynomial that stands for T^256


def boundary_walk(maps: Tensor, edges: Tensor, radius: int = 5, power: int = 10, doublings: int = 8) -> Tensor:
    """Heat maps after a random walk of 2^doublings steps that seldom crosses a boundary.

    T = a^power with a_ii = 1, each column divided by its sum; the result is maps·(1 - B), as row vectors, times
    T^(2^doublings). Pairs beyond the border count as B = 1. T has 69 entries a row at radius 5 and is never written out
    as a matrix. S = a^power is symmetric, so T is similar to M = D^(-1/2) S D^(-1/2), whose eigenvalues lie in [-1, 1],
    and x^256 agrees there with a Chebyshev series of degree 86 to 1e-7 (Sachdeva & Vishnoi 2014, §3): 86 products
    instead of 256. Each is a sum of shifted maps, on any device.

    Args:
        maps: (L, h, w), or (B, L, h, w) for photos of one size (fill up smaller ones with maps 0 and edges 1).
        edges: (h, w), or (B, h, w): boundary map B in [0, 1].

    Returns the walked maps, shaped like `maps`, before any upsampling. Raises ValueError for other shapes.

    Example:
        >>> maps, edges = torch.zeros(1, 9, 9), torch.zeros(9, 9)
        >>> maps[0, 4, 1], edges[:, 4] = 1, 1  # heat on the left, a wall in the middle
        >>> walked = boundary_walk(maps, edges)[0]
        >>> bool(walked[:, :4].min() > 0.02), float(walked[:, 5:].max())
        (True, 0.0)
    """
    _check(maps, edges)
    batched = maps.ndim == 4
    values = (maps if batched else maps[None]).double()  # in single precision the recursion is off by 2e-4
    walls = (edges if batched else edges[None]).double()
    spread = _Stencil(walls, radius, power)
    values = values * (1 - walls[:, None]) * spread.root
    walked = (_power(values, spread, 1 << doublings) / spread.root).to(maps.dtype)
    return walked if batched else walked[0]


def _power(values: Tensor, spread: "_Stencil", exponent: int) -> Tensor:
    """M^exponent applied to `values`, by Chebyshev's recursion T_k+1 = 2·M·T_k - T_k-1."""
    coefficients = _chebyshev(exponent)
    before, now = values, spread(values)
    total = coefficients[0] * before
    if len(coefficients) > 1:
        total = total + coefficients[1] * now
    for coefficient in coefficients[2:]:
        before, now = now, 2 * spread(now) - before
        if coefficient:
            total = total + coefficient * now
    return total


@cache
def _chebyshev(exponent: int) -> tuple[float, ...]:
    """x^n = 2^(1-n) Σ' binomial(n, (n - k) / 2) T_k over k of n's parity (half of k = 0), cut where the rest is below
    `TOLERANCE`."""
    exact = []
    for k in range(exponent + 1):
        ways = math.comb(exponent, (exponent - k) // 2) if (exponent - k) % 2 == 0 else 0
        exact.append((2.0 if k else 1.0) * math.ldexp((ways << 64) >> exponent, -64))
    rest = 0.0
    while len(exact) > 2 and rest + exact[-1] <= TOLERANCE:
        rest += exact.pop()
    return tuple(exact)


class _Stencil:
    """M = D^(-1/2) S D^(-1/2) of boundary maps (B, h, w), as an operator on (B, L, h, w)."""

    def __init__(self, edges: Tensor, radius: int, power: int) -> None:
        self.height, self.width = edges.shape[1:]
        reach = [line for line in lines(radius) if line.dy < self.height and abs(line.dx) < self.width]
        sums = torch.ones_like(edges)
        self.parts: list[tuple[tuple[slice, slice], tuple[slice, slice], Tensor]] = []
        for line in reach:
            rows = slice(0, self.height - line.dy)
            columns = slice(max(0, -line.dx), self.width - max(0, line.dx))
            source = (rows, columns)
            target = (slice(line.dy, self.height), slice(columns.start + line.dx, columns.stop + line.dx))
            weight = affinity_along(edges, line, rows, columns).clamp(min=0) ** power
            sums[:, target[0], target[1]] += weight
            sums[:, source[0], source[1]] += weight
            self.parts.append((source, target, weight[:, None]))
        self.root = sums.sqrt()[:, None]
        self.own = 1 / sums[:, None]
        inverse = 1 / self.root
        for source, target, weight in self.parts:
            weight *= inverse[:, :, source[0], source[1]] * inverse[:, :, target[0], target[1]]

    def __call__(self, values: Tensor) -> Tensor:
        result = self.own * values
        for (rows, columns), (target_rows, target_columns), weight in self.parts:
            result[..., target_rows, target_columns].addcmul_(weight, values[..., rows, columns])
            result[..., rows, columns].addcmul_(weight, values[..., target_rows, target_columns])
        return result


def walked_labels(walked: Tensor, labels: Tensor, height: int, width: int, background: float = 0.25) -> Tensor:
    """(H, W) uint8 class ids from walked maps (IRN §5.1).

    The maps are enlarged by 4, bilinearly, and divided by their maximum over all classes; a pixel is background if none
    reaches `background` there.

    Args:
        walked: (L, h, w), from `boundary_walk`.
        labels: (L,) the maps' class ids.
        height, width: the photo's, in px.

    Example:
        >>> walked = torch.tensor([[[0.1, 1.0]]])
        >>> walked_labels(walked, torch.tensor([7]), 4, 8)[0]
        tensor([0, 0, 0, 7, 7, 7, 7, 7], dtype=torch.uint8)
    """
    if not len(walked):
        return torch.zeros(height, width, dtype=torch.uint8, device=walked.device)
    size = (4 * walked.shape[1], 4 * walked.shape[2])
    large = functional.interpolate(walked[None], size, mode="bilinear", align_corners=False)[0]
    large = functional.pad(large[None], _missing(size, height, width), mode="replicate")[0, :, :height, :width]
    large = large / large.max().clamp(min=1e-30)
    best, index = large.max(0)
    return torch.where(best >= background, labels.to(walked.device)[index], 0).to(torch.uint8)


def _missing(size: tuple[int, int], height: int, width: int) -> tuple[int, int, int, int]:
    return 0, max(0, width - size[1]), 0, max(0, height - size[0])


def _check(maps: Tensor, edges: Tensor) -> None:
    if maps.ndim not in (3, 4) or not maps.is_floating_point():
        raise ValueError(f"maps must be floating point (L, h, w) or (B, L, h, w), is {maps.dtype} {tuple(maps.shape)}")
    expected = (*maps.shape[:-3], *maps.shape[-2:])
    if tuple(edges.shape) != expected or not edges.is_floating_point():
        raise ValueError(f"edges must be floating point {expected}, is {edges.dtype} {tuple(edges.shape)}")
