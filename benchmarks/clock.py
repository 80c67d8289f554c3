"""A clock for busy machines, and the heading of a table."""

import os
import platform
import time
from collections.abc import Callable
from datetime import date


def cpu_seconds(work: Callable[[], object], repeats: int) -> float:
    """The least CPU time of this process that `work` took; other work on the machine disturbs it little."""
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


def heading(data: str) -> str:
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    return f"{date.today()}, {platform.machine()}, CPU seconds of one core ({load:.1f} busy processes a core), {data}\n"
