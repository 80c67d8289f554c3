"""Silhouettes of the toy objects: polygons in a unit box, x to the right, y down, both about -1..1.

A silhouette is a list of layers painted in order. Their roles decide how `toy.scenes` fills them:
`body` (plain, much alike in all categories), `part` (the category's own pattern), `trim` (small dark or light
details) and `hole` (cut out of the object: the background shows).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Layer:
    """A filled polygon, points (N, 2) as x, y."""

    points: Points
    role: str


Silhouette = list[Layer]


Outline = Callable[[Generator], Silhouette]


def polygon(role: str, *points: tuple[float, float], rounds: int = 0) -> Layer:
    """A layer from its corners; `rounds` times, every corner is cut as in Chaikin (1974), which rounds it."""
    corners = np.array(points, dtype=np.float64)
    for _ in range(rounds):
        following = np.roll(corners, -1, axis=0)
        cut = np.stack([0.75 * corners + 0.25 * following, 0.25 * corners + 0.75 * following], axis=1)
        corners = cut.reshape(-1, 2)
    return Layer(corners, role)


def ellipse(role: str, x: float, y: float, radius_x: float, radius_y: float) -> Layer:
    """An ellipse as a polygon of 36 corners."""
    angle = np.arange(36) * (2 * np.pi / 36)
    return Layer(np.stack([x + radius_x * np.cos(angle), y + radius_y * np.sin(angle)], axis=1), role)


def box(role: str, left: float, top: float, right: float, bottom: float) -> Layer:
    return polygon(role, (left, top), (right, top), (right, bottom), (left, bottom))


def spikes(count: int, outer: float, inner: float, tooth_fraction: float) -> Points:
    """A wheel of `count` flat teeth (or, with a small `tooth_fraction` of the turn, spikes)."""
    start = np.arange(count)[:, None] * (2 * np.pi / count)
    offsets = np.array([-tooth_fraction, tooth_fraction, 0.5 - tooth_fraction / 2, 0.5 + tooth_fraction / 2])
    angle = (start + offsets * (2 * np.pi / count)).reshape(-1)
    radius = np.tile([outer, outer, inner, inner], count)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def fish(rng: Generator) -> Silhouette:
    belly, tail = rng.uniform(0.4, 0.55), rng.uniform(0.3, 0.5)
    flank = [(0.95, 0.0), (0.5, -belly), (-0.2, -belly), (-0.75, -0.08), (-0.75, 0.08), (-0.2, belly), (0.5, belly)]
    return [
        polygon("body", (-0.6, 0.0), (-1.0, -tail), (-0.85, 0.0), (-1.0, tail)),
        polygon("body", (0.3, -0.3), (-0.1, -belly - 0.25), (-0.35, -0.25)),
        polygon("body", *flank, rounds=3),
        polygon(
            "part",
            (0.86, 0.0),
            (0.5, -belly * 0.9),
            (0.12, -belly),
            (0.0, 0.0),
            (0.12, belly),
            (0.5, belly * 0.9),
            rounds=2,
        ),
        ellipse("light", 0.52, -0.12, 0.11, 0.11),
        ellipse("dark", 0.54, -0.12, 0.06, 0.06),
    ]


def house(rng: Generator) -> Silhouette:
    eave, half = rng.uniform(-0.25, 0.05), rng.uniform(0.65, 0.85)
    side = rng.choice([-1.0, 1.0])
    chimney = sorted([side * 0.35, side * 0.55])
    return [
        box("body", chimney[0], -0.85, chimney[1], eave),
        box("body", -half, eave, half, 0.85),
        polygon("part", (-half - 0.15, eave), (-0.12, -0.95), (0.12, -0.95), (half + 0.15, eave)),
        box("dark", side * -0.35 - 0.15, 0.25, side * -0.35 + 0.15, 0.85),
        box("light", side * 0.35 - 0.17, eave + 0.25, side * 0.35 + 0.17, eave + 0.58),
    ]


def kite(rng: Generator) -> Silhouette:
    half, cross = rng.uniform(0.45, 0.65), rng.uniform(-0.55, -0.35)
    sway = rng.uniform(-0.3, 0.3)
    end = (sway, 0.97)
    return [
        polygon("body", (-0.03, 0.45), (0.04, 0.45), (sway * 0.4 + 0.05, 0.75), end, (sway * 0.4 - 0.04, 0.75)),
        polygon(
            "light",
            (sway * 0.4 - 0.16, 0.66),
            (sway * 0.4 + 0.16, 0.82),
            (sway * 0.4 + 0.16, 0.66),
            (sway * 0.4 - 0.16, 0.82),
        ),
        polygon("body", (0.0, -0.98), (half, cross), (0.0, 0.5), (-half, cross)),
        polygon("part", (0.0, -0.95), (half * 0.96, cross), (0.0, cross + 0.28), (-half * 0.96, cross)),
    ]


def mushroom(rng: Generator) -> Silhouette:
    rim, stem = rng.uniform(-0.1, 0.1), rng.uniform(0.2, 0.34)
    cap = [
        (-0.9, rim),
        (-0.8, -0.55),
        (-0.3, -0.95),
        (0.3, -0.95),
        (0.8, -0.55),
        (0.9, rim),
        (0.4, rim + 0.08),
        (-0.4, rim + 0.08),
    ]
    return [
        polygon(
            "body",
            (-stem, rim),
            (stem, rim),
            (stem * 0.9, 0.5),
            (stem * 1.5, 0.95),
            (-stem * 1.5, 0.95),
            (-stem * 0.9, 0.5),
            rounds=2,
        ),
        polygon("part", *cap, rounds=2),
    ]


def gear(rng: Generator) -> Silhouette:
    teeth = Layer(spikes(int(rng.integers(8, 12)), 0.97, rng.uniform(0.72, 0.8), 0.2), "body")
    hub = rng.uniform(0.38, 0.48)
    hole = ellipse("hole" if rng.random() < 0.6 else "dark", 0.0, 0.0, 0.14, 0.14)
    return [teeth, ellipse("part", 0.0, 0.0, hub, hub), hole]


def leaf(rng: Generator) -> Silhouette:
    width, bend = rng.uniform(0.38, 0.55), rng.uniform(-0.15, 0.15)
    blade = [
        (0.0, 0.7),
        (-width, 0.35),
        (-width * 0.9 + bend, -0.4),
        (bend, -0.98),
        (bend, -0.98),
        (width * 0.9 + bend, -0.4),
        (width, 0.35),
    ]
    rib = width * 0.62
    return [
        polygon("dark", (-0.04, 0.6), (0.05, 0.6), (0.1 - bend, 1.0), (-0.04 - bend, 1.0)),
        polygon("body", *blade, rounds=3),
        polygon(
            "part",
            (0.0, 0.6),
            (-rib, 0.3),
            (-rib * 0.8, -0.1),
            (bend * 0.8, -0.5),
            (rib * 0.8, -0.1),
            (rib, 0.3),
            rounds=2,
        ),
    ]


def starfish(rng: Generator) -> Silhouette:
    waist = rng.uniform(0.36, 0.46)
    angle = np.arange(10) * (np.pi / 5) - np.pi / 2
    radius = np.tile([1.1, waist], 5) * np.where(np.arange(10) % 2 == 0, rng.uniform(0.88, 1.0, 10), 1.0)
    arms = list(zip((radius * np.cos(angle)).tolist(), (radius * np.sin(angle)).tolist(), strict=True))
    return [polygon("body", *arms, rounds=2), ellipse("part", 0.0, 0.0, waist * 1.05, waist * 1.05)]


def sailboat(rng: Generator) -> Silhouette:
    deck, jib = rng.uniform(0.4, 0.52), rng.uniform(0.45, 0.7)
    return [
        polygon("body", (-0.95, deck), (0.98, deck - 0.05), (0.62, 0.92), (-0.7, 0.92)),
        box("dark", -0.08, -0.98, 0.0, deck),
        polygon("part", (0.0, -0.92), (0.8, deck - 0.02), (0.0, deck - 0.02)),
        polygon("body", (-0.06, -0.75), (-0.06, deck), (-jib, deck)),
    ]
