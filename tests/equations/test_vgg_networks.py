"""SEC §5 and §6.1, GS table 6: the VGG-16 networks, shape by shape, with their fields of view."""

import pytest
import torch
from torch import Tensor, nn

from weakseg.networks.backbones.vgg16 import vgg_classifier, vgg_gap, vgg_largefov
from weakseg.networks.backbones.vgg_trunk import VGG16Backbone, VGGTrunk
from weakseg.training.optimization import parameter_groups, poly_schedule, step_schedule

GAP_TABLE = [
    # kind, heat map side, fc6 (kernel, dilation), fc7 (kernel, dilation), strides of pool1 .. 5, pool kernel
    ("lowres", 21, (3, 1), None, (2, 2, 2, 2, None), 2),
    ("highres", 41, (3, 1), (3, 1), (2, 2, 2, None, None), 2),
    ("roi", 41, (1, 1), (1, 1), (2, 2, 2, None, 1), 2),
    ("deeplab", 41, (3, 12), (1, 1), (2, 2, 2, 1, None), 3),
]


def on_meta(build, *arguments, **settings) -> nn.Module:
    """The network without memory for its weights: shapes only."""
    with torch.device("meta"):
        return build(*arguments, **settings).eval()


def sides(network: VGGTrunk, input_px: int) -> dict[str, int]:
    """Height after every layer for a square input."""
    x, heights = torch.empty(1, 3, input_px, input_px, device="meta"), {}
    for name, layer in network.layers.named_children():
        x = layer(x)
        heights[name] = x.shape[2]
    return heights


def one_channel(network: VGGTrunk) -> VGGTrunk:
    """The same geometry, one channel, averages for maxima, positive weights: nothing cancels or is masked."""
    for name, layer in list(network.layers.named_children()):
        if isinstance(layer, nn.Conv2d):
            geometry = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
            conv = nn.Conv2d(3 if name == "conv1_1" else 1, 1, *geometry, bias=False)
            nn.init.constant_(conv.weight, 1 / conv.weight.numel())
            network.layers.register_module(name, conv)
        elif isinstance(layer, nn.MaxPool2d):
            pool = nn.AvgPool2d(layer.kernel_size, layer.stride, layer.padding, layer.ceil_mode)
            network.layers.register_module(name, pool)
    return network.double().eval()


def seen_rows(network: VGGTrunk, cell: int, input_px: int) -> tuple[int, int]:
    """First and last image row that reaches cell (cell, cell) of the output grid."""
    image = torch.full((1, 3, input_px, input_px), 255.0, dtype=torch.float64, requires_grad=True)
    network.features(image)[0, 0, cell, cell].backward()
    assert image.grad is not None
    rows = image.grad[0, 0].abs().sum(1).nonzero().flatten()
    return int(rows[0]), int(rows[-1])


@pytest.mark.parametrize(("kind", "side", "fc6", "fc7", "pool_strides", "pool_kernel"), GAP_TABLE)
def test_gap_network_follows_table_6(kind, side, fc6, fc7, pool_strides, pool_kernel) -> None:
    network = on_meta(vgg_gap, kind, 20)
    images = torch.empty(2, 3, 321, 321, device="meta")
    assert network.features(images).shape == (2, 1024, side, side)
    assert network.class_maps(images).shape == (2, 20, side, side)
    assert network(images).shape == (2, 20)
    convs = network.named_convs()
    assert (convs["fc6"].kernel_size[0], convs["fc6"].dilation[0]) == fc6
    assert convs["fc6"].in_channels == 512
    assert ("fc7" in convs) == (fc7 is not None)
    if fc7 is not None:
        assert (convs["fc7"].kernel_size[0], convs["fc7"].dilation[0]) == fc7
    pools = [getattr(network.layers, f"pool{block}", None) for block in range(1, 6)]
    assert tuple(pool and pool.stride for pool in pools) == pool_strides
    assert {pool.kernel_size for pool in pools[:3]} == {pool_kernel}
    assert convs["conv5_3"].dilation[0] == (2 if kind == "deeplab" else 1)


def test_roi_pools_every_3x3_window_to_its_maximum() -> None:
    pool5 = vgg_gap("roi", 2).layers.pool5
    features = torch.randn(1, 4, 5, 6)
    windows = nn.functional.unfold(nn.functional.pad(features, (1, 1, 1, 1), value=-9.0), 3)
    assert torch.equal(pool5(features), windows.view(1, 4, 9, 5, 6).amax(2))


def test_plain_pools_round_up() -> None:
    heights = sides(on_meta(vgg_classifier, 20), 321)
    assert [heights[f"pool{block}"] for block in range(1, 6)] == [161, 81, 41, 21, 11]


def test_deeplab_pools_give_the_same_grids() -> None:
    heights = sides(on_meta(vgg_largefov, 21), 321)
    assert [heights[f"pool{block}"] for block in range(1, 6)] == [161, 81, 41, 41, 41]


def tiny_input(side: int = 33) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (2, 3, side, side), generator=generator).float()


def test_gap_before_and_after_fc8_agree() -> None:
    torch.manual_seed(0)
    network = vgg_gap("highres", 3).eval()
    images = tiny_input()
    maps = torch.einsum("bkhw,ck->bchw", network.features(images), network.fc8.weight[:, :, 0, 0])
    torch.testing.assert_close(network.class_maps(images), maps)
    torch.testing.assert_close(network(images), maps.mean((2, 3)))
    assert maps.abs().max() > 1e-3


def test_relu_after_fc7_is_optional() -> None:
    torch.manual_seed(0)
    with_relu, without = vgg_gap("highres", 3).eval(), vgg_gap("highres", 3, relu_after_fc7=False).eval()
    without.load_state_dict(with_relu.state_dict())
    images = tiny_input()
    assert without.features(images).min() < 0
    torch.testing.assert_close(without.features(images).relu(), with_relu.features(images))


def test_gap_deeplab_pool5_is_a_parameter() -> None:
    network = on_meta(vgg_gap, "deeplab", 20, deeplab_pool5=True)
    assert (network.layers.pool5.kernel_size, network.layers.pool5.stride) == (3, 1)
    assert sides(network, 321)["fc7"] == 41


@pytest.mark.parametrize(("input_px", "fc6_side"), [(224, 1), (321, 5), (161, 1), (385, 7)])
def test_classifier_is_plain_vgg_slid_over_the_image(input_px: int, fc6_side: int) -> None:
    network = on_meta(vgg_classifier, 20)
    assert sides(network, input_px)["fc6"] == fc6_side
    assert network(torch.empty(2, 3, input_px, input_px, device="meta")).shape == (2, 20)
    assert network.fc8.in_channels == 1024


@pytest.mark.parametrize("build", [vgg_classifier, lambda classes: vgg_gap("highres", classes)])
def test_dropout_follows_both_fully_connected_layers(build) -> None:
    names = [name for name, _ in on_meta(build, 20).layers.named_children()]
    assert names[-6:] == ["fc6", "relu6", "drop6", "fc7", "relu7", "drop7"]
    assert all(on_meta(build, 20).layers.get_submodule(name).p == 0.5 for name in ("drop6", "drop7"))


def test_stride8_is_conv4_1_and_the_rest_follows_from_it() -> None:
    torch.manual_seed(0)
    network = vgg_gap("highres", 3).eval()
    recorded: list[Tensor] = []
    network.layers.conv4_1.register_forward_hook(lambda _m, _i, output: recorded.append(output))
    images = tiny_input()
    low = network.stride8(images).detach().requires_grad_()
    assert torch.equal(low, recorded[0])
    scores = network.scores_from_stride8(low)
    torch.testing.assert_close(scores, network(images))
    (gradient,) = torch.autograd.grad(scores.sum(), low)
    assert gradient.abs().sum() > 0
    assert on_meta(vgg_classifier, 20).stride8(torch.empty(1, 3, 321, 321, device="meta")).shape == (
        1,
        512,
        41,
        41,
    )


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("average", [False, True])
def test_largefov_shapes(small: bool, average: bool) -> None:
    network = on_meta(vgg_largefov, 21, small_field_of_view=small, average_pool5a=average)
    assert network(torch.empty(2, 3, 321, 321, device="meta")).shape == (2, 21, 41, 41)
    assert network(torch.empty(1, 3, 531, 531, device="meta")).shape == (
        1,
        21,
        68,
        68,
    )  # 531 → 266 → 134 → 68
    convs = network.named_convs()
    assert convs["fc6"].dilation[0] == (1 if small else 12)
    assert convs["conv5_1"].dilation[0] == (1 if small else 2)


def test_field_of_view_of_the_small_network_is_211() -> None:
    first, last = seen_rows(one_channel(vgg_largefov(21, small_field_of_view=True)), cell=20, input_px=321)
    assert last - first + 1 == 211
    assert first + last == 2 * 8 * 20  # centred on pixel 8·i


def test_field_of_view_of_the_large_network_is_378_from_the_centre_cell() -> None:
    """SEC's 378: the centre cell (20, 20) of the 41×41 grid, its field cut off at pixel 0, not at 320."""
    network = one_channel(vgg_largefov(21))
    first, last = seen_rows(network, cell=20, input_px=441)
    assert (first, last - first + 1) == (0, 378)


@pytest.mark.parametrize(
    ("small", "average", "field_px"), [(False, True, 435), (False, False, 419), (True, False, 195)]
)
def test_unbounded_field_of_view(small: bool, average: bool, field_px: int) -> None:
    network = one_channel(vgg_largefov(21, small_field_of_view=small, average_pool5a=average))
    first, last = seen_rows(network, cell=30, input_px=481)
    assert (last - first + 1, first + last) == (field_px, 2 * 8 * 30)


def test_average_pool5a_counts_the_padding_as_caffe_does() -> None:
    corner = vgg_largefov(21).layers.pool5a(torch.ones(1, 1, 3, 3))
    torch.testing.assert_close(corner[0, 0], torch.tensor([[4.0, 6, 4], [6, 9, 6], [4, 6, 4]]) / 9)


@pytest.mark.parametrize(
    ("network", "layer", "std"),
    [
        (lambda: vgg_gap("highres", 20), "fc6", 0.005),
        (lambda: vgg_gap("highres", 20), "fc8", 0.005),
        (lambda: vgg_largefov(21), "fc8", 0.01),
    ],
)
def test_new_layers_start_as_caffe_starts_them(network, layer: str, std: float) -> None:
    torch.manual_seed(0)
    conv = network().named_convs()[layer]
    assert conv.weight.std().item() == pytest.approx(std, rel=0.03)
    assert conv.weight.mean().abs().item() < 0.05 * std
    assert conv.bias is None or not conv.bias.any()


def test_only_the_segmenter_has_a_bias_in_fc8() -> None:
    assert on_meta(vgg_gap, "highres", 20).fc8.bias is None
    assert on_meta(vgg_classifier, 20).fc8.bias is None
    assert on_meta(vgg_largefov, 21).fc8.bias is not None


@pytest.mark.parametrize(
    ("stride", "dilate", "side", "dilation"), [(8, True, 41, 2), (8, False, 41, 1), (16, True, 21, 1)]
)
def test_backbone_strides(stride: int, dilate: bool, side: int, dilation: int) -> None:
    backbone = on_meta(VGG16Backbone, stride, dilate)
    low, high = backbone(torch.empty(1, 3, 321, 321, device="meta"))
    assert low.shape == (1, backbone.low_channels, 41, 41)
    assert high.shape == (1, backbone.channels, side, side)
    assert backbone.layers.conv5_1.dilation[0] == dilation


def test_parameter_groups_of_the_segmenter() -> None:
    network = on_meta(vgg_largefov, 21)
    setting = {
        id(parameter): (group["lr"], group["weight_decay"])
        for group in parameter_groups(network, 1e-3, 5e-4)
        for parameter in group["params"]
    }
    assert len(setting) == len(list(network.parameters()))
    for name, parameter in network.named_parameters():
        rate = 1e-3 * (10 if name.startswith("fc8") else 1) * (2 if name.endswith("bias") else 1)
        decay = 0.0 if name.endswith("bias") else 5e-4
        assert setting[id(parameter)] == (pytest.approx(rate), decay), name
    assert setting[id(network.fc8.bias)][0] == pytest.approx(0.02)


def test_parameter_groups_leave_out_what_is_frozen_and_empty() -> None:
    network = on_meta(vgg_gap, "lowres", 20)
    network.layers.requires_grad_(False)
    (group,) = parameter_groups(network, 1e-3, 5e-4, last_layer_multiplier=3)
    assert (group["name"], group["lr"], group["params"]) == (
        "last_weights",
        pytest.approx(3e-3),
        [network.fc8.weight],
    )


def test_schedules() -> None:
    assert [step_schedule(step, 2000) for step in (0, 1999, 2000, 4000)] == pytest.approx([1, 1, 0.1, 0.01])
    assert [poly_schedule(step, 20_000) for step in (0, 10_000, 20_000)] == pytest.approx([1, 0.5**0.9, 0])
