"""Make a classifier's heat maps for the training photos' own tags."""

from collections.abc import Iterator
from typing import Any

import numpy.typing as npt
from tqdm import tqdm

from weakseg.artifacts import map_arrays, read_manifest, write_arrays
from weakseg.cams import photo_maps, prepared
from weakseg.devices import pick_device
from weakseg.models import load_classifier
from weakseg.params import Cam, read_keys
from weakseg.stage import arguments, run


def main() -> None:
    parser = arguments(__doc__, manifest="manifest", model="folder of the classifier", out=".npz to write")
    parser.add_argument("--name", required=True, help="which of params.yaml's classifiers")
    paths = parser.parse_args()
    settings: Cam = read_keys(f"classifiers.{paths.name}.cam", files=paths.params)
    device = pick_device()
    network, _ = load_classifier(paths.model)
    network = prepared(network, settings.method).to(device)

    def arrays() -> Iterator[tuple[str, npt.NDArray[Any]]]:
        records = read_manifest(paths.manifest, "train")
        for record in tqdm(records, f"heat maps of {paths.name}", unit="image", disable=None):
            yield from map_arrays(record.image_id, *photo_maps(network, record, settings, device))

    write_arrays(paths.out, arrays())


if __name__ == "__main__":
    run(main)
