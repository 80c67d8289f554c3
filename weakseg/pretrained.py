"""Reading ImageNet weights from files, offline, and copying them into networks layer by layer."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from weakseg.errors import UserError
from weakseg.normalization import Normalization

# The names torchvision downloads under; the digits are part of the file's SHA-256.
TORCHVISION_FILES = {"vgg16": "vgg16-397923af.pth", "resnet101": "resnet101-63fe2227.pth"}

# Where torchvision's `vgg16().features` keeps conv1_1 .. conv5_3, and its `classifier` fc6 .. fc8.
VGG16_CONVS = {
    "conv1_1": 0, "conv1_2": 2, "conv2_1": 5, "conv2_2": 7, "conv3_1": 10, "conv3_2": 12, "conv3_3": 14,
    "conv4_1": 17, "conv4_2": 19, "conv4_3": 21, "conv5_1": 24, "conv5_2": 26, "conv5_3": 28,
}  # fmt: skip
VGG16_FCS = {"fc6": 0, "fc7": 3, "fc8": 6}
PLAIN_FC_CHANNELS, PLAIN_FC6_KERNEL = 4096, 7


class VGGNetwork(Protocol):
    """Any of `weakseg.vgg`'s networks."""

    normalization: Normalization

    def named_convs(self) -> dict[str, nn.Conv2d]: ...


def torchvision_path(backbone: str) -> Path:
    """Where torch's hub cache keeps torchvision's weights of `backbone` ("vgg16" or "resnet101")."""
    return Path(torch.hub.get_dir()) / "checkpoints" / TORCHVISION_FILES[backbone]


def read_state_dict(backbone: str, path: Path | None = None) -> dict[str, Tensor]:
    """torchvision's ImageNet state dict of `backbone`, from `path` or the hub cache; nothing is downloaded.

    A path ending in .safetensors is read as such, anything else by `torch.load(weights_only=True)`.
    Raises UserError naming the file and where to put it if it is missing or cannot be read.
    """
    file = torchvision_path(backbone) if path is None else path
    advice = (
        f"Put torchvision's {TORCHVISION_FILES[backbone]} there "
        f"(from https://download.pytorch.org/models/{TORCHVISION_FILES[backbone]}), "
        "or set `pretrained` to a file that exists or to `none`."
    )
    if not file.is_file():
        raise UserError(f"{file}: the ImageNet weights of {backbone} are missing. {advice}")
    try:
        content = load_file(file) if file.suffix == ".safetensors" else _load_weights_only(file)
    except Exception as error:  # damaged bytes make torch raise nearly everything
        raise UserError(f"{file}: not a readable weights file ({type(error).__name__}). {advice}") from error
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise UserError(f"{file}: not a state dict (name → tensor). {advice}")
    return dict(content)


def _load_weights_only(file: Path) -> object:
    return torch.load(file, map_location="cpu", weights_only=True)


def copy_parameters(targets: Mapping[str, Tensor], sources: Mapping[str, Tensor], origin: str) -> None:
    """Copy `sources[name]` into `targets[name]` in place, for every target; extra sources are left alone.

    Raises UserError listing every missing and every mis-shaped name of `origin` at once; then nothing was
    copied.
    """
    _raise_problems(origin, _problems(targets, sources))
    with torch.no_grad():
        for name, target in targets.items():
            target.copy_(sources[name])


def _problems(targets: Mapping[str, Tensor], sources: Mapping[str, Tensor]) -> Iterable[str]:
    for name, target in targets.items():
        if name not in sources:
            yield f"{name} is missing (wanted {tuple(target.shape)})"
        elif sources[name].shape != target.shape:
            yield f"{name} is {tuple(sources[name].shape)}, wanted {tuple(target.shape)}"


def _raise_problems(origin: str, problems: Iterable[str]) -> None:
    """Raise one UserError that lists all `problems`, if there are any."""
    lines = list(problems)
    if lines:
        raise UserError(f"{origin}: these weights do not fit the network:\n  " + "\n  ".join(lines))


def load_torchvision_vgg16(network: VGGNetwork, state_dict: Mapping[str, Tensor], fc_from_pretrained: bool) -> None:
    """Start a VGG network from torchvision's vgg16 state dict and use torchvision's normalization.

    `fc_from_pretrained`: fc6 and fc7 are thinned out of ImageNet's, as DeepLab did; else they stay as they
    are. fc8 always stays as it is. Raises UserError listing every missing and mis-shaped layer.
    """
    names = {name: f"features.{index}" for name, index in VGG16_CONVS.items()}
    names |= {name: f"classifier.{index}" for name, index in VGG16_FCS.items()}
    layers = {
        f"{name}.{kind}": state_dict[f"{theirs}.{kind}"]
        for name, theirs in names.items()
        for kind in ("weight", "bias")
        if f"{theirs}.{kind}" in state_dict
    }
    load_vgg_layers(network, layers, "torchvision's vgg16", ("fc6", "fc7") if fc_from_pretrained else ())
    network.normalization.use("imagenet")


def load_vgg_layers(network: VGGNetwork, layers: Mapping[str, Tensor], origin: str, fcs: Iterable[str]) -> None:
    """Copy `layers` ("conv1_1.weight", …) into all convolutions below fc6 and into those of `fcs` it has.

    Fully connected weights may be matrices. Plain VGG's fc6 (4096, 25088) and fc7 are thinned out where the
    network wants less. Raises UserError listing every missing and mis-shaped layer; then nothing was copied.
    """
    convs = {n: conv for n, conv in network.named_convs().items() if not n.startswith("fc") or n in set(fcs)}
    targets: dict[str, Tensor] = {f"{name}.weight": conv.weight for name, conv in convs.items()}
    targets |= {f"{name}.bias": conv.bias for name, conv in convs.items() if conv.bias is not None}
    sources = {name: _fit(name, layers[name], targets[name]) for name in targets if name in layers}
    copy_parameters(targets, sources, origin)


def _fit(name: str, source: Tensor, target: Tensor) -> Tensor:
    """A fully connected layer brought to the target's shape where it is known how, anything else as it is."""
    if not name.startswith("fc"):
        return source
    if source.ndim == 2 and target.ndim == 4:
        kernel = PLAIN_FC6_KERNEL if name == "fc6.weight" else 1
        if source.shape[1] % kernel**2 == 0:
            source = source.reshape(source.shape[0], -1, kernel, kernel)
    is_plain = name[:3] in ("fc6", "fc7") and source.shape[0] == PLAIN_FC_CHANNELS
    return thin_out(source, target.shape) if is_plain and source.ndim == target.ndim else source


def thin_out(weight: Tensor, shape: torch.Size) -> Tensor:
    """DeepLab's decimation of a fully connected layer: evenly spaced channels and kernel taps.

    Kernels: 7 → 3 keeps taps 0, 3, 6; → 1 the middle one; a 1×1 layer put into 3×3 fills the middle tap, the
    rest is 0. What cannot be thinned out to `shape` (channels that do not divide) is returned with its own
    size there.
    """
    for axis in (0, 1):
        if axis < weight.ndim and shape[axis] and weight.shape[axis] % shape[axis] == 0:
            weight = weight[(slice(None),) * axis + (slice(None, None, weight.shape[axis] // shape[axis]),)]
    for axis in range(2, weight.ndim):
        weight = _resize_kernel(weight, axis, shape[axis])
    return weight


def _resize_kernel(weight: Tensor, axis: int, size: int) -> Tensor:
    old = weight.shape[axis]
    if old < size:
        wider = weight.new_zeros([*weight.shape[:axis], size, *weight.shape[axis + 1 :]])
        start = (size - old) // 2
        wider.narrow(axis, start, old).copy_(weight)
        return wider
    taps = torch.linspace(0, old - 1, size).round().long() if size > 1 else torch.tensor([old // 2])
    return weight.index_select(axis, taps)


def load_torchvision_resnet101(network: nn.Module, state_dict: Mapping[str, Tensor]) -> None:
    """Start a ResNet-101 trunk (conv1 .. layer4) from torchvision's state dict; `fc` is ignored.

    Raises UserError listing every missing and mis-shaped entry.
    """
    targets = {n: t for n, t in network.state_dict().items() if not n.endswith("num_batches_tracked")}
    copy_parameters(targets, state_dict, "torchvision's resnet101")
