"""One run of a stage at a time."""

import fcntl
import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

PROCESS_OF_JOB = "TORCHELASTIC_RUN_ID"  # torchrun's, to each of its processes


@contextmanager
def only_run(stage: str, arguments: list[str]) -> Iterator[None]:
    """Hold the lock of this stage with these arguments and shard; if another process has it, say so and wait. The lock
    ends with the process, however that ends. Taken only in a DVC repository, because the file is in DVC's temporary
    folder; if that is not writable (a full disk), the stage runs without a lock and says so. torchrun's
    processes run under the lock of the process that started them.
    """
    folder = Path(os.environ.get("DVC_ROOT", ".")) / ".dvc"
    if PROCESS_OF_JOB in os.environ or os.environ.get("PET_NNODES", "1") != "1" or not folder.is_dir():
        yield
        return
    chosen = [str(Path.cwd()), os.environ.get("DVC_STAGE", ""), os.environ.get("WEAKSEG_SHARD", ""), *arguments]
    digest = hashlib.sha256("\0".join(chosen).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    path = folder / "tmp" / "stages" / f"{Path(stage).name}-{digest}.lock"
    with ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(open(path, "a+", encoding="utf-8"))
        except OSError as error:
            print(f"{stage}: {path} cannot be written ({error.strerror}); running without a lock", file=sys.stderr)
        else:
            _lock(file.fileno(), path, stage)
            with suppress(OSError):  # on a full disk; it is there for people to read
                os.ftruncate(file.fileno(), 0)
                os.write(file.fileno(), f"{os.getpid()}\n".encode())
        yield


def _lock(descriptor: int, path: Path, stage: str) -> None:
    """fcntl's record lock: unlike flock's it does not pass to forked workers, which may outlive us for a moment."""
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        owner = path.read_text(encoding="utf-8", errors="replace").strip()
        print(f"{stage}: another run of it is at work (process {owner}); waiting for it to end", file=sys.stderr)
        fcntl.lockf(descriptor, fcntl.LOCK_EX)
    except OSError:
        pass  # a file system without locks
