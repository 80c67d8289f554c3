"""Where a zip's entries are, in some 70 bytes each: `zipfile`'s own index takes 500, in every process that reads
one."""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from zipfile import ZipInfo

import numpy as np

_FIELDS = {"header_offset": "i8", "file_size": "u8", "compress_size": "u8", "CRC": "u4", "compress_type": "u2", "flag_bits": "u2"}  # fmt: skip


class ZipIndex:
    """What it takes to read an entry, by name. Raises OverflowError for numbers that are impossible in a zip."""

    def __init__(self, infos: Sequence[ZipInfo]) -> None:
        self._fields = {
            name: np.fromiter((getattr(info, name) for info in infos), kind, len(infos))
            for name, kind in _FIELDS.items()
        }
        names = [info.orig_filename.encode("utf-8", "surrogatepass") for info in infos]
        self._names = b"".join(names)
        self._ends = np.cumsum([len(name) for name in names], dtype=np.int64)
        hashes = np.fromiter((_hash(info.filename) for info in infos), np.uint64, len(infos))
        self._order = np.argsort(hashes, kind="stable").astype(np.uint32)
        self._hashes = hashes[self._order]

    def __iter__(self) -> Iterator[str]:
        """Names, in the zip's order."""
        return (self._info(number).filename for number in range(len(self._ends)))

    def __contains__(self, name: str) -> bool:
        return self.find(name) is not None

    def find(self, name: str) -> ZipInfo | None:
        """The entry of that name (the last of several), as `ZipFile.open` takes it."""
        wanted = np.uint64(_hash(name))
        for place in range(int(np.searchsorted(self._hashes, wanted, "right")) - 1, -1, -1):
            if self._hashes[place] != wanted:
                return None
            info = self._info(int(self._order[place]))
            if info.filename == name:
                return info
        return None

    def _info(self, number: int) -> ZipInfo:
        start = int(self._ends[number - 1]) if number else 0
        info = ZipInfo(self._names[start : int(self._ends[number])].decode("utf-8", "surrogatepass"))
        for name, values in self._fields.items():
            setattr(info, name, int(values[number]))
        return info


def _hash(name: str) -> int:
    return int.from_bytes(blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
