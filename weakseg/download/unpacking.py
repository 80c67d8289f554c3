"""Unpacking an archive that nobody is trusted to have packed well: only files, only below the folder, only so many bytes."""

import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from tqdm import tqdm

from weakseg.errors import UserError

MAX_FILES = 500_000

Placing = Callable[[PurePosixPath], str | None]  # where a member goes, below the folder; None: it is left out
Member = tuple[PurePosixPath, int, bool, Callable[[], IO[bytes] | None]]  # name, bytes, is it a file, open


def unpack(archive: Path, folder: Path, place: Placing, max_bytes: int) -> int:
    """Unpacks the files of a .zip or .tar[.gz] that `place` gives a place to; returns how many.

    Raises UserError, which names the member, for an archive that is damaged, has a name that leads out of the folder, a
    link or device among the wanted, the same place twice, or more than `max_bytes` or 500 000 members.
    """
    count = total = 0
    try:
        for name, size, is_file, opened in tqdm(
            _members(archive), f"unpacking {archive.name}", unit="file", disable=None
        ):
            count, total = count + 1, total + size
            if total > max_bytes or count > MAX_FILES:
                raise UserError(f"{archive}: holds more than {max_bytes} bytes or {MAX_FILES} files; nothing was kept")
            _check_name(archive, name)
            if (wanted := place(name)) is not None:
                _write(archive, name, size, opened() if is_file else None, folder / wanted)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise UserError(f"{archive}: is damaged ({error}); delete it and run again") from None
    return sum(path.is_file() for path in folder.rglob("*"))


def _members(archive: Path) -> Iterator[Member]:
    """All but folders, in the archive's order."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            for info in packed.infolist():
                kind = info.external_attr >> 28  # of Unix file types, 8 is a file and 0 unknown
                if not info.is_dir():
                    yield _name(info.orig_filename), info.file_size, kind in (0, 8), partial(packed.open, info)
    else:
        with tarfile.open(archive, "r|*") as stream:
            for member in stream:
                if not member.isdir():
                    yield _name(member.name), member.size, member.isreg(), partial(stream.extractfile, member)


def _name(name: str) -> PurePosixPath:
    return PurePosixPath(name.replace("\\", "/"))


def _check_name(archive: Path, name: PurePosixPath) -> None:
    if (
        name.is_absolute()
        or ".." in name.parts
        or not name.parts
        or any(":" in part or "\0" in part for part in name.parts)
    ):
        raise UserError(f"{archive}: has a member {str(name)!a}, which leads out of the folder; nothing was kept")


def _write(archive: Path, name: PurePosixPath, size: int, content: IO[bytes] | None, target: Path) -> None:
    if content is None:
        raise UserError(f"{archive}: {str(name)!a} is a link or a device, not a file; nothing was kept")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with content, open(target, "xb") as file:
            shutil.copyfileobj(content, file, 1 << 20)
    except FileExistsError:
        raise UserError(f"{archive}: has {str(name)!a} twice; nothing was kept") from None
    if target.stat().st_size != size:
        raise UserError(f"{archive}: {str(name)!a} is cut off; delete the archive and run again")
