"""Check the saliency photos and their boxes once, and list them with each photo's average box."""

from pathlib import Path

from weakseg.datasets import scan_saliency
from weakseg.files import write_saliency_manifest
from weakseg.runtime import arguments, run
from weakseg.settings import SaliencyData, read_keys


def main() -> None:
    paths = arguments(
        __doc__, lists="folder of lists and boxes that lie elsewhere", manifest="CSV to write"
    ).parse_args()
    settings: SaliencyData = read_keys("saliency", options=paths)
    records = scan_saliency(Path(settings.root), settings.boxes, settings.image_list, settings.exclude, paths.lists)
    write_saliency_manifest(paths.manifest, records)


if __name__ == "__main__":
    run(main)
