"""numpy pictures as torch tensors."""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch


def as_image_tensor(image: npt.NDArray[np.uint8]) -> torch.Tensor:
    """(H, W, 3) uint8 → (3, H, W) uint8, laid out channels last."""
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)


def as_map_tensor(array: npt.NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))


def padded_square(pixels: torch.Tensor) -> torch.Tensor:
    """(B, K, h, w) → (B, K, s, s) with s the longer side: filled up at the bottom and right by reflection without
    repeating the border, as `pad_reflect` does."""
    height, width = pixels.shape[2:]
    side = max(height, width)
    rows, columns = (_reflected(length, side).to(pixels.device) for length in (height, width))
    return pixels[:, :, rows][:, :, :, columns]


def _reflected(length: int, side: int) -> torch.Tensor:
    """(side,) indices below `length`: to and fro between both ends."""
    at = torch.arange(side) % max(2 * (length - 1), 1)
    return torch.minimum(at, 2 * (length - 1) - at)


def resized(image: npt.NDArray[np.uint8], height: int, width: int) -> torch.Tensor:
    """(1, 3, height, width) uint8; area-averaged when shrinking."""
    shrinks = height < image.shape[0] and width < image.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    pixels = np.asarray(cv2.resize(image, (width, height), interpolation=method), np.uint8)
    return as_image_tensor(pixels).unsqueeze(0)
