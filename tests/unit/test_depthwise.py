"""The depthwise convolution's own gradient is that of torch's convolution."""

import pytest
import torch
from torch.nn import functional

from weakseg.networks.layers import DepthwiseConv2d


@pytest.mark.parametrize("size", [(15, 15), (8, 11), (3, 2), (1, 1)])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("dilation", [1, 2, 3, 4])
def test_gradients_are_those_of_the_plain_convolution(size: tuple[int, int], kernel: int, dilation: int) -> None:
    torch.manual_seed(0)
    layer = DepthwiseConv2d(6, kernel, dilation=dilation).double()
    x = torch.randn(2, 6, *size, dtype=torch.float64).to(memory_format=torch.channels_last).requires_grad_()
    gradient = torch.randn(2, 6, *size, dtype=torch.float64)
    sources = (x, layer.weight, layer.bias)
    ours = layer(x)
    plain = functional.conv2d(x, layer.weight, layer.bias, 1, kernel // 2 * dilation, dilation, 6)
    assert "_Depthwise" in type(ours.grad_fn).__name__
    torch.testing.assert_close(ours, plain, rtol=0, atol=0)
    for own, expected in zip(
        torch.autograd.grad(ours, sources, gradient), torch.autograd.grad(plain, sources, gradient), strict=True
    ):
        torch.testing.assert_close(own, expected, rtol=1e-12, atol=1e-12)


def test_only_gradients_that_are_asked_for_are_computed() -> None:
    layer, x = DepthwiseConv2d(4, 3, dilation=2), torch.randn(1, 4, 5, 5)
    layer.weight.requires_grad_(False)
    layer(x).sum().backward()
    assert x.grad is None and layer.weight.grad is None
    assert layer.bias is not None and layer.bias.grad is not None and layer.bias.grad.tolist() == [25.0] * 4


@pytest.mark.parametrize("stride", [1, 2])
def test_evaluation_and_strides_take_the_plain_convolution(stride: int) -> None:
    layer, x = DepthwiseConv2d(4, 5, stride), torch.randn(1, 4, 9, 9)
    if stride == 1:
        layer.eval()
    assert "Convolution" in type(layer(x).grad_fn).__name__
    assert set(layer.state_dict()) == {"weight", "bias"}  # as torch's, so that models stay readable
