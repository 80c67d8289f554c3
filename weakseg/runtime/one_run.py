"""One run of a stage at a time."""

import fcntl
import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from weakseg.errors import UserError

PROCESS_OF_JOB = "TORCHELASTIC_RUN_ID"  # torchrun's, to each of its processes


@contextmanager
def only_run(stage: str, arguments: list[str]) -> Iterator[None]:
    """Hold the lock of this stage with these arguments; where another process has it, say so and wait.

    The lock ends with the process, however that ends. Taken in a DVC repository only, for the file is in DVC's
    temporary folder; torchrun's processes run under the lock of the process that started them.
    """
    folder = Path(os.environ.get("DVC_ROOT", ".")) / ".dvc"
    if PROCESS_OF_JOB in os.environ or os.environ.get("PET_NNODES", "1") != "1" or not folder.is_dir():
        yield
        return
    digest = hashlib.sha256("\0".join([str(Path.cwd()), *arguments]).encode()).hexdigest()[:16]
    path = folder / "tmp" / "stages" / f"{Path(stage).name}-{digest}.lock"
    with _opened(path) as file:
        _lock(file.fileno(), path, stage)
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _opened(path: Path) -> TextIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return open(path, "a+", encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from None


def _lock(descriptor: int, path: Path, stage: str) -> None:
    """fcntl's record lock: unlike flock's it does not pass to forked workers, which may outlive us for a moment."""
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        owner = path.read_text(encoding="utf-8").strip()
        print(f"{stage}: another run of it is at work (process {owner}); waiting for it to end", file=sys.stderr)
        fcntl.lockf(descriptor, fcntl.LOCK_EX)
    except OSError:
        pass  # a file system without locks
