"""Loading VGG-16 weights, torchvision's and the papers' (Caffe), from files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional
from torchvision.models import vgg16

from weakseg.errors import UserError
from weakseg.networks.backbones.caffe_weights import load_caffe_vgg16, read_caffe_layers
from weakseg.networks.backbones.vgg16 import vgg_classifier, vgg_gap, vgg_largefov
from weakseg.networks.backbones.vgg_trunk import VGG16Backbone
from weakseg.networks.backbones.vgg_weights import load_torchvision_vgg16, thin_out
from weakseg.networks.normalization import Normalization
from weakseg.networks.registry import build_segmenter, load_pretrained, normalization_of
from weakseg.networks.weights import read_state_dict

IMAGES = torch.randint(0, 256, (2, 3, 16, 16), generator=torch.Generator().manual_seed(1)).float()


class Surprise:
    """Unpickling this prints."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("code ran",)


def caffe_layers(network, rename: dict[str, str] | None = None) -> dict[str, Tensor]:
    """Random weights for all of `network`'s convolutions, as a converted .caffemodel holds them."""
    generator, layers = torch.Generator().manual_seed(0), {}
    for name, conv in network.named_convs().items():
        theirs = (rename or {}).get(name, name)
        layers[f"{theirs}.weight"] = torch.randn(conv.weight.shape, generator=generator) * 0.05
        if conv.bias is not None:
            layers[f"{theirs}.bias"] = torch.randn(conv.bias.shape, generator=generator)
    return layers


@pytest.fixture(scope="module")
def trunk_file(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Tensor]]:
    layers = caffe_layers(VGG16Backbone())
    file = tmp_path_factory.mktemp("caffe") / "vgg.npz"
    np.savez(file, **{name: tensor.numpy() for name, tensor in layers.items()})
    return file, layers


@torch.no_grad()
def test_first_layer_equals_bgr_minus_mean(trunk_file: tuple[Path, dict[str, Tensor]]) -> None:
    file, layers = trunk_file
    backbone = VGG16Backbone()
    load_caffe_vgg16(backbone, file)
    bgr_minus_mean = IMAGES[:, [2, 1, 0]] - torch.tensor([104.008, 116.669, 122.675]).view(1, 3, 1, 1)
    expected = functional.conv2d(bgr_minus_mean, layers["conv1_1.weight"], layers["conv1_1.bias"], padding=1)
    actual = backbone.layers.conv1_1(backbone.normalization(IMAGES))
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-3)
    assert torch.equal(backbone.layers.conv5_3.weight, layers["conv5_3.weight"])
    assert torch.equal(backbone.layers.conv5_3.bias, layers["conv5_3.bias"])


@pytest.mark.parametrize("normalization", [None, "caffe_sec"])
def test_a_converted_file_can_be_named_as_pretrained(
    trunk_file: tuple[Path, dict[str, Tensor]], normalization: str | None
) -> None:
    segmenter = build_segmenter("largefov", "vgg16", 3, 0.0, average_pool5a=True)
    load_pretrained(segmenter, "vgg16", str(trunk_file[0]), False, normalization)
    assert normalization_of(segmenter) == (normalization or "caffe")
    assert torch.equal(segmenter.layers.conv1_1.weight, trunk_file[1]["conv1_1.weight"].flip(1))


def test_secs_segmenter_has_its_own_mean(trunk_file: tuple[Path, dict[str, Tensor]]) -> None:
    backbone = VGG16Backbone()
    load_caffe_vgg16(backbone, trunk_file[0], normalization="caffe_sec")
    expected = IMAGES - torch.tensor([123.0, 117.0, 104.0]).view(1, 3, 1, 1)
    torch.testing.assert_close(backbone.normalization(IMAGES), expected)


def test_imagenet_normalization_is_torchvisions() -> None:
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = (IMAGES / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    torch.testing.assert_close(Normalization("imagenet")(IMAGES), expected, rtol=1e-4, atol=1e-5)
    assert not Normalization().state_dict()
    with pytest.raises(UserError, match="normalization"):
        Normalization("caffe2")


def test_trained_segmenter_loads_with_the_authors_layer_names(tmp_path: Path) -> None:
    network = vgg_largefov(21)
    layers = caffe_layers(network, {"fc6": "fc6_1", "fc7": "fc7_1", "fc8": "fc8-SEC"})
    save_file(layers, tmp_path / "sec.safetensors")
    load_caffe_vgg16(network, tmp_path / "sec.safetensors", last_layer=True, normalization="caffe_sec")
    assert torch.equal(network.layers.fc6.weight, layers["fc6_1.weight"])
    assert torch.equal(network.fc8.weight, layers["fc8-SEC.weight"])
    assert torch.equal(network.fc8.bias, layers["fc8-SEC.bias"])
    assert torch.equal(network.layers.conv1_1.weight, layers["conv1_1.weight"][:, [2, 1, 0]])


def test_inner_product_matrix_loads_into_fc8(tmp_path: Path) -> None:
    network = vgg_gap("lowres", 20)
    layers = caffe_layers(network, {"fc6": "fc6_gap", "fc8": "score"})
    layers["score.weight"] = layers["score.weight"].flatten(1)
    save_file(layers, tmp_path / "gap.safetensors")
    load_caffe_vgg16(network, tmp_path / "gap.safetensors", last_layer=True)
    assert torch.equal(network.fc8.weight[:, :, 0, 0], layers["score.weight"])


def test_fully_connected_layers_stay_random_when_asked(trunk_file: tuple[Path, dict[str, Tensor]]) -> None:
    network = vgg_gap("lowres", 20)
    before = network.layers.fc6.weight.clone()
    load_caffe_vgg16(network, trunk_file[0], fc_from_pretrained=False)
    assert torch.equal(network.layers.fc6.weight, before)


def test_missing_and_misshaped_layers_are_all_listed(
    trunk_file: tuple[Path, dict[str, Tensor]], tmp_path: Path
) -> None:
    layers = dict(trunk_file[1])
    del layers["conv2_1.bias"]
    layers["conv3_1.weight"] = torch.zeros(256, 128, 5, 5)
    save_file(layers, tmp_path / "broken.safetensors")
    network = vgg_gap("lowres", 20)
    before = network.layers.conv5_3.weight.clone()
    with pytest.raises(UserError) as caught:
        load_caffe_vgg16(network, tmp_path / "broken.safetensors")
    message = str(caught.value)
    assert "broken.safetensors" in message
    assert "conv2_1.bias is missing" in message
    assert "conv3_1.weight is (256, 128, 5, 5), wanted (256, 128, 3, 3)" in message
    assert "fc6.weight is missing" in message and "fc6.bias is missing" in message
    assert torch.equal(network.layers.conv5_3.weight, before)
    assert network.normalization.name == "imagenet"


def test_pickled_arrays_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "evil.npz", **{"conv1_1.weight": np.array([Surprise()], dtype=object)})
    with pytest.raises(UserError, match=r"evil\.npz"):
        read_caffe_layers(tmp_path / "evil.npz")
    assert "code ran" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["vgg.caffemodel", "vgg.npz", "vgg.safetensors"])
def test_unreadable_caffe_files_are_the_users_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="missing"):
        read_caffe_layers(tmp_path / name)
    (tmp_path / name).write_bytes(b"not weights")
    with pytest.raises(UserError, match=name):
        read_caffe_layers(tmp_path / name)


@torch.no_grad()
def test_classifier_is_torchvisions_vgg16_at_224() -> None:
    """The whole network, fully connected layers included, gives torchvision's 1000 scores."""
    torch.manual_seed(0)
    theirs = vgg16(weights=None, init_weights=False).eval()
    ours = vgg_classifier(1000, fc_channels=4096, fc8_bias=True).eval()
    load_torchvision_vgg16(ours, theirs.state_dict(), fc_from_pretrained=True)
    ours.fc8.weight.copy_(theirs.classifier[6].weight[:, :, None, None])
    ours.fc8.bias.copy_(theirs.classifier[6].bias)
    images = torch.randint(0, 256, (1, 3, 224, 224)).float()
    expected = theirs(Normalization("imagenet")(images))
    assert expected.std() > 1e-3
    torch.testing.assert_close(ours(images), expected, rtol=1e-3, atol=1e-5)


def fc_pattern(out_channels: int, in_channels: int, taps: int) -> Tensor:
    """Every entry tells its output channel and kernel tap; all input channels share memory."""
    pattern = torch.arange(out_channels)[:, None, None] * 100.0 + torch.arange(taps)
    return pattern.expand(out_channels, in_channels, taps)


def test_fc6_and_fc7_are_thinned_out_as_deeplab_did() -> None:
    fc6 = thin_out(fc_pattern(4096, 512, 49).unflatten(2, (7, 7)), torch.Size((1024, 512, 3, 3)))
    taps = torch.tensor([[0.0, 3, 6], [21, 24, 27], [42, 45, 48]])
    assert torch.equal(fc6[2, 7], 2 * 4 * 100 + taps)
    assert torch.equal(fc6[1023, 0], 1023 * 4 * 100 + taps)
    inputs = torch.arange(4096.0)[None, :, None, None].expand(4096, 4096, 1, 1)
    fc7 = thin_out(inputs, torch.Size((1024, 1024, 1, 1)))
    assert torch.equal(fc7[5, :, 0, 0], torch.arange(1024.0) * 4)  # the channels that fc6 kept
    middle = thin_out(inputs, torch.Size((1024, 1024, 3, 3)))[0, 9]
    assert torch.equal(middle, torch.tensor([[0.0, 0, 0], [0, 36, 0], [0, 0, 0]]))
    roi = thin_out(fc_pattern(4096, 512, 49).unflatten(2, (7, 7)), torch.Size((1024, 512, 1, 1)))
    assert roi[1, 0].item() == 400 + 24
    assert torch.equal(thin_out(torch.arange(4096.0), torch.Size((1024,))), torch.arange(1024.0) * 4)


@pytest.fixture(scope="module")
def torchvision_file(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Tensor]]:
    """torchvision's vgg16 state dict, random, with constant (thus small on disk) fully connected weights."""
    torch.manual_seed(0)
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in vgg16(weights=None).state_dict().items()}
    weights = {n: torch.randn(s) * 0.02 for n, s in shapes.items() if n.startswith("features")}
    weights |= {n: torch.full((), 0.5).expand(s) for n, s in shapes.items() if n.startswith("classifier")}
    file = tmp_path_factory.mktemp("torchvision") / "vgg16-397923af.pth"
    torch.save(weights, file)
    return file, weights


@pytest.mark.parametrize("fc_from_pretrained", [False, True])
def test_torchvision_file_starts_the_segmenter(
    torchvision_file: tuple[Path, dict[str, Tensor]], fc_from_pretrained: bool
) -> None:
    file, weights = torchvision_file
    network = vgg_largefov(21, normalization="caffe")
    fresh = {name: network.named_convs()[name].weight.clone() for name in ("fc6", "fc7", "fc8")}
    load_torchvision_vgg16(network, read_state_dict("vgg16", file), fc_from_pretrained)
    assert network.normalization.name == "imagenet"
    assert torch.equal(network.layers.conv1_1.weight, weights["features.0.weight"])
    assert torch.equal(network.layers.conv3_2.bias, weights["features.12.bias"])
    assert torch.equal(network.layers.conv5_3.weight, weights["features.28.weight"])
    for name in ("fc6", "fc7"):
        taken = torch.equal(network.named_convs()[name].weight, torch.full_like(fresh[name], 0.5))
        kept = torch.equal(network.named_convs()[name].weight, fresh[name])
        assert (taken, kept) == (fc_from_pretrained, not fc_from_pretrained), name
    assert torch.equal(network.fc8.weight, fresh["fc8"])


def test_missing_torchvision_file_says_which_and_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"elsewhere\.pth.*vgg16-397923af\.pth"):
        read_state_dict("vgg16", tmp_path / "elsewhere.pth")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    with pytest.raises(UserError) as caught:
        read_state_dict("vgg16")
    assert str(tmp_path / "hub" / "checkpoints" / "vgg16-397923af.pth") in str(caught.value)


def test_unreadable_torchvision_files_are_the_users_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"features.0.weight": Surprise()}, tmp_path / "evil.pth")
    (tmp_path / "text.pth").write_bytes(b"not weights")
    (tmp_path / "empty.pth").write_bytes(b"")
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    for name in ("evil.pth", "text.pth", "empty.pth", "list.pth"):
        with pytest.raises(UserError, match=name):
            read_state_dict("vgg16", tmp_path / name)
    assert "code ran" not in capsys.readouterr().out
