"""Vanilla, guided and excitation backprop (GS §4.2) against slow loops, hand-made masks and each paper's own rule."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import FrozenBatchNorm2d

from weakseg.cams import backprop
from weakseg.cams.heat_maps import prepared
from weakseg.errors import UserError
from weakseg.networks import batch_norm
from weakseg.networks.normalization import Normalization
from weakseg.networks.registry import build_classifier

BACKBONES = ("vgg16", "efficientnet_lite0", "resnet101")


# --- vanilla and guided, on two layers by hand ------------------------------------------------------------------------------


class TwoReLUs(nn.Module):
    """conv, ReLU, conv, ReLU6, mean: a classifier of two classes."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.first = torch.randn(6, 3, 3, 3, generator=generator) / 40
        self.second = torch.randn(2, 6, 3, 3, generator=generator) * 0.06

    def forward(self, images: Tensor) -> Tensor:
        hidden = functional.relu(functional.conv2d(images, self.first, padding=1))
        return functional.relu6(functional.conv2d(hidden, self.second, padding=1)).mean((2, 3))


def by_hand(network: TwoReLUs, images: Tensor, label: int, guided: bool) -> Tensor:
    """(3, H, W): the chain rule, its masks written out."""
    hidden = functional.conv2d(images, network.first, padding=1)
    out = functional.conv2d(hidden.clamp(min=0), network.second, padding=1)
    above = torch.zeros_like(out)
    above[:, label] = 1 / out[0, 0].numel()
    if guided:
        above *= above > 0
    above = above * ((out > 0) & (out < 6))
    below = functional.conv_transpose2d(above, network.second, padding=1)
    if guided:
        below = below * (below > 0)
    below = below * (hidden > 0)
    return functional.conv_transpose2d(below, network.first, padding=1)[0]


@pytest.fixture
def images() -> Tensor:
    return torch.rand(1, 3, 7, 9, generator=torch.Generator().manual_seed(0)) * 255


@pytest.mark.parametrize("guided", [False, True])
def test_gradients_by_hand(images: Tensor, guided: bool) -> None:
    network = TwoReLUs()
    out = functional.conv2d(
        functional.relu(functional.conv2d(images, network.first, padding=1)), network.second, padding=1
    )
    for inside in (out < 0, (out > 0) & (out < 6), out > 6):  # every branch of both masks occurs
        assert inside.float().mean() > 0.05
    maps = backprop.image_gradients(network, images, [1, 0, 1], guided)  # type: ignore[arg-type]
    assert maps.shape == (1, 3, 7, 9)
    for index, label in enumerate([1, 0, 1]):
        expected = by_hand(network, images, label, guided).abs().amax(0)
        torch.testing.assert_close(maps[0, index], expected, rtol=1e-4, atol=1e-9)


def test_guided_differs_and_the_mode_ends(images: Tensor) -> None:
    network = TwoReLUs()
    vanilla, guided, again = (backprop.image_gradients(network, images, [0], flag) for flag in (False, True, False))  # type: ignore[arg-type]
    assert (vanilla - guided).abs().max() > 0.1 * vanilla.max()
    assert torch.equal(vanilla, again)


def test_byte_images_are_fine_and_stay_as_they_are() -> None:
    pixels = torch.randint(0, 256, (1, 3, 5, 5), dtype=torch.uint8)
    before = pixels.clone()
    assert backprop.image_gradients(TwoReLUs(), pixels, [0], True).isfinite().all()  # type: ignore[arg-type]
    assert torch.equal(pixels, before) and not pixels.requires_grad


# --- excitation backprop, by its defining equation ---------------------------------------------------------------------------


def passed_down(winners: np.ndarray, below: np.ndarray, weights: np.ndarray, stride: int, padding: int) -> np.ndarray:
    """P(a_n) = Σ_i P(a_i) a_n w⁺_in / Σ_m a_m w⁺_im for a convolution, by loops over the neurons i above."""
    _, height, width = below.shape
    result = np.zeros_like(below)
    kernel = weights.shape[2]
    for i, y, x in np.ndindex(*winners.shape):
        children = {}
        for n, dy, dx in itertools.product(range(len(below)), range(kernel), range(kernel)):
            row, column = y * stride + dy - padding, x * stride + dx - padding
            if 0 <= row < height and 0 <= column < width:
                children[n, row, column] = max(below[n, row, column], 0) * max(weights[i, n, dy, dx], 0)
        total = sum(children.values())
        for place, share in children.items():
            if total > 0:
                result[place] += winners[i, y, x] * share / total
    return result


class Small(nn.Module):
    """From 'stride 8' on: conv, ReLU, max pooling, a residual branch, ReLU6, mean, the class layer."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.conv = nn.Conv2d(3, 4, 3, 2, 1)
        self.branch = nn.Conv2d(4, 4, 1)
        self.fc8 = nn.Conv2d(4, 2, 1, bias=False)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)

    def stride8(self, images: Tensor) -> Tensor:
        return images

    def layers(self, low: Tensor) -> Iterator[Tensor]:
        hidden = functional.relu(self.conv(low))
        yield hidden
        pooled = functional.max_pool2d(hidden, 3, 1, 1)
        yield pooled
        branch = self.branch(pooled)
        yield branch
        out = functional.relu6(pooled + branch)
        yield out
        yield out.mean((2, 3), keepdim=True)

    def scores_from_stride8(self, low: Tensor) -> Tensor:
        *_, pooled = self.layers(low)
        return self.fc8(pooled).flatten(1)  # type: ignore[no-any-return]


def excitation_by_loops(network: Small, low: Tensor, label: int) -> np.ndarray:
    with torch.no_grad():
        hidden, pooled, branch, out, mean = (layer[0].numpy().astype(float) for layer in network.layers(low))
    weights: dict[str, Any] = {name: value.numpy().astype(float) for name, value in network.state_dict().items()}
    top = np.zeros((2, 1, 1))
    top[label] = 1
    above = passed_down(top, mean, weights["fc8.weight"], 1, 0)
    area = out[0].size
    above = np.array([[[p / area]] for p in above[:, 0, 0]]) * np.ones_like(out)  # an average has equal weights ...
    above *= np.maximum(out, 0) / np.maximum(out.sum((1, 2), keepdims=True) / area, 1e-300)  # ... times activations
    skip, side = np.maximum(pooled, 0), np.maximum(branch, 0)  # ReLU6 passes everything on; then the sum
    both = np.where(skip + side > 0, skip + side, 1)
    at_pooled = above * skip / both + passed_down(above * side / both, pooled, weights["branch.weight"], 1, 0)
    at_hidden = np.zeros_like(hidden)
    for channel, y, x in np.ndindex(*pooled.shape):  # the winner of each 3×3 window takes all
        window = [(r, c) for r in (y - 1, y, y + 1) for c in (x - 1, x, x + 1)
                  if 0 <= r < hidden.shape[1] and 0 <= c < hidden.shape[2]]  # fmt: skip
        winner = max(window, key=lambda place: hidden[(channel, *place)])
        at_hidden[(channel, *winner)] += at_pooled[channel, y, x]
    return passed_down(at_hidden, low[0].numpy().astype(float), weights["conv.weight"], 2, 1)


@pytest.mark.parametrize("signed", [False, True], ids=["activations", "with negative ones"])
def test_excitation_backprop_by_loops(signed: bool) -> None:
    network = Small()
    low = torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(2)) - (0.3 if signed else 0)
    maps = backprop.excitation_maps(network, low, [0, 1], at="stride8")  # type: ignore[arg-type]
    assert maps.shape == (1, 2, 6, 8)
    for label in (0, 1):
        expected = excitation_by_loops(network, low, label)
        assert expected.sum() == pytest.approx(1, abs=1e-6)  # it is a probability
        np.testing.assert_allclose(maps[0, label].numpy(), expected.sum(0), atol=1e-6)
    assert (maps[0, 0] - maps[0, 1]).abs().max() > 0.01


class Whole(nn.Module):
    """Photo, normalization, conv, ReLU: what `Small` calls stride 8."""

    def __init__(self) -> None:
        super().__init__()
        self.normalization, self.above = Normalization("imagenet"), Small()
        self.first = nn.Conv2d(3, 3, 3, padding=1)
        self.first.weight.data = torch.randn(3, 3, 3, 3, generator=torch.Generator().manual_seed(7))

    def stride8(self, images: Tensor) -> Tensor:
        return functional.relu(self.first(self.normalization(images)))

    def scores_from_stride8(self, low: Tensor) -> Tensor:
        return self.above.scores_from_stride8(low)

    def forward(self, images: Tensor) -> Tensor:
        return self.scores_from_stride8(self.stride8(images))


def test_excitation_backprop_to_every_pixel_by_loops() -> None:
    """GS §4.2: the maximum over RGB at each pixel, whose activation is what it is above black."""
    network = Whole()
    photo = torch.randint(0, 256, (1, 3, 6, 8), generator=torch.Generator().manual_seed(4), dtype=torch.uint8)
    maps = backprop.excitation_maps(network, photo, [0, 1])
    assert maps.shape == (1, 2, 6, 8)
    with torch.no_grad():
        low = network.stride8(photo)
    below = photo[0].numpy() / network.normalization.std[0].numpy().astype(float)
    weights = network.first.weight.detach().numpy().astype(float)
    for label in (0, 1):
        winners = excitation_by_loops(network.above, low, label)
        expected = passed_down(winners, below, weights, 1, 1).max(0)
        np.testing.assert_allclose(maps[0, label].numpy(), expected, atol=1e-6)
        assert (expected > 0).mean() > 0.5
    again = network(photo)  # the hook on the normalization is gone
    torch.testing.assert_close(again, network.scores_from_stride8(low))


class Rectified(nn.Module):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 2, 3), *layers)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images).mean((2, 3))  # type: ignore[no-any-return]


@pytest.mark.parametrize("layers", [(nn.ReLU(),), (nn.ReLU(inplace=True), nn.ReLU6()), (nn.ReLU6(inplace=True),)])
def test_guided_backprop_takes_networks_of_relus(layers: tuple[nn.Module, ...]) -> None:
    network = Rectified(*layers)
    backprop.check_rectifiers(network)  # type: ignore[arg-type]
    photo = torch.rand(1, 3, 9, 9, generator=torch.Generator().manual_seed(0)) * 9
    guided, vanilla = (backprop.image_gradients(network, photo, [0, 1], flag) for flag in (True, False))  # type: ignore[arg-type]
    assert guided.shape == vanilla.shape == (1, 2, 9, 9)


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ((), "has no ReLU"),
        ((nn.GELU(),), "has gelu"),
        ((nn.ReLU(), nn.SiLU()), "has silu"),
        ((nn.Hardtanh(),), "no ReLU"),
    ],
)
def test_guided_backprop_refuses_a_network_on_which_it_would_be_the_plain_gradient(
    layers: tuple[nn.Module, ...], words: str
) -> None:
    with pytest.raises(UserError, match=words) as caught:
        prepared(Rectified(*layers), "guided_backprop")
    assert "make_cams: method guided_backprop" in str(caught.value) and "vanilla_backprop" in str(caught.value)
    prepared(Rectified(*layers), "vanilla_backprop")


def test_the_forward_pass_is_untouched() -> None:
    network, low = Small(), torch.rand(1, 3, 6, 8)
    plain = network.scores_from_stride8(low)
    with backprop.ExcitationBackprop():
        torch.testing.assert_close(network.scores_from_stride8(low), plain)
    with backprop.GuidedReLU():
        torch.testing.assert_close(network.scores_from_stride8(low), plain)


def test_unfolded_batch_norm_is_refused() -> None:
    network = Small()
    network.add_module("norm", nn.BatchNorm2d(4))
    with pytest.raises(ValueError, match="batch norm"):
        backprop.excitation_maps(network, torch.rand(1, 3, 6, 8), [0], at="stride8")  # type: ignore[arg-type]


# --- on the real networks ------------------------------------------------------------------------------------------------------


def with_hooks(network: nn.Module, pixels: Tensor, label: int, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """Guided backprop as most people write it: gradients clamped above every ReLU."""

    def relu(x: Tensor, ceiling: float) -> Tensor:
        out = x.clamp(0, ceiling)
        if out.requires_grad:
            out.register_hook(lambda gradient: gradient.clamp(min=0))
        return out

    monkeypatch.setattr(functional, "relu", lambda x, inplace=False: relu(x, float("inf")))
    monkeypatch.setattr(functional, "relu6", lambda x, inplace=False: relu(x, 6.0))
    pixels = pixels.float().requires_grad_()
    (gradient,) = torch.autograd.grad(network(pixels)[0, label], pixels)
    monkeypatch.undo()
    return gradient.abs().amax(1)[0]


@pytest.mark.usefixtures("shallow_resnet")
@pytest.mark.parametrize("backbone", BACKBONES)
def test_real_networks(backbone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = build_classifier("classifier", backbone, 3, 0.5).eval()
    pixels = torch.randint(0, 256, (1, 3, 65, 49), dtype=torch.uint8)
    guided = backprop.image_gradients(network, pixels, [2], guided=True)  # type: ignore[arg-type]
    assert guided.shape == (1, 1, 65, 49) and guided.max() > 0
    torch.testing.assert_close(guided[0, 0], with_hooks(network, pixels, 2, monkeypatch), rtol=1e-3, atol=1e-9)
    batch_norm.fold_batch_norm(network)
    winning = backprop.excitation_maps(network, pixels, [0, 2], at="stride8")  # type: ignore[arg-type]
    assert winning.shape == (1, 2, 9, 7) and winning.min() >= 0
    for total in winning.sum((2, 3))[0].tolist():
        assert 0 < total < 1.0001  # what reaches a neuron without positive evidence below, but for its bias, is lost
    winning = backprop.excitation_maps(network, pixels, [0, 2])  # type: ignore[arg-type]
    assert winning.shape == (1, 2, 65, 49) and winning.min() >= 0
    for total in winning.sum((2, 3))[0].tolist():
        assert 0 < total < 1.0001


@pytest.mark.usefixtures("shallow_resnet")
def test_folded_batch_norm_gives_the_same_scores() -> None:
    torch.manual_seed(0)
    network = build_classifier("gap_lowres", "resnet101", 3, 0.0).eval()
    for module in network.modules():
        if isinstance(module, FrozenBatchNorm2d):
            module.weight.uniform_(-0.2, 1.2)
            module.bias.normal_(0, 0.1)
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    pixels = torch.randint(0, 256, (1, 3, 33, 33), dtype=torch.uint8)
    with torch.no_grad():
        before = network(pixels)
        folded = batch_norm.fold_batch_norm(network)
        torch.testing.assert_close(folded(pixels), before, rtol=1e-3, atol=1e-6)
    assert not [module for module in folded.modules() if batch_norm.is_batch_norm(module)]


# --- smoothing -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0.7, 2.0, 9.0])
def test_smoothing_is_scipys_gaussian(sigma: float) -> None:
    maps = torch.rand(2, 3, 11, 17, dtype=torch.float64)
    expected = gaussian_filter(maps.numpy(), (0, 0, sigma, sigma), mode="nearest", truncate=4)
    np.testing.assert_allclose(backprop.smoothed(maps, sigma).numpy(), expected, atol=1e-6)


def test_no_smoothing_leaves_maps_alone() -> None:
    maps = torch.rand(1, 2, 4, 5)
    assert backprop.smoothed(maps, 0) is maps
