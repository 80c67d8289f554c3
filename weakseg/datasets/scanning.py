"""Finding the photos of a data set and checking each of them once, in parallel."""

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from weakseg.datasets.label_files import SPLITS, composed, read_annotation, text_problem
from weakseg.datasets.remarks import class_remarks
from weakseg.errors import Problems, UserError
from weakseg.files import IGNORE_INDEX, Record
from weakseg.images import PHOTO_SUFFIXES, PhotoFacts, inspect_photo, read_mask
from weakseg.runtime import with_progress, worker_count

MIN_SIDE_PX = 8  # below this, reflection padding and feature grids do not work


MAX_WORKERS = 8


Item = TypeVar("Item")


Result = TypeVar("Result")


PhotoIndex = dict[str, list[Path]]  # stem (NFC) → photos with that stem, relative to the data folder


@dataclass(frozen=True)
class Candidate:
    """A photo whose files have yet to be checked; without `labels` they come from `annotation`, else from the mask.

    `source` is where that is: 'labels file', 'folders', 'annotations', 'masks' or 'none'.
    """

    image_id: str
    split: str
    image: Path
    mask: Path | None
    source: str
    labels: tuple[str, ...] | None = None
    annotation: Path | None = None


@dataclass(frozen=True)
class Scan:
    """A valid data set: records in list order (train, val, test), class names with background first.

    `label_counts` counts photos by split and by where their labels come from ('labels file', 'annotations', 'masks',
    'folders', 'none'); `labels_source` says the same in words. `notes` are remarks worth printing.
    """

    records: list[Record]
    class_names: list[str]
    labels_source: str
    label_counts: dict[str, dict[str, int]]
    notes: tuple[str, ...] = ()


def data_folder(root: Path | str) -> Path:
    if not os.path.isdir(root):
        raise UserError(f"{root}: no such folder; set data.root (or saliency.root) to the folder of the data set")
    return Path(root)


def find_file(root: Path, name: Path | str, lists: Path | None = None) -> Path:
    """`name` below `root` if it exists there, else below `lists`, a folder for what cannot be with the photos. Without
    `lists`, `name` may also be relative to the working directory. Raises UserError if it is nowhere.
    """
    if os.path.lexists(root / name):
        return root / name
    if lists is None:
        return Path(name)
    if os.path.lexists(lists / name):
        return lists / name
    raise UserError(f"{name}: no such file below {root} or {lists}; put or link it there, where DVC sees it change")


def existing(path: Path) -> Path | None:
    """`path`, or None if nothing has that name; a broken link counts as existing and fails when it is read."""
    forms = (unicodedata.normalize(form, path.name) for form in ("NFC", "NFD"))
    return next((path.with_name(name) for name in forms if os.path.lexists(path.with_name(name))), None)


def is_photo_name(name: str) -> bool:
    return name.lower().endswith(PHOTO_SUFFIXES) and not name.startswith(".")


def photos_in_folder(root: Path, folder: Path, problems: Problems) -> PhotoIndex:
    """The photos directly in `root/folder`; a missing folder is a problem."""
    try:
        names = sorted(os.listdir(root / folder))
    except OSError as error:
        problems.add(f"{root / folder}: the folder cannot be read ({error.strerror or error})")
        return {}
    return _by_stem(folder / name for name in names if is_photo_name(name))


def photos_below(root: Path, without: str) -> PhotoIndex:
    """The photos anywhere below `root`, except in hidden folders and `root/without`; linked folders are not entered."""
    found: list[Path] = []
    for folder, subfolders, names in os.walk(root):
        here = Path(folder).relative_to(root)
        subfolders[:] = sorted(n for n in subfolders if not n.startswith(".") and (here / n) != Path(without))
        found += [here / name for name in sorted(names) if is_photo_name(name)]
    return _by_stem(found)


def _by_stem(paths: Iterable[Path]) -> PhotoIndex:
    index: PhotoIndex = {}
    for path in paths:
        index.setdefault(composed(path.stem), []).append(path)
    return index


def find_photo(root: Path, photos: PhotoIndex, image_id: str, wanted_by: str, problems: Problems) -> Path | None:
    """The one photo with that id; none, several, or one whose path cannot be written to a text file are problems."""
    paths = photos.get(image_id, [])
    if not paths:
        problems.add(f"{image_id}: no photo of this name below {root} (wanted by {wanted_by})")
    elif len(paths) > 1:
        problems.add(f"{image_id}: several photos have this name: {', '.join(f'{str(p)!a}' for p in paths[:5])}")
    elif problem := text_problem(str(paths[0])):
        problems.add(f"{str(paths[0])!a}: the path {problem}; rename it")
    else:
        return root / paths[0]
    return None


def map_parallel(function: Callable[[Item], Result], items: Sequence[Item], description: str) -> list[Result]:
    """Results in the items' order, computed in threads (decoders release the lock), with a progress bar."""
    workers = min(MAX_WORKERS, max(1, worker_count()))
    with ThreadPoolExecutor(workers) as pool:
        results = pool.map(function, items)
        return list(with_progress(results, description, len(items)))


def check_photo(path: Path, problems: Problems) -> PhotoFacts | None:
    """Decodes the photo; None, with the reason in `problems`, if it is unreadable or has a side under 8 px."""
    with problems.collect():
        facts = inspect_photo(path)
        if min(facts.height, facts.width) >= MIN_SIDE_PX:
            return facts
        problems.add(f"{path}: has {facts.width}x{facts.height} px; each side needs at least {MIN_SIDE_PX}")
    return None


def check_candidate(candidate: Candidate, class_names: Sequence[str]) -> tuple[Record | None, list[str]]:
    """The record of one photo if nothing is wrong with it, and its problems."""
    problems = Problems()
    facts = check_photo(candidate.image, problems)
    # if the classes themselves are at fault (which is reported elsewhere), any id will do
    num_classes = len(class_names) if len(class_names) > 1 else IGNORE_INDEX
    mask_ids = _check_mask(candidate, facts, num_classes, problems)
    labels = _label_ids(candidate, mask_ids, class_names, problems)
    unknown = candidate.labels is None and candidate.mask is None
    must_have = candidate.split == "train" or (candidate.split == "val" and unknown)
    if must_have and not labels and not candidate.labels and not problems.found:
        problems.add(f"{candidate.image_id}: no labels ({_EMPTY_SOURCE[candidate.source]})")
    if facts is None or problems.found:
        return None, problems.found
    image, mask = candidate.image.as_posix(), candidate.mask.as_posix() if candidate.mask else ""
    size = facts.width, facts.height
    return Record(candidate.image_id, candidate.split, image, mask, *size, labels, facts.sha256), []


_EMPTY_SOURCE = {
    "labels file": "the labels file has none for it",
    "folders": "no folder names one",
    "annotations": "its annotation has no object",
    "masks": "its mask has no object",
    "none": "nothing names any",
}


def _check_mask(
    candidate: Candidate, facts: PhotoFacts | None, num_classes: int, problems: Problems
) -> tuple[int, ...]:
    """Foreground class ids in the mask; () without one."""
    if candidate.mask is None:
        return ()
    with problems.collect():
        mask = read_mask(candidate.mask, num_classes)
        if facts and mask.shape != (facts.height, facts.width):
            height, width = mask.shape
            problems.add(f"{candidate.mask}: has {width}x{height} px, its photo {facts.width}x{facts.height} px")
        present = np.flatnonzero(np.bincount(mask.ravel(), minlength=IGNORE_INDEX + 1)[1:IGNORE_INDEX]) + 1
        return tuple(map(int, present))
    return ()


def _label_ids(
    candidate: Candidate, mask_ids: tuple[int, ...], class_names: Sequence[str], problems: Problems
) -> tuple[int, ...]:
    """Foreground class ids of the labels, ascending; unknown names are reported where they are read."""
    names = candidate.labels
    if candidate.annotation:
        with problems.collect():
            names = read_annotation(candidate.annotation)
            unknown = [name for name in names if name not in class_names[1:]]
            if unknown:
                problems.add(f"{candidate.annotation}: unknown class {', '.join(map(ascii, unknown))}")
    if names is None:
        return mask_ids
    return tuple(sorted(class_names.index(name) for name in names if name in class_names[1:]))


def finish_scan(
    root: Path, candidates: list[Candidate], names: list[str], problems: Problems, notes: tuple[str, ...] = ()
) -> Scan:
    """Checks every photo and mask; returns the scan if nothing is wrong."""
    checked = map_parallel(partial(check_candidate, class_names=names), candidates, "checking photos")
    problems.found += [problem for _, found in checked for problem in found]
    if not problems.found and not any(candidate.split == "train" for candidate in candidates):
        problems.add("no train photos; the train list, or the labels file, must name some")
    problems.raise_any(f"{root}")
    records = [record for record, _ in checked if record]
    counts = {split: dict(Counter(c.source for c in candidates if c.split == split)) for split in SPLITS}
    counts = {split: by_source for split, by_source in counts.items() if by_source}
    return Scan(records, names, _labels_source(counts), counts, (*notes, *class_remarks(records, names)))


def _labels_source(counts: Mapping[str, Mapping[str, int]]) -> str:
    """E.g. `train: 1464 photos by annotations; val: 1449 photos by masks (the ground truth)`."""
    words = {"masks": "masks (the ground truth)", "none": "nothing (no labels)"}
    return "; ".join(
        f"{split}: "
        + ", ".join(f"{count} photos by {words.get(source, source)}" for source, count in sorted(by.items()))
        for split, by in counts.items()
    )
