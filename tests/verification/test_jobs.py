"""Jobs as clusters run them: a slow process, the scheduler's signal, an array of shards.

Run as a module, this file is what the processes of a job run.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from tests.pipeline.tiny_repo import Repo, stages_run
from tests.profile_cases import ROOT
from weakseg.runtime import is_first, wait
from weakseg.runtime.stage import run

PATIENCE_SECONDS = 300  # on a busy machine
TORCHS_LIMIT_SECONDS, WORK_SECONDS = 8, 20
Start = Callable[..., subprocess.Popen[bytes]]


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


# --- a slow process -------------------------------------------------------------------------------------------------------


def test_a_process_may_take_longer_than_torch_s_limit_over_its_share(tmp_path: Path) -> None:
    """torch waits 30 minutes for processes to meet; here that limit is less than one process works longer than the other."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PET_", "WEAKSEG_"))}
    job = subprocess.run(
        [sys.executable, "-m", "tests.verification.test_jobs"],
        cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_SECONDS,
        env={**kept, "PET_NPROC_PER_NODE": "2", "OMP_NUM_THREADS": "1", "WEAKSEG_DEVICE": "cpu", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert job.returncode == 0, job.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["joined"]


def work_unevenly() -> None:
    time.sleep(0 if is_first() else WORK_SECONDS)
    wait()
    if is_first():
        Path("joined").touch()


# --- the scheduler's signal ---------------------------------------------------------------------------------------------------

STAND_STILL = """
import os, sys, time


def stand_still():
    open(os.environ["STANDS"], "w").close()
    deadline = time.monotonic() + 600
    while not os.path.exists(os.environ["STANDS"] + ".go") and time.monotonic() < deadline:
        time.sleep(0.02)


def at_the(number, function, caller):
    calls = 0

    def counting(*arguments, **options):
        nonlocal calls
        calls += sys._getframe(1).f_globals.get("__name__") == caller
        if calls == number:
            calls += 1
            stand_still()
        return function(*arguments, **options)

    return counting


if "weakseg.crf.lattice_workers" in sys.orig_argv:
    import numpy

    numpy.frombuffer = at_the(1, numpy.frombuffer, "__main__")  # the first request has come
elif os.environ.get("WEAKSEG_SHARD") == "2/3":
    import zlib

    zlib.crc32 = at_the(5, zlib.crc32, "weakseg.batch.partial_results")  # two a photo: the third's
"""


def standing(repo: Repo, name: str) -> dict[str, str]:
    """Variables with which a process comes to a stand, and tells that by the file `name`."""
    site = repo.folder.parent / "site"
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text(STAND_STILL, encoding="utf-8")
    return {"PYTHONPATH": str(site), "STANDS": str(repo.folder.parent / name)}


@pytest.fixture
def start() -> Iterator[Start]:
    """A command in a session of its own, as a scheduler starts it; killed with all of it where a test leaves it."""
    started = []

    def begin(repo: Repo, said: Path, *command: str, **environment: str) -> subprocess.Popen[bytes]:
        with open(said, "ab") as words:
            started.append(
                subprocess.Popen(
                    command, cwd=repo.folder, env=repo.environment | environment, stdout=words, stderr=words,
                    stdin=subprocess.DEVNULL, start_new_session=True,
                )
            )  # fmt: skip
        return started[-1]

    yield begin
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def processes_of(session: int, *words: str) -> list[psutil.Process]:
    """Processes below that one whose command has all of the words."""
    found = psutil.Process(session).children(recursive=True)
    return [process for process in found if set(words) <= set(process.cmdline())]


def ignores_sigterm(process: psutil.Process) -> bool:
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    (mask,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigIgn:"))
    return bool(int(mask, 16) >> (signal.SIGTERM - 1) & 1)


def test_a_signal_to_all_processes_while_the_lattice_works_saves_the_step(ours: Repo, start: Start) -> None:
    """Slurm's --signal=TERM@120: to DVC, the stage, its loader workers and its CRF workers alike."""
    ours.change(lambda params: params["losses"]["sec"].update(crf_backend="lattice"))
    stage = ("dvc", "repro", "--force", "--single-item", "train_segmenter@sec")
    ours.run(*stage)
    lock = (ours.folder / "dvc.lock").read_bytes()
    said, environment = ours.folder.parent / "sec.txt", standing(ours, "crf")
    dvc = start(ours, said, *stage, **environment, WEAKSEG_CHECKPOINT_STEPS="0")
    wait_for(lambda: Path(environment["STANDS"]).exists())
    workers = processes_of(dvc.pid, "weakseg.crf.lattice_workers")
    training = min(
        processes_of(dvc.pid, "stages.train_segmenter"), key=psutil.Process.create_time
    )  # others are its own
    assert len(workers) == 2
    wait_for(lambda: all(map(ignores_sigterm, workers)))  # not while Python itself still starts
    os.killpg(dvc.pid, signal.SIGTERM)
    for worker in workers:
        worker.terminate()
    time.sleep(1)
    Path(environment["STANDS"] + ".go").touch()
    wait_for(lambda: not training.is_running() or training.status() == psutil.STATUS_ZOMBIE)
    dvc.wait(PATIENCE_SECONDS)
    told = said.read_text(encoding="utf-8")
    assert "stopped after step 1, saved" in told and "CRF worker process ended" not in told
    (checkpoint,) = (ours.folder / "checkpoints").glob("*segmenter-sec*.pt")
    assert checkpoint.name.endswith(".00000001.pt")
    again = ours.call(*stage)
    assert again.returncode == 0 and "resuming from step 1" in again.stderr, again.stderr
    assert (ours.folder / "dvc.lock").read_bytes() == lock


# --- an array of shards -----------------------------------------------------------------------------------------------------


def test_the_documented_array_of_shards_one_killed_and_rerun_is_joined_by_dvc(ours: Repo, start: Start) -> None:
    text = (ROOT / "docs" / "scale-out.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```sh\n(#!/bin/bash\n#SBATCH --array=.*?)```", text, re.DOTALL)
    job = ours.folder.parent / "array.sh"
    job.write_text(script, encoding="utf-8")
    ours.change(lambda params: params["make_cams"]["seeder"].update(flip=True))
    out = ours.folder / "data" / "cams" / "seeder.npz"
    before, environment = out.read_bytes(), standing(ours, "shard")

    def shard(number: int, **more: str) -> subprocess.Popen[bytes]:
        slurm = {"SLURM_ARRAY_TASK_ID": str(number), "SLURM_ARRAY_TASK_COUNT": "3"}
        return start(ours, ours.folder.parent / f"shard{number}.txt", "bash", str(job), **slurm, **more)

    second = shard(2, **environment)
    wait_for(lambda: Path(environment["STANDS"]).exists())
    os.killpg(second.pid, signal.SIGKILL)
    second.wait()
    others = [shard(1), shard(3)]
    assert [one.wait(PATIENCE_SECONDS) for one in others] == [0, 0]
    assert shard(2).wait(PATIENCE_SECONDS) == 0
    said = (ours.folder.parent / "shard2.txt").read_text(encoding="utf-8")
    assert "of 16 photos are done; resuming" in said and "shard 2/3 is done" in said
    assert out.read_bytes() == before  # no shard touches it
    joined = ours.call("dvc", "repro", "make_cams@seeder")
    assert joined.returncode == 0 and "make_cams@seeder" in stages_run(joined.stdout)
    assert "data/cams/seeder.npz: 16 of 16 photos are done" in joined.stderr
    assert not list((ours.folder / "checkpoints").glob("*.part"))
    shared = out.read_bytes()
    assert shared != before
    ours.repro("--force", "--single-item", "make_cams@seeder")
    assert out.read_bytes() == shared


if __name__ == "__main__":
    from torch.distributed import distributed_c10d

    distributed_c10d.default_pg_timeout = timedelta(seconds=TORCHS_LIMIT_SECONDS)
    run(work_unevenly, distributed=True)
