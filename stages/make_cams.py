"""Make a classifier's heat maps for the training photos' own tags."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy.typing as npt

from weakseg.batch import Unfinished, share, through_network, write_shared_arrays
from weakseg.cams import HeatMapTask
from weakseg.files import Record, map_arrays, read_manifest
from weakseg.networks import files_of
from weakseg.runtime import arguments, identity_of, run
from weakseg.settings import Cam, read_keys


def main() -> None:
    parser = arguments(
        __doc__, manifest="manifest", model="folder of the classifier", out=".npz to write", checkpoints="folder for what is half done",
    )  # fmt: skip
    parser.add_argument("--name", required=True, help="which of params.yaml's classifiers")
    paths = parser.parse_args()
    settings: Cam = read_keys(f"classifiers.{paths.name}.cam", files=paths.params)
    records = share(read_manifest(paths.manifest, "train"))

    def arrays(rest: Sequence[Record]) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        maps = through_network(HeatMapTask(paths.model, settings), rest, f"heat maps of {paths.name}")
        for record, found in zip(rest, maps, strict=True):
            yield from map_arrays(record.image_id, *found)

    identity = identity_of(settings.model_dump(), files={"manifest": paths.manifest, **files_of(paths.model)})
    unfinished = Unfinished(paths.checkpoints, paths.out, identity)
    write_shared_arrays(paths.out, unfinished.arrays(records, arrays))
    unfinished.remove()


if __name__ == "__main__":
    run(main, distributed=True)
