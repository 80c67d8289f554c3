"""Machines at their limits, made with mounts, users and limits of this test's own: small, full, forbidden, foreign.

They need root and mount namespaces, as a container of CI has them; elsewhere they are skipped.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipeline.tiny_repo import Repo

PATIENCE_SECONDS = 500
NOBODY = "setpriv --reuid=65534 --regid=65534 --clear-groups"
MEMORY_GROUPS = Path("/sys/fs/cgroup/memory")


def can_mount() -> bool:
    try:
        return subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0
    except OSError:
        return False


pytestmark = pytest.mark.skipif(not can_mount(), reason="needs root and mount namespaces")


def inside(repo: Repo, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A script in mounts of its own, in the repository's folder."""
    return repo.call("timeout", str(PATIENCE_SECONDS), "unshare", "--mount", "bash", "-ec", script, **environment)


def told(done: subprocess.CompletedProcess[str]) -> str:
    words = done.stdout + done.stderr
    assert "Traceback" not in words, words
    return words


# --- small and full -------------------------------------------------------------------------------------------------------


def test_a_full_disk_below_dvc_s_temporary_folder_stops_no_stage_and_costs_no_result(ours: Repo) -> None:
    full = "mkdir -p .dvc/tmp; mount -t tmpfs -o nr_inodes=1 full .dvc/tmp"
    rule = ours.folder / "models" / "segmenter" / "guided" / "test_rule.json"
    before = rule.read_bytes()
    done = inside(ours, f"{full}; exec python -m stages write_test_rule@guided")
    assert done.returncode == 0 and "(No space left on device); running without a lock" in told(done)
    done = inside(ours, f"{full}; exec dvc repro --force --single-item write_test_rule@guided")
    assert done.returncode != 0 and "No space left on device" in told(done)
    assert rule.read_bytes() == before


def test_a_full_cache_costs_no_result(ours: Repo) -> None:
    full = "mount -t tmpfs -o nr_inodes=1 full .dvc/cache"
    seeds = ours.folder / "data" / "seeds.zip"
    before = seeds.read_bytes()
    done = inside(ours, f"{full}; exec dvc repro --force --single-item make_seeds")
    assert done.returncode != 0 and "No space left on device" in told(done)
    assert seeds.read_bytes() == before


def test_the_pictures_are_drawn_in_whole_or_not_at_all(ours: Repo, tmp_path: Path) -> None:
    script = f"mount -t tmpfs -o size=100k small '{tmp_path}'; python -m stages.make_toy --out '{tmp_path}/toy' || ls -A '{tmp_path}'"
    done = inside(ours, script)
    assert f"{tmp_path}/toy: cannot be written (No space left on device); nothing was changed" in told(done)
    assert done.stdout.strip() == ""  # and nothing half-done is left


def test_docker_s_64_mb_of_shared_memory_are_enough_and_none_is_told(ours: Repo) -> None:
    """For workers that read photos of a training, and for those of a batch stage."""
    shared = "mount -t tmpfs -o {} small /dev/shm; exec python -m stages {}"
    weights = ours.folder / "models" / "boundaries" / "irn" / "weights.safetensors"
    before = weights.read_bytes()
    weights.unlink()
    done = inside(ours, shared.format("size=64m", "train_boundaries@irn"))
    assert done.returncode == 0, told(done)
    assert weights.read_bytes() == before
    for stage in ("train_boundaries@irn", "make_seeds"):
        done = inside(ours, shared.format("nr_inodes=1", stage))
        assert done.returncode == 1
        assert "/dev/shm has no room" in told(done) and "docker run --shm-size=1g" in done.stderr
        assert "WEAKSEG_WORKERS=0" in done.stderr


# --- forbidden ------------------------------------------------------------------------------------------------------------


def test_photos_are_segmented_from_a_read_only_clone(ours: Repo, tmp_path: Path) -> None:
    photo = ours.records("val")[0].image
    done = inside(
        ours,
        'mount --bind "$PWD" "$PWD"; mount -o remount,ro,bind "$PWD"; cd "$PWD"; ! touch x 2>/dev/null;'
        f"python -m weakseg.segment --model models/segmenter/guided {photo} --out '{tmp_path}/masks'",
    )
    assert done.returncode == 0, told(done)
    assert len(list((tmp_path / "masks").glob("*.png"))) == 1


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that all users can enter, for the repository, this Python and a home to be mounted in."""
    folder = Path(tempfile.mkdtemp(prefix="weakseg-", dir="/tmp"))
    folder.chmod(0o755)
    for name in ("repo", "packages", "python", "home"):
        (folder / name).mkdir()
    os.chown(folder / "home", 65534, 65534)
    yield folder
    shutil.rmtree(folder)


def as_nobody(repo: Repo, folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    """A command of Python's as another user, who may write to `$HOME` alone."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    script = (
        f"mount --bind '{repo.folder}' '{folder}/repo'; mount --bind '{sysconfig.get_path('purelib')}' '{folder}/packages';"
        f"mount --bind '{sys.base_prefix}' '{folder}/python'; cd '{folder}/repo';"
        f"export HOME='{folder}/home' PYTHONPATH='{folder}/packages' LD_LIBRARY_PATH='{folder}/python/lib';"
        f"python='{folder}/python/bin/{version}'; exec {command}"
    )
    return inside(repo, script, PYTHONDONTWRITEBYTECODE="1")


def test_another_user_reads_and_is_told_what_cannot_be_written(ours: Repo, open_folder: Path) -> None:
    photo = ours.records("val")[0].image
    done = as_nobody(
        ours, open_folder, f"{NOBODY} $python -m weakseg.segment --model models/segmenter/guided {photo} --out $HOME/o"
    )
    assert done.returncode == 0, told(done)
    done = as_nobody(ours, open_folder, f"{NOBODY} $python -m stages make_cues")
    assert done.returncode == 1
    assert "data/cues.npz: cannot be written (Permission denied); nothing was changed" in told(done)


@pytest.mark.parametrize("processes", [1, 4])
def test_a_limit_of_processes_is_told(ours: Repo, open_folder: Path, processes: int) -> None:
    done = as_nobody(
        ours, open_folder,
        f"{NOBODY} prlimit --nproc={processes} $python -m stages make_seeds --out $HOME/s.zip --checkpoints $HOME/checkpoints",
    )  # fmt: skip
    assert done.returncode == 1
    words = told(done).strip().splitlines()[-1]
    assert "ulimit -u" in words and "WEAKSEG_WORKERS" in words, done.stderr


@pytest.mark.skipif(not os.access(MEMORY_GROUPS, os.W_OK), reason="needs memory groups (cgroup v1) that can be made")
def test_a_run_out_of_memory_is_told(ours: Repo) -> None:
    """Its photos that are done are kept, as after other kills (tests/pipeline/test_kills.py)."""
    group = MEMORY_GROUPS / f"weakseg-{os.getpid()}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(400 << 20))
        stage = "python -m stages make_cams@seeder || echo ended with $?"
        words = told(inside(ours, f"echo $$ > {group}/cgroup.procs; {stage}"))
        assert "out of memory?" in words or "ended with 137" in words, words
    finally:
        while (group / "cgroup.procs").read_text():
            time.sleep(0.1)  # until the last of its processes has ended
        group.rmdir()
