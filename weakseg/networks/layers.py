"""Layers that several networks share."""

from typing import cast

from torch import Tensor, nn


def gaussian_conv(
    in_channels: int,
    out_channels: int,
    kernel: int,
    std: float,
    *,
    dilation: int = 1,
    padding: int | None = None,
    bias: bool = True,
) -> nn.Conv2d:
    """Caffe's new layer: Gaussian weights, zero bias; keeps the size unless `padding` is given."""
    same = dilation * (kernel // 2)
    pad = same if padding is None else padding
    conv = nn.Conv2d(in_channels, out_channels, kernel, padding=pad, dilation=dilation, bias=bias)
    nn.init.normal_(conv.weight, std=std)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


def sum_of(layers: nn.ModuleList, x: Tensor) -> Tensor:
    total = layers[0](x)
    for layer in layers[1:]:
        total = total + layer(x)
    return cast(Tensor, total)
