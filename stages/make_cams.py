"""Make a classifier's heat maps for the training photos' own tags."""

from weakseg.batch import write_archive
from weakseg.cams import HeatMapTask
from weakseg.files import map_arrays, read_manifest
from weakseg.networks import files_of
from weakseg.runtime import arguments, run
from weakseg.settings import MakeCams, read_keys


def main() -> None:
    paths = arguments(
        __doc__, named="which of params.yaml's make_cams", manifest="manifest", model="folder of the classifier",
        out=".npz to write", checkpoints="folder for partial results",
    ).parse_args()  # fmt: skip
    settings: MakeCams = read_keys("make_cams.{name}", options=paths)
    write_archive(
        paths.out, read_manifest(paths.manifest, "train"), HeatMapTask(paths.model, settings),
        lambda record, found: map_arrays(record.image_id, *found), f"heat maps of {paths.name}",
        depends_on=[settings.model_dump()], files={"manifest": paths.manifest, **files_of(paths.model)},
        checkpoints=paths.checkpoints,
    )  # fmt: skip


if __name__ == "__main__":
    run(main, distributed=True)
