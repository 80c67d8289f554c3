"""Networks of any kind on our grids, where cell i sits at pixel stride·i.

Even kernels and patches put their cells elsewhere: ConvNeXt's cell i at stride 8 is centred on pixel 8·i + 3.5,
a vision transformer's on pixel 16·i + 7.5. The offset is found from the pixels that a cell sees.
"""

from math import ceil
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

PROBE_CELLS = 16
SNAP_CELLS = 1 / 8  # offsets are multiples of it, hence the same on every machine; smaller ones are ignored


class Aligned(nn.Module):
    """`part` of a network, with a cell every `stride` cells (or pixels) of its input.

    (B, C, n, m) → (B, K, (n-1)//stride + 1, …). The input is padded at its end to whole multiples of `snap` plus one,
    so that layers whose padding depends on the size (TensorFlow's) pad both sides equally; with `windows`, to whole
    multiples. A part whose cell i sits at stride·i + `offset` gets extra input at its start for whole cells; the rest
    is interpolated between neighbours.
    """

    def __init__(self, part: nn.Module, stride: int, offset: float, snap: int, windows: bool = False) -> None:
        super().__init__()
        self.part, self.stride, self.snap = part, stride, snap
        self.before = max(0, round(offset))
        self.after = max(0, ceil(2 * offset)) - self.before
        self.shift = (self.before - offset) / stride
        self.rest = -self.before - self.after if windows else 1

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = ((side - 1) // self.stride + 1 for side in x.shape[2:])
        bottom, right = (self.after + (self.rest - side) % self.snap for side in x.shape[2:])
        x = self.part(functional.pad(x, (self.before, right, self.before, bottom), mode="replicate"))
        if abs(self.shift) > SNAP_CELLS:
            x = shifted(x, self.shift)
        return x[:, :, :rows, :columns]


def shifted(x: Tensor, cells: float) -> Tensor:
    """(B, C, h, w) shifted by `cells` (-1 to 1) in both directions, the border repeated."""
    for axis in (2, 3):
        side = x.shape[axis]
        first, last = x.narrow(axis, 0, 1), x.narrow(axis, side - 1, 1)
        before, after = (first, x.narrow(axis, 0, side - 1)), (x.narrow(axis, 1, side - 1), last)
        x = x.lerp(torch.cat(before if cells < 0 else after, axis), abs(cells))
    return x


def aligned(part: nn.Module, channels: int, stride: int, snap: int, windows_snap: int) -> Aligned:
    """`part` of `channels` inputs with its offset found. Raises ValueError if its cells are not on a regular grid."""
    side = PROBE_CELLS * max(stride, 2)
    for windows in (False, True):
        try:
            offset = _offset(part, channels, stride, side if windows else side + 1)
            found = Aligned(part, stride, offset, windows_snap if windows else snap, windows)
            left = _offset(found, channels, stride, side + 1)
        except (RuntimeError, AssertionError, ValueError):  # not with inputs of such sides
            continue
        if abs(left) <= stride / 4:
            return found
    raise ValueError(f"no cell at every multiple of {stride}")


def _offset(part: nn.Module, channels: int, stride: int, side: int) -> float:
    """How far the middle cell's position, the centroid of what it sees, is from stride times its index, in input
    cells."""
    # near 0, where gates and activations are almost linear
    x = torch.full((1, channels, side, side), 1e-9, requires_grad=True)
    training = part.training
    with torch.enable_grad():
        with EvenWeights():
            y = part.eval()(x)
        cell = y.shape[2] // 2
        (seen,) = torch.autograd.grad(y[0, :, cell, cell].sum(), x)
    part.train(training)
    rows, places = seen[0].sum((0, 2)).double(), torch.arange(side, dtype=torch.float64)
    rows = rows / rows.sum()
    centre = (rows @ places).item()
    if rows @ (places - centre).square() > (2 * stride) ** 2:
        raise ValueError("a cell that sees everything has no position")
    return round((centre - stride * cell) / SNAP_CELLS) * SNAP_CELLS


class EvenWeights(TorchFunctionMode):
    """While active, convolutions, linear layers and max pooling average, all channels alike (so only one is computed),
    and layers that move nothing do nothing: norms, attention, and odd kernels that keep the size.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is functional.conv2d:
            return _averaged(*args, **(kwargs or {}))
        if func is functional.linear:
            x, weight = args[:2]
            return x.mean(-1, keepdim=True).expand(*x.shape[:-1], len(weight))
        if func is functional.max_pool2d:
            same: dict[str, Any] = {key: kwargs[key] for key in ("stride", "padding", "ceil_mode")}
            return functional.avg_pool2d(args[0], args[1], **same, count_include_pad=False)
        if func in UNMOVED:
            return args[0].clone()
        if func in SOFTMAXES and args[0].shape[-1] == args[0].shape[-2]:  # each token's attention to all tokens
            return torch.eye(args[0].shape[-1]).expand_as(args[0])
        return func(*args, **(kwargs or {}))


UNMOVED = (functional.batch_norm, functional.layer_norm, functional.group_norm, functional.scaled_dot_product_attention)
SOFTMAXES = (Tensor.softmax, torch.softmax, functional.softmax)


def _averaged(x: Tensor, weight: Tensor, bias: Tensor | None = None, *settings: Any, **more: Any) -> Tensor:
    kernel = weight.new_full((1, 1, *weight.shape[2:]), 1 / weight[0, 0].numel())
    x = x.mean(1, keepdim=True)
    y = functional.conv2d(x, kernel, None, *settings[:3], **{key: more[key] for key in more if key != "groups"})
    if y.shape == x.shape and all(side % 2 for side in weight.shape[2:]):
        y = x
    return y.repeat(1, len(weight), 1, 1)


class Doubled(nn.Module):
    """(B, C, h, w) → (B, C, 2h - 1, 2w - 1): a cell put between every two."""

    def forward(self, x: Tensor) -> Tensor:
        size = [2 * side - 1 for side in x.shape[2:]]
        return functional.interpolate(x, size, mode="bilinear", align_corners=True)


class Halved(nn.Module):
    """(B, C, 2h - 1, 2w - 1) → (B, C, h, w), the inverse of `Doubled`.

    Taking every second cell would be an inverse too, but would leave the others without gradient. This filter, linear
    interpolation's counterpart in the 5/3 wavelet (Le Gall & Tabatabai 1988), weights both kinds of cells equally.
    """

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        taps = torch.tensor([-1.0, 2.0, 6.0, 2.0, -1.0]) / 8
        self.register_buffer("kernel", taps.outer(taps), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        kernel = self.kernel.to(x.dtype).expand(channels, 1, -1, -1)
        return functional.conv2d(functional.pad(x, (2, 2, 2, 2), mode="reflect"), kernel, stride=2, groups=channels)
