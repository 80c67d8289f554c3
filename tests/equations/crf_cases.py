"""Pictures and scores that the tests of the dense CRF share."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def smooth_case(
    batch: int, classes: int, height: int, width: int, random_seed: int = 0
) -> tuple[npt.NDArray[np.uint8], Tensor]:
    """Pictures of smooth colours, and smooth logits, with some noise."""
    generator = torch.Generator().manual_seed(random_seed)
    coarse = torch.rand(batch, 3 + classes, 4, 4, generator=generator)
    fine = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    colours = (fine[:, :3] * 255 + torch.randn(batch, 3, height, width, generator=generator) * 4).clamp(0, 255)
    images = colours.permute(0, 2, 3, 1).round().to(torch.uint8).contiguous().numpy()
    return images, fine[:, 3:] * 6 + torch.randn(batch, classes, height, width, generator=generator) * 0.5
