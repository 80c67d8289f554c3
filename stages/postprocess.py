"""Refine one experiment's scores with the dense CRF at the photos' size."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
from PIL import Image

from weakseg import crf, distributed, lattice
from weakseg.artifacts import ArrayArchive, Record, label_image, read_manifest
from weakseg.devices import pick_device
from weakseg.identity import identity_of
from weakseg.inference import PROB_FLOOR, full_size, read_grid
from weakseg.lattice import CRFParams
from weakseg.parallel import map_images, with_progress
from weakseg.params import Experiment, InferenceCRF, read_keys
from weakseg.photos import read_record
from weakseg.stage import arguments, run
from weakseg.unfinished import Unfinished

Mask = npt.NDArray[np.uint8]


def main() -> None:
    parser = arguments(
        __doc__, manifest="manifest", scores=".npz of scores", out=".zip to write", checkpoints="folder for what is half done"
    )  # fmt: skip
    parser.add_argument("--experiment", required=True, help="which of params.yaml's experiments")
    parser.add_argument("--crf", required=True, help="which of params.yaml's CRF settings")
    paths = parser.parse_args()
    settings: InferenceCRF
    experiment: Experiment
    settings, experiment = read_keys(f"crf.{paths.crf}", f"experiments.{paths.experiment}", files=paths.params)
    records, scores = distributed.share(read_manifest(paths.manifest, "val", "test")), ArrayArchive(paths.scores)
    params = CRFParams(**settings.model_dump(exclude={"backend"}))

    def images(rest: Sequence[Record]) -> Iterator[tuple[str, Image.Image]]:
        for record, mask in zip(rest, masks(rest, scores, params, settings.backend, experiment.geometry), strict=True):
            yield record.image_id, label_image(mask)

    files = {"manifest": paths.manifest, "scores": paths.scores}
    unfinished = Unfinished(
        paths.checkpoints, paths.out, identity_of(settings.model_dump(), experiment.model_dump(), files=files)
    )
    distributed.write_images(paths.out, unfinished.images(records, images))
    unfinished.remove()


def masks(
    records: Sequence[Record], scores: ArrayArchive, params: CRFParams, backend: str, geometry: str
) -> Iterator[Mask]:
    """The lattice's on worker processes; exact ones on this process's device."""
    if backend == "lattice":
        return map_images(
            partial(refined_mask, scores, geometry, partial(lattice.refine, params=params)), records, "dense CRF"
        )
    refine = partial(crf.refine, params=params, device=pick_device())
    return with_progress((refined_mask(scores, geometry, refine, record) for record in records), records, "dense CRF")


def refined_mask(scores: ArrayArchive, geometry: str, refine: Callable[..., Mask], record: Record) -> Mask:
    log_probs = full_size(read_grid(scores, record.image_id), record.height, record.width, PROB_FLOOR, geometry)
    return refine(read_record(record), log_probs)


if __name__ == "__main__":
    run(main, distributed=True)
