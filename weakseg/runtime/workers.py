"""How many worker processes: one rule for everything that has some. No torch here, which many stages do without."""

import os
import re

from weakseg.errors import UserError
from weakseg.runtime.launch import local_processes

MOST_WORKERS = 1024


def worker_count() -> int:
    """WEAKSEG_WORKERS if set, else the number of CPUs this process may use, shared with the job's other processes on
    its machine. 0 and 1 both mean that this process does the work itself. Raises UserError for anything else.
    """
    text = os.environ.get("WEAKSEG_WORKERS")
    if not text:
        return max(1, len(os.sched_getaffinity(0)) // local_processes())
    if not re.fullmatch(r"[0-9]{1,4}", text) or int(text) > MOST_WORKERS:
        raise UserError(f"WEAKSEG_WORKERS: {text!r} is no number of worker processes; say 0 to {MOST_WORKERS}")
    return int(text)
