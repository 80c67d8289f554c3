"""Paired image/target transforms on numpy arrays; every random choice comes from the generator handed in.

Images are uint8 RGB (H, W, 3), targets uint8 class ids (H, W). Grids are point samples at pixel stride·i, which is
what order-1 interpolation with aligned corners gives where the side is stride·k + 1 (321 → 41 at stride 8).
"""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.uint8]

cv2.setNumThreads(0)  # parallelism is over images, in processes


def resize_aligned(array: npt.NDArray[Any], height: int, width: int) -> npt.NDArray[Any]:
    """Order-1 resize of (h, w) or (h, w, K) with aligned corners: output corner pixels are input corner pixels."""
    if array.shape[:2] == (height, width):
        return array
    scale_y = (array.shape[0] - 1) / max(height - 1, 1)
    scale_x = (array.shape[1] - 1) / max(width - 1, 1)
    matrix = np.array([[scale_x, 0, 0], [0, scale_y, 0]], np.float32)
    return cv2.warpAffine(
        array, matrix, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )


def warp_square(image: Image, side_px: int) -> Image:
    """The whole image squeezed to side_px × side_px (SEC); area-averaged when shrinking, so nothing aliases."""
    shrinks = image.shape[0] > side_px and image.shape[1] > side_px
    return np.asarray(
        cv2.resize(image, (side_px, side_px), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    )


def resize_nearest(labels: Labels, height: int, width: int) -> Labels:
    """Nearest-neighbour resize with aligned corners of class ids."""
    if labels.shape == (height, width):
        return labels
    rows = np.rint(np.linspace(0, labels.shape[0] - 1, height)).astype(np.intp)
    columns = np.rint(np.linspace(0, labels.shape[1] - 1, width)).astype(np.intp)
    return labels[rows[:, None], columns[None]]


def rescale(image: Image, factor: float) -> Image:
    height, width = (max(round(side * factor), 1) for side in image.shape[:2])
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=method))


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


def pad_constant(labels: Labels, height: int, width: int, value: int) -> Labels:
    rows, columns = max(height - labels.shape[0], 0), max(width - labels.shape[1], 0)
    return np.pad(labels, ((0, rows), (0, columns)), constant_values=value) if rows or columns else labels


def flip(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Mirror left-right: axis 1 of (H, W) and (H, W, K)."""
    return array[:, ::-1]


def crop_borders(image: Image, most_fraction: float, rng: np.random.Generator) -> Image:
    """Cut up to `most_fraction` of the side off each border (GS's augmentation for classifiers)."""
    height, width = image.shape[:2]
    top, bottom, left, right = rng.uniform(0, most_fraction, 4)
    rows = slice(int(top * height), max(height - int(bottom * height), int(top * height) + 1))
    columns = slice(int(left * width), max(width - int(right * width), int(left * width) + 1))
    return image[rows, columns]


def crop_area(image: Image, smallest: float, largest: float, rng: np.random.Generator) -> Image:
    """A random window that shows a share of the image between `smallest` and `largest`, sides 3:4 to 4:3.

    An image too long for such a window gives its centre square instead of one.
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


def fit_square(image: Image, side_px: int) -> Image:
    """Longest side to `side_px`, the rest padded by reflection."""
    scaled = rescale(image, side_px / max(image.shape[:2]))[:side_px, :side_px]
    return pad_reflect(scaled, side_px, side_px)


def random_crop(
    image: Image, target: Labels, side_px: int, ignore_index: int, rng: np.random.Generator
) -> tuple[Image, Labels]:
    """The same random side_px × side_px window of both; smaller images are padded (reflection, ignore_index)."""
    image, target = pad_reflect(image, side_px, side_px), pad_constant(target, side_px, side_px, ignore_index)
    top = int(rng.integers(image.shape[0] - side_px + 1))
    left = int(rng.integers(image.shape[1] - side_px + 1))
    window = slice(top, top + side_px), slice(left, left + side_px)
    return image[window], target[window]


def jitter_colours(image: Image, strength: float, rng: np.random.Generator) -> Image:
    """Random brightness, contrast and saturation by up to ± `strength`; 0 returns the image as it is."""
    if strength == 0:
        return image
    brightness, contrast, saturation = rng.uniform(1 - strength, 1 + strength, 3)
    pixels = image.astype(np.float32) * brightness
    grey = pixels.mean(2, keepdims=True)
    pixels = grey + (pixels - grey) * saturation
    pixels = (pixels - pixels.mean()) * contrast + pixels.mean()
    return np.clip(pixels, 0, 255).astype(np.uint8)


def grid_side(length_px: int, stride: int) -> int:
    """The smallest side ≥ length_px of the form stride·k + 1."""
    return -(-(length_px - 1) // stride) * stride + 1
