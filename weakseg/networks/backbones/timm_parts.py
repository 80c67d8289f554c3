"""timm's models cut in two: from the photo to stride 8, and from there to the output stride.

Convolutional networks, and anything else that timm offers as a chain of stages, are cut between two stages. A plain
vision transformer is cut after its patch projection, whose map is resampled to stride 8; the rest is timm's own code.
"""

from collections import OrderedDict
from collections.abc import Mapping
from difflib import get_close_matches
from types import ModuleType
from typing import Any, NamedTuple

from torch import Tensor, nn

from weakseg.errors import UserError
from weakseg.networks.backbones.aligned import Doubled, Halved

PREFIX = "timm/"


class Parts(NamedTuple):
    """`late` has a cell every `late_stride` cells of `early`; it is a `chain` of stages or a transformer."""

    early: nn.Sequential
    late: nn.Sequential
    late_stride: int
    low_channels: int
    channels: int
    chain: bool
    config: Mapping[str, Any]


def timm_module() -> ModuleType:
    """timm, which takes seconds to import. Raises UserError if it is not installed."""
    try:
        import timm
    except ImportError:
        raise UserError("backbone: timm/… needs the extra package timm: `pip install timm`") from None
    return timm  # type: ignore[no-any-return]


def parts_of(name: str, output_stride: int, dilate: bool, **weights: Any) -> Parts:
    """timm's model of that name (`timm/resnet50.a1_in1k`); `weights` are `timm.create_model`'s settings of them.

    If a model cannot drop its last strides, its last stages are left out. Raises UserError for a name that timm does
    not know and for models without features at such strides.
    """
    model = name.removeprefix(PREFIX)
    _check_known(model)
    transformer = _transformer(model, **weights)
    if transformer is not None:
        return _transformer_parts(name, transformer, output_stride)
    return _chain_parts(name, _chain(model, output_stride, **weights), output_stride, dilate)


def _check_known(model: str) -> None:
    timm = timm_module()
    try:
        timm.get_pretrained_cfg(model)  # raises if the tag, after a dot, is unknown
        known = timm.is_model(model)
    except RuntimeError:
        known = False
    if not known:
        names = [*timm.list_models(), *timm.list_models(pretrained=True)]
        close = ", ".join(PREFIX + other for other in get_close_matches(model, names, 5, 0.5))
        raise UserError(f"backbone: timm has no model {model!r}" + (f"; there are {close}" if close else ""))


def _too_few(name: str, has: str, output_stride: int) -> UserError:
    return UserError(
        f"backbone: {name} has {has}, which do not allow an output stride of {output_stride}; "
        "choose a network with a larger stride, such as gap_lowres, or another backbone"
    )


# --- chains of stages ------------------------------------------------------------------------------------------------


def _chain(model: str, output_stride: int, **weights: Any) -> Any:
    """Features at all strides, the later ones dilated if the model can; any photo size if that is an option."""
    for settings in ({"output_stride": output_stride}, {"strict_img_size": False}, {}):
        try:
            return timm_module().create_model(model, features_only=True, **settings, **weights)
        except (TypeError, ValueError, AssertionError, NotImplementedError):  # models differ in how they refuse
            continue
        except RuntimeError:
            if weights:
                raise
            break
    raise UserError(f"backbone: timm/{model} has no features at several strides")


def _chain_parts(name: str, net: Any, output_stride: int, dilate: bool) -> Parts:
    modules, strides, channels = _flat(net), net.feature_info.reduction(), net.feature_info.channels()
    ends = [list(modules).index(level) + 1 for level in _level_names(net) if level in modules]
    if len(ends) < len(strides) or type(net).__name__ in ("FeatureGetterNet", "FeatureHookNet"):
        raise UserError(f"backbone: {name} is neither a chain of stages nor a plain vision transformer")
    first = next((level for level, stride in enumerate(strides) if stride in (8, 16)), len(strides))
    last = max((level for level, stride in enumerate(strides) if stride <= output_stride), default=-1)
    if first >= last:
        raise _too_few(name, f"features at strides {', '.join(map(str, strides))}", output_stride)
    early, late = _between(modules, 0, ends[first]), _between(modules, ends[first], ends[last])
    if not dilate:
        _undilate(late)
    if str(getattr(net, "output_fmt", "")).endswith("NHWC"):
        early, late = nn.Sequential(early, ToChannelsFirst()), nn.Sequential(ToChannelsLast(), late, ToChannelsFirst())
    if strides[first] == 16:
        early, late = nn.Sequential(early, Doubled()), nn.Sequential(Halved(), late)
    return Parts(early, late, strides[last] // 8, channels[first], channels[last], True, net.pretrained_cfg)


def _level_names(net: Any) -> list[str]:
    return [name.replace(".", "_") for name in net.feature_info.module_name()]


def _flat(net: Any) -> OrderedDict[str, nn.Module]:
    """The chain's modules in order, nested sequences flattened."""
    flat: OrderedDict[str, nn.Module] = OrderedDict()
    for name, child in net.named_children():
        inner = {f"{name}_{key}": module for key, module in child.named_children()}
        taken_apart = isinstance(child, nn.Sequential) and inner.keys() & set(_level_names(net))
        flat.update(inner if taken_apart else {name: child})
    return flat


def _between(modules: OrderedDict[str, nn.Module], start: int, end: int) -> nn.Sequential:
    return nn.Sequential(OrderedDict(list(modules.items())[start:end]))


def _undilate(late: nn.Module) -> None:
    for conv in late.modules():
        if isinstance(conv, nn.Conv2d) and max(conv.dilation) > 1:
            if not isinstance(conv.padding, str):
                rows, columns = (pad // step for pad, step in zip(conv.padding, conv.dilation, strict=True))
                conv.padding = (rows, columns)
            conv.dilation = (1, 1)


class ToChannelsFirst(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 3, 1, 2)


class ToChannelsLast(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1)


# --- plain vision transformers -----------------------------------------------------------------------------------------


def _transformer(model: str, **weights: Any) -> Any:
    """A vision transformer for any photo size; None for models of other kinds, which have no such settings."""
    try:
        net = timm_module().create_model(model, num_classes=0, dynamic_img_size=True, **weights)
    except TypeError:
        return None
    projects = isinstance(getattr(getattr(net, "patch_embed", None), "proj", None), nn.Conv2d)
    return net if projects and len({level["reduction"] for level in net.feature_info}) == 1 else None


def _transformer_parts(name: str, net: Any, output_stride: int) -> Parts:
    stride, projection = net.patch_embed.patch_size[0], net.patch_embed.proj
    if stride not in (8, 16):
        raise UserError(f"backbone: {name} has patches of {stride} px; those of 8 and 16 can be used")
    if stride > output_stride:
        raise _too_few(name, f"patches of {stride} px", output_stride)
    early, late = nn.Sequential(projection), nn.Sequential(Tokens(net))
    if stride == 16:
        early, late = nn.Sequential(projection, Doubled()), nn.Sequential(Halved(), late)
    return Parts(early, late, stride // 8, projection.out_channels, net.embed_dim, False, net.pretrained_cfg)


class Tokens(nn.Module):
    """A vision transformer without its patch projection: (B, D, h, w) projected patches → (B, D, h, w), normalized.

    timm's own code, which takes the map for a photo with patches of one cell.
    """

    def __init__(self, net: Any) -> None:
        super().__init__()
        net.prune_intermediate_layers(1, prune_norm=False)  # of the classifier's head
        net.patch_embed.proj = nn.Identity()
        net.patch_embed.patch_size = (1, 1)
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        (features,) = self.net.forward_intermediates(x, indices=1, norm=True, intermediates_only=True)
        return features  # type: ignore[no-any-return]
