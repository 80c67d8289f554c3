"""Processes that are killed: what they started ends, what they held is free, and a second run waits its turn.

Run as a script, this file is a stage, or DVC in the part of starting one.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from weakseg.runtime import stage
from weakseg.runtime.lifetime import DVC_STAGE

REPO = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 120  # on a busy machine


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A DVC repository as far as the lock is concerned. Whatever a test leaves running there is killed."""
    (tmp_path / ".dvc").mkdir()
    yield tmp_path
    for process in psutil.process_iter(["cmdline"]):
        if str(tmp_path) in (process.info["cmdline"] or []):
            process.kill()


def start(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
    """This file as a process; what it says to stderr is in `<arguments>.txt`. It heeds SIGINT even if we were told not to."""
    kept = {name: value for name, value in os.environ.items() if name != DVC_STAGE}
    settings = stage.MALLOC_SETTINGS | {"PYTHONPATH": str(REPO), "WEAKSEG_WORKERS": "2", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, str(folder), *arguments]
    with open(folder / f"{'-'.join(arguments)}.txt", "a") as errors:
        previous = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            return subprocess.Popen(command, cwd=folder, env=kept | settings | environment, stderr=errors)
        finally:
            signal.signal(signal.SIGINT, previous)


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def pids(folder: Path, name: str) -> list[int]:
    """Process ids that a stage wrote down there."""
    return [int(text) for path in folder.glob(f"{name}.*.pid") if (text := path.read_text())]


def has_ended(process: int) -> bool:
    return not psutil.pid_exists(process) or psutil.Process(process).status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("between", ["directly", "a shell between"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_stage_ends_when_dvc_is_killed(folder: Path, between: str, how: signal.Signals) -> None:
    dvc = start(folder, "dvc", between)
    wait_for(lambda: pids(folder, "sleep"))
    dvc.send_signal(how)
    dvc.wait(PATIENCE_SECONDS)
    (process,) = pids(folder, "sleep")
    wait_for(lambda: has_ended(process))
    said = (folder / f"dvc-{between}.txt").read_text()
    assert f"process {dvc.pid}, which started this stage, has ended: stopping" in said
    assert "stopped" in said.splitlines()[-1] and "Traceback" not in said


def test_a_stage_run_by_hand_goes_on_without_its_terminal(folder: Path) -> None:
    shell = start(folder, "dvc", "by hand")
    wait_for(lambda: pids(folder, "sleep"))
    shell.kill()
    shell.wait(PATIENCE_SECONDS)
    (process,) = pids(folder, "sleep")
    time.sleep(1)
    assert not has_ended(process)
    os.kill(process, signal.SIGTERM)
    wait_for(lambda: has_ended(process))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_worker_processes_end_with_their_stage(folder: Path, how: signal.Signals) -> None:
    main = start(folder, "workers")
    wait_for(lambda: len(pids(folder, "worker")) == 2)
    main.send_signal(how)
    if how != signal.SIGKILL:
        (folder / "go").touch()  # the photos begun are finished
    assert main.wait(PATIENCE_SECONDS) == (-9 if how == signal.SIGKILL else 1)
    for process in pids(folder, "worker"):
        wait_for(lambda process=process: has_ended(process))


@pytest.mark.parametrize("how", [signal.SIGKILL, None])
def test_a_second_run_waits_until_the_first_has_ended(folder: Path, how: signal.Signals | None) -> None:
    first = start(folder, "sleep")
    wait_for(lambda: pids(folder, "sleep"))
    second = start(folder, "sleep")
    wait_for(lambda: "another run" in (folder / "sleep.txt").read_text())
    assert f"test_guard.py: another run of it is at work (process {first.pid})" in (folder / "sleep.txt").read_text()
    assert pids(folder, "sleep") == [first.pid]
    if how is None:
        (folder / "go").touch()
    else:
        first.send_signal(how)
    assert first.wait(PATIENCE_SECONDS) == (0 if how is None else -how)
    wait_for(lambda: set(pids(folder, "sleep")) == {first.pid, second.pid})
    (folder / "go").touch()
    assert second.wait(PATIENCE_SECONDS) == 0


def test_the_lock_is_free_though_a_forked_child_lives_on(folder: Path) -> None:
    first = start(folder, "fork")
    wait_for(lambda: pids(folder, "forked"))
    first.kill()
    first.wait(PATIENCE_SECONDS)
    assert not has_ended(pids(folder, "forked")[0])
    (folder / "go").touch()
    assert start(folder, "fork").wait(PATIENCE_SECONDS) == 0
    assert "another run" not in (folder / "fork.txt").read_text()


def test_runs_with_other_arguments_do_not_wait(folder: Path) -> None:
    runs = [start(folder, "sleep", name) for name in ("one", "two")]
    wait_for(lambda: set(pids(folder, "sleep")) == {run.pid for run in runs})
    (folder / "go").touch()
    assert [run.wait(PATIENCE_SECONDS) for run in runs] == [0, 0]


def test_processes_of_one_torchrun_job_do_not_wait_for_each_other(folder: Path) -> None:
    runs = [start(folder, "sleep", TORCHELASTIC_RUN_ID="1") for _ in range(2)]
    wait_for(lambda: set(pids(folder, "sleep")) == {run.pid for run in runs})
    (folder / "go").touch()
    assert [run.wait(PATIENCE_SECONDS) for run in runs] == [0, 0]


# --- as a process of its own ------------------------------------------------------------------------------------------------


def note(folder: Path, name: str) -> None:
    (folder / f"{name}.{os.getpid()}.pid").write_text(str(os.getpid()))


def sleep(folder: Path, name: str) -> None:
    """Until the file `go` is there; never for ever."""
    note(folder, name)
    deadline = time.monotonic() + 2 * PATIENCE_SECONDS
    while not (folder / "go").exists() and time.monotonic() < deadline:
        time.sleep(0.02)


def work(folder_and_number: tuple[str, int]) -> int:
    sleep(Path(folder_and_number[0]), "worker")
    return folder_and_number[1]


def play_dvc(folder: Path, between: str) -> None:
    environment = os.environ if between == "by hand" else os.environ | {DVC_STAGE: "train"}
    command = f"'{sys.executable}' '{__file__}' '{folder}' sleep" + ("; true" if between != "directly" else "")
    subprocess.run(["/bin/sh", "-c", command], env=environment)


def main() -> None:
    folder, part = Path(sys.argv[1]), sys.argv[2]
    if part == "workers":
        from weakseg.batch.workers import map_images

        list(map_images(work, [(str(folder), number) for number in range(2)], "work"))
    elif part == "fork" and os.fork() == 0:
        sleep(folder, "forked")
    else:
        sleep(folder, "sleep")


if __name__ == "__main__":
    if sys.argv[2] == "dvc":
        play_dvc(Path(sys.argv[1]), sys.argv[3])
    else:
        stage.run(main)
