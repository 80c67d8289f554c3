"""Backgrounds of the toy photos: each maker returns float RGB (H, W, 3), 0..255, drawn from the generator."""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from weakseg.toy.textures import Map, hsv, mix, octave_noise, smoothstep

Canvas = NDArray[np.float64]


def _ramp(rng: Generator, noise: Map, hue: float, saturation: float, value: float, contrast: float) -> Canvas:
    """A blotchy area in shades around one colour; some hue drift between its dark and light parts."""
    dark = hsv(hue + rng.uniform(-0.05, 0.05), saturation * rng.uniform(0.8, 1.1), max(value - contrast, 0.05))
    light = hsv(hue + rng.uniform(-0.05, 0.05), saturation * rng.uniform(0.6, 1.0), min(value + contrast, 1.0))
    return mix(dark, light, noise)


def _horizon(rng: Generator, height: int, width: int, low: float, high: float, roughness: float) -> Map:
    """Weight (H, W): 0 above, 1 below a jagged, slightly tilted line at a height fraction in low..high."""
    line = rng.uniform(low, high) + rng.uniform(-0.05, 0.05) * np.linspace(-1, 1, width)
    line = line + roughness * (octave_noise(rng, 2, width, slope=0.8, coarsest=4)[0] - 0.5)
    rows = np.arange(height)[:, None] / height
    return smoothstep(rows - line[None, :], -0.008, 0.008)


def sky(rng: Generator, height: int, width: int) -> Canvas:
    rows = np.linspace(0.0, 1.0, height)[:, None] * np.ones((1, width))
    hue = rng.uniform(0.53, 0.62) if rng.random() < 0.75 else rng.uniform(0.0, 0.12)
    clear = mix(hsv(hue, rng.uniform(0.3, 0.7), rng.uniform(0.6, 0.85)), hsv(hue, 0.2, 0.95), rows)
    clouds = smoothstep(octave_noise(rng, height, width, slope=1.1, stretch=2.0, coarsest=3), 0.4, 0.85)
    return mix(clear, hsv(hue, 0.04, rng.uniform(0.75, 0.98)), clouds * rng.uniform(0.3, 0.9))


def open_sky(rng: Generator, height: int, width: int) -> Canvas:
    """Sky, often over a strip of land."""
    above = sky(rng, height, width)
    if rng.random() < 0.4:
        return above
    land = _ramp(rng, octave_noise(rng, height, width, slope=0.6), rng.uniform(0.1, 0.4), 0.5, 0.4, 0.2)
    return mix(above, land, _horizon(rng, height, width, 0.72, 0.95, 0.12))


def water(rng: Generator, height: int, width: int) -> Canvas:
    ripples = octave_noise(rng, height, width, slope=0.55, stretch=6.0, coarsest=4)
    surface = _ramp(rng, ripples, rng.uniform(0.45, 0.63), rng.uniform(0.3, 0.75), rng.uniform(0.35, 0.65), 0.25)
    if rng.random() < 0.4:
        return surface
    return mix(sky(rng, height, width), surface, _horizon(rng, height, width, 0.2, 0.5, 0.02))


def field(rng: Generator, height: int, width: int) -> Canvas:
    grass = octave_noise(rng, height, width, slope=rng.uniform(0.2, 0.5), coarsest=4)
    ground = _ramp(rng, grass, rng.uniform(0.08, 0.36), rng.uniform(0.35, 0.7), rng.uniform(0.35, 0.6), 0.28)
    if rng.random() < 0.35:
        return ground
    woods_map = octave_noise(rng, height, width, slope=0.7, coarsest=6)
    woods = _ramp(rng, woods_map, rng.uniform(0.2, 0.4), 0.5, rng.uniform(0.2, 0.35), 0.15)
    far = mix(sky(rng, height, width), woods, _horizon(rng, height, width, 0.15, 0.4, 0.2))
    return mix(far, ground, _horizon(rng, height, width, 0.4, 0.65, 0.06))


def _masonry(rng: Generator, height: int, width: int) -> Map:
    """Joints of bricks or planks: 1 on a joint, 0 on a brick."""
    brick_px, ratio = rng.uniform(9, 22), rng.uniform(1.5, 8.0)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float64)
    course = np.floor(rows / brick_px)
    along = (columns + 0.5 * ratio * brick_px * (course % 2)) % (ratio * brick_px)
    return 1.0 - smoothstep(np.minimum(rows % brick_px, along), 0.5, 1.8)


def room(rng: Generator, height: int, width: int) -> Canvas:
    """A wall of bricks, boards or plaster, mostly over a floor or a table."""
    plaster = octave_noise(rng, height, width, slope=0.9)
    wall = _ramp(rng, plaster, rng.uniform(0.0, 1.0), rng.uniform(0.05, 0.5), rng.uniform(0.4, 0.8), 0.12)
    if rng.random() < 0.6:
        wall = mix(wall, wall * rng.uniform(0.55, 0.85), _masonry(rng, height, width))
    if rng.random() < 0.3:
        return wall
    grain = octave_noise(rng, height, width, slope=0.5, stretch=8.0, coarsest=6)
    floor = _ramp(rng, grain, rng.uniform(0.03, 0.13), rng.uniform(0.3, 0.6), rng.uniform(0.35, 0.65), 0.2)
    return mix(wall, floor, _horizon(rng, height, width, 0.5, 0.8, 0.0))


def stones(rng: Generator, height: int, width: int) -> Canvas:
    """Pebbles: cells around random points, each in its own shade, dark in the gaps."""
    count = int(rng.integers(40, 120))
    centres = rng.uniform(0, 1, (count, 2)) * [height, width]
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float64)
    distance = np.sqrt((rows[..., None] - centres[:, 0]) ** 2 + (columns[..., None] - centres[:, 1]) ** 2)
    nearest = np.argmin(distance, axis=-1)
    two = np.partition(distance, 1, axis=-1)[..., :2]
    hue = rng.uniform(0.02, 0.15)
    values, saturation = rng.uniform(0.3, 0.75, count), rng.uniform(0.05, 0.4)
    shades = np.stack([hsv(hue + rng.uniform(-0.04, 0.04), saturation, float(value)) for value in values])
    gaps = 1.0 - smoothstep((two[..., 1] - two[..., 0]), 0.5, 3.0)
    grit = octave_noise(rng, height, width, slope=0.3, coarsest=8)
    return mix(shades[nearest], hsv(hue, 0.3, 0.2), 0.7 * gaps) * (0.75 + 0.5 * grit[..., None])


def cloth(rng: Generator, height: int, width: int) -> Canvas:
    """Folded cloth, plain or with a woven plaid."""
    folds = octave_noise(rng, height, width, slope=1.3, stretch=rng.uniform(0.4, 2.5), coarsest=3)
    base = _ramp(rng, folds, rng.uniform(0, 1), rng.uniform(0.1, 0.6), rng.uniform(0.4, 0.7), 0.22)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float64)
    period_px, tilt = rng.uniform(12, 30), rng.uniform(-0.5, 0.5)
    across = np.abs(((columns + tilt * rows + 12 * folds) / period_px) % 2.0 - 1.0)
    down = np.abs(((rows - tilt * columns + 12 * folds) / period_px) % 2.0 - 1.0)
    plaid = 0.5 * smoothstep(across, 0.4, 0.6) + 0.5 * smoothstep(down, 0.4, 0.6)
    return mix(base, hsv(rng.uniform(0, 1), 0.4, rng.uniform(0.3, 0.9)), plaid * rng.choice([0.0, 0.35, 0.6]))


BACKGROUNDS: dict[str, Callable[[Generator, int, int], Canvas]] = {
    "sky": open_sky, "water": water, "field": field, "room": room, "stones": stones, "cloth": cloth,
}  # fmt: skip
