"""No process outlives the one it works for: stages end with DVC, worker processes with their stage."""

import multiprocessing
import os
import select
import signal
import sys
import threading
from multiprocessing import connection
from pathlib import Path

from weakseg.runtime.one_run import PROCESS_OF_JOB

DVC_STAGE = "DVC_STAGE"  # DVC gives this variable to the stages it runs, and to nothing else


def end_with_dvc() -> None:
    """Receive SIGTERM, on which a training saves a checkpoint, as soon as DVC (or torchrun) has ended. Only for
    processes that they started; a stage run by hand survives its terminal. Linux only.
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
    try:
        threading.Thread(target=_exit_after_parent, daemon=True).start()
    except RuntimeError:  # no more threads; who uses this process reports that it ended
        os._exit(1)


def _exit_after_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
