"""Worker processes: what they used is told, and each library has one thread there."""

import os
import re
import subprocess
import sys
import time

import numpy as np
import pytest

from weakseg.batch.workers import ONE_THREAD, map_images
from weakseg.runtime import resources

NUMBERS = re.compile(r"CPU ([\d.]+) s, peak memory (\d+) MiB, largest worker (\d+) MiB")


def of_many_bytes(mebibytes: int) -> int:
    """Holds that much, and computes for half a second."""
    held = np.ones((mebibytes, 2**20), np.uint8)
    end = time.process_time() + 0.5
    while time.process_time() < end:
        pass
    return int(held[:, 0].sum())


def test_workers_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEAKSEG_WORKERS", "2")
    monkeypatch.setattr(resources, "_workers", {})
    before = resources.summary()
    assert list(map_images(of_many_bytes, [10, 900, 20], "memory")) == [10, 900, 20]
    cpu, own, worker = (float(number) for number in NUMBERS.fullmatch(resources.summary()).groups())  # type: ignore[union-attr]
    assert cpu - float(before.split()[1]) > 1.4
    assert worker > 900 and own > 0


def environment_of(name: str) -> str | None:
    return os.environ.get(name)


def test_libraries_have_one_thread_in_workers_and_this_process_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEAKSEG_WORKERS", "2")
    before = dict(os.environ)
    assert list(map_images(environment_of, list(ONE_THREAD), "threads")) == ["1", "1", "1"]
    assert dict(os.environ) == before


@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
def test_the_peak_is_not_that_of_the_process_that_started_this_one() -> None:
    child = [sys.executable, "-c", "from weakseg.runtime import resources; print(resources.own().peak_mib)"]
    script = f"import subprocess; ballast = b'x' * (300 << 20); subprocess.run({child!r}, check=True)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert 5 < float(done.stdout) < 200
