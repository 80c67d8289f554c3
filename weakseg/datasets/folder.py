"""Scanning a plain folder of tagged photos: a labels.csv, or one subfolder per tag."""

import filecmp
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from weakseg.datasets.label_files import (
    SPLITS,
    LabelRow,
    composed,
    declared_class_names,
    image_id_problem,
    read_image_ids,
    read_labels_file,
    report_unknown_classes,
    with_background,
)
from weakseg.datasets.remarks import unread_files
from weakseg.datasets.scanning import (
    Candidate,
    PhotoIndex,
    Scan,
    data_folder,
    existing,
    find_file,
    find_photo,
    finish_scan,
    photos_below,
    photos_in_folder,
)
from weakseg.errors import Problems
from weakseg.files import BACKGROUND


def scan_folder(
    root: Path,
    labels_file: Path | str | None = None,
    val_list: str | None = None,
    class_names: Sequence[str] | None = None,
    masks_folder: str = "masks",
    lists: Path | None = None,
) -> Scan:
    """Scans a folder of photos with a `labels.csv` (or `labels_file`), or else with one subfolder per tag.

    With a labels file (image_id,labels[,split]; ids are file names, with or without their suffix) the photos may be
    anywhere below `root`; those it does not name are left out, with a note. In tag folders the photos are directly in
    `root/<tag>/`; the same photo in several folders has all their tags, while different photos with the same name are a
    problem. Photos are 'train' unless the split column or `val_list` (a text file of ids) says otherwise; only train
    photos need labels. `<masks_folder>/<id>.png` is a photo's ground truth, if there is one, and never a source of
    labels. Foreground classes are `class_names`, else `root/classes.txt`, else the names found, sorted. Raises one
    UserError that lists every problem.
    """
    root, problems = data_folder(root), Problems()
    photos, rows, table = _tagged_photos(root, labels_file, masks_folder, lists, problems)
    rows = _hold_out(root, rows, photos, val_list, lists, problems)
    names = _folder_class_names(root, class_names, rows, problems)
    report_unknown_classes(table, rows, names, problems)
    candidates = []
    for image_id, row in sorted(rows.items(), key=lambda item: SPLITS.index(item[1].split)):
        if image := find_photo(root, photos, image_id, str(table), problems):
            mask = existing(root / masks_folder / f"{image_id}.png")
            source = ("folders" if table == root else "labels file") if row.labels else "none"
            candidates.append(Candidate(image_id, row.split, image, mask, source, row.labels))
    left_out = len(photos.keys() - rows.keys())
    notes = (f"{left_out} photos below {root} have no tag in {table} and are left out",) if left_out else ()
    return finish_scan(root, candidates, names, problems, (*notes, *unread_files(root, masks_folder)))


def _tagged_photos(
    root: Path, labels_file: Path | str | None, masks_folder: str, lists: Path | None, problems: Problems
) -> tuple[PhotoIndex, dict[str, LabelRow], Path]:
    """The photos, their tags by image id, and where the tags come from: the labels file, or `root` for its
    subfolders."""
    if not labels_file and not existing(root / "labels.csv"):
        return (*_scan_tag_folders(root, masks_folder, problems), root)
    table = find_file(root, labels_file or "labels.csv", lists)
    photos = photos_below(root, masks_folder)
    rows: dict[str, LabelRow] = {}
    for written, row in read_labels_file(table, problems).items():
        image_id = _without_suffix(written, photos)
        if image_id in rows:
            problems.add(f"{table}, line {row.line}: id {image_id!r} is already on line {rows[image_id].line}")
        rows.setdefault(image_id, row)
    return photos, rows, table


def _without_suffix(image_id: str, photos: PhotoIndex) -> str:
    """The stem, if the id is a photo's full file name."""
    stem = Path(image_id).stem
    known = any(composed(path.name) == image_id for path in photos.get(stem, []))
    return stem if image_id not in photos and known else image_id


def _scan_tag_folders(root: Path, masks_folder: str, problems: Problems) -> tuple[PhotoIndex, dict[str, LabelRow]]:
    photos: PhotoIndex = {}
    rows: dict[str, LabelRow] = {}
    tags = [name for name in sorted(os.listdir(root)) if not name.startswith(".") and name != masks_folder]
    tags = [name for name in tags if os.path.isdir(root / name)]
    if not tags:
        problems.add(f"{root}: has neither a labels.csv nor a subfolder per tag")
    for tag in tags:
        in_folder = photos_in_folder(root, Path(tag), problems)
        if not in_folder:
            problems.add(f"{root / tag!s}: no photos directly in this tag's folder")
        for image_id, paths in in_folder.items():
            _add_tagged(root, composed(tag), image_id, paths, photos, rows, problems)
    loose = photos_in_folder(root, Path(), problems)
    return {**loose, **photos}, dict(sorted(rows.items()))


def _add_tagged(
    root: Path, tag: str, image_id: str, paths: list[Path], photos: PhotoIndex, rows: dict[str, LabelRow],
    problems: Problems,
) -> None:  # fmt: skip
    """Adds the photos of one name in one tag's folder; a file seen under an earlier tag gets this tag as well."""
    first = photos.setdefault(image_id, paths)
    if problem := image_id_problem(image_id):
        problems.add(f"{str(paths[0])!a}: the file name {problem}; rename it")
    elif first is not paths and not _same_content(root / first[0], root / paths[0]):
        problems.add(f"{image_id}: {root / first[0]} and {root / paths[0]} are different photos; rename one")
    else:
        rows[image_id] = LabelRow((*(rows[image_id].labels if image_id in rows else ()), tag), "", 0)


def _same_content(one: Path, other: Path) -> bool:
    try:
        return filecmp.cmp(one, other, shallow=False)
    except OSError:
        return False


def _hold_out(
    root: Path,
    rows: dict[str, LabelRow],
    photos: PhotoIndex,
    val_list: str | None,
    lists: Path | None,
    problems: Problems,
) -> dict[str, LabelRow]:
    """Rows with every split filled in: 'val' for the ids of `val_list` (tagged or not), else as given, else 'train'."""
    rows = dict(rows)
    with problems.collect():
        for written in read_image_ids(find_file(root, val_list, lists), problems) if val_list else []:
            image_id = _without_suffix(written, photos)
            row = rows.get(image_id, LabelRow((), "", 0))
            if row.split not in ("", "val"):
                problems.add(f"{image_id}: is in {val_list}, but its row says {row.split}")
            rows[image_id] = replace(row, split="val")
    return {image_id: replace(row, split=row.split or "train") for image_id, row in rows.items()}


def _folder_class_names(
    root: Path, class_names: Sequence[str] | None, rows: dict[str, LabelRow], problems: Problems
) -> list[str]:
    found = sorted({label for row in rows.values() for label in row.labels})
    with problems.collect():
        return declared_class_names(root, class_names) or with_background(found, f"tags of {root}")
    return [BACKGROUND]
