"""Downloading one archive: resumed where it was cut, from the first mirror that has it, and checked before it counts."""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import requests
from tqdm import tqdm

from weakseg.download.sources import Source
from weakseg.errors import UserError

CHUNK_BYTES = 1 << 14  # a cut connection loses what came since the last whole one
TIMEOUT_SECONDS = (15, 60)  # to connect; without a byte
TRIES = 8  # of one mirror, that each bring something


class _MirrorError(Exception):
    """This mirror cannot give the file."""


def fetch(name: str, source: Source, folder: Path) -> Path:
    """`folder/name` with the size and hash of `source`, downloaded unless it is there.

    What has come is kept in `<name>.part`, and the next run asks for the rest. Raises UserError where a file of that name
    is another, where the disk is full, and where no mirror has the file: that says what to put where.
    """
    target, part = folder / name, folder / f"{name}.part"
    if target.exists():
        if problem := difference(target, source):
            raise UserError(f"{target}: {problem}; delete it, or put the right file there")
        return target
    folder.mkdir(parents=True, exist_ok=True)
    refusals = []
    for url in source.urls:
        try:
            _download(url, part, source)
            if problem := difference(part, source):
                part.unlink()
                raise _MirrorError(problem)
            os.replace(part, target)
            return target
        except _MirrorError as error:
            refusals.append(f"{url}: {error}")
        except OSError as error:
            raise _no_room(part, source, error) from error
    algorithm, digest = source.digest
    listing = "".join(f"\n  {refusal}" for refusal in refusals)
    raise UserError(
        f"{name}: no source has it:{listing}\nGet the file ({source.bytes} bytes, {algorithm} {digest}) in another way, put it "
        f"at {target} and run again; or add a mirror to the file of sources. Run again later if the network is at fault."
    )


def difference(path: Path, source: Source) -> str | None:
    """How a file differs from what `source` promises; None: not at all."""
    size = path.stat().st_size
    if size != source.bytes:
        return f"has {size} bytes, not {source.bytes}"
    algorithm, wanted = source.digest
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    found = digest.hexdigest()
    return None if found == wanted else f"has {algorithm} {found}, not {wanted}"


def _download(url: str, part: Path, source: Source) -> None:
    """Fills `part` up to the promised size; cut connections are taken up again as long as each brings something."""
    for _ in range(TRIES):
        have = part.stat().st_size if part.exists() else 0
        if have > source.bytes:
            part.unlink()
            have = 0
        if have == source.bytes:
            return
        try:
            _more(url, part, have, source)
        except requests.RequestException as error:
            if not part.exists() or part.stat().st_size <= have:
                raise _MirrorError(_plain(error)) from error
    if not part.exists() or part.stat().st_size != source.bytes:
        raise _MirrorError("the connection was cut again and again; what has come is kept")


def _more(url: str, part: Path, have: int, source: Source) -> None:
    _check_room(part, source.bytes - have)
    headers = {"Accept-Encoding": "identity", "User-Agent": "weakseg"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as response:
        if response.status_code not in (200, 206):
            raise _MirrorError(f"the server answers {response.status_code} {response.reason}")
        have = _start(response, have)
        length = response.headers.get("Content-Length")
        if length is not None and have + int(length) != source.bytes:
            raise _MirrorError(f"the server's file has {have + int(length)} bytes, not {source.bytes}")
        with open(part, "ab" if have else "wb") as file:
            for block in _shown(response, part.stem, have, source.bytes):
                file.write(block)
                if file.tell() > source.bytes:
                    raise _MirrorError(f"the server sends more than {source.bytes} bytes")


def _start(response: requests.Response, have: int) -> int:
    """Where the answer starts: at `have` if the server gives the rest, at 0 if it gives all."""
    if response.status_code == 200:
        return 0
    promised = response.headers.get("Content-Range", "")
    if not promised.startswith(f"bytes {have}-"):
        raise _MirrorError(f"the server answers with another part of the file ({promised or 'unnamed'})")
    return have


def _shown(response: requests.Response, name: str, have: int, whole: int) -> Iterator[bytes]:
    with tqdm(desc=name, total=whole, initial=have, unit="B", unit_scale=True, disable=None) as bar:
        for block in response.iter_content(CHUNK_BYTES):
            bar.update(len(block))
            yield block


def _check_room(part: Path, wanted: int) -> None:
    if shutil.disk_usage(part.parent).free < wanted:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(part))


def _no_room(part: Path, source: Source, error: OSError) -> UserError:
    have = part.stat().st_size if part.exists() else 0
    reason = error.strerror or str(error)
    return UserError(
        f"{part}: cannot be written ({reason}); {source.bytes - have} bytes are missing. Make room, or name another folder "
        f"for the archives, and run again: it takes up where it stopped"
    )


def _plain(error: requests.RequestException) -> str:
    """The cause without the library's wrapping."""
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection was cut"
    return "no connection" if isinstance(error, requests.ConnectionError) else str(error)
