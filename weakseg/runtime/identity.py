"""What a half-done result depends on, as one hash: settings, input files, and the code that is running.

Work that was broken off is only gone on with under the same identity, so that a result is never half of one kind
and half of another.
"""

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from weakseg.errors import UserError

REPOSITORY = Path(__file__).resolve().parents[2]


PACKAGES = ("weakseg", "stages")


def identity_of(*contents: Any, files: Mapping[str, Path] | None = None) -> str:
    """SHA-256 over settings (anything JSON can hold), the bytes of input files, and this repository's loaded modules.

    Raises UserError for a file that cannot be read.
    """
    digest = hashlib.sha256(json.dumps(contents, sort_keys=True, default=str).encode())
    for name, path in sorted((files or {}).items()):
        _add_file(digest, name, path)
    for path in sorted(set(loaded_code())):
        _add_file(digest, path.relative_to(REPOSITORY).as_posix(), path)
    return digest.hexdigest()


def loaded_code() -> Iterator[Path]:
    """The files of the modules of `weakseg` and `stages` that this process has imported or runs."""
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        path = Path(file).resolve() if file else REPOSITORY
        if any(path.is_relative_to(REPOSITORY / package) for package in PACKAGES):
            yield path


def _add_file(digest: Any, name: str, path: Path) -> None:
    digest.update(name.encode())
    try:
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
