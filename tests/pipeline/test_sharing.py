"""Work shared through a DVC remote: whoever clones gets what was made, and makes nothing again.

The commands are README's. The remote is a folder and, for one of the tests, an S3 bucket of a local server.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from moto.server import ThreadedMotoServer

from tests.pipeline.tiny_repo import EXPERIMENTS, Repo, stages_run

CUE_STAGES = {"prepare", "train_classifier@seeder", "train_classifier@classifier", "make_cams@seeder", "make_cams@classifier", "make_cues"}  # fmt: skip


@pytest.fixture(scope="module")
def team(pristine: Repo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with `git` (a bare repository) and `storage` (a DVC remote) to which `ours`, a finished one, has pushed."""
    base = tmp_path_factory.mktemp("team")
    (base / "home").mkdir()
    shutil.copytree(pristine.folder, base / "ours", symlinks=True)
    ours = Repo(base / "ours")
    ours.dvc("remote", "add", "--default", "team", str(base / "storage"))
    ours.commit()
    ours.run("git", "init", "--quiet", "--bare", str(base / "git"))
    ours.run("git", "remote", "add", "origin", str(base / "git"))
    ours.run("git", "push", "--quiet", "origin", "HEAD:main")
    ours.run("git", "--git-dir", str(base / "git"), "symbolic-ref", "HEAD", "refs/heads/main")
    ours.dvc("push")
    yield base
    shutil.rmtree(base)


@pytest.fixture
def colleague(team: Path, tmp_path: Path) -> Iterator[Repo]:
    """A fresh clone with an empty cache, in a home of its own."""
    (tmp_path / "home").mkdir()
    repo = Repo(tmp_path / "repo")
    Repo(team / "ours").run("git", "clone", "--quiet", str(team / "git"), str(repo.folder))
    yield repo
    shutil.rmtree(tmp_path)


def files(repo: Repo) -> set[str]:
    """What stands below data/, models/ and metrics/ that does not come with the clone."""
    folders = (repo.folder / name for name in ("data", "models", "metrics"))
    found = {
        path.relative_to(repo.folder).as_posix() for folder in folders for path in folder.rglob("*") if path.is_file()
    }
    return found - set(repo.run("git", "ls-files").splitlines())


def train_longer(params: dict[str, Any]) -> None:
    params["train_segmenter"]["training"]["steps"] += 1


def test_cues_are_pulled_and_trained_on_with_no_cue_stage_rerun(team: Path, colleague: Repo) -> None:
    ours = Repo(team / "ours")
    colleague.dvc("pull", "make_cues")
    assert files(colleague) == {"data/cues.npz"}
    assert (colleague.folder / "data/cues.npz").read_bytes() == (ours.folder / "data/cues.npz").read_bytes()
    colleague.dvc("pull", "make_toy")  # the photos, which a team has in a place of its own
    colleague.change(train_longer)
    output = colleague.dvc("repro", "--pull", "--allow-missing", "train_segmenter@sec")
    assert stages_run(output) == {"train_segmenter@sec"}
    weights = "models/segmenter/sec/weights.safetensors"
    assert (colleague.folder / weights).read_bytes() != (ours.folder / weights).read_bytes()
    assert not (colleague.folder / "data" / "cams").exists()  # what was not needed was not fetched


def test_without_the_raw_data_all_results_are_there_and_what_needs_no_photo_reruns(colleague: Repo) -> None:
    assert stages_run(colleague.dvc("repro", "--pull", "--allow-missing")) == set()
    colleague.dvc("pull", "summarize")
    assert not (colleague.folder / "data" / "toy").exists()
    assert colleague.json("metrics/summary.json").keys() == set(EXPERIMENTS)
    colleague.change(lambda params: params["make_cues"].update(background_fraction=0.3))
    colleague.dvc(
        "pull", "make_guides", "refine"
    )  # DVC fetches what a stage reads by itself, but for a folder of several outputs
    ran = stages_run(colleague.dvc("repro", "--pull", "--allow-missing", "make_cues", "evaluate_supervision"))
    assert ran == {"make_cues", "evaluate_supervision"}
    assert not (colleague.folder / "data" / "toy").exists()


def test_training_without_the_photos_says_which_are_missing(colleague: Repo) -> None:
    colleague.change(train_longer)
    done = colleague.call("dvc", "repro", "--pull", "--allow-missing", "train_segmenter@seeds")
    assert done.returncode != 0
    told = done.stdout + done.stderr
    assert "data/toy/voc/JPEGImages/" in told and "no such file" in told and "Traceback" not in told
    assert stages_run(told) == {"train_segmenter@seeds"}


def test_an_experiment_is_pushed_and_applied_with_nothing_rerun(team: Path, colleague: Repo, tmp_path: Path) -> None:
    (tmp_path / "sender").mkdir()
    sender = Repo(tmp_path / "sender" / "repo")
    shutil.copytree(team / "home", tmp_path / "sender" / "home")
    shutil.copytree(team / "ours", sender.folder, symlinks=True)
    ran = stages_run(sender.dvc("exp", "run", "--name", "wide", "--set-param", "make_cues.background_fraction=0.3", "evaluate_supervision"))  # fmt: skip
    assert ran == {"make_cues", "evaluate_supervision"}
    sender.dvc("exp", "push", "origin", "wide")

    colleague.dvc("exp", "pull", "origin", "wide")
    colleague.dvc("exp", "apply", "wide")
    assert colleague.params()["make_cues"]["background_fraction"] == 0.3
    output = colleague.dvc("repro", "--pull", "--allow-missing", "evaluate_supervision")
    assert stages_run(output) == set()
    for path in ("data/cues.npz", "metrics/cues.json"):
        assert (colleague.folder / path).read_bytes() == (sender.folder / path).read_bytes()


def test_two_clones_make_byte_identical_cues(team: Path, colleague: Repo) -> None:
    """Made anew from photos drawn anew: the hashes in dvc.lock, models among them, stay as our machine wrote them."""
    ran = stages_run(colleague.dvc("repro", "make_cues", WEAKSEG_WORKERS="1", TZ="Asia/Tokyo", LC_ALL="C"))
    assert ran == CUE_STAGES | {"make_toy"}
    assert colleague.run("git", "diff", "--", "dvc.lock") == ""
    cues = "data/cues.npz"
    assert (colleague.folder / cues).read_bytes() == (team / "ours" / cues).read_bytes()


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, str]]:
    """A local S3 server with a bucket `team`: where it is, and who asks."""
    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    address = f"http://{host}:{port}"
    with requests.Session() as session:
        session.trust_env = False  # no proxy
        session.put(f"{address}/team", timeout=60).raise_for_status()
    yield keys | {"AWS_ENDPOINT_URL": address, "no_proxy": host, "NO_PROXY": host}
    server.stop()


def test_cues_travel_through_s3(team: Path, colleague: Repo, s3: dict[str, str]) -> None:
    ours = Repo(team / "ours")
    for repo in (ours, colleague):
        repo.dvc("remote", "add", "bucket", "s3://team/weakseg")
    ours.dvc("push", "--remote", "bucket", "make_cues", **s3)
    colleague.dvc("pull", "--remote", "bucket", "make_cues", **s3)
    assert files(colleague) == {"data/cues.npz"}
    assert (colleague.folder / "data/cues.npz").read_bytes() == (ours.folder / "data/cues.npz").read_bytes()
