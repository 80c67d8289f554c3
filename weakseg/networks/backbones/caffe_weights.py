"""The papers' Caffe weights, from a converted file: .npz or .safetensors with Caffe's layer names.

Entries are `conv1_1.weight`, `conv1_1.bias`, …, `fc6.weight`, `fc8.bias`, as Caffe stores them: output
channels first, fully connected layers as matrices or convolutions, conv1_1 reading BGR.
"""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from weakseg.errors import UserError
from weakseg.networks.backbones.vgg_weights import VGGNetwork, load_vgg_layers

# Names of the fully connected layers in the authors' prototxts.
ALIASES = {
    "fc6": ("fc6_gap", "fc6_1"),
    "fc7": ("fc7_gap", "fc7_1"),
    "fc8": ("fc8_voc12", "fc8-SEC", "score"),
}


def read_caffe_layers(path: Path) -> dict[str, Tensor]:
    """Converted Caffe layers as float32 tensors under this project's names, conv1_1 converted from BGR to RGB.

    Raises UserError if the file is missing, of another format, or unreadable.
    """
    if not path.is_file():
        raise UserError(
            f"{path}: the converted Caffe weights are missing; convert the .caffemodel to .npz or "
            ".safetensors with entries conv1_1.weight, conv1_1.bias, …, or name another file"
        )
    if path.suffix not in (".npz", ".safetensors"):
        raise UserError(f"{path}: Caffe weights are read from .npz or .safetensors only; convert the .caffemodel")
    try:
        layers = load_file(path) if path.suffix == ".safetensors" else _read_npz(path)
    except Exception as error:  # damaged bytes make numpy raise almost anything
        raise UserError(f"{path}: not a readable file of plain arrays ({error}); convert it again") from error
    named = {_own_name(name): tensor.float() for name, tensor in layers.items()}
    return {**named, **_as_rgb(named)}


def _read_npz(path: Path) -> dict[str, Tensor]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: torch.from_numpy(np.ascontiguousarray(archive[name])) for name in archive.files}


def _own_name(entry: str) -> str:
    layer, _, kind = entry.rpartition(".")
    return next((f"{own}.{kind}" for own, theirs in ALIASES.items() if layer in theirs), entry)


def _as_rgb(layers: dict[str, Tensor]) -> dict[str, Tensor]:
    """conv1_1 reading RGB: on RGB − mean it gives what the original gives on BGR − mean."""
    weight = layers.get("conv1_1.weight")
    return {} if weight is None or weight.ndim != 4 else {"conv1_1.weight": weight.flip(1)}


def load_caffe_vgg16(
    network: VGGNetwork,
    path: Path,
    *,
    fc_from_pretrained: bool = True,
    last_layer: bool = False,
    normalization: str = "caffe",
) -> None:
    """Load converted Caffe weights into a VGG network and make it subtract Caffe's mean.

    `fc_from_pretrained` takes fc6 and fc7 too (thinned out if they are plain VGG's), `last_layer` fc8 as
    well: for a network that was trained on these classes. `normalization`: "caffe", or "caffe_sec" for SEC's
    segmenter. Raises UserError listing every missing and mis-shaped layer; then the network is unchanged.
    """
    fcs = (["fc6", "fc7"] if fc_from_pretrained else []) + (["fc8"] if last_layer else [])
    load_vgg_layers(network, read_caffe_layers(path), str(path), fcs)
    network.normalization.use(normalization)
