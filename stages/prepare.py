"""Check every photo, tag and mask once, and list them in a manifest that all later stages go by."""

from pathlib import Path

from weakseg.datasets import Scan, scan_coco, scan_folder, scan_voc
from weakseg.errors import UserError
from weakseg.files import write_class_names, write_json, write_manifest
from weakseg.runtime import arguments, run
from weakseg.settings import Data, read_keys

LARGE_PX = 1024  # VOC's photos, which the papers and the settings are meant for, have 500


def main() -> None:
    paths = arguments(
        __doc__,
        lists="folder of lists and labels that lie elsewhere",
        manifest="CSV to write",
        classes="class names to write, one a line",
        metrics="JSON to write: what was found",
    ).parse_args()
    data: Data = read_keys("data", options=paths)
    scan = _scan(data, paths.lists)
    for note in (*scan.notes, *large_photos(scan)):
        print(note)
    write_manifest(paths.manifest, scan.records)
    write_class_names(paths.classes, scan.class_names)
    write_json(paths.metrics, summary(scan))
    print(f"image-level labels come from: {scan.labels_source}")


def _scan(data: Data, lists: Path) -> Scan:
    root = Path(data.root)
    if data.format == "voc":
        names = (data.train_list or "train", data.val_list, data.test_list)
        return scan_voc(root, *names, data.labels_file, data.classes, lists)
    if data.format == "coco":
        if data.labels_file or data.classes:
            raise UserError(
                "data.labels_file, data.classes: must be null with data.format coco, whose annotations have both"
            )
        return scan_coco(root, data.train_list or "train2014", data.val_list, data.test_list)
    return scan_folder(root, data.labels_file, data.val_list, data.classes, lists=lists)


def large_photos(scan: Scan) -> list[str]:
    """A word on photos much larger than the papers'."""
    large = sum(max(record.width, record.height) > LARGE_PX for record in scan.records)
    if not large:
        return []
    return [f"{large} photos are larger than {LARGE_PX} px: slow, and made for other scales; 300 to 600 px do best"]


def summary(scan: Scan) -> dict[str, object]:
    """Photos by split, with a mask, and by class; and where the tags came from."""
    train = [record for record in scan.records if record.split == "train"]
    return {
        "train_images": len(train),
        "val_images": sum(record.split == "val" for record in scan.records),
        "test_images": sum(record.split == "test" for record in scan.records),
        "images_with_mask": sum(bool(record.mask) for record in scan.records),
        "labels_from": scan.labels_source,
        "train_images_by_class": {
            name: sum(label in record.labels for record in train)
            for label, name in enumerate(scan.class_names)
            if label
        },
    }


if __name__ == "__main__":
    run(main)
