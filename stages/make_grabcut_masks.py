"""Turn the saliency set's average boxes into masks by GrabCut."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from weakseg import distributed
from weakseg.artifacts import SaliencyRecord, label_image, read_saliency_manifest
from weakseg.grabcut import grabcut_mask
from weakseg.parallel import map_images
from weakseg.params import GrabCut, read_keys
from weakseg.photos import read_photo
from weakseg.stage import arguments, run


def main() -> None:
    paths = arguments(__doc__, manifest="saliency manifest", out=".zip to write").parse_args()
    settings: GrabCut = read_keys("make_grabcut_masks", files=paths.params)
    records = distributed.share(read_saliency_manifest(paths.manifest))

    def images() -> Iterator[tuple[str, Image.Image]]:
        masks = map_images(partial(photo_mask, settings), records, "GrabCut")
        for record, mask in zip(records, masks, strict=True):
            yield record.image_id, label_image(mask)

    distributed.write_images(paths.out, images())


def photo_mask(settings: GrabCut, record: SaliencyRecord) -> npt.NDArray[np.uint8]:
    image = read_photo(Path(record.image))
    box = np.array([record.left, record.top, record.right, record.bottom])
    mask = grabcut_mask(
        image, box, iterations=settings.iterations, random_seed=settings.random_seed, max_side_px=settings.max_side_px
    )
    return mask.astype(np.uint8)


if __name__ == "__main__":
    run(main, distributed=True)
