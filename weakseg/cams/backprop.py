"""Backprop seeders: how much each pixel contributes to a classifier's score (GS §4.2).

Vanilla: Simonyan et al. 2014. Guided: Springenberg et al. 2015. Excitation: Zhang et al. 2016, "Top-down neural
attention by excitation backprop". They differ in how layers pass signals back. The networks are not changed: while a
score is computed, a torch function mode replaces the functions concerned, wherever they are called.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from weakseg.errors import UserError
from weakseg.networks import Classifier, is_batch_norm, normalizing_layer

SMALL_PX = 65  # a photo's side that any network takes


RELU_CEILINGS = {
    **dict.fromkeys((functional.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_), float("inf")),
    functional.relu6: 6.0,
}


OTHER_ACTIVATIONS = (
    functional.silu, functional.gelu, functional.hardswish, functional.mish, functional.elu, functional.selu,
    functional.celu, functional.leaky_relu, functional.prelu, functional.softplus,
)  # fmt: skip


CLIPPINGS = (functional.hardtanh, functional.hardtanh_)  # nn.ReLU6 is one, from 0 to 6


ADDITIONS = (torch.add, Tensor.add, Tensor.add_, Tensor.__add__, Tensor.__iadd__)


AVERAGES = (torch.mean, Tensor.mean, functional.avg_pool2d)


def image_gradients(classifier: Classifier, images: Tensor, classes: Sequence[int], guided: bool) -> Tensor:
    """(1, L, H, W): max over RGB of |d score of class / d pixel|, for one photo (1, 3, H, W) in 0..255.

    `guided`: signals pass a ReLU backwards only where they are positive too.
    """
    pixels = images.detach().float().requires_grad_()
    if guided:
        with GuidedReLU():
            scores = classifier(pixels)
    else:
        scores = classifier(pixels)
    return torch.cat([gradient.abs().amax(1, keepdim=True) for gradient in _gradients(scores, pixels, classes)], 1)


def check_rectifiers(classifier: Classifier) -> None:
    """Raises UserError for a network whose activations are not all ReLUs: with others, guided backprop would be the
    plain gradient, in part or entirely."""
    with torch.no_grad(), GuidedReLU() as mode:
        classifier(torch.zeros(1, 3, SMALL_PX, SMALL_PX))
    if mode.others or not mode.rectified:
        found = f"has {', '.join(sorted(mode.others))}" if mode.others else "has no ReLU"
        raise UserError(
            f"make_cams: method guided_backprop is a rule for ReLUs, and the classifier's backbone {found}; "
            "choose vanilla_backprop or excitation_backprop, or a backbone with ReLUs"
        )


def excitation_maps(
    classifier: Classifier, images: Tensor, classes: Sequence[int], at: Literal["image", "stride8"] = "image"
) -> Tensor:
    """Marginal winning probabilities of one photo (1, 3, H, W) in 0..255: of each pixel, the maximum over RGB, as GS
    §4.2 reads all backprop seeders (1, L, H, W); or of each location at stride 8 (VGG-16: conv4_1), summed over
    channels, since Zhang et al. stop at a layer in between (1, L, h8, w8).

    The rule is for activations ≥ 0. The normalized photo is signed, so its pixels' activations are what they are above
    black. Batch norm must be folded into the convolutions (`networks.fold_batch_norm`); raises ValueError if it is not.
    """
    if any(is_batch_norm(module) for module in cast(nn.Module, classifier).modules()):
        raise ValueError("excitation backprop needs batch norm folded into the convolutions")
    if at == "image":
        return _excited_pixels(classifier, images, classes)
    with torch.no_grad():
        features = classifier.stride8(images)
    low = features.detach().float().requires_grad_()
    with ExcitationBackprop():
        scores = classifier.scores_from_stride8(low)
    return torch.cat([winners.sum(1, keepdim=True) for winners in _gradients(scores, low, classes)], 1)


def _excited_pixels(classifier: Classifier, images: Tensor, classes: Sequence[int]) -> Tensor:
    normalization = normalizing_layer(cast(nn.Module, classifier))
    with torch.no_grad():
        black, photo = normalization(torch.zeros_like(images)), normalization(images)
    photo.requires_grad_()
    handle = normalization.register_forward_hook(lambda module, inputs, output: photo)
    try:
        with ExcitationBackprop(black):
            scores = classifier(images)
    finally:
        handle.remove()
    return torch.cat([winners.amax(1, keepdim=True) for winners in _gradients(scores, photo, classes)], 1)


def _gradients(scores: Tensor, source: Tensor, classes: Sequence[int]) -> list[Tensor]:
    return [torch.autograd.grad(scores[0, label], source, retain_graph=True)[0] for label in classes]


def _ceiling(func: Any, args: Any, kwargs: Any) -> float | None:
    """The largest value that a ReLU passes; None if it is not a ReLU."""
    if func in CLIPPINGS:
        lowest, highest = _bounds(*args, **kwargs)
        return highest if lowest == 0 else None
    ceiling: float | None = RELU_CEILINGS.get(func)
    return ceiling


def _bounds(x: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> tuple[float, float]:
    """hardtanh's, by its own arguments."""
    return min_val, max_val


class GuidedReLU(TorchFunctionMode):
    """While active, ReLU and ReLU6 let only positive gradients back, and only where they let the input through.

    `rectified` counts them; `others` are names of activations that the rule does not cover.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rectified, self.others = 0, set[str]()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in OTHER_ACTIVATIONS:
            self.others.add(func.__name__)
        ceiling = _ceiling(func, args, kwargs or {})
        if ceiling is not None:
            self.rectified += 1
            return _GuidedReLU.apply(args[0], ceiling)  # type: ignore[no-untyped-call]
        return func(*args, **(kwargs or {}))


class _GuidedReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, ceiling: float) -> Tensor:
        ctx.save_for_backward((x > 0) & (x < ceiling))
        return x.clamp(0, ceiling)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        (passed,) = ctx.saved_tensors
        return gradient.clamp(min=0) * passed, None


class ExcitationBackprop(TorchFunctionMode):
    """While active, "gradients" of what is computed are marginal winning probabilities (Zhang et al., equations 1 to 3).

    A neuron passes its probability down in proportion to activation × positive weight, biases aside: P(a_n) = Σ_i
    P(a_i) · a_n w⁺_in / Σ_m a_m w⁺_im. ReLUs pass it on unchanged, max pooling to the winner. Averages and sums of
    branches are layers of equal weights. The rule is meant for activations ≥ 0; if a layer without ReLU gives negative
    ones (EfficientNet's projections, branches of a ResNet), they count as 0 and win nothing.

    `lowest` are the lowest possible values of the first convolution's input, which count as 0.
    """

    def __init__(self, lowest: Tensor | None = None) -> None:
        super().__init__()
        self.lowest = lowest

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        ceiling = _ceiling(func, args, kwargs)
        if ceiling is not None:
            return args[0] + (args[0].clamp(0, ceiling) - args[0]).detach()
        if func is functional.conv2d:
            lowest, self.lowest = self.lowest, None
            return _convolution(lowest, *args, **kwargs)
        if func in ADDITIONS and all(isinstance(term, Tensor) and term.is_floating_point() for term in args[:2]):
            return _Winners.apply(torch.add, torch.add, *args[:2])  # type: ignore[no-untyped-call]
        if func in AVERAGES:
            return _Winners.apply(*(lambda x: func(x, *args[1:], **kwargs),) * 2, args[0])  # type: ignore[no-untyped-call]
        return func(*args, **kwargs)


def _convolution(
    lowest: Tensor | None, x: Tensor, weight: Tensor, bias: Tensor | None = None, *settings: Any, **more: Any
) -> Any:
    offset = 0 if lowest is None else lowest[:, :, :1, :1]

    def value(inputs: Tensor) -> Tensor:
        return functional.conv2d(inputs if lowest is None else inputs + offset, weight, bias, *settings, **more)

    def evidence(inputs: Tensor) -> Tensor:
        return functional.conv2d(inputs, weight.clamp(min=0), None, *settings, **more)

    return _Winners.apply(value, evidence, x if lowest is None else x - offset)  # type: ignore[no-untyped-call]


class _Winners(torch.autograd.Function):
    """Forward: `value`. Backward: probabilities go to the inputs by their shares of `evidence`, the positive part."""

    @staticmethod
    def forward(ctx: Any, value: Callable[..., Tensor], evidence: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        ctx.evidence = evidence
        ctx.save_for_backward(*inputs)
        return value(*inputs)

    @staticmethod
    def backward(ctx: Any, winners: Tensor) -> Any:
        with torch.enable_grad():
            activations = [x.detach().clamp(min=0).requires_grad_() for x in ctx.saved_tensors]
            total = ctx.evidence(*activations)
        shares = torch.autograd.grad(total, activations, torch.where(total > 0, winners / total, 0))
        return None, None, *(x.detach() * share for x, share in zip(activations, shares, strict=True))


def smoothed(maps: Tensor, sigma_cells: float) -> Tensor:
    """(B, L, H, W) blurred by a Gaussian that is cut off at 4 σ, the border repeated; 0 leaves them as they are."""
    if sigma_cells <= 0:
        return maps
    reach = int(4 * sigma_cells + 0.5)
    offsets = torch.arange(-reach, reach + 1, device=maps.device)
    kernel = torch.exp(-0.5 * (offsets / sigma_cells) ** 2)
    kernel = (kernel / kernel.sum()).to(maps.dtype)
    planes = functional.pad(maps.flatten(0, 1).unsqueeze(1), (reach,) * 4, mode="replicate")
    rows = functional.conv2d(planes, kernel.view(1, 1, -1, 1))
    return functional.conv2d(rows, kernel.view(1, 1, 1, -1)).view(maps.shape)
