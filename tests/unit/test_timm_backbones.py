"""timm's models as backbones, with random weights: grids on pixels, both halves, weights, batch norm, errors."""

import copy
import functools
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from weakseg.cams.backprop import excitation_maps
from weakseg.cams.heat_maps import activation_gradient, gradient_saliency
from weakseg.errors import UserError
from weakseg.networks import saved
from weakseg.networks.backbones import timm_models
from weakseg.networks.backbones.aligned import Aligned, Doubled, Halved, aligned
from weakseg.networks.backbones.timm_models import TimmBackbone, hub_file
from weakseg.networks.batch_norm import fold_batch_norm, is_batch_norm
from weakseg.networks.registry import build_backbone, build_classifier, build_segmenter, load_pretrained
from weakseg.networks.weights import NONE

timm = pytest.importorskip("timm")

CNNS = ("resnet50", "convnext_atto", "mobilenetv4_conv_small")
VIT = "vit_tiny_patch16_224"
MODELS = (*CNNS, VIT)
VGG16 = {"fc_channels": 1024, "relu_after_fc7": True, "deeplab_pool5": False}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Photos this small gain nothing from more threads, which on a busy machine wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@functools.cache
def backbone(model: str, output_stride: int = 16, dilate: bool = True) -> TimmBackbone:
    torch.manual_seed(0)
    built = build_backbone(f"timm/{model}", output_stride, dilate).eval()
    assert isinstance(built, TimmBackbone)
    return built


@functools.cache
def classifier(model: str, layout: str = "gap_lowres") -> Any:
    torch.manual_seed(0)
    return with_random_statistics(build_classifier(layout, f"timm/{model}", 3, 0.0).eval())


def photos(*size: int, batch: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(sum(size))
    coarse = torch.randint(0, 256, (batch, 3, 9, 9), generator=generator).float()
    return functional.interpolate(coarse, size, mode="bilinear", align_corners=True)


def with_random_statistics(network: nn.Module) -> nn.Module:
    """Batch norm that does something; timm's starts with branches multiplied by 0."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if is_batch_norm(module):
            for value, low, high in ((module.weight, 0.5, 1.5), (module.running_mean, -0.1, 0.1),
                                     (module.running_var, 0.5, 2)):  # fmt: skip
                value.data.uniform_(low, high, generator=generator)
    return network


# --- grids ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "output_stride", "dilate", "own"),
    [
        *((model, stride, dilate, stride) for model in CNNS for stride, dilate in ((8, True), (16, True), (32, False))),
        ("resnet50", 8, False, 8), ("convnext_atto", 8, False, 8), (VIT, 16, True, 16), (VIT, 32, False, 16),
        ("densenet121", 16, True, 16),
    ],
)  # fmt: skip
@torch.no_grad()
def test_grids_have_a_cell_every_stride_pixels(model: str, output_stride: int, dilate: bool, own: int) -> None:
    net = backbone(model, output_stride, dilate)
    for size in ((65, 97), (81, 33), (50, 72)):  # the last is not 16·k + 1
        low, high = net(photos(*size))
        assert low.shape == (1, net.low_channels, *((side - 1) // 8 + 1 for side in size))
        assert high.shape == (1, net.channels, *((side - 1) // own + 1 for side in size))
    dilations = {max(module.dilation) for module in net.modules() if isinstance(module, nn.Conv2d)}
    assert (max(dilations) > 1) == (dilate and model in CNNS)


def responses(model: str, changes: Tensor) -> tuple[Tensor, Tensor]:
    """(B, h, w) at both strides: what `changes` (B, 1, H, W) to a grey photo change, apart from what changes everywhere.

    Kernels are positive, so that a bright pixel stays one bright spot; random ones scatter it over all that a cell sees.
    """
    net = with_random_statistics(copy.deepcopy(backbone(model))).double()
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.abs_().div_(module.weight.sum((1, 2, 3), keepdim=True))
    grey = torch.full((1, 3, *changes.shape[2:]), 160.0, dtype=torch.float64)
    found = []
    for before, after in zip(net(grey), net(grey + changes), strict=True):
        change = (after - before).abs().sum(1)
        found.append((change - change.flatten(1).median(1).values[:, None, None]).clamp(min=0))
    return found[0], found[1]


def centres(response: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """(B,) rows and columns in px of the response's centroid."""
    share = response / response.sum((1, 2), keepdim=True)
    rows, columns = (stride * torch.arange(side, dtype=share.dtype) for side in share.shape[1:])
    return share.sum(2) @ rows, share.sum(1) @ columns


SHIFTED = ("tf_mobilenetv3_small_minimal_100", "fasternet_t0", "resnet18d", "vit_small_patch8_224")


@pytest.mark.parametrize("model", [*MODELS, *SHIFTED])
@torch.no_grad()
def test_a_delta_comes_back_where_it_was(model: str) -> None:
    """Within half a cell, or patch; on average over the pixels of a cell, within an eighth of it."""
    side, steps = 129, torch.arange(2, 16, 4)
    places = torch.cat([torch.stack([56 + steps, 64 + 0 * steps], 1), torch.tensor([[48, 80], [80, 56]])])
    deltas = torch.zeros(len(places), 1, side, side, dtype=torch.float64)
    deltas[torch.arange(len(places)), 0, places[:, 0], places[:, 1]] = 90.0
    for response in responses(model, deltas):
        stride = (side - 1) // (response.shape[1] - 1)
        rows, columns = centres(response, stride)
        off = torch.stack([rows, columns], 1) - places
        assert (off.abs() <= (16 if model == VIT else stride) / 2 + 0.5).all(), (stride, off)
        assert off[: len(steps), 0].mean().abs() < stride / 8, (stride, off)


@pytest.mark.parametrize(
    ("patch", "stride", "within"), [(8, 8, 0.5), (2, 2, 0.0), (1, 2, 0.0), (3, 2, 0.0), (5, 1, 0.0)]
)
def test_any_kernel_is_aligned(patch: int, stride: int, within: float) -> None:
    """Averages of an image whose values are its rows' numbers must be the numbers of the cells' rows."""
    found = aligned(nn.AvgPool2d(patch, stride), 3, stride, snap=stride, windows_snap=4)
    side = 16 * stride + 1
    ramp = torch.arange(float(side)).view(1, 1, -1, 1).expand(1, 3, side, side)
    cells = found(ramp)
    assert cells.shape == (1, 3, 17, 17)
    expected = stride * torch.arange(17.0)
    assert ((cells[0, 0, 2:-2, 8] - expected[2:-2]).abs() <= within).all()
    assert ((found(ramp.mT)[0, 0, 8, 2:-2] - expected[2:-2]).abs() <= within).all()


def test_a_part_without_a_regular_grid_is_refused() -> None:
    class Blind(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, :, ::2, ::2] * 0 + x.mean((2, 3), keepdim=True)

    for part in (Blind(), nn.AvgPool2d(3, 3)):
        with pytest.raises(ValueError, match="no cell at every multiple of 2"):
            aligned(part, 3, 2, snap=2, windows_snap=4)


def test_parts_that_want_whole_windows_get_them() -> None:
    class Windows(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            assert not (x.shape[2] % 4 or x.shape[3] % 4)
            return x.unflatten(2, (-1, 2)).mean(3).unflatten(3, (-1, 2)).mean(4)

    found = aligned(Windows(), 1, 2, snap=2, windows_snap=4)
    cells = found(torch.arange(33.0).view(1, 1, -1, 1).expand(1, 1, 33, 41))
    assert cells.shape == (1, 1, 17, 21)
    torch.testing.assert_close(cells[0, 0, 1:-1, 5], 2 * torch.arange(17.0)[1:-1])


def test_halved_inverts_doubled_and_hears_all_cells_alike() -> None:
    cells = torch.randn(2, 5, 7, 9, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(Halved()(Doubled()(cells)), cells)
    doubled = torch.zeros(1, 1, 33, 33, requires_grad=True)
    (gradient,) = torch.autograd.grad(Halved()(doubled).sum(), doubled)
    torch.testing.assert_close(gradient[0, 0, 3:-3, 3:-3], torch.full((27, 27), 0.25))


# --- the same features as timm's -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["resnet50", "mobilenetv4_conv_small"])
@torch.no_grad()
def test_aligned_networks_compute_what_timm_computes(model: str) -> None:
    torch.manual_seed(0)
    theirs, images = timm.create_model(model, features_only=True, output_stride=16).eval(), photos(65, 97)
    mean, std = (torch.tensor(theirs.pretrained_cfg[key]).view(3, 1, 1) for key in ("mean", "std"))
    features = theirs((images / 255 - mean) / std)
    low, high = backbone(model)(images)
    torch.testing.assert_close(low, features[2], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(high, features[4], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_a_transformer_computes_what_timm_computes() -> None:
    """The patch of cell i is centred on pixel 16·i - ½; its own mean and deviation are ½."""
    net, images = backbone(VIT), photos(65, 97)
    torch.manual_seed(0)
    theirs = timm.create_model(VIT, num_classes=0, dynamic_img_size=True).eval()
    padded = functional.pad((images - 127.5) / 127.5, (8, 7, 8, 7), mode="replicate")
    (tokens,) = theirs.forward_intermediates(padded, indices=1, norm=True, intermediates_only=True)
    low, high = net(images)
    torch.testing.assert_close(high, tokens, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(low[:, :, ::2, ::2], theirs.patch_embed.proj(padded), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("model", MODELS)
@torch.no_grad()
def test_a_photo_alone_and_in_a_batch_gives_the_same(model: str) -> None:
    images = photos(65, 49, batch=3)
    for alone, batch in zip(backbone(model)(images[1:2]), backbone(model)(images), strict=True):
        torch.testing.assert_close(alone[0], batch[1], rtol=1e-4, atol=1e-4)


# --- classifiers and segmenters ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_classifiers_compute_onwards_from_stride_8(model: str) -> None:
    network, images = classifier(model), photos(65, 97)
    low = network.stride8(images).detach().requires_grad_()
    scores = network.scores_from_stride8(low)
    with torch.no_grad():
        torch.testing.assert_close(network(images), scores)
        torch.testing.assert_close(network.class_maps(images).mean((2, 3)), scores, rtol=1e-3, atol=1e-5)
        assert network.class_maps(images).shape == (1, 3, 5, 7)
    (gradient,) = torch.autograd.grad(scores.sum(), low)
    assert gradient.abs().amax(1).min() > 0  # at each cell
    assert gradient_saliency(network, images).shape == (1, 1, 9, 13)
    assert activation_gradient(network, images, torch.tensor([[0, 2]])).shape == (1, 2, 9, 13)


def test_a_transformers_gradient_has_no_checkerboard() -> None:
    saliency = gradient_saliency(classifier(VIT), photos(129, 129))[0, 0]
    assert 0.5 < saliency[::2, ::2].mean() / saliency[1::2, 1::2].mean() < 2


@pytest.mark.parametrize("layout", ["gap_highres", "gap_roi", "gap_deeplab", "classifier"])
@torch.no_grad()
def test_layouts_of_a_convolutional_network(layout: str) -> None:
    network = classifier("mobilenetv4_conv_small", layout)
    side = 3 if layout == "classifier" else 9
    assert network.class_maps(photos(65, 65)).shape == (1, 3, side, side)
    convs = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert any(max(conv.dilation) > 1 for conv in convs) == (layout == "gap_deeplab")


@pytest.mark.parametrize("model", MODELS)
def test_a_training_step_reaches_every_layer(model: str) -> None:
    torch.manual_seed(0)
    segmenter = build_segmenter("largefov", f"timm/{model}", 3, 0.0)
    load_pretrained(segmenter, f"timm/{model}", NONE, False)
    norms = [module for module in segmenter.modules() if is_batch_norm(module)]
    assert bool(norms) == (model in ("resnet50", "mobilenetv4_conv_small"))
    statistics = [norm.running_mean.clone() for norm in norms]
    optimizer = torch.optim.SGD(segmenter.parameters(), 1e-3)
    logits = segmenter.train()(photos(65, 65, batch=2))
    assert logits.shape == (2, 3, 9, 9)
    logits.square().mean().backward()
    for name, parameter in segmenter.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    optimizer.step()
    assert all(isinstance(norm, nn.BatchNorm2d) for norm in norms)
    assert not any(torch.equal(norm.running_mean, old) for norm, old in zip(norms, statistics, strict=True))


@pytest.mark.parametrize("model", ["convnext_atto", "mobilenetv4_conv_small", VIT])
@torch.no_grad()
def test_models_are_rebuilt_as_they_were(model: str, tmp_path: Path) -> None:
    name, images, kept = f"timm/{model}", photos(65, 65), {"input_px": 65, "class_names": ["none", "a", "b", "c"]}
    for pretrained in (NONE, "") if model == "mobilenetv4_conv_small" else (NONE,):  # learning and frozen batch norm
        torch.manual_seed(3)
        network, folder = build_classifier("gap_lowres", name, 3, 0.0).eval(), tmp_path / f"classifier{pretrained}"
        if pretrained:
            load_pretrained(network, name, pretrained, False)
        with_random_statistics(network)
        described = {"network": "gap_lowres", "backbone": name, "vgg16": VGG16, "geometry": "warp", **kept}
        saved.save_model(folder, network, described)
        rebuilt, description = saved.rebuild_classifier(folder)
        torch.testing.assert_close(rebuilt(images), network(images))
        mean = [127.5] * 3 if model == VIT else [255 * value for value in (0.485, 0.456, 0.406)]
        assert description["normalization"]["mean"] == mean
    segmenter = build_segmenter("aspp", name, 4, 0.0).eval()
    described = {"head": "aspp", "backbone": name, "average_pool5a": False, "geometry": "warp", **kept}
    saved.save_model(tmp_path / "segmenter", segmenter, described)
    torch.testing.assert_close(saved.rebuild_segmenter(tmp_path / "segmenter")[0](images), segmenter(images))


@torch.no_grad()
def test_excitation_backprop_has_convolutions_with_folded_batch_norm() -> None:
    torch.manual_seed(0)
    network = with_random_statistics(build_classifier("gap_lowres", "timm/resnet18", 3, 0.0).eval())
    images = photos(65, 49)
    before = network(images)
    folded = fold_batch_norm(network)
    torch.testing.assert_close(folded(images), before, rtol=1e-3, atol=1e-5)
    with torch.enable_grad():
        maps = excitation_maps(folded, images, [0, 2], "stride8")  # type: ignore[arg-type]
    assert maps.shape == (1, 2, 9, 7) and maps.min() >= 0
    assert maps.sum((2, 3)).tolist() == [[pytest.approx(1, abs=0.05)] * 2]


@pytest.mark.parametrize(("model", "layers"), [("convnext_atto", "GELU, LayerNorm"), ("efficientnet_b0", "SiLU")])
def test_excitation_backprop_is_refused_where_it_has_no_rule(model: str, layers: str) -> None:
    network = build_classifier("gap_lowres", f"timm/{model}", 3, 0.0).eval()
    with pytest.raises(UserError, match=f"excitation_backprop has no rule for this network's .*{layers}"):
        fold_batch_norm(network)


# --- weights -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """timm's own state dict of a model, with its ImageNet classifier, in a file of that kind."""

    @functools.cache
    def write(model: str, kind: str) -> Path:
        torch.manual_seed(7)
        weights = with_random_statistics(timm.create_model(model)).state_dict()
        path = tmp_path_factory.mktemp(model) / f"weights.{kind}"
        if kind == "safetensors":
            save_file(weights, path)
        else:
            torch.save(weights if kind == "pth" else {"state_dict": weights, "epoch": 3}, path)
        return path

    return write


@pytest.mark.parametrize(
    ("model", "kind"), [("mobilenetv4_conv_small", "pth"), ("mobilenetv4_conv_small", "tar"),
                        ("convnext_atto", "safetensors"), (VIT, "safetensors")],
)  # fmt: skip
@torch.no_grad()
def test_weights_come_from_a_file(model: str, kind: str, files: Callable[[str, str], Path]) -> None:
    path, images = files(model, kind), photos(65, 65)
    network = build_classifier("gap_lowres", f"timm/{model}", 3, 0.0)
    load_pretrained(network, f"timm/{model}", path, False)
    whole = timm.create_model(model, pretrained=True, pretrained_cfg_overlay={"file": str(path)}).state_dict()
    taken = dict(network.backbone.named_parameters()) | dict(network.backbone.named_buffers())
    by_value = [value for value in whole.values() if value.ndim > 1]
    for name, value in taken.items():
        if value.ndim > 1 and name.startswith(("early", "late")) and "kernel" not in name:
            assert any(value.shape == other.shape and torch.equal(value, other) for other in by_value), name
    trained = [network.train().backbone(images), network.eval().backbone(images)]
    for training, evaluating in zip(*trained, strict=True):
        torch.testing.assert_close(training, evaluating)  # batch norm is frozen
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def test_files_that_are_no_weights_of_the_model_are_named(files: Callable[[str, str], Path], tmp_path: Path) -> None:
    name = "timm/convnext_atto"
    network = build_classifier("gap_lowres", name, 3, 0.0)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    whole = torch.load(files("mobilenetv4_conv_small", "pth"), weights_only=True)
    part = timm.create_model("convnext_atto").state_dict()
    del part["stages.2.blocks.1.mlp.fc1.weight"]
    contents = {"list.pth": [1], "empty.pth": {}, "other.pth": whole, "part.pth": part}
    for file, content in contents.items():
        torch.save(content, tmp_path / file)
    (tmp_path / "cut.pth").write_bytes((tmp_path / "part.pth").read_bytes()[:-1000])
    (tmp_path / "text.safetensors").write_text("no weights")
    for file in (*contents, "cut.pth", "text.safetensors", "missing.pth"):
        with pytest.raises(UserError, match=file.replace(".", r"\.")) as caught:
            load_pretrained(network, name, tmp_path / file, False)
        assert ("stages_2.blocks.1.mlp.fc1.weight" in str(caught.value)) == (file == "part.pth"), file
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_imagenet_comes_from_the_hubs_cache(
    files: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import huggingface_hub

    name, path, asked = "timm/convnext_atto.d2_in1k", files("convnext_atto", "safetensors"), []

    def cached(repository: str, file: str) -> str:
        asked.append((repository, file))
        return str(path)

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", cached)
    network = build_classifier("gap_lowres", name, 3, 0.0)
    load_pretrained(network, name, "imagenet", False)
    assert asked == [("timm/convnext_atto.d2_in1k", "model.safetensors")]
    stem = torch.load(files("convnext_atto", "pth"), weights_only=True)["stem.0.weight"]
    assert torch.equal(network.backbone.early.part.stem_0.weight, stem)
    (tmp_path / "imagenet").write_text(f"{name} 0123456789\n")  # as models/pretrained/imagenet
    with pytest.raises(UserError, match=r"weights of timm.convnext_atto.*are not those"):
        load_pretrained(network, name, tmp_path / "imagenet", False)


def test_without_network_the_error_comes_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def nobody_answers(*_: object, timeout: float, **__: object) -> None:
        assert timeout <= 10
        raise ConnectionError("no route to host")

    def never(*_: object, **__: object) -> None:
        raise AssertionError("a download that nobody answers takes a minute")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", nobody_answers)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", never)
    start = time.monotonic()
    with pytest.raises(
        UserError, match=r"resnet50 are not available from timm's hub \(ConnectionError.*model\.safetensors of"
    ):
        hub_file("timm/resnet50")
    assert time.monotonic() - start < 5
    with pytest.raises(UserError, match="timm has no weights of timm/vit_xsmall_patch16_clip_224"):
        monkeypatch.setattr(timm, "get_pretrained_cfg", lambda name: None)
        hub_file("timm/vit_xsmall_patch16_clip_224")


# --- what cannot be had ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "layout", "message"),
    [
        ("timm/resnet5000", "gap_lowres", r"timm has no model 'resnet5000'; there are .*timm/resnet50"),
        ("timm/resnet50.nosuch", "gap_lowres", r"timm has no model 'resnet50\.nosuch'"),
        ("timm/", "gap_lowres", "timm has no model ''"),
        (f"timm/{VIT}", "gap_highres", f"{VIT} has patches of 16 px, which do not allow an output stride of 8"),
        ("timm/eva02_tiny_patch14_224", "gap_lowres", "has patches of 14 px"),
        ("timm/densenet121", "gap_deeplab", "densenet121 has features at strides 2, 4, 8, 16, 32, which do not allow"),
        ("timm/gmlp_s16_224", "gap_lowres", "gmlp_s16_224 is neither a chain of stages nor a plain vision transformer"),
        ("timm/hrnet_w18_small", "gap_lowres", "hrnet_w18_small is neither a chain of stages"),
        ("timm/halonet26t", "gap_lowres", "halonet26t has no regular grid of features for photos of any size"),
    ],
)
def test_what_cannot_be_had_is_the_users_error(name: str, layout: str, message: str) -> None:
    with pytest.raises(UserError, match=rf"backbone: .*{message}"):
        build_classifier(layout, name, 3, 0.0)


def test_without_timm_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UserError, match="pip install timm"):
        build_classifier("gap_lowres", "timm/resnet50", 3, 0.0)


def test_timm_is_imported_only_where_it_is_named() -> None:
    code = (
        "import sys; from weakseg.networks import build_classifier;"
        "build_classifier('gap_lowres', 'efficientnet_lite0', 3, 0.0); assert 'timm' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
    assert timm_models.NAMES == ("timm/*",)


def test_parts_are_padded_no_more_than_they_need() -> None:
    early, late = backbone("resnet50").early, backbone("resnet50").late
    assert isinstance(early, Aligned) and isinstance(late, Aligned)
    assert (early.before, early.after, early.shift, late.before, late.after, late.shift) == (0,) * 6
