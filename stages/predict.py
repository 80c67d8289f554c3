"""Segment the val and test photos with one experiment's network: scores on its grid, and label masks without CRF."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from weakseg import distributed
from weakseg.artifacts import ArrayArchive, Record, label_image, map_arrays, read_manifest
from weakseg.identity import identity_of
from weakseg.inference import Predictions, label_mask, read_grid
from weakseg.models import files_of
from weakseg.parallel import map_images
from weakseg.params import Experiment, read_keys
from weakseg.photo_batches import through_network
from weakseg.stage import arguments, run
from weakseg.unfinished import Unfinished


def main() -> None:
    parser = arguments(
        __doc__, manifest="manifest", model="folder of the segmenter", scores=".npz to write", masks=".zip to write",
        checkpoints="folder for what is half done",
    )  # fmt: skip
    parser.add_argument("--experiment", required=True, help="which of params.yaml's experiments")
    paths = parser.parse_args()
    experiment: Experiment = read_keys(f"experiments.{paths.experiment}", files=paths.params)
    task = Predictions(paths.model, experiment.geometry, experiment.test_input_px)
    records = distributed.share(read_manifest(paths.manifest, "val", "test"))

    def arrays(rest: Sequence[Record]) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        grids = through_network(task, rest, f"predictions of {paths.experiment}")
        for record, grid in zip(rest, grids, strict=True):
            yield from map_arrays(record.image_id, np.arange(len(grid.scores)), grid.scores)
            yield f"{record.image_id}/extent", np.array(grid.extent, np.uint32)

    identity = identity_of(experiment.model_dump(), files={"manifest": paths.manifest, **files_of(paths.model)})
    unfinished = Unfinished(paths.checkpoints, paths.scores, identity)
    distributed.write_arrays(paths.scores, unfinished.arrays(records, arrays))
    labels = map_images(
        partial(photo_mask, ArrayArchive(paths.scores), experiment.geometry), records, "masks without CRF"
    )
    distributed.write_images(
        paths.masks, ((record.image_id, label_image(mask)) for record, mask in zip(records, labels, strict=True))
    )
    unfinished.remove()


def photo_mask(scores: ArrayArchive, geometry: str, record: Record) -> npt.NDArray[np.uint8]:
    return label_mask(read_grid(scores, record.image_id), record.height, record.width, geometry)


if __name__ == "__main__":
    run(main, distributed=True)
