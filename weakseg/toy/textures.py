"""Patterns, noise and backgrounds of the toy photos. Colours are float RGB 0..255, maps float64 (H, W) in 0..1."""

import colorsys
from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

Map = NDArray[np.float64]


Colour = NDArray[np.float64]


def resize(grid: Map, height: int, width: int) -> Map:
    """Bicubic resampling in Pillow's own C code: no FFT or BLAS, so the same numbers on every machine."""
    image = Image.fromarray(grid.astype(np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float64)


def octave_noise(
    rng: Generator, height: int, width: int, *, slope: float = 1.0, stretch: float = 1.0, coarsest: int = 2
) -> Map:
    """1/f^slope noise scaled to 0..1 (H, W): random grids, each twice as fine as the last, enlarged and added.
    `stretch` > 1 elongates the blotches along the rows; `coarsest` is the first grid's number of cells.
    """
    total = np.zeros((height, width))
    cells = coarsest
    while cells <= max(height, width):
        grid = rng.uniform(-1.0, 1.0, (cells + 1, max(2, round(cells / stretch) + 1)))
        total += resize(grid, height, width) * float(cells) ** -slope
        cells *= 2
    low, high = total.min(), total.max()
    return (total - low) / (high - low + 1e-9)


def smoothstep(values: Map, low: float, high: float) -> Map:
    ramp = np.clip((values - low) / (high - low), 0.0, 1.0)
    return ramp * ramp * (3.0 - 2.0 * ramp)


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """Float RGB 0..255 of a colour; the hue wraps around at 1."""
    return np.array(colorsys.hsv_to_rgb(hue % 1.0, saturation, value)) * 255.0


def mix(first: NDArray[np.float64], second: NDArray[np.float64], weight: Map) -> NDArray[np.float64]:
    """(H, W, 3): `first` where weight (H, W) is 0, `second` where it is 1; either may be one colour (3,)."""
    return first + (second - first) * weight[..., None]


def _wave(phase: Map) -> Map:
    return smoothstep(np.abs(phase % 2.0 - 1.0), 0.35, 0.65)


def stripes(u: Map, v: Map, rng: Generator) -> Map:
    return _wave(u * rng.uniform(4.5, 6.5) + rng.uniform(0, 2))


def bars(u: Map, v: Map, rng: Generator) -> Map:
    return _wave(v * rng.uniform(5.0, 7.0) + rng.uniform(0, 2))


def dots(u: Map, v: Map, rng: Generator) -> Map:
    per_unit = rng.uniform(2.2, 3.2)
    row = np.floor(v * per_unit)
    across, down = (u * per_unit + 0.5 * (row % 2)) % 1.0 - 0.5, (v * per_unit) % 1.0 - 0.5
    return 1.0 - smoothstep(across * across + down * down, 0.06, 0.12)


def tiles(u: Map, v: Map, rng: Generator) -> Map:
    per_unit = rng.uniform(4.0, 6.0)
    row = np.floor(v * per_unit)
    joint = np.minimum((v * per_unit) % 1.0, (u * per_unit * 0.7 + 0.5 * (row % 2)) % 1.0)
    return 1.0 - smoothstep(joint, 0.1, 0.3)


def rings(u: Map, v: Map, rng: Generator) -> Map:
    return _wave(np.sqrt(u * u + v * v) * rng.uniform(8.0, 11.0) + rng.uniform(0, 2))


def checks(u: Map, v: Map, rng: Generator) -> Map:
    per_unit = rng.uniform(2.5, 4.0)
    return (np.floor(u * per_unit) + np.floor(v * per_unit)) % 2.0


def veins(u: Map, v: Map, rng: Generator) -> Map:
    side = _wave((v + np.abs(u) * rng.uniform(0.7, 1.1)) * rng.uniform(6.0, 8.0))
    return np.maximum(side, 1.0 - smoothstep(np.abs(u), 0.03, 0.08))


def lattice(u: Map, v: Map, rng: Generator) -> Map:
    per_unit = rng.uniform(2.5, 3.5)
    return np.maximum(_wave((u + v) * per_unit), _wave((u - v) * per_unit))


PATTERNS: dict[str, Callable[[Map, Map, Generator], Map]] = {
    "stripes": stripes, "bars": bars, "dots": dots, "tiles": tiles,
    "rings": rings, "checks": checks, "veins": veins, "lattice": lattice,
}  # fmt: skip
