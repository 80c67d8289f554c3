"""The pipeline killed in the middle, for real: what is run again goes on, and ends with the same bytes."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.pipeline.tiny_repo import Repo, stages_run

PATIENCE_SECONDS = 240  # on a busy machine


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def stages_of(repo: Repo) -> list[psutil.Process]:
    """Processes that run a stage in this repository."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        command = process.info["cmdline"] or []
        if process.info["cwd"] == str(repo.folder) and any(part.startswith("stages.") for part in command):
            found.append(process)
    return found


STAND_STILL = """
import os, sys, time, zlib

crc32, replace, calls = zlib.crc32, os.replace, 0


def stand_still():
    open(os.environ["STANDS"], "w").close()
    while not os.path.exists(os.environ["STANDS"] + ".go"):
        time.sleep(0.02)


def counting_crc32(*arguments):
    global calls
    if sys._getframe(1).f_globals.get("__name__") == "weakseg.batch.partial_results":
        calls += 1
        if calls == 11:  # two a photo: the sixth's
            stand_still()
    return crc32(*arguments)


def watched_replace(source, target):
    replace(source, target)
    if str(target).endswith(".pt"):
        stand_still()


zlib.crc32, os.replace = counting_crc32, watched_replace
"""


class Interrupted:
    """`dvc repro` of one stage, brought to a stand after its first checkpoint or its fifth photo."""

    def __init__(self, repo: Repo, stage: str) -> None:
        self.repo, base = repo, repo.folder.parent
        (base / "site").mkdir()
        (base / "site" / "sitecustomize.py").write_text(STAND_STILL)
        self.stands, self.go, self.words = base / "stands", base / "stands.go", base / "said.txt"
        environment = repo.environment | {"PYTHONPATH": str(base / "site"), "STANDS": str(self.stands)}
        with open(self.words, "wb") as words:
            self.dvc = subprocess.Popen(
                [sys.executable, "-m", "dvc", "repro", "--force", "--single-item", stage],
                cwd=repo.folder, env=environment, stdout=words, stderr=words, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        wait_for(lambda: self.stands.exists() or self.dvc.poll() is not None)
        assert self.stands.exists(), self.words.read_text()

    def kill(self, victim: str) -> None:
        """DVC, or the stage; what is left of them then goes on."""
        for process in [self.dvc] if victim == "dvc" else stages_of(self.repo):
            process.send_signal(signal.SIGKILL)
        if victim == "dvc":
            wait_for(lambda: "which started this stage, has ended: stopping" in self.words.read_text())
            time.sleep(0.5)  # the signal follows these words
        self.go.touch()
        assert self.dvc.wait(PATIENCE_SECONDS) != 0
        wait_for(lambda: not stages_of(self.repo))


def half_done(repo: Repo) -> list[str]:
    return sorted(path.name for path in (repo.folder / "checkpoints").iterdir())


def ends_as_uninterrupted(repo: Repo, stage: str, words: str) -> None:
    """Run again, it says that it goes on, and writes what dvc.lock says of the first run."""
    again = repo.call(sys.executable, "-m", "dvc", "repro", "--force", "--single-item", stage)
    assert again.returncode == 0, again.stderr
    assert words in again.stderr
    assert repo.run("git", "diff", "--", "dvc.lock") == ""
    assert half_done(repo) == [] and not list((repo.folder / "data").rglob(".*.tmp"))


@pytest.mark.parametrize(("victim", "saved"), [("stage", 2), ("dvc", 3)])
def test_a_killed_training_goes_on_and_ends_with_the_same_bytes(repo: Repo, victim: str, saved: int) -> None:
    """The stage of a killed DVC ends by itself, and saves first."""
    run = Interrupted(repo, "train_saliency")
    run.kill(victim)
    assert not (repo.folder / "models" / "saliency" / "model.json").exists()
    assert half_done(repo)[-1].endswith(f".{saved:08d}.pt")
    ends_as_uninterrupted(repo, "train_saliency", f"models/saliency: resuming from step {saved}")


@pytest.mark.parametrize(
    ("stage", "out", "done"),
    [
        ("make_cams@seeder", "data/cams/seeder.npz", "5 of 16"),
        ("make_grabcut_masks", "data/grabcut.zip", "5 of "),
        ("predict_saliency", "data/saliency.zip", "5 of 24"),
        ("make_seeds", "data/seeds.zip", "5 of 16"),
        ("make_oracle_guides", "data/oracle_guides.zip", "5 of 16"),
        ("make_guides@g2", "data/guides/g2.zip", "5 of 16"),
        ("predict@sec", "data/scores/sec.npz", "5 of 8"),
        ("postprocess@sec", "data/masks/sec.zip", "5 of 8"),
    ],
)
def test_a_killed_batch_stage_goes_on_with_what_was_not_done(repo: Repo, stage: str, out: str, done: str) -> None:
    run = Interrupted(repo, stage)
    run.kill("stage")
    assert not (repo.folder / out).exists()
    ends_as_uninterrupted(repo, stage, f"{out}: {done}")


def test_a_second_repro_of_a_stage_at_work_stops_with_a_message_and_does_not_disturb_it(repo: Repo) -> None:
    """By DVC itself, while it lives; by hand, the second waits (tests/unit/test_guard.py)."""
    run = Interrupted(repo, "make_cams@seeder")
    second = repo.call(sys.executable, "-m", "dvc", "repro", "--force", "--single-item", "make_cams@seeder")
    assert second.returncode != 0
    assert "busy" in second.stderr or "lock" in second.stderr.lower()
    assert "Traceback" not in second.stderr
    run.go.touch()
    assert run.dvc.wait(PATIENCE_SECONDS) == 0, run.words.read_text()
    assert repo.run("git", "diff", "--", "dvc.lock") == ""


def on_a_full_disk(repo: Repo, command: str, room_kib: int = 1) -> str:
    """What the stage says as it runs by hand; DVC would have removed the old output before."""
    done = repo.call("bash", "-c", f"ulimit -f {room_kib}; trap '' XFSZ; exec python -m stages.{command}")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert not list((repo.folder / "data").glob(".*.tmp"))
    return done.stderr


def test_a_full_disk_is_told_and_what_was_there_stays(repo: Repo) -> None:
    before = (repo.folder / "data" / "cues.npz").read_bytes()
    paths = "--manifest data/manifest.csv --classes data/classes.txt --foreground data/cams/seeder.npz --background data/cams/classifier.npz"  # fmt: skip
    told = on_a_full_disk(repo, f"make_cues {paths} --out data/cues.npz")
    assert "stages.make_cues: data/cues.npz: cannot be written (File too large); nothing was changed" in told
    assert (repo.folder / "data" / "cues.npz").read_bytes() == before


def test_a_full_disk_is_told_and_what_a_batch_stage_has_made_is_kept(repo: Repo) -> None:
    before = (repo.folder / "data" / "saliency.zip").read_bytes()
    command = "predict_saliency --manifest data/manifest.csv --model models/saliency --out data/saliency.zip --checkpoints checkpoints"  # fmt: skip
    told = on_a_full_disk(repo, command, room_kib=20)
    (part,) = half_done(repo)
    assert (
        f"stages.predict_saliency: checkpoints/{part}: cannot be written (File too large); finished photos are kept"
        in told
    )
    assert (repo.folder / "data" / "saliency.zip").read_bytes() == before
    again = repo.call("bash", "-c", f"exec python -m stages.{command}")
    assert again.returncode == 0 and re.search(
        r"data/saliency\.zip: [0-9]+ of 24 photos are done; resuming", again.stderr
    )
    assert (repo.folder / "data" / "saliency.zip").read_bytes() == before


# --- the same answer everywhere ------------------------------------------------------------------------------------------------


def test_results_depend_on_none_of_locale_time_zone_umask_folder_and_workers(repo: Repo, tmp_path: Path) -> None:
    """Seeds, cues, cams and the manifest, made in surroundings as odd as one can make them."""
    stages = ("prepare", "make_cams@seeder", "make_cues", "make_seeds", "make_guides@g2", "postprocess@guided")
    odd = tmp_path / "a folder ö with 'spaces'"
    odd.mkdir()
    (odd / "home").mkdir()
    shutil.copytree(repo.folder, odd / "repo", symlinks=True)
    elsewhere = Repo(odd / "repo")
    before = os.umask(0o077)
    try:
        output = elsewhere.dvc(
            "repro", "--force", "--single-item", *stages,
            LC_ALL="tr_TR.UTF-8", LANG="C", TZ="Pacific/Kiritimati", WEAKSEG_WORKERS="1", PYTHONHASHSEED="7",
        )  # fmt: skip
    finally:
        os.umask(before)
    assert stages_run(output) == set(stages)
    assert elsewhere.run("git", "diff", "--", "dvc.lock") == ""
