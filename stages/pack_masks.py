"""Pack the ground-truth masks, if any. Only the supervised bound, the oracle and evaluation read this archive."""

from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from weakseg.files import label_image, read_class_names, read_manifest, write_images
from weakseg.images import read_mask
from weakseg.runtime import arguments, run, with_progress


def main() -> None:
    paths = arguments(
        __doc__, reads_params=False, manifest="manifest", classes="class names", out=".zip to write"
    ).parse_args()
    num_classes = len(read_class_names(paths.classes))
    records = [record for record in read_manifest(paths.manifest) if record.mask]

    def masks() -> Iterator[tuple[str, Image.Image]]:
        for record in with_progress(records, "packing masks"):
            yield record.image_id, label_image(read_mask(Path(record.mask), num_classes))

    write_images(paths.out, masks())


if __name__ == "__main__":
    run(main)
