"""SEC's localization cues: thresholded heat maps, least salient background, conflicts resolved."""

from collections.abc import Iterator
from typing import Any

import numpy.typing as npt

from weakseg.cams import chosen_threshold
from weakseg.files import (
    ArrayArchive,
    cue_arrays,
    read_cams,
    read_class_names,
    read_gradient,
    read_manifest,
    write_arrays,
)
from weakseg.images import upsample_aligned
from weakseg.runtime import arguments, filled, run, with_progress
from weakseg.settings import MakeCues, read_keys
from weakseg.supervision import background_cues, foreground_cues, resolve_conflicts


def main() -> None:
    paths = arguments(
        __doc__, manifest="manifest", classes="class names", foreground="heat maps of the foreground classes",
        background="heat maps whose least values are background", out=".npz to write",
    ).parse_args()  # fmt: skip
    settings: MakeCues = read_keys("make_cues", options=paths)
    filled(paths, foreground_net=settings.foreground_net, background_net=settings.background_net)
    num_classes, side = len(read_class_names(paths.classes)), settings.grid
    records = read_manifest(paths.manifest, "train", num_classes=num_classes)
    cams, gradients = ArrayArchive(paths.foreground), ArrayArchive(paths.background)
    grids = (upsample_aligned(read_cams(cams, record)[1], side, side) for record in records)
    threshold = chosen_threshold(settings.foreground, grids, "foreground cues")

    def arrays() -> Iterator[tuple[str, npt.NDArray[Any]]]:
        for record in with_progress(records, "cues"):
            labels, maps = read_cams(cams, record)
            foreground = foreground_cues(upsample_aligned(maps, side, side), threshold)
            gradient = upsample_aligned(read_gradient(gradients, record)[None], side, side)[0]
            background = background_cues(gradient, settings.background_fraction, settings.median_size)
            cues = resolve_conflicts(foreground, labels, background, num_classes)
            yield from cue_arrays(record.image_id, cues)

    write_arrays(paths.out, arrays())


if __name__ == "__main__":
    run(main)
