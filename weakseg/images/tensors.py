"""numpy pictures as torch tensors."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch


def as_image_tensor(image: npt.NDArray[np.uint8]) -> torch.Tensor:
    """(H, W, 3) uint8 → (3, H, W) uint8, laid out channels last."""
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)


def as_map_tensor(array: npt.NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))
