"""Files that are whole or absent: a temporary file beside the target, fsync, rename."""

import hashlib
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from weakseg.errors import UserError

ABANDONED_SECONDS = 24 * 3600  # a temporary file nobody has written to for so long belongs to no running process
_TEMPORARY = re.compile(r"\..*\.[0-9a-f]{16}\.weakseg-tmp")
_cleared: set[Path] = set()  # folders whose abandoned files this process has removed


@contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """A new file to write to, renamed onto `path` on success and removed on failure.

    Its name cannot be guessed and nothing of that name is followed or overwritten, so that nobody who may write to the
    folder can direct it elsewhere. What killed processes left in the folder is removed once it is a day old.

    Raises UserError where the file cannot be written; `path` is unchanged then.
    """
    path, temporary = Path(path), None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path.parent)
        temporary = path.with_name(f".{_cut(path.name)}.{secrets.token_hex(8)}.weakseg-tmp")
        with open(temporary, "xb", opener=_new) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        with suppress(OSError):  # not every file system can
            _sync(path.parent)  # so that a power cut does not undo the renaming
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error}); nothing was changed") from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A new folder to fill, renamed to `path` on success and removed with all that is in it on failure.

    Raises UserError where `path` is there and not empty, which nothing is ever removed from, or cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{_cut(path.name)}.{secrets.token_hex(8)}.weakseg-tmp")
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise UserError(f"{path}: is there already; delete it or name another folder")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if path.exists():
            path.rmdir()
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error}); nothing was changed") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _new(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)  # less the umask: what an ordinary file of the user's gets


def _cut(name: str) -> str:
    """At most 200 bytes of the name, since a file system takes 255 with what is added."""
    return name.encode()[:200].decode(errors="ignore")


def _remove_abandoned(folder: Path) -> None:
    """By age: the number of the process that made a file says nothing on another machine or in another container."""
    if folder in _cleared:
        return
    _cleared.add(folder)
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _TEMPORARY.fullmatch(entry.name):
                with suppress(OSError):
                    found = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(found.st_mode) and time.time() - found.st_mtime > ABANDONED_SECONDS:
                        os.unlink(entry.path)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, content: bytes) -> None:
    with atomic_file(path) as file:
        file.write(content)


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def read_text(path: Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as UTF-8 text ({error})") from None


def file_sha256(path: Path | str) -> str:
    """SHA-256 of the file's bytes, in hexadecimal."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
