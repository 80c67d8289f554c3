"""What a segmenter sees of a photo, by either paper's geometry (SEC §4.1, GS §6.1)."""

import numpy as np
import numpy.typing as npt
import torch

from weakseg.images.resizing import SNAP_STRIDE, grid_side
from weakseg.images.tensors import as_image_tensor, resized
from weakseg.images.transforms import pad_reflect


def input_sides(image: npt.NDArray[np.uint8], geometry: str, input_px: int | None) -> tuple[int, int]:
    """(height, width) of what the network sees of a photo."""
    if geometry == "warp":
        assert input_px is not None
        return input_px, input_px
    rows, columns = (grid_side(max(side, input_px or 1), SNAP_STRIDE) for side in image.shape[:2])
    return rows, columns


def network_input(
    image: npt.NDArray[np.uint8], geometry: str, input_px: int | None
) -> tuple[torch.Tensor, tuple[int, int]]:
    """(3, h, w) uint8, and the height and width in px that its grid will cover.

    `warp` (SEC): the whole photo squeezed to input_px squared. `crop` (GS): the photo at its own size, padded by
    reflection at the right and bottom to input_px if it is smaller, else to the next side of 16·k + 1 px.
    """
    height, width = image.shape[:2]
    rows, columns = input_sides(image, geometry, input_px)
    if geometry == "warp":
        return resized(image, rows, columns)[0], (height, width)
    return as_image_tensor(pad_reflect(image, rows, columns)), (rows, columns)
