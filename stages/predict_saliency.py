"""Predict the train and val photos' saliency: the foreground probability as 8-bit grey."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import nn

from weakseg import distributed, inference, transforms
from weakseg.artifacts import Record, read_manifest
from weakseg.devices import pick_device, to_device
from weakseg.identity import identity_of
from weakseg.models import files_of, load_segmenter
from weakseg.parallel import read_ahead
from weakseg.params import PredictSaliency, read_keys
from weakseg.photos import read_record
from weakseg.stage import arguments, run
from weakseg.unfinished import Unfinished


def main() -> None:
    paths = arguments(
        __doc__, manifest="manifest", model="folder of the saliency network", out=".zip to write",
        checkpoints="folder for what is half done",
    ).parse_args()  # fmt: skip
    settings: PredictSaliency = read_keys("predict_saliency", files=paths.params)
    device = pick_device()
    network, _ = load_segmenter(paths.model)
    network = to_device(network, device)
    records = distributed.share(read_manifest(paths.manifest, "train", "val"))

    def images(rest: Sequence[Record]) -> Iterator[tuple[str, Image.Image]]:
        for record, image in read_ahead(read_record, rest, "saliency"):
            probability = foreground_probability(network, image, settings.max_side_px, device)
            yield record.image_id, Image.fromarray(np.rint(probability * 255).astype(np.uint8))

    identity = identity_of(settings.model_dump(), files={"manifest": paths.manifest, **files_of(paths.model)})
    unfinished = Unfinished(paths.checkpoints, paths.out, identity)
    distributed.write_images(paths.out, unfinished.images(records, images))
    unfinished.remove()


def foreground_probability(
    network: nn.Module, image: npt.NDArray[np.uint8], max_side_px: int, device: torch.device
) -> npt.NDArray[np.float32]:
    """(H, W) in 0..1; the photo is shrunk only where it is larger than max_side_px (SPEC §7)."""
    height, width = image.shape[:2]
    scale = max_side_px / max(height, width)
    shrunk = transforms.rescale(image, scale) if scale < 1 else image
    grid = inference.predict_grid(network, shrunk, "crop", None, device)
    probability = np.exp(inference.full_size(grid, shrunk.shape[0], shrunk.shape[1], 0.0, "crop")[1])
    resized: npt.NDArray[np.float32] = transforms.resize_aligned(probability, height, width)
    return resized.clip(0, 1)


if __name__ == "__main__":
    run(main, distributed=True)
