"""Read the localization cues SEC's authors published (SPEC section 3), running no code from their pickle.

The file is a pickle of Python 2 (gzip-compressed or not): a dict of `<n>_labels`, the class ids of image n,
and `<n>_cues`, three rows of class, row and column indices. The image list names image n:
`2008_007028.jpg 0`.

Unpickling can call any importable function, so here it can import nothing: the few names that a stored numpy
array refers to stand for inert objects of this module, and every other name is refused. Before that the
opcodes are counted, as some of them take much memory for one byte of file.
"""

from __future__ import annotations

import gzip
import io
import pickle
import pickletools
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weakseg.errors import UserError

NUM_CLASSES = 21
GRID_SIDE = 41
MAX_PICKLE_BYTES = 256 * 2**20  # decompressed; the published file has 104 MB
MAX_OPCODES = 2_000_000  # the published file has 0.42 million
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
        UserError: a file is missing, damaged, too large, not what is described above, or refers to a name
            that a stored numpy array has no use for; the message names the file and the entries.
    """
    numbers = _read_image_list(Path(image_list_path))
    content = _unpickle_arrays(Path(cues_path))
    return PublishedCues(_match_entries(Path(cues_path), Path(image_list_path), content, numbers))


def _read_image_list(path: Path) -> dict[str, int]:
    """image_id -> n."""
    try:
        lines = _read_bounded(path, MAX_LIST_BYTES).decode("ascii").splitlines()
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
        raise UserError(f"{path}: images that are there twice: {', '.join(twice[:_MAX_LISTED_PROBLEMS])}")
    return numbers


def _read_bounded(path: Path, max_bytes: int) -> bytes:
    """The file's bytes, decompressed if it is a gzip file; never more than `max_bytes` of them are held."""
    try:
        with path.open("rb") as file:
            is_gzip = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if is_gzip else path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read ({error}); give the file as SEC's authors published it") from error
    if len(content) > max_bytes:
        raise UserError(f"{path}: holds more than {max_bytes} bytes; refused")
    return bytes(content)


def _unpickle_arrays(path: Path) -> dict[Any, Any]:
    content = _read_bounded(path, MAX_PICKLE_BYTES)
    try:
        _refuse_greedy_opcodes(path, content)
        loaded = _ArrayUnpickler(path, content).load()
    except UserError:
        raise
    except Exception as error:  # a damaged pickle raises almost any exception
        raise UserError(f"{path}: not a pickle of numpy arrays ({type(error).__name__}: {error})") from error
    if not isinstance(loaded, dict):
        raise UserError(f"{path}: the pickle holds a {type(loaded).__name__}, not a dict of arrays")
    return loaded


def _refuse_greedy_opcodes(path: Path, content: bytes) -> None:
    """One byte can make a set, five a memo of 2^32 places: bound the opcodes and the places they name."""
    for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
        memo_index = argument if "PUT" in opcode.name else 0
        if count >= MAX_OPCODES or not 0 <= int(memo_index or 0) < MAX_OPCODES:
            raise UserError(f"{path}: the pickle has more than {MAX_OPCODES} opcodes or memo places; refused")


class _StoredDtype:
    """What a pickled `numpy.dtype` turns into here: its code and byte order, integers only."""

    __slots__ = ("code", "order")

    def __init__(self, code: Any, align: Any = 0, copy: Any = 0) -> None:
        self.code, self.order = _as_text(code), "|"

    def __setstate__(self, state: Any) -> None:
        self.order = _as_text(state[1])

    def resolve(self) -> np.dtype[Any]:
        if re.fullmatch(r"[iu][1248]", self.code) is None or self.order not in ("<", ">", "|", "="):
            raise ValueError(f"an array of type {self.order}{self.code}, need integers")
        return np.dtype(self.order + self.code)


class _StoredArray:
    """What a pickled `numpy.ndarray` turns into here; the pickle's BUILD sets `array`, from bytes alone."""

    __slots__ = ("array",)
    array: NDArray[Any]

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, is_fortran, data = state
        if not isinstance(dtype, _StoredDtype) or not isinstance(data, bytes):
            raise ValueError("an array that is not stored as plain bytes")
        flat = np.frombuffer(data, dtype=dtype.resolve())
        self.array = flat.reshape(shape, order="F" if is_fortran else "C")


class _StandIn:
    """Inert in place of an imported name. Called as that name would be, it makes a stored object."""

    __slots__ = ("_makes",)

    def __init__(self, makes: type | None) -> None:
        self._makes = makes

    def __call__(self, *arguments: Any) -> Any:
        if self._makes is _StoredArray:
            return _StoredArray()  # the arguments only say "ndarray, empty"
        if self._makes is None:
            raise ValueError("the class numpy.ndarray is called")
        return self._makes(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise ValueError("the pickle tries to change an imported name")


class _ArrayUnpickler(pickle.Unpickler):
    """Imports nothing: a name is one of the stand-ins or refused."""

    def __init__(self, path: Path, content: bytes) -> None:
        # "bytes": strings of Python 2, the array data among them, stay bytes.
        super().__init__(io.BytesIO(content), encoding="bytes")
        self._path = path
        reconstruct = _StandIn(_StoredArray)
        self._stand_ins = {
            ("numpy.core.multiarray", "_reconstruct"): reconstruct,
            ("numpy._core.multiarray", "_reconstruct"): reconstruct,  # its name since numpy 2
            ("numpy", "ndarray"): _StandIn(None),
            ("numpy", "dtype"): _StandIn(_StoredDtype),
        }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._stand_ins[module, name]
        except KeyError:
            raise UserError(
                f"{self._path}: the pickle refers to {module}.{name}, which stored cues have no use for and "
                "which may run code; refused. Give the file as SEC's authors published it"
            ) from None

    def persistent_load(self, pid: Any) -> Any:
        raise UserError(f"{self._path}: the pickle refers to an object outside itself; refused")


def _match_entries(
    cues_path: Path, list_path: Path, content: dict[Any, Any], numbers: Mapping[str, int]
) -> dict[str, _Entry]:
    expected = {f"{number}_{kind}" for number in numbers.values() for kind in ("labels", "cues")}
    arrays = {_as_text(key): value for key, value in content.items()}
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


def _integers(stored: Any, name: str, ndim: int) -> NDArray[np.int64]:
    if stored is None:
        raise ValueError(f"has no {name}")
    if not isinstance(stored, _StoredArray) or not hasattr(stored, "array") or stored.array.ndim != ndim:
        raise ValueError(f"{name} must be an array of {ndim} dimension{'s' * (ndim > 1)}")
    if stored.array.size > 3 * GRID_SIDE**2:
        raise ValueError(f"{name} has {stored.array.size} numbers, more than one cue per location")
    # Values beyond int64 (of an unsigned array) come out negative, so they are found to be out of range.
    return stored.array.astype(np.int64)


def _within(values: NDArray[np.int64], low: int, high: int) -> bool:
    return bool(((values >= low) & (values < high)).all())


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return value.decode("latin1") if isinstance(value, bytes) else f"<{type(value).__name__}>"
