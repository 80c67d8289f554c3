"""Resizing photos, maps and label maps; "aligned" means that corners stay on corners."""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from weakseg.arrays import LabelMap, Maps, Photo

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


def warp_square(image: Photo, side_px: int) -> Photo:
    """The whole image squeezed to side_px × side_px (SEC); area-averaged when shrinking, to avoid aliasing."""
    shrinks = image.shape[0] > side_px and image.shape[1] > side_px
    return np.asarray(
        cv2.resize(image, (side_px, side_px), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    )


def resize_nearest(labels: LabelMap, height: int, width: int) -> LabelMap:
    """Nearest-neighbour resize with aligned corners of class ids."""
    if labels.shape == (height, width):
        return labels
    rows = np.rint(np.linspace(0, labels.shape[0] - 1, height)).astype(np.intp)
    columns = np.rint(np.linspace(0, labels.shape[1] - 1, width)).astype(np.intp)
    return labels[rows[:, None], columns[None]]


def rescale(image: Photo, factor: float) -> Photo:
    height, width = (max(round(side * factor), 1) for side in image.shape[:2])
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=method))


def enlarge_labels(labels: LabelMap, height: int, width: int) -> LabelMap:
    """(h, w) → (height, width): each pixel takes the nearest one's class, pixel centres at half integers."""
    if labels.shape == (height, width):
        return labels
    rows, columns = (
        ((np.arange(side) + 0.5) * small / side).astype(np.intp)
        for side, small in zip((height, width), labels.shape, strict=True)
    )
    return np.ascontiguousarray(labels[rows[:, None], columns])


def grid_side(length_px: int, stride: int) -> int:
    """The smallest side ≥ length_px of the form stride·k + 1."""
    return -(-(length_px - 1) // stride) * stride + 1


SNAP_STRIDE = 16  # sides of 16·k + 1 px keep every grid of stride 8 and 16 on the corners


def input_size(height: int, width: int, side_px: float, geometry: str) -> tuple[int, int]:
    """The size that a photo is resized to: a square (`warp`), or longest side `side_px` with its proportions (`fit`, `pad`).

    Both sides are rounded to 16·k + 1 px.
    """
    if geometry == "warp":
        side = grid_side(round(side_px), SNAP_STRIDE)
        return side, side
    scale = side_px / max(height, width)
    return tuple(_snap(side * scale) for side in (height, width))  # type: ignore[return-value]


def _snap(length_px: float) -> int:
    return max(round((length_px - 1) / SNAP_STRIDE), 2) * SNAP_STRIDE + 1


def upsample_aligned(maps: npt.NDArray[np.floating], height: int, width: int) -> Maps:
    """Order-1 interpolation with aligned corners: (L, h, w) → (L, height, width) float32."""
    rows = _interpolation(maps.shape[1], height)
    columns = _interpolation(maps.shape[2], width)
    return np.asarray(rows @ maps.astype(np.float32) @ columns.T, np.float32)


def _interpolation(source: int, target: int) -> Maps:
    """(target, source) weights of linear interpolation with the first and the last samples aligned."""
    at = np.linspace(0, source - 1, target)
    left = np.minimum(at.astype(np.int64), max(source - 2, 0))
    right = np.minimum(left + 1, source - 1)
    weights = np.zeros((target, source))
    row = np.arange(target)
    weights[row, left] += 1 - (at - left)
    weights[row, right] += at - left
    return weights.astype(np.float32)
