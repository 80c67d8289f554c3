"""Reading ImageNet weights from files, offline, and copying them into networks."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import load_file
from torch import Tensor

from weakseg.errors import UserError
from weakseg.files import file_sha256, read_text

IMAGENET, NONE = "imagenet", "none"


@dataclass(frozen=True)
class Imagenet:
    """ImageNet's weights as packaged; `known` is a text file of their SHA-256 by backbone."""

    known: Path | None = None

    def checked(self, backbone: str, file: Path) -> Path:
        """The file, if its SHA-256 is the known one. Raises UserError for weights other than those DVC knows."""
        expected = self._expected().get(backbone)
        if expected and file.is_file() and not file_sha256(file).startswith(expected):
            raise UserError(
                f"{file}: weights of {backbone} are not those that {self.known} records; "
                "update that file to use these, and everything that starts from them reruns"
            )
        return file

    def _expected(self) -> dict[str, str]:
        if self.known is None or not self.known.is_file():
            return {}
        lines = (line.split() for line in read_text(self.known).splitlines() if line and not line.startswith("#"))
        return {words[0]: words[1] for words in lines if len(words) == 2}


ANY_IMAGENET = Imagenet()


def torchvision_path(backbone: str) -> Path:
    """Where torch's hub cache keeps torchvision's first weights of its model `backbone`."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(_torchvision_url(backbone)).name


def _torchvision_url(backbone: str) -> str:
    """The digits in it are part of the file's SHA-256."""
    from torchvision.models import get_model_weights

    return cast(str, get_model_weights(backbone)["IMAGENET1K_V1"].url)


def read_state_dict(backbone: str, source: Path | Imagenet = ANY_IMAGENET) -> dict[str, Tensor]:
    """torchvision's ImageNet state dict of its model `backbone`, from a file or the hub cache; nothing is downloaded.

    A path ending in .safetensors is read as such, anything else by `torch.load(weights_only=True)`.
    Raises UserError naming the file and where to put it if it is missing or cannot be read.
    """
    cached = torchvision_path(backbone)
    file = source.checked(backbone, cached) if isinstance(source, Imagenet) else source
    advice = (
        f"Put torchvision's {cached.name} there (from {_torchvision_url(backbone)}), "
        "or set `pretrained` to a file that exists or to `none`."
    )
    if not file.is_file():
        raise UserError(f"{file}: the ImageNet weights of {backbone} are missing. {advice}")
    try:
        content = load_file(file) if file.suffix == ".safetensors" else _load_weights_only(file)
    except Exception as error:  # damaged bytes make torch raise almost anything
        raise UserError(f"{file}: not a readable weights file ({type(error).__name__}). {advice}") from error
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise UserError(f"{file}: not a state dict (name → tensor). {advice}")
    return dict(content)


def _load_weights_only(file: Path) -> object:
    return torch.load(file, map_location="cpu", weights_only=True)


def copy_parameters(targets: Mapping[str, Tensor], sources: Mapping[str, Tensor], origin: str) -> None:
    """Copy `sources[name]` into `targets[name]` in place, for every target; extra sources are ignored.

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
