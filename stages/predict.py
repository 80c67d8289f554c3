"""Segment the val and test photos with one experiment's network: scores on its grid, and label masks without CRF."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from weakseg.batch import Unfinished, map_images, share, through_network, write_shared_arrays, write_shared_images
from weakseg.files import ArrayArchive, Record, label_image, map_arrays, read_manifest
from weakseg.inference import SegmenterTask, label_mask, read_grid
from weakseg.networks import files_of
from weakseg.runtime import arguments, identity_of, run
from weakseg.settings import Experiment, read_keys


def main() -> None:
    parser = arguments(
        __doc__, manifest="manifest", model="folder of the segmenter", scores=".npz to write", masks=".zip to write",
        checkpoints="folder for what is half done",
    )  # fmt: skip
    parser.add_argument("--experiment", required=True, help="which of params.yaml's experiments")
    paths = parser.parse_args()
    experiment: Experiment = read_keys(f"experiments.{paths.experiment}", files=paths.params)
    task = SegmenterTask(paths.model, experiment.geometry, experiment.test_input_px)
    records = share(read_manifest(paths.manifest, "val", "test"))

    def arrays(rest: Sequence[Record]) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        grids = through_network(task, rest, f"predictions of {paths.experiment}")
        for record, grid in zip(rest, grids, strict=True):
            yield from map_arrays(record.image_id, np.arange(len(grid.scores)), grid.scores)
            yield f"{record.image_id}/extent", np.array(grid.extent, np.uint32)

    identity = identity_of(experiment.model_dump(), files={"manifest": paths.manifest, **files_of(paths.model)})
    unfinished = Unfinished(paths.checkpoints, paths.scores, identity)
    write_shared_arrays(paths.scores, unfinished.arrays(records, arrays))
    labels = map_images(
        partial(photo_mask, ArrayArchive(paths.scores), experiment.geometry), records, "masks without CRF"
    )
    write_shared_images(
        paths.masks, ((record.image_id, label_image(mask)) for record, mask in zip(records, labels, strict=True))
    )
    unfinished.remove()


def photo_mask(scores: ArrayArchive, geometry: str, record: Record) -> npt.NDArray[np.uint8]:
    return label_mask(read_grid(scores, record.image_id), record.height, record.width, geometry)


if __name__ == "__main__":
    run(main, distributed=True)
