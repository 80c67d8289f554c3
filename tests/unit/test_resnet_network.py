"""ResNet-101 as backbone, and DeepLab-v2 with it (Chen et al. 2016; GS §6.1)."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import ResNet, resnet101

from weakseg.errors import UserError
from weakseg.networks.backbones.resnet import ASPP, DeepLabV2, ResNet101Backbone
from weakseg.networks.heads import MultiScale
from weakseg.networks.weights import read_state_dict
from weakseg.training.optimization import parameter_groups


@pytest.fixture(scope="module")
def torchvision_net() -> ResNet:
    """torchvision's own network, random, with batch norm statistics that are not the default."""
    torch.manual_seed(0)
    net = resnet101(weights=None).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 1.0, 3.0)
            nn.init.normal_(module.running_mean, std=0.1)
    return net


def layers_2_and_4(net: ResNet, images: Tensor) -> tuple[Tensor, Tensor]:
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = (images / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    x = net.layer2(net.layer1(net.maxpool(net.relu(net.bn1(net.conv1(x))))))
    return x, net.layer4(net.layer3(x))


@pytest.mark.parametrize(("stride", "every"), [(8, 4), (16, 2)])
@torch.no_grad()
def test_dilated_features_contain_the_strided_ones(torchvision_net: ResNet, stride: int, every: int) -> None:
    """The atrous algorithm: every fourth (second) cell of the dense map is torchvision's stride-32 map."""
    backbone = ResNet101Backbone(stride).eval()
    backbone.load_torchvision(torchvision_net.state_dict())
    images = torch.randint(0, 256, (2, 3, 65, 97)).float()
    low, high = backbone(images)
    expected_low, expected_high = layers_2_and_4(torchvision_net, images)
    torch.testing.assert_close(low, expected_low, rtol=1e-3, atol=1e-4)
    scale = expected_high.abs().max()
    torch.testing.assert_close(high[:, :, ::every, ::every] / scale, expected_high / scale, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("stride", "dilate", "side"), [(8, True, 41), (16, True, 21), (8, False, 41), (16, False, 21)])
def test_backbone_shapes(stride: int, dilate: bool, side: int) -> None:
    with torch.device("meta"):
        backbone = ResNet101Backbone(stride, dilate)
    low, high = backbone(torch.empty(1, 3, 321, 321, device="meta"))
    assert low.shape == (1, backbone.low_channels, 41, 41)
    assert high.shape == (1, backbone.channels, side, side)
    dilations = {m.dilation[0] for m in backbone.trunk.modules() if isinstance(m, nn.Conv2d)}
    assert dilations == ({1, 2, 4} if stride == 8 else {1, 2}) if dilate else dilations == {1}


@pytest.mark.parametrize(("stride", "side"), [(8, 41), (16, 21)])
def test_deeplab_v2_shapes_and_rates(stride: int, side: int) -> None:
    with torch.device("meta"):
        network = DeepLabV2(2, output_stride=stride)
    assert network(torch.empty(1, 3, 321, 321, device="meta")).shape == (1, 2, side, side)
    rates = [branch.dilation[0] for branch in network.aspp.branches]
    assert [rate * stride for rate in rates] == [48, 96, 144, 192]


def test_aspp_is_the_sum_of_its_branches() -> None:
    torch.manual_seed(0)
    aspp, features = ASPP(5, 3), torch.randn(2, 5, 9, 9)
    expected = sum(
        functional.conv2d(features, branch.weight, branch.bias, padding=rate, dilation=rate)
        for branch, rate in zip(aspp.branches, (6, 12, 18, 24), strict=True)
    )
    torch.testing.assert_close(aspp(features), expected)
    assert torch.cat([branch.weight.flatten() for branch in aspp.branches]).std().item() == pytest.approx(
        0.01, rel=0.15
    )
    assert not any(branch.bias.any() for branch in aspp.branches)


def test_batch_norm_is_frozen_unless_asked_for() -> None:
    with torch.device("meta"):
        frozen, free = DeepLabV2(2), DeepLabV2(2, freeze_batch_norm=False)
    assert not any("bn" in name for name, _ in frozen.named_parameters())
    assert any("bn" in name for name, _ in free.named_parameters())


def test_parameter_groups_of_deeplab_v2() -> None:
    with torch.device("meta"):
        groups = {group["name"]: group for group in parameter_groups(DeepLabV2(2), 2.5e-4, 5e-4)}
    assert {name: (g["lr"], g["weight_decay"]) for name, g in groups.items()} == {
        "weights": (2.5e-4, 5e-4),
        "last_weights": (pytest.approx(2.5e-3), 5e-4),
        "last_biases": (pytest.approx(5e-3), 0.0),
    }
    assert len(groups["last_weights"]["params"]) == len(groups["last_biases"]["params"]) == 4


def test_multi_scale_takes_the_maximum_on_the_first_grid() -> None:
    sizes: list[int] = []

    class Shrink(nn.Module):
        """Every eighth pixel, and a bonus on the smallest photo."""

        def forward(self, images: Tensor) -> Tensor:
            sizes.append(images.shape[2])
            return images[:, :1, ::8, ::8] + (100.0 if images.shape[2] == 161 else 0.0)

    ramp = torch.arange(321.0).view(1, 1, 1, 321).expand(1, 3, 321, 321)
    network = MultiScale(Shrink(), [0.5, 0.75, 1.0])
    half, smaller, full, fused = network(ramp)
    assert sizes == [161, 241, 321]
    assert [logits.shape[3] for logits in (half, smaller, full, fused)] == [21, 31, 41, 41]
    torch.testing.assert_close(fused, ramp[:, :1, ::8, ::8] + 100)  # corners aligned: nothing shifts
    torch.testing.assert_close(smaller[0, 0, 0], torch.linspace(0, 320, 31))
    torch.testing.assert_close(full, ramp[:, :1, ::8, ::8])


def test_unsupported_stride_is_the_users_error() -> None:
    with pytest.raises(UserError, match="output_stride"):
        ResNet101Backbone(4)


def test_missing_weights_name_the_file_and_where_to_put_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    with pytest.raises(UserError) as caught:
        read_state_dict("resnet101")
    assert str(tmp_path / "hub" / "checkpoints" / "resnet101-63fe2227.pth") in str(caught.value)


def test_mismatching_entries_are_all_listed(torchvision_net: ResNet) -> None:
    weights = dict(torchvision_net.state_dict())
    del weights["layer1.0.conv1.weight"]
    weights["conv1.weight"] = torch.zeros(64, 4, 7, 7)
    backbone = ResNet101Backbone(8)
    before = backbone.trunk.layer4[0].conv1.weight.clone()
    with pytest.raises(UserError) as caught:
        backbone.load_torchvision(weights)
    assert "layer1.0.conv1.weight is missing" in str(caught.value)
    assert "conv1.weight is (64, 4, 7, 7), wanted (64, 3, 7, 7)" in str(caught.value)
    assert torch.equal(backbone.trunk.layer4[0].conv1.weight, before)
