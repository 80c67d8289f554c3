"""Heat maps of a classifier for an image's own labels: class activation maps, backprop, and what shows background.

Maps come on grids that cover the photo from corner pixel to corner pixel (aligned corners).
"""

from collections.abc import Callable
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from weakseg import backprop, resnet, supervision, transforms
from weakseg.artifacts import Record
from weakseg.networks import Classifier
from weakseg.params import Cam

SNAP_STRIDE = 16  # sides of 16·k + 1 px keep every grid of stride 8 and 16 on the corners


def input_size(height: int, width: int, side_px: float, geometry: str) -> tuple[int, int]:
    """The size a photo is brought to: a square (`warp`), or longest side `side_px` with its proportions (`aspect`).

    Both sides are snapped to 16·k + 1 px.
    """
    if geometry == "warp":
        side = transforms.grid_side(round(side_px), SNAP_STRIDE)
        return side, side
    scale = side_px / max(height, width)
    return tuple(_snap(side * scale) for side in (height, width))  # type: ignore[return-value]


def _snap(length_px: float) -> int:
    return max(round((length_px - 1) / SNAP_STRIDE), 2) * SNAP_STRIDE + 1


def resized(image: npt.NDArray[np.uint8], height: int, width: int) -> Tensor:
    """(1, 3, height, width) uint8; area-averaged when shrinking."""
    shrinks = height < image.shape[0] and width < image.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    pixels = np.asarray(cv2.resize(image, (width, height), interpolation=method), np.uint8)
    return supervision.as_image_tensor(pixels).unsqueeze(0)


def heat_maps(
    network: nn.Module, image: npt.NDArray[np.uint8], labels: npt.NDArray[np.intp], settings: Cam, device: torch.device
) -> npt.NDArray[np.float32]:
    """(L, h, w): one map per label, or with method `background_gradient` a single class-independent saliency map.

    Smoothed by a Gaussian of `settings.smoothing_px`, averaged over `settings.scales` and, with `settings.flip`, over
    the mirrored photo. The grid has a cell every 8 px of the photo's input size. With `settings.gradient_scales` a
    class's map is the sum of two, each divided by its maximum: the class map, and the finer `activation_gradient`
    averaged over those scales.
    """
    height, width = image.shape[:2]
    base = input_size(height, width, settings.input_px, settings.geometry)
    grid = [(side - 1) // 8 + 1 for side in base]
    if not labels.size and settings.method != "background_gradient":
        return np.zeros((0, *grid), np.float32)

    def averaged(scales: list[float], maps_of: Callable[[Tensor], Tensor]) -> Tensor:
        views = []
        for scale in scales:
            size = input_size(height, width, settings.input_px * scale, settings.geometry)
            pixels = resized(image, *size).to(device)
            for flipped in (False, True) if settings.flip else (False,):
                maps = maps_of(pixels.flip(3) if flipped else pixels)
                maps = maps.flip(3) if flipped else maps
                maps = backprop.smoothed(maps, settings.smoothing_px * (max(maps.shape[2:]) - 1) / (max(base) - 1))
                views.append(functional.interpolate(maps, grid, mode="bilinear", align_corners=True)[0])
        return torch.stack(views).mean(0)

    maps = averaged(settings.scales, lambda pixels: _maps(network, pixels, labels, settings.method))
    if settings.gradient_scales:
        classifier = cast(Classifier, network)
        finer = averaged(settings.gradient_scales, lambda pixels: activation_gradient(classifier, pixels, labels))
        maps = _over_maximum(maps) + _over_maximum(finer)
    return cast(npt.NDArray[np.float32], maps.cpu().numpy())


def _over_maximum(maps: Tensor) -> Tensor:
    """Each of (L, h, w) without its negative part and divided by its maximum."""
    maps = maps.clamp(min=0)
    return maps / maps.amax((1, 2), keepdim=True).clamp(min=torch.finfo(maps.dtype).tiny)


def _maps(network: nn.Module, pixels: Tensor, labels: npt.NDArray[np.intp], method: str) -> Tensor:
    classifier, classes = cast(Classifier, network), labels.tolist()
    if method == "background_gradient":
        return gradient_saliency(classifier, pixels)
    if method == "gap":
        with torch.no_grad(), torch.autocast(pixels.device.type, torch.bfloat16, enabled=pixels.is_cuda):
            return classifier.class_maps(pixels)[:, classes].float()
    if method == "excitation_backprop":
        return backprop.excitation_maps(classifier, pixels, classes)
    return backprop.image_gradients(classifier, pixels, classes, guided=method == "guided_backprop")


def prepared(network: nn.Module, method: str) -> nn.Module:
    """The network as `heat_maps` wants it for that method; changed in place."""
    return resnet.fold_batch_norm(network) if method == "excitation_backprop" else network


def gradient_saliency(classifier: Classifier, images: Tensor) -> Tensor:
    """(B, 1, h8, w8): max over channels of |d(sum of all class scores) / d(stride-8 features)| (SPEC §3).

    Source: SEC §6.1 after Simonyan et al. 2014, with the released code's choice of layer.
    """
    with torch.no_grad():
        low = classifier.stride8(images)
    low = low.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(classifier.scores_from_stride8(low).float().sum(), low)
    return gradient.abs().amax(1, keepdim=True)


def activation_gradient(classifier: Classifier, images: Tensor, labels: npt.NDArray[np.intp]) -> Tensor:
    """(B, L, h8, w8): where the stride-8 features speak for a class: Σ over channels of max(0, feature · gradient).

    The gradient is that of the class's score; 3×3 averages smooth its checkerboard. After LayerCAM (Jiang et al. 2021),
    with the product's sign for the gradient's, because linear bottlenecks have features of either sign.
    """
    with torch.no_grad():
        low = classifier.stride8(images)
    low = low.detach().requires_grad_()
    scores = classifier.scores_from_stride8(low).float().sum(0)
    maps = []
    for label in labels.tolist():
        (gradient,) = torch.autograd.grad(scores[label], low, retain_graph=True)
        maps.append((gradient * low.detach()).clamp(min=0).sum(1).float())
    return functional.avg_pool2d(torch.stack(maps, 1), 3, 1, 1, count_include_pad=False)


def photo_maps(
    network: nn.Module, image: npt.NDArray[np.uint8], record: Record, settings: Cam, device: torch.device
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """Class ids (L,) and heat maps (L, h, w) of one photo; class 0 stands for the background's gradient."""
    labels = np.array(record.labels, np.intp)
    maps = heat_maps(network, image, labels - 1, settings, device)
    return (np.zeros(1, np.intp) if settings.method == "background_gradient" else labels), maps
