"""SEC's localization cues: thresholded heat maps, least salient background, conflicts resolved."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from weakseg.files import ArrayArchive, cue_arrays, read_class_names, read_manifest, read_maps, write_arrays
from weakseg.images import upsample_aligned
from weakseg.runtime import arguments, run
from weakseg.settings import Cues, read_keys
from weakseg.supervision import background_cues, foreground_cues, resolve_conflicts, threshold_for_coverage


def main() -> None:
    paths = arguments(
        __doc__, manifest="manifest", classes="class names", cams="heat maps of the foreground classes",
        saliency="heat maps whose least values are background", out=".npz to write",
    ).parse_args()  # fmt: skip
    settings: Cues = read_keys("make_cues", files=paths.params)
    num_classes = len(read_class_names(paths.classes))
    image_ids = [record.image_id for record in read_manifest(paths.manifest, "train")]
    cams, saliency = ArrayArchive(paths.cams), ArrayArchive(paths.saliency)
    threshold = settings.foreground.threshold
    if settings.foreground.coverage is not None:
        grids = (upsample_aligned(read_maps(cams, key)[1], settings.grid, settings.grid) for key in image_ids)
        threshold = threshold_for_coverage(grids, settings.foreground.coverage)
        print(f"foreground cues cover {settings.foreground.coverage:.0%} of the locations at threshold {threshold:.3f}")
    assert threshold is not None

    def arrays() -> Iterator[tuple[str, npt.NDArray[Any]]]:
        for image_id in tqdm(image_ids, "cues", unit="image", disable=None):
            labels, maps = read_maps(cams, image_id)
            maps = upsample_aligned(maps, settings.grid, settings.grid)
            gradient = upsample_aligned(read_maps(saliency, image_id)[1], settings.grid, settings.grid)[0]
            foreground = foreground_cues(maps, threshold)
            background = background_cues(gradient, settings.background_fraction, settings.median_size)
            cues = resolve_conflicts(foreground, labels.astype(np.int64), background, num_classes)
            yield from cue_arrays(image_id, cues)

    write_arrays(paths.out, arrays())


if __name__ == "__main__":
    run(main)
