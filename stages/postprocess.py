"""Refine one experiment's scores with the dense CRF at the photos' size."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
from PIL import Image

from weakseg import distributed
from weakseg.artifacts import ArrayArchive, Record, label_image, read_manifest
from weakseg.identity import identity_of
from weakseg.inference import PROB_FLOOR, full_size, read_grid
from weakseg.lattice import CRFParams, refine
from weakseg.parallel import map_images
from weakseg.params import CRF, Experiment, read_keys
from weakseg.photos import read_record
from weakseg.stage import arguments, run
from weakseg.unfinished import Unfinished


def main() -> None:
    parser = arguments(
        __doc__, manifest="manifest", scores=".npz of scores", out=".zip to write", checkpoints="folder for what is half done"
    )  # fmt: skip
    parser.add_argument("--experiment", required=True, help="which of params.yaml's experiments")
    parser.add_argument("--crf", required=True, help="which of params.yaml's CRF settings")
    paths = parser.parse_args()
    settings: CRF
    experiment: Experiment
    settings, experiment = read_keys(f"crf.{paths.crf}", f"experiments.{paths.experiment}", files=paths.params)
    records, scores = distributed.share(read_manifest(paths.manifest, "val", "test")), ArrayArchive(paths.scores)
    params = CRFParams(**settings.model_dump())

    def images(rest: Sequence[Record]) -> Iterator[tuple[str, Image.Image]]:
        masks = map_images(partial(refined_mask, scores, params, experiment.geometry), rest, "dense CRF")
        for record, mask in zip(rest, masks, strict=True):
            yield record.image_id, label_image(mask)

    files = {"manifest": paths.manifest, "scores": paths.scores}
    unfinished = Unfinished(
        paths.checkpoints, paths.out, identity_of(settings.model_dump(), experiment.model_dump(), files=files)
    )
    distributed.write_images(paths.out, unfinished.images(records, images))
    unfinished.remove()


def refined_mask(scores: ArrayArchive, params: CRFParams, geometry: str, record: Record) -> npt.NDArray[np.uint8]:
    log_probs = full_size(read_grid(scores, record.image_id), record.height, record.width, PROB_FLOOR, geometry)
    return refine(read_record(record), log_probs, params)


if __name__ == "__main__":
    run(main, distributed=True)
