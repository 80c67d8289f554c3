"""Layers that several networks share."""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional


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


class DepthwiseConv2d(nn.Conv2d):
    """Each channel (of `channels`) by a kernel of its own, k×k with k odd, padded so that stride 1 keeps the size.

    Its gradient is fast on a CPU. The usual one takes many times as long as the forward pass if the kernel is dilated.
    Here it has two parts: a convolution with the flipped kernel and, for the kernel's own gradient, an undilated
    problem on each of the dilation² independent grids.
    """

    def __init__(self, channels: int, kernel: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__(channels, channels, kernel, stride, kernel // 2 * dilation, dilation, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        # only while training: backprop seeders (weakseg.cams.backprop) look for the plain convolution
        if self.training and torch.is_grad_enabled() and x.device.type == "cpu" and self.stride == (1, 1):
            result: Tensor = _Depthwise.apply(x, self.weight, self.bias, self.dilation[0])  # type: ignore[no-untyped-call]
            return result
        return super().forward(x)


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, dilation: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.dilation = dilation
        return _same(x, weight, bias, dilation)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias, _ = ctx.needs_input_grad
        return (
            _same(gradient, weight.flip(2, 3), None, ctx.dilation) if needs_x else None,
            weight_gradient(x, gradient, weight, ctx.dilation) if needs_weight else None,
            gradient.sum((0, 2, 3)) if needs_bias else None,
            None,
        )


def _same(x: Tensor, weight: Tensor, bias: Tensor | None, dilation: int) -> Tensor:
    padding = weight.shape[2] // 2 * dilation
    return functional.conv2d(x, weight, bias, 1, padding, dilation, len(weight))


def weight_gradient(x: Tensor, gradient: Tensor, weight: Tensor, dilation: int) -> Tensor:
    """(C, 1, k, k), of input and output gradient (B, C, h, w)."""
    if dilation > 1:
        x, gradient = (space_to_batch(tensor, dilation) for tensor in (x, gradient))
    padding, channels = [weight.shape[2] // 2] * 2, len(weight)
    _, result, _ = torch.ops.aten.convolution_backward(
        gradient, x, weight, [channels], [1, 1], padding, [1, 1], False, [0, 0], channels, [False, True, False]
    )
    return result


def space_to_batch(x: Tensor, step: int) -> Tensor:
    """(step²·B, C, ⌈h/step⌉, ⌈w/step⌉): every step-th row and column from each start, zeros beyond the edge."""
    batch, channels, height, width = x.shape
    x = functional.pad(x, (0, -width % step, 0, -height % step))
    rows, columns = x.shape[2] // step, x.shape[3] // step
    cells = x.permute(0, 2, 3, 1).reshape(batch, rows, step, columns, step, channels)
    return cells.permute(2, 4, 0, 1, 3, 5).reshape(step * step * batch, rows, columns, channels).permute(0, 3, 1, 2)
