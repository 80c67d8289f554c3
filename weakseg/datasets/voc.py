"""Scanning a data set in VOC's layout."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from weakseg.datasets.label_files import (
    LabelRow,
    declared_class_names,
    read_image_ids,
    read_labels_file,
    report_unknown_classes,
    with_background,
)
from weakseg.datasets.remarks import unread_files
from weakseg.datasets.scanning import (
    Candidate,
    Scan,
    data_folder,
    existing,
    find_file,
    find_photo,
    finish_scan,
    photos_in_folder,
)
from weakseg.errors import Problems
from weakseg.files import VOC_CLASSES

VOC_MASK_FOLDERS = ("SegmentationClass", "SegmentationClassAug")


def scan_voc(
    root: Path,
    train_list: str,
    val_list: str | None,
    test_list: str | None = None,
    labels_file: Path | str | None = None,
    class_names: Sequence[str] | None = None,
    lists: Path | None = None,
) -> Scan:
    """Scans JPEGImages/<id>.*, SegmentationClass[Aug]/<id>.png and the lists of ImageSets/Segmentation.

    A list is a name (`train`) or a .txt file; `scanning.find_file` finds it, and `labels_file`. Foreground classes are
    `class_names`, else `root/classes.txt`, else VOC's 20. Labels come from `labels_file` (image_id,labels) if given;
    else from Annotations/<id>.xml, difficult objects too; else from the mask. A train photo missing from `labels_file`
    is a problem; a val photo then falls back on its annotation or mask. A photo may lack its mask. Raises one UserError
    that lists every problem.
    """
    root, problems = data_folder(root), Problems()
    names = declared_class_names(root, class_names) or with_background(VOC_CLASSES, "class_names")
    rows: dict[str, LabelRow] | None = None
    if labels_file is not None:
        rows = {}
        with problems.collect():
            table = find_file(root, labels_file, lists)
            rows = read_labels_file(table, problems)
            report_unknown_classes(table, rows, names, problems)
    photos = photos_in_folder(root, Path("JPEGImages"), problems)
    candidates = []
    for image_id, split in _voc_ids(
        root, {"train": train_list, "val": val_list, "test": test_list}, lists, problems
    ).items():
        if image := find_photo(root, photos, image_id, f"the {split} list", problems):
            candidates.append(_voc_candidate(root, image_id, split, image, rows))
    return finish_scan(root, candidates, names, problems, unread_files(root / "JPEGImages"))


def _voc_ids(root: Path, names: Mapping[str, str | None], lists: Path | None, problems: Problems) -> dict[str, str]:
    """Split by image id over all lists, in their order; an id in two splits is a problem."""
    split_of: dict[str, str] = {}
    for split, name in names.items():
        with problems.collect():
            for image_id in read_image_ids(_voc_list(root, name, lists), problems) if name else []:
                if image_id in split_of:
                    problems.add(f"{image_id}: is in both the {split_of[image_id]} and the {split} list")
                split_of.setdefault(image_id, split)
    return split_of


def _voc_list(root: Path, name: str, lists: Path | None) -> Path:
    if name.endswith(".txt"):
        return find_file(root, name, lists)
    return root / "ImageSets" / "Segmentation" / f"{name}.txt"


def _voc_candidate(root: Path, image_id: str, split: str, image: Path, rows: dict[str, LabelRow] | None) -> Candidate:
    mask = next((path for folder in VOC_MASK_FOLDERS if (path := existing(root / folder / f"{image_id}.png"))), None)
    if rows is not None and (split == "train" or image_id in rows):
        labels = rows[image_id].labels if image_id in rows else ()
        return Candidate(image_id, split, image, mask, "labels file", labels)
    if annotation := existing(root / "Annotations" / f"{image_id}.xml"):
        return Candidate(image_id, split, image, mask, "annotations", None, annotation)
    return Candidate(image_id, split, image, mask, "masks" if mask else "none")
