"""Fuse seeds and the ground truth's foreground into guide masks: table 2's upper bound, which sees masks."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import numpy.typing as npt
from PIL import Image

from weakseg.batch import map_images, share, write_shared_images
from weakseg.files import ImageArchive, Record, label_image, read_manifest
from weakseg.runtime import arguments, run
from weakseg.settings import Guides, read_keys
from weakseg.supervision import guide_g2, oracle_saliency


def main() -> None:
    paths = arguments(
        __doc__, manifest="manifest", seeds=".zip of seeds", ground_truth=".zip of masks", out=".zip to write"
    ).parse_args()
    settings: Guides = read_keys("make_guides", files=paths.params)
    seeds, truth = ImageArchive(paths.seeds), ImageArchive(paths.ground_truth)
    records = [record for record in read_manifest(paths.manifest, "train") if record.image_id in truth]
    records = list(share(records))
    made = map_images(partial(oracle_guide, settings, seeds, truth), records, "oracle guides")

    def images() -> Iterator[tuple[str, Image.Image]]:
        for record, guide in zip(records, made, strict=True):
            yield record.image_id, label_image(guide)

    write_shared_images(paths.out, images())


def oracle_guide(settings: Guides, seeds: ImageArchive, truth: ImageArchive, record: Record) -> npt.NDArray[np.uint8]:
    """G2 with the ground truth's foreground as saliency (SPEC §8)."""
    return guide_g2(settings, seeds, oracle_saliency(truth[record.image_id]), record)


if __name__ == "__main__":
    run(main, distributed=True)
