"""Silhouettes that belong to no class: the objects of the saliency photos, and clutter."""

import numpy as np
from numpy.random import Generator

from weakseg.toy.shapes import Silhouette, box, ellipse, polygon

# Corners are in rows below, not one per line.
# fmt: off


def mug(rng: Generator) -> Silhouette:
    half = rng.uniform(0.5, 0.62)
    return [
        ellipse("body", half, 0.05, 0.4, 0.48),
        ellipse("hole", half, 0.05, 0.22, 0.3),
        polygon("body", (-half, -0.75), (half, -0.75), (half * 0.85, 0.85), (-half * 0.85, 0.85)),
        box("part", -half * 0.9, -0.25, half * 0.9, 0.35),
        ellipse("dark", 0.0, -0.75, half, 0.14),
    ]


def bottle(rng: Generator) -> Silhouette:
    half, neck = rng.uniform(0.3, 0.4), rng.uniform(-0.5, -0.3)
    return [
        polygon(
            "body",
            (-0.13, -0.9),
            (0.13, -0.9),
            (0.13, neck),
            (half, neck + 0.3),
            (half, 0.95),
            (-half, 0.95),
            (-half, neck + 0.3),
            (-0.13, neck),
            rounds=1,
        ),
        box("part", -half, 0.15, half, 0.65),
        box("light", -0.15, -0.98, 0.15, -0.8),
    ]


def heart(rng: Generator) -> Silhouette:
    dip = rng.uniform(-0.5, -0.3)
    lobes = [
        (0.0, 0.95),
        (-0.85, 0.1),
        (-0.95, -0.6),
        (-0.4, -0.95),
        (0.0, dip),
        (0.4, -0.95),
        (0.95, -0.6),
        (0.85, 0.1),
    ]
    return [polygon("body", *lobes, rounds=2), ellipse("part", 0.0, -0.05, 0.4, 0.35)]


def key(rng: Generator) -> Silhouette:
    bow = rng.uniform(0.36, 0.45)
    return [
        box("body", -0.3, -0.12, 0.95, 0.12),
        box("body", 0.5, 0.0, 0.65, 0.42),
        box("body", 0.78, 0.0, 0.95, 0.36),
        ellipse("part", -0.5, 0.0, bow, bow),
        ellipse("hole", -0.55, 0.0, bow * 0.45, bow * 0.45),
    ]


def umbrella(rng: Generator) -> Silhouette:
    rim = rng.uniform(-0.05, 0.1)
    dome = [
        (-0.98, rim),
        (-0.7, -0.6),
        (0.0, -0.95),
        (0.7, -0.6),
        (0.98, rim),
        (0.65, rim - 0.13),
        (0.33, rim),
        (0.0, rim - 0.13),
        (-0.33, rim),
        (-0.65, rim - 0.13),
    ]
    hook = [(-0.05, rim - 0.2), (0.05, rim - 0.2), (0.05, 0.78), (0.2, 0.78), (0.2, 0.95), (-0.05, 0.95)]
    return [polygon("body", *hook), polygon("part", *dome, rounds=1)]


def cactus(rng: Generator) -> Silhouette:
    left, right = rng.uniform(-0.2, 0.1), rng.uniform(-0.4, 0.0)
    return [
        polygon("part", (-0.2, -0.98), (0.2, -0.98), (0.22, 0.55), (-0.22, 0.55), rounds=1),
        polygon(
            "body",
            (-0.15, left + 0.3),
            (-0.75, left + 0.3),
            (-0.75, left - 0.4),
            (-0.5, left - 0.4),
            (-0.5, left + 0.1),
            (-0.15, left + 0.1),
            rounds=1,
        ),
        polygon(
            "body",
            (0.15, right + 0.3),
            (0.75, right + 0.3),
            (0.75, right - 0.4),
            (0.5, right - 0.4),
            (0.5, right + 0.1),
            (0.15, right + 0.1),
            rounds=1,
        ),
        polygon("body", (-0.45, 0.5), (0.45, 0.5), (0.33, 0.95), (-0.33, 0.95)),
    ]


def butterfly(rng: Generator) -> Silhouette:
    span = rng.uniform(0.8, 0.98)
    upper = [(0.0, 0.0), (span * 0.4, -0.85), (span, -0.8), (span * 0.95, -0.15)]
    lower = [(0.0, 0.0), (span * 0.8, 0.1), (span * 0.75, 0.7), (span * 0.3, 0.75)]
    wings = [("part", upper), ("body", lower)]
    mirrored = [(role, [(-x, y) for x, y in points]) for role, points in wings]
    return [polygon(role, *points, rounds=1) for role, points in [*wings, *mirrored]] + [
        ellipse("dark", 0.0, 0.0, 0.08, 0.6)
    ]


def lamp(rng: Generator) -> Silhouette:
    top, foot = rng.uniform(0.3, 0.45), rng.uniform(0.4, 0.55)
    return [
        box("body", -0.08, -0.1, 0.08, 0.85),
        polygon("body", (-foot, 0.95), (-foot * 0.6, 0.75), (foot * 0.6, 0.75), (foot, 0.95)),
        polygon("part", (-top, -0.95), (top, -0.95), (0.8, 0.05), (-0.8, 0.05)),
    ]


def pebble(rng: Generator) -> Silhouette:
    angle, radius = np.sort(rng.uniform(0, 2 * np.pi, 7)), rng.uniform(0.5, 1.0, 7)
    rim = list(zip((radius * np.cos(angle)).tolist(), (radius * np.sin(angle)).tolist(), strict=True))
    return [polygon("body", *rim, rounds=int(rng.integers(0, 3)))]


def stick(rng: Generator) -> Silhouette:
    half = rng.uniform(0.05, 0.12)
    return [polygon("body", (-1.0, -half), (1.0, -half * 0.5), (1.0, half * 0.5), (-1.0, half))]


def ball(rng: Generator) -> Silhouette:
    return [ellipse("body" if rng.random() < 0.6 else "part", 0.0, 0.0, 0.9, 0.9)]


def block(rng: Generator) -> Silhouette:
    half = rng.uniform(0.4, 0.9)
    lid = rng.uniform(-half, half)
    return [box("body", -0.9, -half, 0.9, half), box("part" if rng.random() < 0.4 else "dark", -0.9, -half, 0.9, lid)]
