"""Compose one toy photo: background, clutter, objects that occlude each other, light and the camera's flaws."""

from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from weakseg.toy.backgrounds import BACKGROUNDS, Canvas
from weakseg.toy.categories import CLUTTER, BoolMap, Category, Placement, object_coordinates, place, rasterize
from weakseg.toy.shapes import Layer
from weakseg.toy.textures import PATTERNS, Colour, Map, hsv, mix, octave_noise

SUPERSAMPLE = 2  # painted at twice the size and averaged: smooth edges without an anti-aliasing rasterizer


@dataclass(frozen=True)
class SceneStyle:
    """What makes the photos hard. Sizes are the longest extent as a fraction of the photo's shorter side."""

    alone_size: tuple[float, float] = (0.42, 0.72)
    grouped_size: tuple[float, float] = (0.28, 0.56)
    distractor_count: tuple[int, int] = (3, 9)
    distractor_size: tuple[float, float] = (0.06, 0.22)
    distractor_opacity: tuple[float, float] = (0.4, 0.8)
    home_probability: float = 0.6  # of a background that goes with the first object's category
    odd_colour_probability: float = 0.35  # of a body in any colour, not its category's
    odd_part_probability: float = 0.2  # of a part in any two colours
    min_contrast: float = 55.0  # RGB distance of body and background, if eight tries reach it
    min_visible_fraction: float = 0.55  # of an object after occlusion
    max_noise: float = 7.0  # standard deviation of the sensor noise in grey levels


@dataclass
class Scene:
    """A photo uint8 (H, W, 3) with its objects in painting order and, for each, its visible pixels (H, W)."""

    photo: NDArray[np.uint8]
    categories: list[Category] = field(default_factory=list)
    visible: list[BoolMap] = field(default_factory=list)


def blur(mask: BoolMap, radius_px: float) -> Map:
    image = Image.fromarray(mask.astype(np.uint8) * 255)
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius_px)), dtype=np.float64) / 255.0


def body_colour(rng: Generator, category: Category, around: Colour, style: SceneStyle) -> Colour:
    """A colour near the category's, or any; drawn again up to eight times while it is too close to `around`."""
    colour = around
    for _ in range(8):
        odd = rng.random() < style.odd_colour_probability
        hue = rng.uniform(0, 1) if odd else category.body_hue + rng.normal(0, 0.07)
        colour = hsv(hue, rng.uniform(0.1, 0.75), rng.uniform(0.3, 0.95))
        if np.sqrt(((colour - around) ** 2).sum()) >= style.min_contrast:
            break
    return colour


def _fill(rng: Generator, placement: Placement, role: str, body: Colour, u: Map, v: Map, style: SceneStyle) -> Canvas:
    """The paint of one role all over the crop: float RGB (H, W, 3)."""
    category = placement.category
    if role in ("dark", "light"):
        value = rng.uniform(0.1, 0.25) if role == "dark" else rng.uniform(0.85, 1.0)
        return np.broadcast_to(hsv(category.body_hue, 0.15, value), (*u.shape, 3))
    mottle = octave_noise(rng, u.shape[0], u.shape[1], slope=0.8)
    if role == "body":
        return mix(body * 0.8, np.minimum(body * 1.2, 255.0), mottle)
    odd = rng.random() < style.odd_part_probability
    hues = rng.uniform(0, 1, 2) if odd else category.part_hues + rng.normal(0, 0.05, 2)
    first = hsv(hues[0], rng.uniform(0.45, 0.9), rng.uniform(0.3, 0.6))
    second = hsv(hues[1], rng.uniform(0.45, 0.9), rng.uniform(0.75, 1.0))
    pattern = mix(first, second, PATTERNS[category.pattern](u, v, rng))
    return mix(pattern * 0.8, np.minimum(pattern * 1.15, 255.0), mottle)


def _shading(mask: BoolMap, radius_px: float, light: NDArray[np.float64]) -> Map:
    """A factor (H, W) that makes the flat shape look round: brighter on the lit side."""
    height_map = blur(mask, radius_px)
    slope_y, slope_x = np.gradient(height_map)
    relief = np.clip((slope_x * light[0] + slope_y * light[1]) * radius_px, -1.0, 1.0)
    return 0.82 + 0.25 * height_map - 0.5 * relief


def paint(rng: Generator, canvas: Canvas, placement: Placement, light: NDArray[np.float64], style: SceneStyle) -> None:
    """Paint the object and its soft shadow onto the canvas, in place."""
    points = np.concatenate([layer.points for layer in placement.layers])
    margin_px = 8 * SUPERSAMPLE
    left, top = np.maximum(np.floor(points.min(axis=0)).astype(int) - margin_px, 0)
    right, bottom = np.ceil(points.max(axis=0)).astype(int) + margin_px
    crop = canvas[top:bottom, left:right]
    origin = np.array([left, top], dtype=np.float64)
    layers = [Layer(layer.points - origin, layer.role) for layer in placement.layers]
    height, width = crop.shape[:2]
    mask = rasterize(layers, height, width)
    u, v = object_coordinates(placement, canvas.shape[0], canvas.shape[1])
    u, v = u[top:bottom, left:right], v[top:bottom, left:right]
    around = crop[mask].mean(axis=0) if mask.any() else np.zeros(3)
    body = body_colour(rng, placement.category, around, style)
    away = SUPERSAMPLE * np.array([-4.0 * light[0], 3.0])
    moved = [Layer(layer.points + away, layer.role) for layer in layers]
    shadow = blur(rasterize(moved, height, width), 3.0 * SUPERSAMPLE)
    crop *= 1.0 - rng.uniform(0.15, 0.5) * shadow[..., None]
    painted = crop.copy()
    for layer in layers:
        if layer.role != "hole":
            inside = rasterize([layer], height, width)
            painted[inside] = _fill(rng, placement, layer.role, body, u, v, style)[inside]
    shade = _shading(mask, max(2.0, 0.1 * max(height, width)), light)
    crop[mask] = np.clip(painted * shade[..., None], 0.0, 255.0)[mask]


def scatter_distractors(rng: Generator, canvas: Canvas, light: NDArray[np.float64], style: SceneStyle) -> None:
    """Paint small things of no class, in place, half transparent so that they stand out less than objects."""
    height, width = canvas.shape[:2]
    for _ in range(int(rng.integers(*style.distractor_count, endpoint=True))):
        category = CLUTTER[int(rng.integers(len(CLUTTER)))]
        placement = place(rng, category, height, width, style.distractor_size)
        painted = canvas.copy()
        paint(rng, painted, placement, light, style)
        canvas += rng.uniform(*style.distractor_opacity) * (painted - canvas)


def expose(rng: Generator, canvas: Canvas, style: SceneStyle) -> NDArray[np.uint8]:
    """Uneven light, a colour cast, averaging down to the photo's size, a little blur and noise."""
    height, width = canvas.shape[0] // SUPERSAMPLE, canvas.shape[1] // SUPERSAMPLE
    small = canvas.reshape(height, SUPERSAMPLE, width, SUPERSAMPLE, 3).mean(axis=(1, 3))
    light = 0.75 + 0.4 * octave_noise(rng, height, width, slope=1.6)
    small = small * light[..., None] * rng.uniform(0.92, 1.08, 3)
    image = Image.fromarray(np.clip(np.rint(small), 0, 255).astype(np.uint8))
    soft = np.asarray(image.filter(ImageFilter.GaussianBlur(rng.uniform(0.0, 0.6))), dtype=np.float64)
    noisy = soft + rng.uniform(1.5, style.max_noise) * rng.standard_normal(soft.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def _fits(mask: BoolMap, placement: Placement, visible: list[BoolMap], areas: list[int], style: SceneStyle) -> bool:
    """Whether most of the new object is inside, and enough of each earlier one stays visible."""
    points = np.concatenate([layer.points for layer in placement.layers])
    outside = np.maximum(-points.min(axis=0), 0) + np.maximum(points.max(axis=0) - mask.shape[::-1], 0)
    if (outside > 0.18 * np.ptp(points, axis=0)).any():
        return False
    left_over = [int((seen & ~mask).sum()) for seen in visible]
    return all(count >= style.min_visible_fraction * area for count, area in zip(left_over, areas, strict=True))


def arrange(
    rng: Generator, wanted: list[Category], height: int, width: int, size: tuple[float, float], style: SceneStyle
) -> tuple[list[Placement], list[BoolMap]]:
    """Poses of the wanted objects in painting order, and each one's visible pixels on the canvas (H, W).

    An object that finds no free pose in 25 tries is left out, except the first one.
    """
    placements: list[Placement] = []
    visible: list[BoolMap] = []
    areas: list[int] = []
    for category in wanted:
        for _ in range(25 if placements else 500):
            placement = place(rng, category, height, width, size)
            mask = rasterize(placement.layers, height, width)
            if _fits(mask, placement, visible, areas, style):
                visible = [seen & ~mask for seen in visible] + [mask]
                placements.append(placement)
                areas.append(int(mask.sum()))
                break
    return placements, visible


def draw_scene(
    rng: Generator, wanted: list[Category], height: int, width: int, size: tuple[float, float], style: SceneStyle
) -> Scene:
    """A photo of height × width px with the wanted objects, at least the first; sizes as in `SceneStyle`."""
    homes = wanted[0].homes if rng.random() < style.home_probability else tuple(BACKGROUNDS)
    small = BACKGROUNDS[str(rng.choice(homes))](rng, height, width)
    canvas = small.repeat(SUPERSAMPLE, axis=0).repeat(SUPERSAMPLE, axis=1)
    light = np.array([rng.choice([-1.0, 1.0]) * rng.uniform(0.3, 0.9), -rng.uniform(0.4, 0.9)])
    scatter_distractors(rng, canvas, light, style)
    placements, visible = arrange(rng, wanted, canvas.shape[0], canvas.shape[1], size, style)
    for placement in placements:
        paint(rng, canvas, placement, light, style)
    shape = (height, SUPERSAMPLE, width, SUPERSAMPLE)
    covers = [mask.reshape(shape).mean(axis=(1, 3)) for mask in visible]
    shown = [cover >= 0.5 for cover in covers]
    for later in range(1, len(shown)):  # a pixel shared equally goes to the object in front
        for earlier in range(later):
            shown[earlier] &= ~shown[later]
    return Scene(expose(rng, canvas, style), [placement.category for placement in placements], shown)
