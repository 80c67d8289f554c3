"""Backbones of timm, the library of PyTorch image models (Wightman 2019), which is an optional extra."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from weakseg.errors import UserError
from weakseg.networks.backbone import Backbone
from weakseg.networks.backbones.aligned import Aligned, aligned
from weakseg.networks.backbones.timm_parts import PREFIX, parts_of, timm_module
from weakseg.networks.family import Family
from weakseg.networks.normalization import Normalization
from weakseg.networks.weights import Imagenet

NAMES = ("timm/*",)

HUB_SECONDS = 10
HUB_FILES = ("model.safetensors", "pytorch_model.bin")


class TimmBackbone(Backbone):
    """A model of timm at `output_stride` 8, 16 or 32, or the widest below it that the model has.

    With `dilate`, dropped strides are replaced by dilation. Batch norm is frozen. Raises UserError for models that timm
    does not know, or that have no such features for photos of any size.
    """

    def __init__(self, name: str, output_stride: int, dilate: bool) -> None:
        super().__init__()
        self.recipe = (name, output_stride, dilate)
        parts = parts_of(*self.recipe)
        self.channels, self.low_channels = parts.channels, parts.low_channels
        mean, std = ([255 * value for value in parts.config[key]] for key in ("mean", "std"))
        self.normalization = Normalization({"mean": mean, "std": std})
        stride = parts.late_stride
        try:
            self.early = aligned(parts.early, 3, 8, snap=16, windows_snap=32)
            if parts.chain:
                self.late = aligned(parts.late, parts.low_channels, stride, snap=stride, windows_snap=4)
            else:
                self.late = Aligned(parts.late, stride, offset=0, snap=stride)
            with torch.no_grad():
                self.eval()(torch.zeros(1, 3, 65, 97))
        except (ValueError, RuntimeError, AssertionError):
            raise UserError(f"backbone: {name} has no regular grid of features for photos of any size") from None
        timm_module().layers.freeze_batch_norm_2d(self.train())

    def stride8(self, images: Tensor) -> Tensor:
        """(B, low_channels, h8, w8) features at stride 8."""
        return self.early(self.normalization(images))  # type: ignore[no-any-return]

    def from_low(self, low: Tensor) -> Tensor:
        """The features at the output stride, computed from those at stride 8."""
        return self.late(low)  # type: ignore[no-any-return]

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Load a state dict of timm's model. Raises ValueError naming what it lacks; nothing is loaded then."""
        if not weights:  # which timm would download from its hub
            raise ValueError("empty")
        with torch.random.fork_rng(devices=[]):  # the same random weights twice: what is still equal was not loaded
            torch.manual_seed(0)
            fresh = parts_of(*self.recipe)
            torch.manual_seed(0)
            loaded = parts_of(*self.recipe, pretrained=True, pretrained_cfg_overlay={"state_dict": dict(weights)})
        missing = [*_left_alone(fresh.early, loaded.early), *_left_alone(fresh.late, loaded.late)]
        if missing:
            raise ValueError(f"without {', '.join(missing[:5])}{' and others' if missing[5:] else ''}")
        self.early.part.load_state_dict(loaded.early.state_dict())
        self.late.part.load_state_dict(loaded.late.state_dict())


def _left_alone(fresh: nn.Module, loaded: nn.Module) -> list[str]:
    """Names of the random weights, in contrast to constants, that are the same in both."""
    pairs = zip(fresh.named_parameters(), loaded.parameters(), strict=True)
    return [name for (name, old), new in pairs if old.ndim > 1 and old.min() < old.max() and torch.equal(old, new)]


def hub_file(name: str) -> Path:
    """The weights of timm's hub, from its cache or downloaded. Raises UserError, soon, if they are not available."""
    from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache

    config = timm_module().get_pretrained_cfg(name.removeprefix(PREFIX))
    repository = config.hf_hub_id if config else None
    if not repository:
        raise UserError(f"pretrained: imagenet: timm has no weights of {name}; name a file, or choose none")
    wanted: Sequence[str] = [config.hf_hub_filename] if config.hf_hub_filename else HUB_FILES
    for file in wanted:
        cached = try_to_load_from_cache(repository, file)
        if isinstance(cached, str):
            return Path(cached)
    try:
        # a single request first: without a connection, a download would try six times and wait longer each time
        there = {file.rfilename for file in HfApi().model_info(repository, timeout=HUB_SECONDS).siblings or ()}
        file = next((file for file in wanted if file in there), wanted[0])
        return Path(hf_hub_download(repository, file, etag_timeout=HUB_SECONDS))
    except Exception as error:  # of the hub, its HTTP library, or the disk
        raise UserError(
            f"pretrained: imagenet: the weights of {name} are not available from timm's hub ({type(error).__name__}: {error}); "
            f"get {wanted[0]} of {repository} some other way and name that file, or choose none"
        ) from None


class TimmFamily(Family):
    classifier_stride = 32

    def build(self, name: str, output_stride: int, dilate: bool) -> TimmBackbone:
        return TimmBackbone(name, output_stride, dilate)

    def load(self, trunk: nn.Module, name: str, source: Path | Imagenet, fc_from_pretrained: bool) -> None:
        file = source if isinstance(source, Path) else source.checked(name, hub_file(name))
        if not file.is_file():
            raise UserError(f"{file}: pretrained weights not found")
        try:
            weights: Mapping[str, Any] = timm_module().models.load_state_dict(str(file))  # runs no pickled code
            cast(TimmBackbone, trunk).load(weights)
        except Exception as error:  # damaged bytes make torch raise almost anything, and so do timm's own conversions
            raise UserError(f"{file}: not weights of {name} ({type(error).__name__}: {error})") from None

    def without_weights(self, trunk: nn.Module) -> None:
        timm_module().layers.unfreeze_batch_norm_2d(trunk).train(trunk.training)


FAMILY = TimmFamily()
