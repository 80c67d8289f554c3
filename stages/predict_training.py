"""Scores of the training photos' own tags and background by one experiment's segmenter, for self-training."""

from weakseg.batch import write_archive
from weakseg.files import read_manifest
from weakseg.inference import SegmenterTask, grid_arrays, own_classes
from weakseg.networks import files_of, segmenter_description
from weakseg.runtime import arguments, run
from weakseg.settings import read_keys


def main() -> None:
    paths = arguments(
        __doc__, named="which of params.yaml's self_training", manifest="manifest", model="folder of the segmenter",
        scores=".npz to write", checkpoints="folder for partial results",
    ).parse_args()  # fmt: skip
    input_px: int | None = read_keys("experiments.{name}.test.input_px", options=paths)
    geometry = segmenter_description(paths.model)["geometry"]
    write_archive(
        paths.scores, read_manifest(paths.manifest, "train"), SegmenterTask(paths.model, geometry, input_px),
        lambda record, grid: grid_arrays(record.image_id, grid, own_classes(record)),
        f"predictions of the training photos by {paths.name}",
        depends_on=[input_px], files={"manifest": paths.manifest, **files_of(paths.model)},
        checkpoints=paths.checkpoints,
    )  # fmt: skip


if __name__ == "__main__":
    run(main, distributed=True)
