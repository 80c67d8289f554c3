"""Input normalization inside the network: it belongs to the weights, not to the data set ."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from weakseg.errors import UserError

# name -> (mean, std), RGB, for values in 0..255. Caffe's lists are BGR; here they are reversed.
NORMALIZATIONS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "caffe": ((122.675, 116.669, 104.008), (1.0, 1.0, 1.0)),
    "caffe_sec": ((123.0, 117.0, 104.0), (1.0, 1.0, 1.0)),
    "efficientnet_lite": ((127.0, 127.0, 127.0), (128.0, 128.0, 128.0)),
}


Numbers = Mapping[str, Sequence[float]]  # {"mean": RGB, "std": RGB}


class Normalization(nn.Module):
    """(B,3,H,W) RGB in 0..255 → (value − mean) / std per channel.

    The buffers are not part of the state dict: code that rebuilds a network passes `name` again (`.name`). Raises
    UserError for a name that is not in NORMALIZATIONS.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str | Numbers = "imagenet") -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.ones(1, 3, 1, 1), persistent=False)
        self.use(name)

    def use(self, name: str | Numbers) -> None:
        """Switch to the normalization that newly loaded weights expect: a name, or `mean` and `std` as numbers."""
        self.name = name
        mean, std = self._numbers(name)
        self.mean.copy_(torch.tensor(mean).view(1, 3, 1, 1))
        self.std.copy_(torch.tensor(std).view(1, 3, 1, 1))

    @staticmethod
    def _numbers(name: str | Numbers) -> tuple[Sequence[float], Sequence[float]]:
        if not isinstance(name, str):
            return name["mean"], name["std"]
        if name not in NORMALIZATIONS:
            raise UserError(f"normalization: {name!r} is unknown; choose one of {', '.join(NORMALIZATIONS)}")
        return NORMALIZATIONS[name]

    def forward(self, images: Tensor) -> Tensor:
        return (images.to(self.mean.dtype) - self.mean) / self.std
