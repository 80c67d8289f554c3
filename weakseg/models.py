"""Trained networks on disk: a folder with `weights.safetensors` and `model.json`, what it takes to rebuild them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from weakseg import artifacts, networks
from weakseg.errors import UserError

WEIGHTS, DESCRIPTION = "weights.safetensors", "model.json"


def save_model(folder: Path, network: nn.Module, description: Mapping[str, Any]) -> None:
    """Write both files, each whole or not at all; the description last, so that a model without one is incomplete."""
    weights = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    artifacts.write_bytes(folder / WEIGHTS, save(weights))
    content = {**description, "normalization": networks.normalization_of(network)}
    artifacts.write_text(folder / DESCRIPTION, json.dumps(content, indent=2, sort_keys=True) + "\n")


def read_weights(folder: Path) -> dict[str, Tensor]:
    path = folder / WEIGHTS
    try:
        return load_file(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; train the model first (`dvc repro`)") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path}: damaged weights file ({error})") from None


def load_classifier(folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The network in evaluation mode, and its description."""
    description = artifacts.read_json(folder / DESCRIPTION)
    with _Complete(folder):
        network = networks.build_classifier(
            description["network"], description["backbone"],
            len(description["class_names"]) - 1, 0.0, description["normalization"], **description["vgg16"],
        )  # fmt: skip
    return _with_weights(network, folder), description


def load_segmenter(folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The network in evaluation mode, and its description."""
    description = artifacts.read_json(folder / DESCRIPTION)
    with _Complete(folder):
        network = networks.build_segmenter(
            description["head"], description["backbone"], len(description["class_names"]), 0.0,
            description["average_pool5a"], description["normalization"],
        )  # fmt: skip
    return _with_weights(network, folder), description


class _Complete:
    """Turns a missing key of model.json into a clear error."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (KeyError, TypeError)):
            raise UserError(f"{self.folder / DESCRIPTION}: damaged or of another version ({error})") from None


def _with_weights(network: nn.Module, folder: Path) -> nn.Module:
    try:
        network.load_state_dict(read_weights(folder))
    except RuntimeError as error:
        raise UserError(f"{folder / WEIGHTS}: does not fit {DESCRIPTION} beside it: {error}") from None
    return network.eval()
