"""Paired image/target transforms on numpy arrays; all randomness comes from the given generator.

Images are uint8 RGB (H, W, 3), targets uint8 class ids (H, W). Grids are point samples at pixel stride·i, which is what
order-1 interpolation with aligned corners gives for sides of stride·k + 1 (321 → 41 at stride 8).
"""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from weakseg.arrays import LabelMap, Photo
from weakseg.images.resizing import rescale, warp_square

cv2.setNumThreads(0)  # parallelism is over images, in processes


def pad_reflect(image: npt.NDArray[Any], height: int, width: int) -> npt.NDArray[Any]:
    """Pad at the bottom and right up to (height, width) by reflection without repeating the border ("reflect 101")."""
    while image.shape[0] < height or image.shape[1] < width:  # reflection can at most double a side
        rows = min(max(height - image.shape[0], 0), max(image.shape[0] - 1, 0))
        columns = min(max(width - image.shape[1], 0), max(image.shape[1] - 1, 0))
        mode = cv2.BORDER_REFLECT_101
        if rows == 0 and columns == 0:  # a one-pixel side has nothing to reflect
            rows, columns = max(height - image.shape[0], 0), max(width - image.shape[1], 0)
            mode = cv2.BORDER_REPLICATE
        image = cv2.copyMakeBorder(image, 0, rows, 0, columns, mode)
    return image


def pad_constant(labels: LabelMap, height: int, width: int, value: int) -> LabelMap:
    rows, columns = max(height - labels.shape[0], 0), max(width - labels.shape[1], 0)
    return np.pad(labels, ((0, rows), (0, columns)), constant_values=value) if rows or columns else labels


def flip(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Mirror left-right: axis 1 of (H, W) and (H, W, K)."""
    return array[:, ::-1]


def crop_borders(image: Photo, most_fraction: float, rng: np.random.Generator) -> Photo:
    """Crop up to `most_fraction` of the side off each border (GS's augmentation for classifiers)."""
    height, width = image.shape[:2]
    top, bottom, left, right = rng.uniform(0, most_fraction, 4)
    rows = slice(int(top * height), max(height - int(bottom * height), int(top * height) + 1))
    columns = slice(int(left * width), max(width - int(right * width), int(left * width) + 1))
    return image[rows, columns]


def crop_area(image: Photo, smallest: float, largest: float, rng: np.random.Generator) -> Photo:
    """A random window showing a share of the image between `smallest` and `largest`, with sides 3:4 to 4:3. An image
    too elongated for such a window gives its centre square instead.
    """
    height, width = image.shape[:2]
    for _ in range(10):
        area = rng.uniform(smallest, largest) * height * width
        ratio = float(np.exp(rng.uniform(-1, 1) * np.log(4 / 3)))
        rows, columns = max(round((area / ratio) ** 0.5), 1), max(round((area * ratio) ** 0.5), 1)
        if rows <= height and columns <= width:
            top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
            return image[top : top + rows, left : left + columns]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]


def fit_square(image: Photo, side_px: int) -> Photo:
    """Longest side to `side_px`, the rest padded by reflection."""
    scaled = rescale(image, side_px / max(image.shape[:2]))[:side_px, :side_px]
    return pad_reflect(scaled, side_px, side_px)


def random_crop(
    image: Photo, target: LabelMap, side_px: int, ignore_index: int, rng: np.random.Generator
) -> tuple[Photo, LabelMap]:
    """The same random side_px × side_px window of both; smaller images are padded (reflection, ignore_index)."""
    image, target = pad_reflect(image, side_px, side_px), pad_constant(target, side_px, side_px, ignore_index)
    top = int(rng.integers(image.shape[0] - side_px + 1))
    left = int(rng.integers(image.shape[1] - side_px + 1))
    window = slice(top, top + side_px), slice(left, left + side_px)
    return image[window], target[window]


def jitter_colours(image: Photo, strength: float, rng: np.random.Generator) -> Photo:
    """Random brightness, contrast and saturation by up to ± `strength`; 0 returns the image unchanged."""
    if strength == 0:
        return image
    brightness, contrast, saturation = rng.uniform(1 - strength, 1 + strength, 3)
    pixels = image.astype(np.float32) * brightness
    grey = pixels.mean(2, keepdims=True)
    pixels = grey + (pixels - grey) * saturation
    pixels = (pixels - pixels.mean()) * contrast + pixels.mean()
    return np.clip(pixels, 0, 255).astype(np.uint8)


def classifier_input(image: npt.NDArray[np.uint8], input_px: int, geometry: str) -> npt.NDArray[np.uint8]:
    """(input_px, input_px, 3): `warp` squeezes the whole photo, `pad` keeps its proportions and reflects."""
    warp = warp_square if geometry == "warp" else fit_square
    return warp(image, input_px)
