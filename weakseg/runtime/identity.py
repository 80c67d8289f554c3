"""What a partial result depends on, as one hash: settings, input files, and the running code.

Interrupted work resumes only under the same identity, so a result is never a mixture of two.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from weakseg.errors import UserError

REPOSITORY = Path(__file__).resolve().parents[2]


COMPUTING = ("torch", "numpy", "opencv-python-headless", "pydensecrf2", "scipy")  # packages that make the numbers


def identity_of(*contents: Any, files: Mapping[str, Path] | None = None) -> str:
    """SHA-256 over settings (anything JSON can hold), the bytes of input files, this repository's code, and the
    packages that compute.

    Callers add the kind of device. Raises UserError for a file that cannot be read.
    """
    computing = [*map(_version, COMPUTING), os.environ.get("WEAKSEG_COMPILE", "")]
    digest = hashlib.sha256(json.dumps([contents, computing], sort_keys=True, default=str).encode())
    for name, path in sorted((files or {}).items()):
        _add_file(digest, name, path)
    for path in sorted(set(code_in_use())):
        _add_file(digest, path.relative_to(REPOSITORY).as_posix(), path)
    return digest.hexdigest()


def _version(package: str) -> str:
    with suppress(PackageNotFoundError):
        return f"{package} {version(package)}"
    return ""


def code_in_use() -> Iterator[Path]:
    """The files of `weakseg` and `stages` that this process runs, and all others of their rooms: a room may import more
    of its modules later."""
    rooms = set()
    own = [
        module for name, module in sys.modules.items() if name.partition(".")[0] in ("weakseg", "stages", "__main__")
    ]
    for path in (Path(file).resolve() for module in own if (file := getattr(module, "__file__", None))):
        if path.is_relative_to(REPOSITORY / "stages"):
            yield path
        elif path.is_relative_to(REPOSITORY / "weakseg"):
            rooms.add(REPOSITORY / "weakseg" / path.relative_to(REPOSITORY / "weakseg").parts[0])
    for room in rooms:
        yield from room.rglob("*.py") if room.is_dir() else [room]


def _add_file(digest: Any, name: str, path: Path) -> None:
    digest.update(name.encode())
    try:
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
