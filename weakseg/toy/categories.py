"""The toy's object categories and their poses: eight classes, eight others for the saliency photos, and clutter."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from weakseg.toy import other_shapes, shapes
from weakseg.toy.shapes import Layer, Outline, Points, Silhouette

BoolMap = NDArray[np.bool_]


Matrix = NDArray[np.float64]


Zone = Literal["high", "middle", "low", "any", "all"]


@dataclass(frozen=True)
class Category:
    """How to draw one category.

    `pattern` fills its distinctive part in two colours near the hues `part_hues`; the plain rest is near `body_hue`.
    It is rotated by up to `tilt_degrees`, placed in `zone` of the photo, and prefers the backgrounds in `homes`.
    """

    name: str
    outline: Outline
    pattern: str
    part_hues: tuple[float, float]
    body_hue: float
    tilt_degrees: float
    zone: Zone
    homes: tuple[str, ...]


@dataclass(frozen=True)
class Placement:
    """`matrix` (2, 2) and `centre` (2,) map unit-box points x, y to canvas pixels; `layers` are in canvas pixels."""

    category: Category
    matrix: Matrix
    centre: NDArray[np.float64]
    layers: Silhouette


CLASSES = (
    Category("fish", shapes.fish, "stripes", (0.08, 0.60), 0.52, 35, "any", ("water",)),
    Category("gear", shapes.gear, "rings", (0.12, 0.65), 0.08, 180, "any", ("room", "cloth")),
    Category("house", shapes.house, "tiles", (0.02, 0.07), 0.12, 8, "low", ("field",)),
    Category("kite", shapes.kite, "checks", (0.95, 0.16), 0.78, 35, "high", ("sky",)),
    Category("leaf", shapes.leaf, "veins", (0.30, 0.17), 0.22, 180, "any", ("field", "stones")),
    Category("mushroom", shapes.mushroom, "dots", (0.99, 0.12), 0.10, 15, "low", ("field", "stones")),
    Category("sailboat", shapes.sailboat, "bars", (0.60, 0.02), 0.06, 10, "middle", ("water",)),
    Category("starfish", shapes.starfish, "lattice", (0.05, 0.88), 0.03, 180, "any", ("stones", "cloth", "water")),
)


SALIENT = (
    Category("mug", other_shapes.mug, "bars", (0.45, 0.55), 0.5, 10, "low", ("room", "cloth")),
    Category("bottle", other_shapes.bottle, "checks", (0.15, 0.33), 0.35, 15, "low", ("room",)),
    Category("heart", other_shapes.heart, "rings", (0.93, 0.85), 0.95, 25, "any", ("cloth", "sky")),
    Category("key", other_shapes.key, "lattice", (0.13, 0.10), 0.12, 180, "any", ("stones", "cloth")),
    Category("umbrella", other_shapes.umbrella, "stripes", (0.70, 0.15), 0.05, 30, "any", ("field", "water")),
    Category("cactus", other_shapes.cactus, "stripes", (0.33, 0.28), 0.36, 8, "low", ("stones", "field")),
    Category("butterfly", other_shapes.butterfly, "dots", (0.08, 0.62), 0.75, 60, "any", ("field", "sky")),
    Category("lamp", other_shapes.lamp, "veins", (0.14, 0.05), 0.62, 8, "low", ("room",)),
)


CLUTTER = (  # of no class
    Category("pebble", other_shapes.pebble, "dots", (0.1, 0.6), 0.1, 180, "all", ()),
    Category("stick", other_shapes.stick, "stripes", (0.1, 0.3), 0.08, 180, "all", ()),
    Category("ball", other_shapes.ball, "stripes", (0.0, 0.55), 0.6, 180, "all", ()),
    Category("block", other_shapes.block, "bars", (0.8, 0.35), 0.3, 180, "all", ()),
)


def rasterize(layers: Silhouette, height: int, width: int) -> BoolMap:
    """Pixels (H, W) inside any of the layers, minus the holes."""
    image = Image.new("L", (width, height))
    draw = ImageDraw.Draw(image)
    for layer in layers:
        draw.polygon([(x, y) for x, y in layer.points.tolist()], fill=0 if layer.role == "hole" else 255)
    return np.asarray(image) > 0


_ZONES = {"high": (0.2, 0.55), "middle": (0.35, 0.7), "low": (0.45, 0.78), "any": (0.22, 0.78), "all": (0.0, 1.0)}


def _deform(points: Points, amount: float, phases: Points) -> Points:
    """Bend a silhouette smoothly, the same way for all its layers."""
    return points + amount * np.sin(2.6 * points[:, ::-1] + phases[:2]) + 0.3 * amount * np.sin(7 * points + phases[2:])


def place(rng: Generator, category: Category, height: int, width: int, size: tuple[float, float]) -> Placement:
    """A random pose of the category on a canvas of height × width px; up to a fifth of it may be outside."""
    layers, phases, amount = category.outline(rng), rng.uniform(0, 2 * np.pi, 4), rng.uniform(0.0, 0.09)
    tilt = np.deg2rad(rng.uniform(-category.tilt_degrees, category.tilt_degrees))
    aspect, flip = rng.uniform(0.8, 1.25), rng.choice([-1.0, 1.0])
    turn = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
    pose = turn * np.array([aspect * flip, 1.0 / aspect])
    bent = [Layer(_deform(layer.points, amount, phases), layer.role) for layer in layers]
    corners = _apply(pose, np.concatenate([layer.points for layer in bent]))
    extent_px = min(height, width) * np.exp(rng.uniform(np.log(size[0]), np.log(size[1])))
    matrix = pose * (extent_px / np.ptp(corners, axis=0).max())
    zone = _ZONES[category.zone]
    across = zone if category.zone == "all" else (0.2, 0.8)
    centre = np.array([rng.uniform(*across) * width, rng.uniform(*zone) * height])
    moved = [Layer(_apply(matrix, layer.points) + centre, layer.role) for layer in bent]
    return Placement(category, matrix, centre, moved)


def _apply(matrix: Matrix, points: Points) -> Points:
    """Each point times the matrix, written out: no BLAS, so the same rounding everywhere."""
    x, y = points[:, 0], points[:, 1]
    return np.stack([matrix[0, 0] * x + matrix[0, 1] * y, matrix[1, 0] * x + matrix[1, 1] * y], axis=1)


def object_coordinates(placement: Placement, height: int, width: int) -> tuple[Points, Points]:
    """The canvas pixels (H, W) in the object's unit box: u along its x, v along its y."""
    (a, b), (c, d) = placement.matrix.tolist()
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float64)
    x, y = columns - placement.centre[0], rows - placement.centre[1]
    determinant = a * d - b * c
    return (d * x - b * y) / determinant, (a * y - c * x) / determinant
