"""Segment the val and test photos with one experiment's network: scores on its grid, and label masks without CRF."""

from weakseg.batch import write_archive
from weakseg.files import ArrayArchive, label_image, read_manifest
from weakseg.inference import LabelMasks, SegmenterTask, grid_arrays
from weakseg.networks import files_of, segmenter_description
from weakseg.runtime import arguments, run
from weakseg.settings import read_keys


def main() -> None:
    paths = arguments(
        __doc__, named="which of params.yaml's experiments", manifest="manifest", model="folder of the segmenter",
        scores=".npz to write", masks=".zip to write", checkpoints="folder for partial results",
    ).parse_args()  # fmt: skip
    input_px: int | None = read_keys("experiments.{name}.test.input_px", options=paths)
    geometry = segmenter_description(paths.model)["geometry"]
    records, files = read_manifest(paths.manifest, "val", "test"), {"manifest": paths.manifest}
    write_archive(
        paths.scores, records, SegmenterTask(paths.model, geometry, input_px),
        lambda record, grid: grid_arrays(record.image_id, grid), f"predictions of {paths.name}",
        depends_on=[input_px], files={**files, **files_of(paths.model)}, checkpoints=paths.checkpoints,
    )  # fmt: skip
    write_archive(
        paths.masks, records, LabelMasks(ArrayArchive(paths.scores), geometry), lambda _, labels: label_image(labels),
        "masks without CRF", depends_on=[geometry], files={**files, "scores": paths.scores},
        checkpoints=paths.checkpoints,
    )  # fmt: skip


if __name__ == "__main__":
    run(main, distributed=True)
