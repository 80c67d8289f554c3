"""The worker processes of the lattice CRF: same result, clear death, nothing left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from weakseg.crf import lattice_workers
from weakseg.crf.lattice_workers import start_batch
from weakseg.crf.params import SEC
from weakseg.errors import UserError

REPO = Path(__file__).resolve().parents[2]
PARAMS = SEC.scaled(12)


def case(count: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 13, 10, 3), np.uint8)
    return images, rng.normal(size=(count, 6, 13, 10)).astype(np.float32) * 3


def worker_pids(workers: int) -> list[int]:
    idle = lattice_workers._pool(workers, os.getpid())._idle.queue
    return [worker._process.pid for worker in idle if worker._process is not None]


@pytest.mark.parametrize("workers", [2, 3])
@pytest.mark.parametrize("count", [2, 7])
def test_result_does_not_depend_on_the_number_of_workers(workers: int, count: int) -> None:
    images, scores = case(count)
    alone = start_batch(images, scores, PARAMS, workers=1)()
    assert len({maps.tobytes() for maps in alone}) == count  # all differ, so that a wrong order would show
    np.testing.assert_array_equal(start_batch(images, scores, PARAMS, workers=workers)(), alone)


def test_params_and_floor_reach_the_workers() -> None:
    images, scores = case(2)
    for params, min_prob in ((PARAMS, 1e-4), (SEC, 1e-2)):
        alone = start_batch(images, scores, params, min_prob, workers=1)()
        np.testing.assert_array_equal(start_batch(images, scores, params, min_prob, workers=2)(), alone)


def test_processes_are_kept_between_calls() -> None:
    images, scores = case(4)
    start_batch(images, scores, PARAMS, workers=2)()
    before = worker_pids(2)
    start_batch(images, scores, PARAMS, workers=2)()
    assert sorted(worker_pids(2)) == sorted(before)
    assert len(before) == 2


def test_a_worker_that_died_between_calls_is_replaced() -> None:
    images, scores = case(4)
    expected = start_batch(images, scores, PARAMS, workers=2)()
    victim = worker_pids(2)[0]
    os.kill(victim, signal.SIGKILL)
    time.sleep(0.2)
    np.testing.assert_array_equal(start_batch(images, scores, PARAMS, workers=2)(), expected)
    assert victim not in worker_pids(2)


def test_a_worker_that_dies_at_work_is_reported_and_replaced() -> None:
    images, scores = case(2)
    expected = start_batch(images, scores, PARAMS, workers=2)()
    pids = worker_pids(2)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)  # so that the request is surely under way
    wait = start_batch(images, scores, PARAMS, workers=2)
    time.sleep(0.2)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(UserError, match=r"worker process ended \(exit code -9.*WEAKSEG_WORKERS"):
        wait()
    np.testing.assert_array_equal(start_batch(images, scores, PARAMS, workers=2)(), expected)


def run_script(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=REPO,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_workers_do_not_import_torch() -> None:
    done = run_script("import sys, weakseg.crf.lattice_workers; print('torch' in sys.modules)")
    assert done.stdout.strip() == "False", done.stderr


SCRIPT = """
import numpy as np, os, sys
from weakseg.crf import SEC, lattice_workers
images = np.zeros((3, 5, 6, 3), np.uint8)
lattice_workers.start_batch(images, np.zeros((3, 4, 5, 6), np.float32), SEC)()
print(*[worker._process.pid for worker in lattice_workers._pool(2, os.getpid())._idle.queue], flush=True)
"""


@pytest.mark.parametrize("end", ["", "os.kill(os.getpid(), 9)"])
def test_no_process_outlives_its_parent(end: str) -> None:
    """Nor does a script need `if __name__ == '__main__'`: the workers do not import it."""
    done = run_script(SCRIPT + end, WEAKSEG_WORKERS="2")
    assert done.stderr == ""
    pids = [int(pid) for pid in done.stdout.split()]
    assert len(pids) == 2
    deadline = time.monotonic() + 10
    while alive := [pid for pid in pids if running(pid)]:
        assert time.monotonic() < deadline, f"still running: {alive}"
        time.sleep(0.05)


def running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] == "Z")


def test_the_number_of_workers_is_that_of_all_worker_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """WEAKSEG_WORKERS; what it may be, tests/unit/test_workers.py says."""
    asked: list[int] = []

    def pool(workers: int, owner: int) -> lattice_workers._Pool:
        asked.append(workers)
        return made(workers, owner)

    made = lattice_workers._pool
    monkeypatch.setattr(lattice_workers, "_pool", pool)
    images, scores = case(4)
    expected = start_batch(images, scores, PARAMS, workers=1)()
    for workers in ("3", "2"):
        monkeypatch.setenv("WEAKSEG_WORKERS", workers)
        np.testing.assert_array_equal(start_batch(images, scores, PARAMS)(), expected)
    assert asked == [3, 2]
    for workers in ("0", "1"):  # this process does the work itself
        monkeypatch.setenv("WEAKSEG_WORKERS", workers)
        np.testing.assert_array_equal(start_batch(images, scores, PARAMS)(), expected)
    assert asked == [3, 2]
    monkeypatch.setenv("WEAKSEG_WORKERS", "many")
    with pytest.raises(UserError, match="WEAKSEG_WORKERS"):
        start_batch(images, scores, PARAMS)
