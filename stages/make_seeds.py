"""GS's seeds: thresholded heat maps, without or with a dense CRF, as label maps at the photos' size, 0 = none."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from weakseg.batch import map_images
from weakseg.crf import CRFParams
from weakseg.files import ArrayArchive, Record, label_image, read_manifest, read_maps, write_images
from weakseg.images import read_photo
from weakseg.runtime import arguments, run
from weakseg.settings import Seeds, read_keys
from weakseg.supervision import refined_seeds, seeds_from_cams, threshold_for_coverage


def main() -> None:
    paths = arguments(
        __doc__, manifest="manifest", cams="heat maps of the foreground classes", out=".zip to write"
    ).parse_args()
    settings: Seeds = read_keys("make_seeds", files=paths.params)
    records, cams = read_manifest(paths.manifest, "train"), ArrayArchive(paths.cams)
    threshold = settings.foreground.threshold
    if settings.foreground.coverage is not None:
        maps = (read_maps(cams, record.image_id)[1] for record in records)
        threshold = threshold_for_coverage(maps, settings.foreground.coverage)
        print(f"seeds cover {settings.foreground.coverage:.0%} of the pixels at threshold {threshold:.3f}")
    assert threshold is not None
    crf = CRFParams(**settings.crf.model_dump()) if settings.crf else None

    def images() -> Iterator[tuple[str, Image.Image]]:
        seeds = map_images(partial(photo_seeds, cams, threshold, crf), records, "seeds")
        for record, labels in zip(records, seeds, strict=True):
            yield record.image_id, label_image(labels)

    write_images(paths.out, images())


def photo_seeds(cams: ArrayArchive, threshold: float, crf: CRFParams | None, record: Record) -> npt.NDArray[np.uint8]:
    labels, maps = read_maps(cams, record.image_id)
    if crf is None:
        return seeds_from_cams(maps, labels.astype(np.int64), record.height, record.width, threshold)
    return refined_seeds(read_photo(Path(record.image)), maps, labels.astype(np.int64), threshold, crf)


if __name__ == "__main__":
    run(main)
