"""Turn the saliency set's average boxes into masks by GrabCut."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from weakseg.batch import Unfinished, map_images, share, write_shared_images
from weakseg.files import SaliencyRecord, label_image, read_saliency_manifest
from weakseg.images import read_photo
from weakseg.runtime import arguments, identity_of, run
from weakseg.settings import GrabCut, read_keys
from weakseg.supervision import grabcut_mask


def main() -> None:
    paths = arguments(
        __doc__, manifest="saliency manifest", out=".zip to write", checkpoints="folder for what is half done"
    ).parse_args()
    settings: GrabCut = read_keys("make_grabcut_masks", files=paths.params)
    records = share(read_saliency_manifest(paths.manifest))

    def images(rest: Sequence[SaliencyRecord]) -> Iterator[tuple[str, Image.Image]]:
        masks = map_images(partial(photo_mask, settings), rest, "GrabCut")
        for record, mask in zip(rest, masks, strict=True):
            yield record.image_id, label_image(mask)

    identity = identity_of(settings.model_dump(), files={"manifest": paths.manifest})
    unfinished = Unfinished(paths.checkpoints, paths.out, identity)
    write_shared_images(paths.out, unfinished.images(records, images))
    unfinished.remove()


def photo_mask(settings: GrabCut, record: SaliencyRecord) -> npt.NDArray[np.uint8]:
    image = read_photo(Path(record.image))
    box = np.array([record.left, record.top, record.right, record.bottom])
    mask = grabcut_mask(
        image, box, iterations=settings.iterations, random_seed=settings.random_seed, max_side_px=settings.max_side_px
    )
    return mask.astype(np.uint8)


if __name__ == "__main__":
    run(main, distributed=True)
