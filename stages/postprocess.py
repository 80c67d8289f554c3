"""Refine one experiment's scores with the dense CRF at the photos' size."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from PIL import Image

from weakseg.arrays import LabelMap
from weakseg.batch import Unfinished, map_images, share, with_progress, write_shared_images
from weakseg.crf import CRFParams, exact_labels, lattice_labels
from weakseg.files import ArrayArchive, Record, label_image, read_manifest
from weakseg.images import read_record
from weakseg.inference import PROB_FLOOR, full_size, read_grid
from weakseg.runtime import arguments, identity_of, pick_device, run
from weakseg.settings import Experiment, InferenceCRF, read_keys


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
    records, scores = share(read_manifest(paths.manifest, "val", "test")), ArrayArchive(paths.scores)
    params = CRFParams(**settings.model_dump(exclude={"backend"}))

    def images(rest: Sequence[Record]) -> Iterator[tuple[str, Image.Image]]:
        for record, mask in zip(rest, masks(rest, scores, params, settings.backend, experiment.geometry), strict=True):
            yield record.image_id, label_image(mask)

    files = {"manifest": paths.manifest, "scores": paths.scores}
    unfinished = Unfinished(
        paths.checkpoints, paths.out, identity_of(settings.model_dump(), experiment.model_dump(), files=files)
    )
    write_shared_images(paths.out, unfinished.images(records, images))
    unfinished.remove()


def masks(
    records: Sequence[Record], scores: ArrayArchive, params: CRFParams, backend: str, geometry: str
) -> Iterator[LabelMap]:
    """The lattice's on worker processes; exact ones on this process's device."""
    if backend == "lattice":
        return map_images(
            partial(refined_mask, scores, geometry, partial(lattice_labels, params=params)), records, "dense CRF"
        )
    refine = partial(exact_labels, params=params, device=pick_device())
    return with_progress((refined_mask(scores, geometry, refine, record) for record in records), records, "dense CRF")


def refined_mask(scores: ArrayArchive, geometry: str, refine: Callable[..., LabelMap], record: Record) -> LabelMap:
    log_probs = full_size(read_grid(scores, record.image_id), record.height, record.width, PROB_FLOOR, geometry)
    return refine(read_record(record), log_probs)


if __name__ == "__main__":
    run(main, distributed=True)
