"""Fuse tags, seeds and saliency into guide masks by one of GS's rules."""

from argparse import Namespace
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from weakseg.batch import Unfinished, map_images, share, with_progress, write_shared_images
from weakseg.files import ImageArchive, Record, label_image, read_manifest
from weakseg.images import as_image_tensor, classifier_input
from weakseg.networks import files_of, rebuild_classifier
from weakseg.runtime import arguments, identity_of, pick_device, run
from weakseg.settings import Guides, read_keys
from weakseg.supervision import guide_g0, guide_g1, guide_g2, salient


def main() -> None:
    parser = arguments(
        __doc__, manifest="manifest", seeds=".zip of seeds", saliency=".zip of saliency",
        classifier="folder of the classifier that G1 asks", out=".zip to write",
        checkpoints="folder for what is half done",
    )  # fmt: skip
    parser.add_argument("--rule", required=True, choices=["g0", "g1", "g2"])
    paths = parser.parse_args()
    settings: Guides = read_keys("make_guides", files=paths.params)
    records = share(read_manifest(paths.manifest, "train"))
    files = {"manifest": paths.manifest, "seeds": paths.seeds, "saliency": paths.saliency, **files_of(paths.classifier)}
    unfinished = Unfinished(paths.checkpoints, paths.out, identity_of(paths.rule, settings.model_dump(), files=files))
    images = partial(guide_images, paths, settings)
    write_shared_images(paths.out, unfinished.images(records, images))
    unfinished.remove()


def guide_images(paths: Namespace, settings: Guides, records: Sequence[Record]) -> Iterator[tuple[str, Image.Image]]:
    """The photos' guides by `paths.rule`."""
    saliency = ImageArchive(paths.saliency)
    if paths.rule == "g0":
        made: Iterator[npt.NDArray[np.uint8]] = map_images(partial(by_chance, settings, saliency), records, "guides g0")
    elif paths.rule == "g1":
        classify = Classify(paths.classifier)
        made = map(partial(by_classifier, settings, saliency, classify), records)
        made = with_progress(made, records, "guides g1")
    else:
        made = map_images(partial(by_seeds, settings, ImageArchive(paths.seeds), saliency), records, "guides g2")
    for record, guide in zip(records, made, strict=True):
        yield record.image_id, label_image(guide)


def by_chance(settings: Guides, saliency: ImageArchive, record: Record) -> npt.NDArray[np.uint8]:
    return guide_g0(settings, salient(settings.saliency_threshold, saliency, record.image_id), record)


def by_classifier(
    settings: Guides, saliency: ImageArchive, classify: "Classify", record: Record
) -> npt.NDArray[np.uint8]:
    return guide_g1(settings, salient(settings.saliency_threshold, saliency, record.image_id), classify, record)


def by_seeds(settings: Guides, seeds: ImageArchive, saliency: ImageArchive, record: Record) -> npt.NDArray[np.uint8]:
    return guide_g2(settings, seeds, salient(settings.saliency_threshold, saliency, record.image_id), record)


class Classify:
    """Scores of blacked-out copies of a photo, each seen as the classifier sees photos in training."""

    def __init__(self, folder: Path) -> None:
        self.device = pick_device()
        self.network, self.description = rebuild_classifier(folder)
        self.network.to(self.device)

    def __call__(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        input_px, geometry = self.description["input_px"], self.description["geometry"]
        pixels = torch.stack([as_image_tensor(classifier_input(image, input_px, geometry)) for image in images])
        with torch.no_grad():
            return np.asarray(self.network(pixels.to(self.device)).float().cpu().numpy())


if __name__ == "__main__":
    run(main, distributed=True)
