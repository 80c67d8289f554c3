"""Scores of the val photos by a segmenter that `train_repeat` trained."""

from weakseg.batch import write_archive
from weakseg.files import read_manifest
from weakseg.inference import SegmenterTask, grid_arrays
from weakseg.networks import files_of, segmenter_description
from weakseg.runtime import arguments, filled, run
from weakseg.settings import read_keys, repeat_of


def main() -> None:
    paths = arguments(
        __doc__, named="which experiment and random seed, such as sec-1", manifest="manifest",
        model="folder of the segmenter", scores=".npz to write", checkpoints="folder for partial results",
    ).parse_args()  # fmt: skip
    repeat = repeat_of(paths.name)
    input_px: int | None = read_keys(f"experiments.{repeat.experiment}.test.input_px", options=paths)
    filled(paths, experiment=repeat.experiment, seed=repeat.seed)
    geometry = segmenter_description(paths.model)["geometry"]
    write_archive(
        paths.scores, read_manifest(paths.manifest, "val"), SegmenterTask(paths.model, geometry, input_px),
        lambda record, grid: grid_arrays(record.image_id, grid), f"predictions of {paths.name}",
        depends_on=[input_px], files={"manifest": paths.manifest, **files_of(paths.model)},
        checkpoints=paths.checkpoints,
    )  # fmt: skip


if __name__ == "__main__":
    run(main, distributed=True)
