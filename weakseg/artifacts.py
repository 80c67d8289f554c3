"""Every file format of the pipeline, and how to write it so that it is whole or absent.

All writers go through `atomic_path`: a temporary file beside the target, fsync, rename. Archives are
deterministic (fixed timestamps, entries in the order given) and are read lazily, entry by entry, so memory does
not grow with the number of images. Nothing here can run code from data.
"""

import csv
import functools
import glob
import json
import lzma
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from io import BytesIO, StringIO
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy_format
from PIL import Image

from weakseg.errors import UserError
from weakseg.zip_index import ZipIndex

FIXED_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest a zip entry can carry
MAX_ENTRY_BYTES = 1 << 28  # one image's arrays; anything larger in an archive is refused as damaged or hostile
IGNORE_INDEX = 255
DAMAGED = (  # what reading a damaged zip can raise; RuntimeError and ValueError have subclasses for odd versions and names
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, OSError, EOFError, RuntimeError, ValueError,
)  # fmt: skip


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path to write to; renamed onto `path` on success, removed on failure.

    What killed processes left of theirs is removed first.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path)
        yield temporary
        _sync(temporary)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
        with suppress(OSError):  # not every file system can
            _sync(path.parent)  # so that a power cut does not undo the renaming
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error}); nothing was changed") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _remove_abandoned(path: Path) -> None:
    """Temporary files of `path` by processes that are no more."""
    for temporary in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        process = temporary.name.split(".")[-2]
        if process.isdecimal() and not Path(f"/proc/{process}").exists() and Path("/proc/self").exists():
            temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_bytes(path: Path, content: bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def read_text(path: Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as UTF-8 text ({error})") from None


# --- JSON and CSV -----------------------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    """JSON-ready copy: numpy scalars become Python's, NaN becomes null, floats keep 2 decimals."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(item) for item in value]
    if isinstance(value, (float, np.floating)):
        return None if not np.isfinite(value) else round(float(value), 2)
    return int(value) if isinstance(value, np.integer) else value


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Metrics (per cent) as JSON; NaN and infinities are written as null."""
    write_text(path, json.dumps(_plain(content), indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a JSON object")
    return content


def write_table(path: Path, rows: Iterable[Mapping[str, Any]], columns: list[str]) -> None:
    text = StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read_table(path: Path, columns: list[str]) -> list[dict[str, str]]:
    reader = csv.DictReader(StringIO(read_text(path)))
    missing = [name for name in columns if name not in (reader.fieldnames or [])]
    if missing:
        raise UserError(f"{path}: missing columns {', '.join(missing)}")
    return list(reader)


# --- manifests --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Record:
    """One photo of the data set.

    `labels` are the foreground class ids (1..C-1) of its tags; `mask` is empty where there is no ground truth.
    `sha256` is the photo's, so that a changed photo changes the manifest and thereby all that depends on it.
    """

    image_id: str
    split: str
    image: str
    mask: str
    width: int
    height: int
    labels: tuple[int, ...]
    sha256: str


@dataclass(frozen=True)
class SaliencyRecord:
    """One photo of the saliency set with the average of its annotators' boxes (pixels, right/bottom exclusive)."""

    image_id: str
    image: str
    mask: str
    width: int
    height: int
    left: float
    top: float
    right: float
    bottom: float
    sha256: str


def write_manifest(path: Path, records: Iterable[Record]) -> None:
    rows = ({**asdict(record), "labels": " ".join(map(str, record.labels))} for record in records)
    write_table(path, rows, [field.name for field in fields(Record)])


def read_manifest(path: Path, *splits: str) -> list[Record]:
    """All records of `splits` (of every split if none is named), in the manifest's order."""
    rows = read_table(path, [field.name for field in fields(Record)])
    try:
        records = [
            Record(
                row["image_id"], row["split"], row["image"], row["mask"], int(row["width"]), int(row["height"]),
                tuple(map(int, row["labels"].split())), row["sha256"],
            )
            for row in rows
        ]  # fmt: skip
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: damaged manifest ({error}); run `dvc repro prepare`") from None
    return [record for record in records if not splits or record.split in splits]


def write_saliency_manifest(path: Path, records: Iterable[SaliencyRecord]) -> None:
    write_table(path, (asdict(record) for record in records), [field.name for field in fields(SaliencyRecord)])


def read_saliency_manifest(path: Path) -> list[SaliencyRecord]:
    rows = read_table(path, [field.name for field in fields(SaliencyRecord)])
    try:
        return [
            SaliencyRecord(
                row["image_id"], row["image"], row["mask"], int(row["width"]), int(row["height"]),
                float(row["left"]), float(row["top"]), float(row["right"]), float(row["bottom"]), row["sha256"],
            )
            for row in rows
        ]  # fmt: skip
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: damaged manifest ({error}); run `dvc repro prepare_saliency`") from None


def write_class_names(path: Path, names: Iterable[str]) -> None:
    """One class name per line, background first: line number = class id."""
    write_text(path, "".join(f"{name}\n" for name in names))


def read_class_names(path: Path) -> list[str]:
    return read_text(path).splitlines()


# --- archives of arrays (.npz) and of pictures (.zip) --------------------------------------------------------------


def _write_archive(path: Path, entries: Iterable[tuple[str, bytes]], compression: int) -> None:
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", compression, compresslevel=1) as archive:
        for name, content in entries:
            info = zipfile.ZipInfo(name, FIXED_TIME)
            info.compress_type = compression
            info.external_attr = 0o644 << 16
            archive.writestr(info, content)


def npy_bytes(array: npt.NDArray[Any]) -> bytes:
    buffer = BytesIO()
    npy_format.write_array(buffer, np.asarray(array, order="C"), allow_pickle=False)
    return buffer.getvalue()


def write_arrays(path: Path, items: Iterable[tuple[str, npt.NDArray[Any]]]) -> None:
    """A deterministic `.npz` (readable by `np.load`), streamed: one item in memory at a time."""
    _write_archive(path, ((f"{key}.npy", npy_bytes(array)) for key, array in items), zipfile.ZIP_STORED)


def write_images(path: Path, items: Iterable[tuple[str, Image.Image]]) -> None:
    """A `.zip` (stored) of `<image_id>.png`, streamed."""
    _write_archive(path, ((f"{key}.png", png_bytes(image)) for key, image in items), zipfile.ZIP_STORED)


def join_archives(path: Path, parts: Iterable[Path]) -> None:
    """The entries of several archives, in order, in one: what writing all of them at once would have written."""
    _write_archive(path, _entries(parts), zipfile.ZIP_STORED)


def _entries(parts: Iterable[Path]) -> Iterator[tuple[str, bytes]]:
    for part in parts:
        with zipfile.ZipFile(part) as archive:
            yield from ((info.filename, archive.read(info)) for info in archive.infolist())


def png_bytes(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


@functools.lru_cache(maxsize=32)
def _opened(path: Path, process: int, version: tuple[int, ...]) -> tuple[zipfile.ZipFile, ZipIndex]:
    """A zip and its index, once in each process: worker processes are handed an archive anew with every photo."""
    try:
        archive = zipfile.ZipFile(path)
        index = ZipIndex(archive.filelist)
    except (*DAMAGED, OverflowError) as error:
        raise UserError(f"{path}: damaged archive ({error})") from None
    archive.filelist.clear()
    archive.NameToInfo.clear()
    for name in index:  # nothing here unpacks an archive, but who sends `../x` hopes that somebody does
        if name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name):
            raise UserError(f"{path}: entry {name!a} names a place outside the archive; refused")
    return archive, index


class _Archive:
    """Lazy, read-only view of a zip; safe to hand to worker processes (each opens the file for itself)."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._file: tuple[zipfile.ZipFile, ZipIndex] | None = None
        self._process = -1
        self._open()

    def _open(self) -> tuple[zipfile.ZipFile, ZipIndex]:
        if self._file is None or self._process != os.getpid():
            try:
                found = os.stat(self.path)
            except FileNotFoundError:
                raise UserError(f"{self.path}: no such file") from None
            except (OSError, ValueError) as error:
                raise UserError(f"{self.path}: cannot be read ({error})") from None
            version = found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
            self._file, self._process = _opened(self.path, os.getpid(), version), os.getpid()
        return self._file

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_file": None, "_process": -1}

    def names(self) -> list[str]:
        return [name.rsplit(".", 1)[0] for name in self._open()[1]]

    def _has(self, name: str) -> bool:
        return name in self._open()[1]

    def _read(self, name: str) -> bytes:
        archive, index = self._open()
        try:
            info = index.find(name)
            if info is None:
                raise UserError(f"{self.path}: has no entry {name}")
            if info.file_size > MAX_ENTRY_BYTES:
                raise UserError(f"{self.path}: entry {name} claims {info.file_size} bytes; refused")
            with archive.open(info) as entry:
                return entry.read(info.file_size)  # without a size it would inflate whatever is there
        except (*DAMAGED, MemoryError) as error:
            raise UserError(f"{self.path}: entry {name} is damaged ({error})") from None


class ArrayArchive(_Archive):
    """Arrays of an `.npz` by key, read one at a time; object arrays are refused."""

    def __contains__(self, key: str) -> bool:
        return self._has(f"{key}.npy")

    def __getitem__(self, key: str) -> npt.NDArray[Any]:
        try:
            return npy_format.read_array(BytesIO(self._read(f"{key}.npy")), allow_pickle=False)
        except (*DAMAGED, OverflowError, MemoryError, SyntaxError, TypeError, TokenError) as error:
            raise UserError(f"{self.path}: array {key} is damaged or not plain ({error})") from None


class ImageArchive(_Archive):
    """Pictures of a `.zip` by image id, decoded one at a time."""

    def __contains__(self, key: str) -> bool:
        return self._has(f"{key}.png")

    def __getitem__(self, key: str) -> npt.NDArray[np.uint8]:
        """(H, W) uint8 for 8-bit grey and palette PNGs."""
        try:
            with Image.open(BytesIO(self._read(f"{key}.png")), formats=["PNG"]) as image:
                if image.mode not in ("L", "P", "1"):
                    raise UserError(f"{self.path}: entry {key}.png has mode {image.mode}, expected grey or palette")
                return np.asarray(image.convert("L") if image.mode == "1" else image, np.uint8)
        except (OSError, SyntaxError, ValueError, MemoryError, Image.DecompressionBombError) as error:
            raise UserError(f"{self.path}: entry {key}.png is damaged ({error})") from None


# --- label masks, maps and cues as they stand in archives ------------------------------------------------------------


def voc_palette(num_colours: int = 256) -> npt.NDArray[np.uint8]:
    """(num_colours, 3) RGB: VOC's colour map, the bits of the class id spread over the channels' high bits."""
    ids = np.arange(num_colours)
    channels = [
        sum((((ids >> (3 * bit + channel)) & 1) << (7 - bit) for bit in range(8)), np.zeros_like(ids))
        for channel in range(3)
    ]
    return np.stack(channels, 1).astype(np.uint8)


_PALETTE = voc_palette().tobytes()


def label_image(labels: npt.NDArray[np.uint8]) -> Image.Image:
    """Palette picture of class ids (H, W), 255 = ignore, in VOC's colours."""
    image = Image.fromarray(np.ascontiguousarray(labels, np.uint8), mode="P")
    image.putpalette(_PALETTE)
    return image


def cue_arrays(image_id: str, cues: npt.NDArray[np.bool_]) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """(C, H, W) bool → `<id>/labels` (class ids that have a cue), `<id>/shape`, `<id>/bits` (packed rows)."""
    labels = np.flatnonzero(cues.any((1, 2))).astype(np.uint8)
    yield f"{image_id}/labels", labels
    yield f"{image_id}/shape", np.array(cues.shape, np.uint16)
    yield f"{image_id}/bits", np.packbits(cues[labels].reshape(len(labels), cues[0].size), axis=1)


def read_cues(archive: ArrayArchive, image_id: str) -> npt.NDArray[np.bool_]:
    """(C, H, W) bool of one image."""
    labels, shape, bits = (archive[f"{image_id}/{part}"] for part in ("labels", "shape", "bits"))
    if [part.dtype.name for part in (labels, shape, bits)] != ["uint8", "uint16", "uint8"] or shape.shape != (3,):
        raise UserError(f"{archive.path}: cues of {image_id} are of the wrong kind")
    if bits.ndim != 2 or labels.shape != bits.shape[:1] or (labels >= shape[0]).any():
        raise UserError(f"{archive.path}: cues of {image_id} are inconsistent")
    num_classes, height, width = map(int, shape)
    too_large = num_classes * height * width > MAX_ENTRY_BYTES
    if too_large or bits.shape[1] * 8 < height * width or bits.shape[1] * 8 - height * width >= 8:
        raise UserError(f"{archive.path}: cues of {image_id} have the wrong length")
    cues = np.zeros((num_classes, height, width), bool)
    unpacked = np.unpackbits(bits, axis=1, count=height * width)
    cues[labels] = unpacked.reshape(-1, height, width).astype(bool)
    return cues


def map_arrays(
    image_id: str, labels: npt.NDArray[np.integer[Any]], maps: npt.NDArray[np.floating[Any]]
) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """`<id>/labels` (L,) class ids and `<id>/maps` (L, H, W) float16: cams, saliency gradients, scores."""
    yield f"{image_id}/labels", labels.astype(np.uint8)
    yield f"{image_id}/maps", maps.astype(np.float16)


def read_maps(archive: ArrayArchive, image_id: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Class ids (L,) and maps (L, H, W) of one image."""
    labels, maps = archive[f"{image_id}/labels"], archive[f"{image_id}/maps"]
    if maps.ndim != 3 or maps.dtype.kind != "f" or labels.dtype.kind not in "ui" or labels.shape != maps.shape[:1]:
        raise UserError(f"{archive.path}: maps of {image_id} are inconsistent")
    return labels.astype(np.uint8), maps.astype(np.float32)
