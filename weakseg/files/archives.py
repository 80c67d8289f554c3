"""Archives of arrays (.npz) and of pictures (.zip): deterministic bytes, read lazily entry by entry.

Timestamps are fixed and entries stay in the order given. Memory does not grow with the number of images, and nothing
here can run code from data.
"""

import functools
import lzma
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy_format
from PIL import Image

from weakseg.errors import UserError
from weakseg.files.atomic import atomic_file
from weakseg.files.zip_index import ZipIndex

FIXED_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest a zip entry can carry


MAX_ENTRY_BYTES = 1 << 28  # one image's arrays; anything larger in an archive is refused as damaged or hostile


DAMAGED = (  # what reading a damaged zip can raise; RuntimeError and ValueError have subclasses for odd versions and names
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, OSError, EOFError, RuntimeError, ValueError,
)  # fmt: skip


def _write_archive(path: Path, entries: Iterable[tuple[str, bytes]], compression: int) -> None:
    with atomic_file(path) as file, zipfile.ZipFile(file, "w", compression, compresslevel=1) as archive:
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


def write_entries(path: Path, entries: Iterable[tuple[str, bytes]]) -> None:
    """An archive of the given entries by name, unchanged; `npy_bytes` and `png_bytes` make them."""
    _write_archive(path, entries, zipfile.ZIP_STORED)


def png_bytes(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


@functools.lru_cache(maxsize=32)
def opened_zip(path: Path, process: int, version: tuple[int, ...]) -> tuple[zipfile.ZipFile, ZipIndex]:
    """A zip and its index, opened once per process: worker processes receive the archive again with every photo."""
    try:
        archive = zipfile.ZipFile(path)
        index = ZipIndex(archive.filelist)
    except (*DAMAGED, OverflowError) as error:
        raise UserError(f"{path}: damaged archive ({error})") from None
    archive.filelist.clear()
    archive.NameToInfo.clear()
    for name in index:  # nothing here unpacks archives, but a name such as `../x` is an attempt to escape whoever does
        if name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name):
            raise UserError(f"{path}: entry {name!a} points outside the archive; refused")
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
            self._file, self._process = opened_zip(self.path, os.getpid(), version), os.getpid()
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
                return entry.read(info.file_size)  # without a size, it would inflate everything
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
