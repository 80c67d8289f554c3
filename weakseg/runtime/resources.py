"""CPU time and memory of this process and of its worker processes.

The system counts neither of a pool's workers for us: they are children of a server process that nobody waits for. So
each sends what it has used along with every result.
"""

import os
import resource
from contextlib import suppress
from typing import NamedTuple


class Usage(NamedTuple):
    """Of one process so far: CPU seconds, and resident memory in MiB at its peak."""

    pid: int
    cpu_seconds: float
    peak_mib: float


_workers: dict[int, Usage] = {}


def own() -> Usage:
    used = _usage(os.getpid(), resource.RUSAGE_SELF)
    return used._replace(peak_mib=_own_peak_mib() or used.peak_mib)


def note(worker: Usage) -> None:
    """Remember the latest word of a worker."""
    _workers[worker.pid] = worker


def summary() -> str:
    """`CPU 61.3 s, peak memory 512 MiB, largest worker 410 MiB`, of this process and all that it has heard of."""
    me, children = own(), _usage(0, resource.RUSAGE_CHILDREN)
    seconds = sum(usage.cpu_seconds for usage in (me, children, *_workers.values()))
    worker = max(usage.peak_mib for usage in (children, *_workers.values()))
    told = f"CPU {seconds:.1f} s, peak memory {me.peak_mib:.0f} MiB"
    return told + (f", largest worker {worker:.0f} MiB" if worker else "")


def _own_peak_mib() -> float | None:
    """From Linux's /proc, since `getrusage` starts at the peak of the process that started this one; None elsewhere."""
    with suppress(OSError), open("/proc/self/status", encoding="ascii", errors="replace") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return None


def _usage(pid: int, who: int) -> Usage:
    usage = resource.getrusage(who)
    return Usage(pid, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
