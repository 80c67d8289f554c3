"""Heat maps of a classifier for an image's own labels: class activation maps, backprop, and the gradient that shows
background. Their grids cover the photo from corner pixel to corner pixel (aligned corners).
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from weakseg.arrays import Photo
from weakseg.batch import NetworkTask
from weakseg.cams import backprop
from weakseg.files import Record
from weakseg.images import input_size, padded_square, resized
from weakseg.networks import Classifier, fold_batch_norm, rebuild_classifier
from weakseg.settings import MakeCams

LOW_STRIDE = 8  # px between the cells of every network's finest features that cues and class maps are read from


def heat_maps(
    network: nn.Module,
    images: Sequence[npt.NDArray[np.uint8]],
    labels: Sequence[npt.NDArray[np.intp]],
    settings: MakeCams,
    device: torch.device,
) -> list[npt.NDArray[np.float32]]:
    """For each photo (L, h, w): one map per label, or with method `background_gradient` a single class-independent
    saliency map. The photos must have equal `input_sizes`; they go through the network together.

    Smoothed by a Gaussian of `settings.smoothing_px`, averaged over `settings.scales` and, with `settings.flip`, over
    the mirrored photo. The grid has a cell every `cell_px` of the photo's input size. With geometry `pad` the network
    sees the photo padded to a square, and the padding is cut off the map. With `settings.gradient_scales` a class's map
    is the sum of two, each divided by its maximum: the class map, and the finer `activation_gradient` averaged over
    those scales.
    """
    sizes = input_sizes(images[0], settings)
    base = sizes[1.0]
    grid = [(side - 1) // cell_px(settings) + 1 for side in base]
    counts = [1 if settings.method == "background_gradient" else len(some) for some in labels]
    shown = [index for index, count in enumerate(counts) if count]
    if not shown:
        return [np.zeros((0, *grid), np.float32) for _ in images]
    classes = _padded([labels[index] for index in shown]).to(device)
    pixels_at = _pixels_at([images[index] for index in shown], sizes, device)
    maps = _averaged(pixels_at, settings.scales, settings, base, lambda x: _maps(network, x, classes, settings))
    if settings.gradient_scales:
        finer = partial(activation_gradient, cast(Classifier, network), classes=classes)
        maps = _over_maximum(maps) + _over_maximum(
            _averaged(pixels_at, settings.gradient_scales, settings, base, finer)
        )
    found = dict(zip(shown, maps.cpu().numpy(), strict=True))
    return [found[index][:count] if count else np.zeros((0, *grid), np.float32) for index, count in enumerate(counts)]


def _pixels_at(
    images: Sequence[npt.NDArray[np.uint8]], sizes: Mapping[float, tuple[int, int]], device: torch.device
) -> Callable[[float], Tensor]:
    return lambda scale: torch.cat([resized(image, *sizes[scale]) for image in images]).to(device)


def _averaged(
    pixels_at: Callable[[float], Tensor], scales: Sequence[float], settings: MakeCams, base: tuple[int, int],
    maps_of: Callable[[Tensor], Tensor],
) -> Tensor:  # fmt: skip
    """(B, L, h, w): the mean over scales, and with `settings.flip` over mirrored photos, on scale 1's grid."""
    grid = [(side - 1) // cell_px(settings) + 1 for side in base]
    views = []
    for scale in scales:
        pixels = pixels_at(scale)
        for flipped in (False, True) if settings.flip else (False,):
            shown = pixels.flip(3) if flipped else pixels
            if settings.geometry == "pad":
                maps = _without_padding(maps_of(padded_square(shown)), *shown.shape[2:])
            else:
                maps = maps_of(shown)
            maps = maps.flip(3) if flipped else maps
            maps = backprop.smoothed(maps, settings.smoothing_px * (max(maps.shape[2:]) - 1) / (max(base) - 1))
            views.append(functional.interpolate(maps, grid, mode="bilinear", align_corners=True))
    return torch.stack(views).mean(0)


def _without_padding(maps: Tensor, height: int, width: int) -> Tensor:
    """The photo's part, height × width px at the top left, of maps (B, L, g, g) of the square around it."""
    side, cells = max(height, width), maps.shape[2]
    if any((length - 1) * (cells - 1) % (side - 1) for length in (height, width)):  # it ends between two cells
        cells = (side - 1) // LOW_STRIDE + 1
        maps = functional.interpolate(maps, (cells, cells), mode="bilinear", align_corners=True)
    rows, columns = ((length - 1) * (cells - 1) // (side - 1) + 1 for length in (height, width))
    return maps[:, :, :rows, :columns]


def cell_px(settings: MakeCams) -> int:
    """px of the input between the cells of the maps: GS's backprop seeders have a value at every pixel (GS §4.2)."""
    excitation = settings.method == "excitation_backprop" and settings.excitation_at == "image"
    return 1 if excitation or settings.method in ("vanilla_backprop", "guided_backprop") else LOW_STRIDE


def input_sizes(image: npt.NDArray[np.uint8], settings: MakeCams) -> dict[float, tuple[int, int]]:
    """The photo's size, before any padding, at scale 1 and at each of the settings' scales."""
    height, width = image.shape[:2]
    scales = {1.0, *settings.scales, *settings.gradient_scales}
    return {scale: input_size(height, width, settings.input_px * scale, settings.geometry) for scale in sorted(scales)}


def _padded(labels: Sequence[npt.NDArray[np.intp]]) -> Tensor:
    """(B, most labels) class ids; a photo with fewer repeats its first one."""
    most = max(1, *map(len, labels))
    rows = [np.pad(row, (0, most - len(row)), constant_values=row[0] if len(row) else 0) for row in labels]
    return torch.from_numpy(np.stack(rows).astype(np.int64))


def _over_maximum(maps: Tensor) -> Tensor:
    """Each of (B, L, h, w) without its negative part and divided by its maximum."""
    maps = maps.clamp(min=0)
    return maps / maps.amax((2, 3), keepdim=True).clamp(min=torch.finfo(maps.dtype).tiny)


def _maps(network: nn.Module, pixels: Tensor, classes: Tensor, settings: MakeCams) -> Tensor:
    """(B, L, h, w) of photos of one size and their classes (B, L)."""
    classifier, method = cast(Classifier, network), settings.method
    if method == "background_gradient":
        return gradient_saliency(classifier, pixels)
    if method == "gap":
        with torch.no_grad(), torch.autocast(pixels.device.type, torch.bfloat16, enabled=pixels.is_cuda):
            maps = classifier.class_maps(pixels).float()
        return maps.gather(1, classes[:, :, None, None].expand(-1, -1, *maps.shape[2:]))
    if method == "excitation_backprop":
        alone = partial(backprop.excitation_maps, at=settings.excitation_at)
    else:
        alone = partial(backprop.image_gradients, guided=method == "guided_backprop")
    photos = zip(torch.split(pixels, 1), classes.tolist(), strict=True)
    return torch.cat([alone(classifier, one, labels) for one, labels in photos])


def prepared(network: nn.Module, method: str) -> nn.Module:
    """The network, prepared in place for that method. Raises UserError if the method does not suit it."""
    if method == "guided_backprop":
        backprop.check_rectifiers(cast(Classifier, network))
    return fold_batch_norm(network) if method == "excitation_backprop" else network


def gradient_saliency(classifier: Classifier, images: Tensor) -> Tensor:
    """(B, 1, h8, w8): max over channels of |d(sum of all class scores) / d(stride-8 features)|.

    Source: SEC §6.1 after Simonyan et al. 2014, with the released code's choice of layer.
    """
    with torch.no_grad():
        low = classifier.stride8(images)
    low = low.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(classifier.scores_from_stride8(low).float().sum(), low)
    return gradient.abs().amax(1, keepdim=True)


def activation_gradient(classifier: Classifier, images: Tensor, classes: Tensor) -> Tensor:
    """(B, L, h8, w8): where the stride-8 features support a class: Σ over channels of max(0, feature · gradient).

    `classes` (B, L) are each photo's own. The gradient is that of the class's score; 3×3 averages smooth its
    checkerboard. After LayerCAM (Jiang et al. 2021), with the product's sign for the gradient's, because linear
    bottlenecks have features of either sign.
    """
    with torch.no_grad():
        low = classifier.stride8(images)
    low = low.detach().requires_grad_()
    scores = classifier.scores_from_stride8(low).float()
    maps = []
    for column in torch.split(classes, 1, 1):
        (gradient,) = torch.autograd.grad(scores.gather(1, column).sum(), low, retain_graph=True)
        maps.append((gradient * low.detach()).clamp(min=0).sum(1).float())
    return functional.avg_pool2d(torch.stack(maps, 1), 3, 1, 1, count_include_pad=False)


@dataclass(frozen=True)
class HeatMapTask(NetworkTask[tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]]):
    """Photos through the classifier in a folder: class ids (L,) and heat maps (L, h, w) of each.

    Class 0 stands for the background's gradient.
    """

    model: Path
    settings: MakeCams

    def network(self) -> nn.Module:
        return prepared(rebuild_classifier(self.model)[0], self.settings.method)

    def size(self, image: npt.NDArray[np.uint8]) -> Hashable:
        return tuple(input_sizes(image, self.settings).items())

    def results(
        self, network: nn.Module, records: Sequence[Record], images: Sequence[Photo], device: torch.device
    ) -> list[tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]]:
        labels = [np.array(record.labels, np.intp) for record in records]
        maps = heat_maps(network, images, [some - 1 for some in labels], self.settings, device)
        if self.settings.method == "background_gradient":
            labels = [np.zeros(1, np.intp) for _ in records]
        return list(zip(labels, maps, strict=True))
