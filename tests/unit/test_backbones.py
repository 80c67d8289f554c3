"""EfficientNet-lite0: folding, dilation and grid geometry against plain references."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from weakseg.errors import UserError
from weakseg.networks.backbones.efficientnet import EfficientNetLite, wheel_weights

# EfficientNet-lite0 block by block: kernel, stride, expansion, output channels (Tan & Le 2019)
BLOCKS = [
    (3, 1, 1, 16),
    (3, 2, 6, 24), (3, 1, 6, 24),
    (5, 2, 6, 40), (5, 1, 6, 40),
    (3, 2, 6, 80), (3, 1, 6, 80), (3, 1, 6, 80),
    (5, 1, 6, 112), (5, 1, 6, 112), (5, 1, 6, 112),
    (5, 2, 6, 192), (5, 1, 6, 192), (5, 1, 6, 192), (5, 1, 6, 192),
    (3, 1, 6, 320),
]  # fmt: skip


@pytest.fixture(scope="module")
def weights() -> Mapping[str, Tensor]:
    return wheel_weights("efficientnet_lite0")


def lite0(weights: Mapping[str, Tensor], output_stride: int, dilate: bool = True) -> EfficientNetLite:
    backbone = EfficientNetLite("efficientnet_lite0", output_stride, dilate)
    backbone.load_wheel(weights)
    return backbone.eval()


def photos(side: int, batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(side)
    coarse = torch.randint(0, 256, (batch, 3, 9, 9), generator=generator).float()
    return functional.interpolate(coarse, (side, side), mode="bilinear", align_corners=True)


def close(actual: Tensor, expected: Tensor, tolerance: float = 1e-4) -> None:
    """Equal to `tolerance` of the largest value."""
    scale = expected.abs().max()
    torch.testing.assert_close(actual / scale, expected / scale, rtol=0, atol=tolerance)


# --- the published network, written once more without folding ---------------------------------------------------


def same_conv(x: Tensor, weight: Tensor, stride: int = 1, groups: int = 1) -> Tensor:
    """TensorFlow's SAME padding: ceil(side / stride) outputs, the odd pixel at the end."""
    kernel = weight.shape[2]
    pads = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in (x.shape[3], x.shape[2])]
    x = functional.pad(x, [part for pad in pads for part in (pad // 2, pad - pad // 2)])
    return functional.conv2d(x, weight, None, stride, groups=groups)


def batch_norm(x: Tensor, weights: Mapping[str, Tensor], name: str) -> Tensor:
    norm = nn.BatchNorm2d(x.shape[1], eps=1e-3).eval()
    norm.load_state_dict({key: weights[f"{name}.{key}"] for key in norm.state_dict()})
    return norm(x)


def reference(weights: Mapping[str, Tensor], images: Tensor) -> Iterator[Tensor]:
    """The stem, every block, and the head, one after the other."""
    x = same_conv((images - 127) / 128, weights["_conv_stem.weight"], 2)
    x = functional.relu6(batch_norm(x, weights, "_bn0"))
    yield x
    for number, (kernel, stride, expand, channels) in enumerate(BLOCKS):
        prefix, hidden = f"_blocks.{number}.", x
        if expand > 1:
            hidden = same_conv(x, weights[f"{prefix}_expand_conv.weight"])
            hidden = functional.relu6(batch_norm(hidden, weights, f"{prefix}_bn0"))
        depthwise = weights[f"{prefix}_depthwise_conv.weight"]
        assert depthwise.shape[2] == kernel
        hidden = same_conv(hidden, depthwise, stride, len(depthwise))
        hidden = functional.relu6(batch_norm(hidden, weights, f"{prefix}_bn1"))
        hidden = batch_norm(same_conv(hidden, weights[f"{prefix}_project_conv.weight"]), weights, f"{prefix}_bn2")
        x = x + hidden if stride == 1 and x.shape[1] == channels else hidden
        yield x
    yield functional.relu6(batch_norm(same_conv(x, weights["_conv_head.weight"]), weights, "_bn1"))


@torch.no_grad()
def test_folded_network_equals_the_published_one(weights: Mapping[str, Tensor]) -> None:
    backbone, images = lite0(weights, 32), photos(65)
    _, *blocks, head = reference(weights, images)
    low, high = backbone(images)
    assert high.shape == (2, 320, 3, 3)
    close(low, blocks[4])
    close(high, blocks[-1])
    close(backbone.embedding(high), head)


@pytest.mark.parametrize(("output_stride", "every"), [(16, 2), (8, 4)])
@torch.no_grad()
def test_dilated_features_contain_the_strided_ones(
    weights: Mapping[str, Tensor], output_stride: int, every: int
) -> None:
    """The atrous algorithm: every second (fourth) cell of the dense map is the published network's."""
    images = photos(97)
    *_, high, _ = reference(weights, images)
    close(lite0(weights, output_stride)(images).high[:, :, ::every, ::every], high)


@torch.no_grad()
def test_dropping_strides_without_dilation_is_another_network(weights: Mapping[str, Tensor]) -> None:
    images = photos(65)
    plain, dilated = lite0(weights, 16, dilate=False)(images).high, lite0(weights, 16)(images).high
    assert plain.shape == dilated.shape
    assert (plain - dilated).abs().max() > 0.1
    convs = [module for module in lite0(weights, 8, dilate=False).modules() if isinstance(module, nn.Conv2d)]
    assert all(conv.dilation == (1, 1) for conv in convs)


# --- where a cell sits -----------------------------------------------------------------------------------------


def mean_network(output_stride: int) -> EfficientNetLite:
    """Every convolution is a weighted mean, most of it of the middle tap: symmetric, and linear for small inputs."""
    backbone = EfficientNetLite("efficientnet_lite0", output_stride).double().eval()
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            middle, taps = module.kernel_size[0] // 2, module.weight[0].numel()
            nn.init.constant_(module.weight, 0.3 / taps)
            module.weight.data[:, :, middle, middle] += 0.7 / module.weight.shape[1]
            nn.init.zeros_(module.bias)
    return backbone


@torch.no_grad()
def response(backbone: EfficientNetLite, side: int, row: int, column: int) -> tuple[Tensor, ...]:
    """What one brighter pixel adds to the maps at stride 8 and at the output stride."""
    images = torch.full((2, 3, side, side), 128.0, dtype=torch.float64)
    images[1, :, row, column] += 1
    return tuple(maps[1, 0] - maps[0, 0] for maps in backbone(images))


def peak(values: Tensor) -> tuple[int, int]:
    index = int(values.argmax())
    return index // values.shape[1], index % values.shape[1]


@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize("side", [65, 129])
def test_cell_i_sits_at_pixel_stride_times_i(output_stride: int, side: int) -> None:
    backbone, cells = mean_network(output_stride), (side - 1) // output_stride + 1
    row, column = cells // 2, cells // 2 + 1
    low, high = response(backbone, side, row * output_stride, column * output_stride)
    assert low.shape == ((side - 1) // 8 + 1,) * 2
    assert high.shape == (cells, cells)
    assert peak(low) == (row * output_stride // 8, column * output_stride // 8)
    assert peak(high) == (row, column)


@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize("side", [65, 129])
def test_the_middle_pixel_answers_symmetrically(output_stride: int, side: int) -> None:
    middle = (side - 1) // 2
    for values in response(mean_network(output_stride), side, middle, middle):
        assert values.max() > 0
        for mirrored in (values.flip(0), values.flip(1), values.T):
            close(mirrored, values, 1e-9)


@pytest.mark.parametrize("output_stride", [8, 16])
@torch.no_grad()
def test_mirrored_photos_have_mirrored_maps(output_stride: int) -> None:
    """Holds only if the grid is centred: cell i and cell n - 1 - i lie at mirrored pixels."""
    backbone, images = mean_network(output_stride), photos(81).double()
    for maps, mirrored in zip(backbone(images), backbone(images.flip(3)), strict=True):
        close(mirrored.flip(3), maps, 1e-9)


# --- interface -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize("dilate", [True, False])
@torch.no_grad()
def test_strides_and_continuation(output_stride: int, dilate: bool) -> None:
    backbone, images = EfficientNetLite("efficientnet_lite0", output_stride, dilate).eval(), photos(97)
    low, high = backbone(images)
    assert low.shape == (2, backbone.low_channels, 13, 13)
    assert high.shape == (2, backbone.channels, 96 // output_stride + 1, 96 // output_stride + 1)
    assert backbone.embedding(high).shape == (2, backbone.embed_channels, *high.shape[2:])
    assert torch.equal(backbone.stride8(images), low)
    assert torch.equal(backbone.from_low(low), high)
    assert torch.equal(backbone(images.to(torch.uint8).float()).high, backbone(images.to(torch.uint8)).high)


def test_missing_or_damaged_weights_are_named(tmp_path: Path) -> None:
    missing, text = tmp_path / "none.pth", tmp_path / "text.pth"
    text.write_text("no weights")
    for path, reason in ((missing, "not found"), (text, "not a weights file")):
        with pytest.raises(UserError, match=rf"{path.name}: .*{reason}"):
            wheel_weights("efficientnet_lite0", path)
