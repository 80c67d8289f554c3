"""Results of a batch stage, saved one by one as they are computed: an interrupted run resumes with what is missing.

They are kept in files beside the training checkpoints, named by an identity (`runtime.identity_of`) and their writer:
each process of a job and each shard appends to a file of its own. A photo's result is one frame with a checksum, so it
is whole or absent. The archive is written from these files, in the photos' order, so its bytes depend neither on which
process computed which photo nor on interruptions.
"""

import glob
import hashlib
import os
import struct
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

from weakseg.errors import UserError

Entries = Sequence[tuple[str, bytes]]  # names in the archive, and their contents
_FRAME = struct.Struct("<III")  # length of the photo's id, length of the payload, CRC-32 of both
_ENTRY = struct.Struct("<II")  # length of the name, length of the content


class _Place(NamedTuple):
    """Where a photo's payload is."""

    path: Path
    start: int
    length: int


class PartialResults:
    """What has been computed so far for the archive `out` under one identity, by all its writers."""

    def __init__(self, folder: Path, out: Path, identity: str) -> None:
        self.folder, self.name, self.identity = folder, out.as_posix(), identity[:16]

    def done(self) -> dict[str, _Place]:
        """Finished photos by id: from all files of this identity, each up to its first damaged frame."""
        return {image_id: place for path in self._files(self.identity) for image_id, place in _frames(path)}

    def append(self, maker: str, results: Iterable[tuple[str, Entries]]) -> None:
        """Save each result as it comes, in the file of its writer, such as `2-of-8`. Raises UserError if the file
        cannot be written; finished photos are kept.
        """
        path = self.folder / f"{self._file_name}.{self.identity}.{maker}.part"
        with ExitStack() as stack:
            with _writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                file = open(path, "a+b")  # noqa: SIM115 - closed by _close
                stack.callback(_close, file)
                file.truncate(max((place.start + place.length for _, place in _frames(path)), default=0))
            for image_id, entries in results:
                with _writing(path):
                    _append(file, image_id, entries)

    def entries(self, image_ids: Iterable[str], done: Mapping[str, _Place]) -> Iterator[tuple[str, bytes]]:
        """Names and contents of these photos' results, in order; raises UserError if one is missing."""
        files: dict[Path, IO[bytes]] = {}
        with ExitStack() as stack:
            for image_id in image_ids:
                place = done.get(image_id)
                if place is None:
                    raise UserError(f"{self.name}: {image_id} was not computed; rerun the stage")
                if place.path not in files:
                    files[place.path] = stack.enter_context(open(place.path, "rb"))
                yield from _unpacked(_content(files[place.path], place))

    def remove(self) -> None:
        """Once the archive is written; also removes what other identities left."""
        for path in self._files("*"):
            path.unlink(missing_ok=True)

    def tell_of_others(self) -> None:
        """Report which files of other identities are not used."""
        for path in self._files("*"):
            if path.name.split(".")[-3] != self.identity:
                told = f"{self.name}: settings, inputs or code changed, {path.name} is not used; starting over"
                print(told, file=sys.stderr)

    @property
    def _file_name(self) -> str:
        """Long names are cut: file systems allow 255 bytes."""
        name = self.name.replace("/", "-")
        return name if len(name.encode()) <= 100 else hashlib.sha256(name.encode()).hexdigest()[:32]

    def _files(self, identity: str) -> list[Path]:
        return sorted(self.folder.glob(f"{glob.escape(self._file_name)}.{identity}.*.part"))


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error}); finished photos are kept") from error


def _close(file: IO[bytes]) -> None:
    with suppress(OSError):  # every frame has been flushed; what could not be written has been reported
        file.close()


def _append(file: IO[bytes], image_id: str, entries: Entries) -> None:
    name = image_id.encode()
    payload = b"".join(
        _ENTRY.pack(len(key.encode()), len(content)) + key.encode() + content for key, content in entries
    )
    file.write(_FRAME.pack(len(name), len(payload), zlib.crc32(payload, zlib.crc32(name))) + name + payload)
    file.flush()  # to the operating system, where a kill does not reach it


def _frames(path: Path) -> Iterator[tuple[str, _Place]]:
    """The photos of one file, up to the first frame that was damaged by a kill, a full disk or a power cut."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        while len(header := file.read(_FRAME.size)) == _FRAME.size:
            name_length, length, checksum = _FRAME.unpack(header)
            if not name_length or file.tell() + name_length + length > size:  # zeros, or a header asking for gigabytes
                return
            name, payload = file.read(name_length), file.read(length)
            if zlib.crc32(payload, zlib.crc32(name)) != checksum:
                return
            yield name.decode(), _Place(path, file.tell() - length, length)


def _content(file: IO[bytes], place: _Place) -> bytes:
    try:
        file.seek(place.start)
        return file.read(place.length)
    except OSError as error:
        raise UserError(f"{place.path}: cannot be read ({error.strerror or error})") from error


def _unpacked(payload: bytes) -> Iterator[tuple[str, bytes]]:
    at = 0
    while at < len(payload):
        name_length, length = _ENTRY.unpack_from(payload, at)
        at += _ENTRY.size
        yield payload[at : at + name_length].decode(), payload[at + name_length : at + name_length + length]
        at += name_length + length
