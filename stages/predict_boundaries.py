"""Predict the training photos' boundaries: maps in [0, 1] with a cell every 4 px."""

from weakseg.batch import write_archive
from weakseg.files import gradient_arrays, read_manifest
from weakseg.networks import files_of
from weakseg.refinement import BoundaryTask
from weakseg.runtime import arguments, run
from weakseg.settings import PredictBoundaries, read_keys


def main() -> None:
    paths = arguments(
        __doc__, named="which of params.yaml's train_boundaries", manifest="manifest", model="folder of the network",
        out=".npz to write", checkpoints="folder for partial results",
    ).parse_args()  # fmt: skip
    settings: PredictBoundaries = read_keys("predict_boundaries", options=paths)
    write_archive(
        paths.out, read_manifest(paths.manifest, "train"), BoundaryTask(paths.model, settings),
        lambda record, edges: gradient_arrays(record.image_id, edges), f"boundaries {paths.name}",
        depends_on=[settings.model_dump()], files={"manifest": paths.manifest, **files_of(paths.model)},
        checkpoints=paths.checkpoints,
    )  # fmt: skip


if __name__ == "__main__":
    run(main, distributed=True)
