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

ABANDONED_SECONDS = 24 * 3600  # a temporary file that was not written to for this long belongs to no running process
_TEMPORARY = re.compile(r"\..*\.[0-9a-f]{16}\.weakseg-tmp")
_cleared: set[Path] = set()  # folders whose abandoned files this process has removed


@contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """A new file to write to: renamed to `path` on success, removed on failure.

    Its name cannot be guessed, and nothing of that name is followed or overwritten, so nobody with write access to the
    folder can redirect it. Files that killed processes left behind are removed after a day.

    Raises UserError if the file cannot be written; `path` is then unchanged.
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
        with suppress(OSError):  # not supported by every file system
            _sync(path.parent)  # so that a power cut does not undo the rename
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error}); nothing was changed") from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A new folder to fill: renamed to `path` on success, removed with its contents on failure.

    Raises UserError if `path` exists and is not empty (nothing in it is ever removed), or cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{_cut(path.name)}.{secrets.token_hex(8)}.weakseg-tmp")
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise UserError(f"{path}: already exists; delete it or name another folder")
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
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)  # minus the umask: the mode of the user's ordinary files


def _cut(name: str) -> str:
    """At most 200 bytes of the name: file systems allow 255, suffix included."""
    return name.encode()[:200].decode(errors="ignore")


def _remove_abandoned(folder: Path) -> None:
    """By age: the creating process's id means nothing on another machine or in another container."""
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


def content_sha256(path: Path) -> str:
    """Of a file, or of a folder's files and their names, whatever their order. Raises UserError for what cannot be read."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    parts = [f"{file.relative_to(path).as_posix()} {file_sha256(file)}" for file in files]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def file_sha256(path: Path | str) -> str:
    """SHA-256 of the file's bytes, in hexadecimal."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
