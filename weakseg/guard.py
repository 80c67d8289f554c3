"""One run of a stage at a time, and no process that outlives the one it works for."""

import fcntl
import hashlib
import multiprocessing
import os
import select
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import connection
from pathlib import Path
from typing import TextIO

from weakseg.errors import UserError

DVC_STAGE = "DVC_STAGE"  # DVC gives this variable to the stages it runs, and to nothing else
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


def end_with_dvc() -> None:
    """End by SIGTERM, which a training answers by a checkpoint, as soon as DVC (or torchrun) has ended.

    Only for processes they started; a stage run by hand goes on without its terminal. Linux only.
    """
    watched = [find_dvc(os.getppid())] if DVC_STAGE in os.environ else []
    if PROCESS_OF_JOB in os.environ:
        watched.append(os.getppid())
    for process in watched:
        if process is not None and hasattr(os, "pidfd_open"):
            threading.Thread(target=_end_after, args=(process,), daemon=True).start()


def find_dvc(process: int) -> int | None:
    """The nearest ancestor, from `process` on, that is no part of a stage: DVC. A shell may stand between."""
    try:
        while process > 1 and f"\0{DVC_STAGE}=".encode() in b"\0" + Path(f"/proc/{process}/environ").read_bytes():
            process = int(Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
    except OSError:
        return None  # gone, or another user's
    return process


def _end_after(process: int) -> None:
    try:
        descriptor = os.pidfd_open(process)
    except OSError:  # it has ended already
        descriptor = -1
    if descriptor >= 0:
        waiting = select.poll()
        waiting.register(descriptor, select.POLLIN)
        waiting.poll()
    print(f"process {process}, which started this stage, has ended: stopping", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)


def end_with_parent() -> None:
    """For worker processes of multiprocessing: end when the process that uses them has ended, however it did."""
    threading.Thread(target=_exit_after_parent, daemon=True).start()


def _exit_after_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
