"""Trained networks on disk: a folder with `weights.safetensors` and `model.json`, what it takes to rebuild them."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from weakseg.errors import UserError
from weakseg.files import IGNORE_INDEX, read_json, write_bytes, write_text
from weakseg.networks.normalization import NORMALIZATIONS
from weakseg.networks.registry import (
    build_boundaries,
    build_classifier,
    build_segmenter,
    copy_matching,
    load_pretrained,
    normalization_of,
    use_normalization,
)
from weakseg.settings import Section, Side, TrainSegmenter, VGG16Classifier

WEIGHTS, DESCRIPTION = "weights.safetensors", "model.json"


Channels = Annotated[list[float], Field(min_length=3, max_length=3)]


class _Numbers(Section):
    """Mean and standard deviation of RGB in 0..255."""

    mean: Channels
    std: Channels


class _Description(Section):
    """What it takes to rebuild a network."""

    backbone: str
    normalization: Annotated[str, Field(pattern=f"^({'|'.join(NORMALIZATIONS)})$")] | _Numbers
    class_names: Annotated[list[str], Field(min_length=2, max_length=IGNORE_INDEX)]
    input_px: Side
    weights_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _ClassifierDescription(_Description):
    network: str
    geometry: Literal["warp", "pad"]
    vgg16: VGG16Classifier


class _BoundaryDescription(_Description):
    radius: int


class _SegmenterDescription(_Description):
    head: str
    average_pool5a: bool
    geometry: Literal["warp", "crop"]


def save_model(folder: Path, network: nn.Module, description: Mapping[str, Any]) -> None:
    """Write both files, each whole or not at all; the description last, so a model without one is incomplete."""
    weights = save({name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()})
    write_bytes(folder / WEIGHTS, weights)
    digest = hashlib.sha256(weights).hexdigest()
    content = {**description, "normalization": normalization_of(network), "weights_sha256": digest}
    write_text(folder / DESCRIPTION, json.dumps(content, indent=2, sort_keys=True) + "\n")


def files_of(folder: Path) -> dict[str, Path]:
    """Both files of a model by name, as `identity_of` takes them."""
    return {name: folder / name for name in (WEIGHTS, DESCRIPTION)}


def read_weights(folder: Path, sha256: str) -> dict[str, Tensor]:
    """The weights by name. Raises UserError if the file is missing, damaged, or not the one that the description
    names."""
    path = folder / WEIGHTS
    try:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != sha256:
            raise ValueError(f"it is not the file that {DESCRIPTION} beside it was written for")
        return load(content)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; train the model first (`dvc repro`)") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path}: damaged weights file ({error})") from None


def rebuild_classifier(folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The network in evaluation mode, and its description."""
    description = _read_description(folder, _ClassifierDescription)
    with _naming(folder / DESCRIPTION):
        network = build_classifier(
            description["network"], description["backbone"],
            len(description["class_names"]) - 1, 0.0, **description["vgg16"],
        )  # fmt: skip
    return _with_weights(network, folder, description), description


def rebuild_segmenter(folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The network in evaluation mode, and its description."""
    description = _read_description(folder, _SegmenterDescription)
    with _naming(folder / DESCRIPTION):
        network = build_segmenter(
            description["head"], description["backbone"], len(description["class_names"]), 0.0,
            description["average_pool5a"],
        )  # fmt: skip
    return _with_weights(network, folder, description), description


def rebuild_boundaries(folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The network in evaluation mode, and its description."""
    description = _read_description(folder, _BoundaryDescription)
    with _naming(folder / DESCRIPTION):
        network = build_boundaries(description["backbone"])
    return _with_weights(network, folder, description), description


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """The error for a description that cannot be built."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def start_from(path: Path, network: nn.Module, settings: TrainSegmenter) -> Path:
    """Start a segmenter from a trained classifier's folder or as `load_pretrained` does; returns the file that was
    read. Raises UserError if nothing fits.
    """
    if not path.is_dir():
        load_pretrained(network, settings.backbone, path, settings.fc_from_pretrained, settings.normalization)
        return path
    description = classifier_description(path)
    use_normalization(network, settings.normalization or description["normalization"])
    copy_matching(network, read_weights(path, description["weights_sha256"]))
    return path / WEIGHTS


def classifier_description(folder: Path) -> dict[str, Any]:
    """What `rebuild_classifier` rebuilds, without its network."""
    return _read_description(folder, _ClassifierDescription)


def segmenter_description(folder: Path) -> dict[str, Any]:
    return _read_description(folder, _SegmenterDescription)


def _read_description(folder: Path, kind: type[_Description]) -> dict[str, Any]:
    content = read_json(folder / DESCRIPTION)
    try:
        kind.model_validate(content)
    except ValidationError as error:
        keys = ", ".join(sorted({".".join(map(str, item["loc"])) for item in error.errors()}))
        raise UserError(f"{folder / DESCRIPTION}: damaged or from another version ({keys})") from None
    return content


def _with_weights(network: nn.Module, folder: Path, description: Mapping[str, Any]) -> nn.Module:
    use_normalization(network, description["normalization"])
    try:
        network.load_state_dict(read_weights(folder, description["weights_sha256"]))
    except RuntimeError as error:
        raise UserError(f"{folder / WEIGHTS}: does not fit {DESCRIPTION} beside it: {error}") from None
    return network.eval()
