"""Read the localization cues that SEC's authors published, and match them to a data set.

The file is a pickle of Python 2 (gzip-compressed or not): a dict of `<n>_labels`, the class ids of image n,
and `<n>_cues`, three rows of class, row and column indices. The image list names image n:
`2008_007028.jpg 0`. `array_pickles` runs no code from it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weakseg.errors import UserError
from weakseg.files import VOC_CLASSES, Record
from weakseg.supervision.array_pickles import read_arrays, read_bounded

CLASS_NAMES = ("background", *VOC_CLASSES)


NUM_CLASSES = len(CLASS_NAMES)


GRID_SIDE = 41


MAX_LIST_BYTES = 16 * 2**20  # the published list has 0.2 MB


_MAX_LISTED_PROBLEMS = 10


_Entry = tuple[NDArray[np.uint8], NDArray[np.uint8]]


class PublishedCues(Mapping[str, tuple[NDArray[np.uint8], NDArray[np.bool_]]]):
    """image_id -> (labels (L,) uint8 class ids, cues (21, 41, 41) bool), made dense one image at a time."""

    def __init__(self, entries: Mapping[str, _Entry]) -> None:
        self._entries = entries

    def __getitem__(self, image_id: str) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        labels, indices = self._entries[image_id]
        cues = np.zeros((NUM_CLASSES, GRID_SIDE, GRID_SIDE), dtype=np.bool_)
        cues[tuple(indices)] = True
        return labels, cues

    def labels(self, image_id: str) -> NDArray[np.uint8]:
        """(L,) class ids."""
        return self._entries[image_id][0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def read_published_cues(cues_path: Path, image_list_path: Path) -> PublishedCues:
    """The published cues by image id, in the order of the image list; every entry has been checked.

    Args:
        cues_path: the pickle, gzip-compressed or not.
        image_list_path: lines of file name and number, `2008_007028.jpg 0`.

    Raises:
        UserError: a file is missing, damaged, too large, not what is described above, or refers to a name that a stored
        numpy array does not need; the message names the file and the entries.
    """
    numbers = _read_image_list(Path(image_list_path))
    content = read_arrays(Path(cues_path))
    return PublishedCues(_match_entries(Path(cues_path), Path(image_list_path), content, numbers))


def _read_image_list(path: Path) -> dict[str, int]:
    """image_id -> n."""
    try:
        lines = read_bounded(path, MAX_LIST_BYTES).decode("ascii").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a text file of lines such as '2008_007028.jpg 0'") from error
    image_ids: dict[int, str] = {}
    for line_number, line in enumerate(lines, start=1):
        match = re.fullmatch(r"([\w-]+)\.(?:jpg|jpeg|png) (\d{1,9})", line.strip())
        if match is None or int(match[2]) in image_ids:
            problem = "need '2008_007028.jpg 0'" if match is None else "a number is there twice"
            raise UserError(f"{path}, line {line_number}: {problem}, found {line[:80]!r}")
        image_ids[int(match[2])] = match[1]
    numbers = {image_id: number for number, image_id in image_ids.items()}
    if len(numbers) != len(image_ids):
        twice = sorted(image_id for image_id, count in Counter(image_ids.values()).items() if count > 1)
        raise UserError(f"{path}: images listed twice: {', '.join(twice[:_MAX_LISTED_PROBLEMS])}")
    return numbers


def _match_entries(
    cues_path: Path, list_path: Path, arrays: Mapping[str, NDArray[Any] | None], numbers: Mapping[str, int]
) -> dict[str, _Entry]:
    expected = {f"{number}_{kind}" for number in numbers.values() for kind in ("labels", "cues")}
    problems = [f"{key!r} is not named by {list_path}" for key in arrays if key not in expected]
    entries: dict[str, _Entry] = {}
    for image_id, number in numbers.items():
        try:
            entries[image_id] = _checked_entry(arrays.get(f"{number}_labels"), arrays.get(f"{number}_cues"))
        except ValueError as error:
            problems.append(f"entry {number} ({image_id}): {error}")
    if problems:
        shown = "; ".join(problem[:200] for problem in problems[:_MAX_LISTED_PROBLEMS])
        more = len(problems) - _MAX_LISTED_PROBLEMS
        raise UserError(f"{cues_path}: {shown}" + (f"; and {more} more" if more > 0 else ""))
    return entries


def _checked_entry(labels: Any, cues: Any) -> _Entry:
    class_ids, indices = _integers(labels, "labels", ndim=1), _integers(cues, "cues", ndim=2)
    if len(np.unique(class_ids)) != len(class_ids) or not _within(class_ids, 1, NUM_CLASSES):
        raise ValueError(f"labels must be distinct class ids in 1..{NUM_CLASSES - 1}, found {class_ids[:30].tolist()}")
    if len(indices) != 3:
        raise ValueError(f"cues must have 3 rows (class, row, column), found shape {indices.shape}")
    if not (_within(indices[0], 0, NUM_CLASSES) and _within(indices[1:], 0, GRID_SIDE)):
        raise ValueError(f"a cue lies outside {NUM_CLASSES} classes on a {GRID_SIDE}x{GRID_SIDE} grid")
    if not np.isin(indices[0], (0, *class_ids)).all():
        raise ValueError("a cue's class is not among the labels")
    if len(np.unique(indices[1] * GRID_SIDE + indices[2])) != indices.shape[1]:
        raise ValueError("a location has more than one cue")
    return class_ids.astype(np.uint8), indices.astype(np.uint8)


def _integers(stored: NDArray[Any] | None, name: str, ndim: int) -> NDArray[np.int64]:
    if stored is None or stored.ndim != ndim:
        raise ValueError(f"has no {name}, or not as an array of {ndim} dimension{'s' * (ndim > 1)}")
    if stored.size > 3 * GRID_SIDE**2:
        raise ValueError(f"{name} has {stored.size} numbers, more than one cue per location")
    # Values beyond int64 (of an unsigned array) come out negative, so they are found to be out of range.
    return stored.astype(np.int64)


def _within(values: NDArray[np.int64], low: int, high: int) -> bool:
    return bool(((values >= low) & (values < high)).all())


def check_matches(cues: PublishedCues, records: Sequence[Record], class_names: Sequence[str]) -> None:
    """Whether the published cues can supervise these photos: same classes in the same order, a cue for every tag.

    Photos are matched by image id; cues of other photos are ignored. Tags without cues are allowed: today's tags
    include objects that the authors' lists do not.

    Raises:
        UserError: other class names; photos without published cues; cues of classes that a photo's tags lack.
            Each lists how many and which.
    """
    if tuple(class_names) != CLASS_NAMES:
        raise UserError(
            f"published cues are for VOC's classes in VOC's order ({', '.join(CLASS_NAMES)}); "
            f"this data set has {', '.join(class_names)}: make cues with make_cues instead"
        )
    missing = [record.image_id for record in records if record.image_id not in cues]
    if missing:
        raise UserError(
            f"there are no published cues for {len(missing)} of {len(records)} training photos "
            f"({_some(missing)}): train on photos of VOC's trainaug list, or make cues with make_cues"
        )
    foreign = {record.image_id: _untagged(cues, record) for record in records}
    conflicts = [f"{image_id}: {_some(names)}" for image_id, names in foreign.items() if names]
    if conflicts:
        raise UserError(
            f"{len(conflicts)} photos have published cues of classes that their tags lack ({_some(conflicts)}): "
            "use the tags of VOC's annotations or masks"
        )


def _untagged(cues: PublishedCues, record: Record) -> list[str]:
    return [CLASS_NAMES[label] for label in cues.labels(record.image_id).tolist() if label not in record.labels]


def _some(texts: Sequence[str]) -> str:
    return ", ".join(texts[:_MAX_LISTED_PROBLEMS]) + (", …" if len(texts) > _MAX_LISTED_PROBLEMS else "")
