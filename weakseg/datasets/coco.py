"""Scanning COCO: tags from its annotations, masks drawn from them (`python -m weakseg.download coco14`)."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from weakseg.datasets.label_files import composed, image_id_problem
from weakseg.datasets.scanning import Candidate, Scan, data_folder, existing, finish_scan
from weakseg.errors import Problems, UserError
from weakseg.files import BACKGROUND, read_json

ANNOTATION_FILES = ("instances_{}.json", "image_info_{}.json")  # photos with objects; photos alone


def scan_coco(root: Path | str, train_list: str, val_list: str | None, test_list: str | None = None) -> Scan:
    """Scans `<list>/<photo>` as `annotations/instances_<list>.json` (or `image_info_<list>.json`) describes it.

    Lists are COCO's splits, such as `train2014`. Tags are the classes of a photo's objects, crowds too; photos to train on
    that show none are left out. `masks/<list>/<photo>.png` is the ground truth where it is there. Classes are COCO's, in
    the order of their ids. Raises one UserError that lists every problem.
    """
    root, problems = data_folder(root), Problems()
    candidates: list[Candidate] = []
    class_names: list[str] = []
    notes = []
    for split, name in (("train", train_list), ("val", val_list), ("test", test_list)):
        if name is None:
            continue
        with problems.collect():
            found, known, left_out = _photos(root, split, name)
            candidates += found
            class_names = class_names or [BACKGROUND, *known]
            if class_names[1:] != known:
                problems.add(f"{name}: has other classes than {train_list}")
            if left_out:
                notes.append(f"{left_out} photos of {name} show no object and are left out")
    for candidate in candidates:
        if problem := image_id_problem(candidate.image_id):
            problems.add(f"{candidate.image_id!a}: the id {problem}")
    return finish_scan(root, candidates, class_names, problems, tuple(notes))


def _photos(root: Path, split: str, name: str) -> tuple[list[Candidate], list[str], int]:
    """The photos of one list, COCO's class names, and how many training photos are left out."""
    path = _annotations(root, name)
    content = read_json(path)
    try:
        known = {item["id"]: str(item["name"]) for item in sorted(content["categories"], key=lambda item: item["id"])}
        tags = _tags(content.get("annotations", []), known)
        photos = [(PurePosixPath(item["file_name"]), tags[item["id"]]) for item in content["images"]]
        found = [_candidate(root, split, name, *photo) for photo in photos if split != "train" or photo[1]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: not COCO's annotations ({type(error).__name__}: {error})") from None
    return found, list(known.values()), len(photos) - len(found)


def _annotations(root: Path, name: str) -> Path:
    paths = [root / "annotations" / pattern.format(name) for pattern in ANNOTATION_FILES]
    for path in paths:
        if path.is_file():
            return path
    raise UserError(f"{paths[0]}: no such file; the lists of data.format coco are its splits, such as train2014")


def _tags(objects: list[Any], known: Mapping[int, str]) -> Mapping[int, tuple[str, ...]]:
    """Class names by photo, each once, in the order of COCO's ids."""
    ids: dict[int, set[int]] = defaultdict(set)
    for item in objects:
        ids[item["image_id"]].add(item["category_id"])
    named = {number: tuple(known[one] for one in sorted(found)) for number, found in ids.items()}
    return defaultdict(tuple, named)


def _candidate(root: Path, split: str, name: str, photo: PurePosixPath, tags: tuple[str, ...]) -> Candidate:
    if len(photo.parts) != 1 or photo.name in ("", ".", ".."):
        raise ValueError(f"file_name {str(photo)!a}")
    mask = existing(root / "masks" / name / f"{photo.stem}.png")
    return Candidate(composed(photo.stem), split, root / name / photo.name, mask, "annotations", tags)
