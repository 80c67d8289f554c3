"""A batch stage's results, kept one by one as they are made: a killed run goes on with what was not done.

They wait in a file beside the training checkpoints, named by an identity (`runtime.identity_of`): entries of key and
bytes with a checksum each, appended in the photos' order. What a kill, a full disk or a power cut left of the last
entry is cut off. The archive itself is written from the start, so its bytes are those of an uninterrupted run.
"""

import glob
import hashlib
import struct
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol, TypeVar

import numpy.typing as npt
from numpy.lib import format as npy_format
from PIL import Image

from weakseg.errors import UserError
from weakseg.files import npy_bytes, png_bytes

_HEADER = struct.Struct("<III")  # length of the key, length of the content, CRC-32 of both


class _HasId(Protocol):
    @property
    def image_id(self) -> str: ...


Record = TypeVar("Record", bound=_HasId)


Value = TypeVar("Value")


class _Place(NamedTuple):
    """Where an entry's content stands in the file."""

    key: str
    header: int
    content: int
    length: int

    @property
    def image_id(self) -> str:
        return self.key.partition("/")[0]


class Unfinished:
    """What has been made so far of the archive `out` under one identity."""

    def __init__(self, folder: Path, out: Path, identity: str) -> None:
        self.folder, self.name, self.identity = folder, out.as_posix(), identity[:16]

    def arrays(
        self, records: Sequence[Record], make: Callable[[Sequence[Record]], Iterator[tuple[str, npt.NDArray[Any]]]]
    ) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        """Arrays of all records: the kept ones, then `make(the records not done)`, each kept before it is yielded.

        `make` yields its records' arrays in order under keys `<image_id>/…`, and each depends on its record alone.
        """
        return self._items(records, make, npy_bytes, _array_of)

    def images(
        self, records: Sequence[Record], make: Callable[[Sequence[Record]], Iterator[tuple[str, Image.Image]]]
    ) -> Iterator[tuple[str, Image.Image]]:
        """Pictures of all records under their image ids; as `arrays`."""
        return self._items(records, make, png_bytes, _image_of)

    def remove(self) -> None:
        """Once the archive is written: also what other identities and other processes of the job left."""
        for path in self.folder.glob(f"{glob.escape(self._file_name)}.*.part"):
            path.unlink(missing_ok=True)

    @property
    def _file_name(self) -> str:
        return self.name.replace("/", "-")

    def _path(self, records: Sequence[Record]) -> Path:
        """Another share of the photos, as another number of processes makes, is another file."""
        ids = "\0".join(record.image_id for record in records)
        return self.folder / f"{self._file_name}.{self.identity}.{hashlib.sha256(ids.encode()).hexdigest()[:8]}.part"

    def _items(
        self, records: Sequence[Record], make: Callable[[Sequence[Record]], Iterator[tuple[str, Value]]],
        encode: Callable[[Value], bytes], decode: Callable[[bytes], Value],
    ) -> Iterator[tuple[str, Value]]:  # fmt: skip
        path = self._path(records)
        self._tell_of_others()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "a+b") as file:
                done, places = _whole_records(file, [record.image_id for record in records])
                if done:
                    print(f"{self.name}: {done} of {len(records)} photos were done; going on", file=sys.stderr)
                for place in places:
                    file.seek(place.content)
                    yield place.key, _decoded(path, place.key, decode, file.read(place.length))
                for key, value in make(records[done:]):
                    _append(file, key, encode(value))
                    yield key, value
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror or error}); what was done is kept") from error

    def _tell_of_others(self) -> None:
        for path in sorted(self.folder.glob(f"{glob.escape(self._file_name)}.*.part")):
            if path.name.split(".")[-3] != self.identity:
                told = f"{self.name}: settings, inputs or code changed, {path.name} is not used; starting afresh"
                print(told, file=sys.stderr)


def _append(file: IO[bytes], key: str, content: bytes) -> None:
    name = key.encode()
    file.write(_HEADER.pack(len(name), len(content), zlib.crc32(name + content)) + name + content)
    file.flush()  # into the system's hands, which a kill does not reach


def _whole_records(file: IO[bytes], image_ids: list[str]) -> tuple[int, list[_Place]]:
    """How many records are there in whole, and their entries; the file is cut off behind them.

    The last one there may lack entries, so it is made again.
    """
    groups = [(key, list(group)) for key, group in groupby(_places(file), lambda place: place.image_id)]
    kept = groups[:-1] if [key for key, _ in groups] == image_ids[: len(groups)] else []
    file.truncate(groups[len(kept)][1][0].header if kept else 0)
    return len(kept), [place for _, group in kept for place in group]


def _places(file: IO[bytes]) -> Iterator[_Place]:
    """The entries up to the first that is not sound."""
    file.seek(0)
    while len(header := file.read(_HEADER.size)) == _HEADER.size:
        start = file.tell() - _HEADER.size
        name_length, length, checksum = _HEADER.unpack(header)
        name, content = file.read(name_length), file.read(length)
        if not name or len(content) < length or zlib.crc32(name + content) != checksum:
            return
        yield _Place(name.decode(), start, start + _HEADER.size + name_length, length)


def _decoded(path: Path, key: str, decode: Callable[[bytes], Value], content: bytes) -> Value:
    """The checksum is right, so what cannot be decoded was not written by us."""
    try:
        return decode(content)
    except Exception as error:
        raise UserError(f"{path}: entry {key} is damaged ({error}); delete it to start afresh") from None


def _array_of(content: bytes) -> npt.NDArray[Any]:
    return npy_format.read_array(BytesIO(content), allow_pickle=False)


def _image_of(content: bytes) -> Image.Image:
    image = Image.open(BytesIO(content), formats=["PNG"])
    image.load()
    return image
