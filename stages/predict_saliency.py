"""Predict the train and val photos' saliency: the foreground probability as 8-bit grey."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import nn

from weakseg.batch import Unfinished, share, through_network, write_shared_images
from weakseg.files import Record, read_manifest
from weakseg.images import rescale, resize_aligned
from weakseg.inference import GridScores, full_size, input_sides, predict_grids
from weakseg.networks import files_of, rebuild_segmenter
from weakseg.runtime import arguments, identity_of, run
from weakseg.settings import PredictSaliency, read_keys


def main() -> None:
    paths = arguments(
        __doc__, manifest="manifest", model="folder of the saliency network", out=".zip to write",
        checkpoints="folder for what is half done",
    ).parse_args()  # fmt: skip
    settings: PredictSaliency = read_keys("predict_saliency", files=paths.params)
    task = Saliency(paths.model, settings.max_side_px)
    records = share(read_manifest(paths.manifest, "train", "val"))

    def images(rest: Sequence[Record]) -> Iterator[tuple[str, Image.Image]]:
        for record, saliency in zip(rest, through_network(task, rest, "saliency"), strict=True):
            yield record.image_id, Image.fromarray(saliency)

    identity = identity_of(settings.model_dump(), files={"manifest": paths.manifest, **files_of(paths.model)})
    unfinished = Unfinished(paths.checkpoints, paths.out, identity)
    write_shared_images(paths.out, unfinished.images(records, images))
    unfinished.remove()


@dataclass(frozen=True)
class Saliency:
    """Photos through the saliency network in a folder: foreground probability (H, W) as uint8 of each.

    A photo is shrunk only where it is larger than `max_side_px` (SPEC §7).
    """

    model: Path
    max_side_px: int

    def network(self) -> nn.Module:
        return rebuild_segmenter(self.model)[0]

    def size(self, image: npt.NDArray[np.uint8]) -> Hashable:
        return input_sides(self.shrunk(image), "crop", None)

    def shrunk(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        scale = self.max_side_px / max(image.shape[:2])
        return rescale(image, scale) if scale < 1 else image

    def results(
        self,
        network: nn.Module,
        records: Sequence[Record],
        images: Sequence[npt.NDArray[np.uint8]],
        device: torch.device,
    ) -> list[npt.NDArray[np.uint8]]:
        shrunk = [self.shrunk(image) for image in images]
        grids = predict_grids(network, shrunk, "crop", None, device)
        return [
            foreground_probability(grid, small.shape[:2], image.shape[:2])
            for grid, small, image in zip(grids, shrunk, images, strict=True)
        ]


def foreground_probability(
    grid: GridScores, predicted: tuple[int, ...], size: tuple[int, ...]
) -> npt.NDArray[np.uint8]:
    """(H, W) 0..255 at `size`, of scores predicted at another (height, width)."""
    probability = np.exp(full_size(grid, predicted[0], predicted[1], 0.0, "crop")[1])
    resized: npt.NDArray[np.float32] = resize_aligned(probability, size[0], size[1])
    return np.rint(resized.clip(0, 1) * 255).astype(np.uint8)


if __name__ == "__main__":
    run(main, distributed=True)
