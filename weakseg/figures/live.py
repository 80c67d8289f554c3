"""Networks run on a few photos, where a figure shows what no stage writes: results on the photos that they learnt from."""

from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import nn

from weakseg.arrays import LabelMap, Photo
from weakseg.cams import HeatMapTask
from weakseg.figures.artifacts import Artifacts
from weakseg.files import Record, SaliencyRecord
from weakseg.inference import PhotoSegmenter, SaliencyTask, load_segmenter
from weakseg.networks import rebuild_classifier, rebuild_segmenter
from weakseg.settings import MakeCams

CPU = torch.device("cpu")
HEAT_OPACITY = 0.6


def predicted(artifacts: Artifacts, experiment: str, record: Record) -> LabelMap | None:
    """The experiment's mask of any photo, with CRF, at display size; None where it is not trained, or not tested yet."""
    rule = artifacts.find(f"models/segmenter/{experiment}/test_rule.json")
    if rule is None:
        return None
    return artifacts.shown(_segmenter(rule.parent).segment(artifacts.whole_photo(record)), record)


def salience(artifacts: Artifacts, record: SaliencyRecord) -> LabelMap | None:
    """The saliency network's foreground probability (grey) of one of its training photos; None where it is not trained."""
    folder = artifacts.find("models/saliency")
    if folder is None:
        return None
    network, input_px = _saliency(folder)
    task = SaliencyTask(folder, max_side_px=input_px)
    (found,) = task.results(network, [_as_record(record)], [artifacts.whole_photo(record)], CPU)
    return artifacts.shown(found, record)


def heat(artifacts: Artifacts, net: str, record: Record, photo: Photo | None) -> Photo | None:
    """The class activation map of the photo's first tag, at one scale and unmirrored, laid over the photo."""
    folder = artifacts.find(f"models/classifier/{net}")
    if folder is None or not record.labels or photo is None:
        return None
    network, settings = _classifier(folder)
    task = HeatMapTask(folder, settings)
    ((_, maps),) = task.results(network, [record], [artifacts.whole_photo(record)], CPU)
    return coloured(maps[0], photo)


def coloured(heat_map: npt.NDArray[np.floating], photo: Photo) -> Photo:
    """(H, W, 3): a map (h, w) from its 0 to its maximum in colours, over the grey photo."""
    height, width = photo.shape[:2]
    positive = np.maximum(heat_map, 0).astype(np.float32) / max(float(heat_map.max()), 1e-12)
    large = np.asarray(Image.fromarray(positive).resize((width, height), Image.Resampling.BILINEAR))
    colours = 255 * matplotlib.colormaps["turbo"](large)[..., :3]
    grey = photo.mean(2, keepdims=True)
    return np.rint(HEAT_OPACITY * colours + (1 - HEAT_OPACITY) * grey).astype(np.uint8)


@lru_cache(maxsize=2)
def _segmenter(folder: Path) -> PhotoSegmenter:
    return load_segmenter(folder, CPU)


@lru_cache(maxsize=1)
def _saliency(folder: Path) -> tuple[nn.Module, int]:
    """The network, and the side that it was trained at."""
    network, description = rebuild_segmenter(folder)
    return network.eval(), description["input_px"]


@lru_cache(maxsize=8)
def _classifier(folder: Path) -> tuple[nn.Module, MakeCams]:
    """The network, and how its class activation maps are read at one scale, as it saw photos in training."""
    network, description = rebuild_classifier(folder)
    settings = MakeCams(
        method="gap", input_px=description["input_px"], geometry=description["geometry"], scales=[1.0], gradient_scales=[],
        flip=False, excitation_at="image", smoothing_px=0.0,
    )  # fmt: skip
    return network.eval(), settings


def _as_record(record: SaliencyRecord) -> Record:
    return Record(record.image_id, "train", record.image, "", record.width, record.height, (), record.sha256)
