"""The pipeline run once on tiny drawn data, for all tests to look at or to copy."""

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from tests.pipeline.tiny_repo import Repo, copy_repository, tiny_params, write_params


def pytest_configure(config: pytest.Config) -> None:
    """Tests start what a user's shell would: Ctrl-C is not ignored, as it is in background jobs and by pytest-xdist, and
    no module is found in the repository just because pytest-xdist put its path into the environment."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(config, "workerinput"):
        os.environ.pop("PYTHONPATH", None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The file that makes the finished repository comes first, those that only use it last: with two processes of
    pytest, neither waits for it."""

    def place(item: pytest.Item) -> int:
        if item.path.name == "test_pipeline.py":
            return 0
        return 2 if "pristine" in getattr(item, "fixturenames", ()) else 1

    places: dict[Path, int] = {}
    for item in items:
        places[item.path] = max(places.get(item.path, 0), place(item))
    items.sort(key=lambda item: places[item.path])


@pytest.fixture
def shallow_resnet(monkeypatch: pytest.MonkeyPatch) -> None:
    """ResNet-101 with two blocks a layer, one of each kind, in place of 3, 4, 23 and 3."""
    from torchvision.models import resnet

    monkeypatch.setattr(
        resnet, "resnet101", lambda **options: resnet.ResNet(resnet.Bottleneck, [2, 2, 2, 2], **options)
    )


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repo]:
    """The repository after its first `make run`. Tests only look at it; who changes something takes `repo`."""
    alone = "PYTEST_XDIST_WORKER" not in os.environ
    shared = tmp_path_factory.getbasetemp() if alone else tmp_path_factory.getbasetemp().parent
    base = shared / "finished"
    with FileLock(shared / "finished.lock"):
        if not (base / "first_run.txt").exists():
            _make_pristine(base)
    yield Repo(base / "repo")
    if alone:
        shutil.rmtree(base)  # some 200 MB; several processes leave it to pytest, which keeps three runs' folders


def _make_pristine(base: Path) -> None:
    shutil.rmtree(base, ignore_errors=True)  # of a process that failed
    base.mkdir()
    repo = Repo(base / "repo")
    copy_repository(repo.folder)
    (base / "home").mkdir()
    write_params(repo.folder, tiny_params())
    repo.run("git", "init", "--quiet")
    output = repo.run(sys.executable, "-m", "weakseg", "run")
    repo.commit()
    (base / "first_run.txt").write_text(output, encoding="utf-8")


def link_or_copy(source: str, target: str) -> None:
    """A hard link for what is never changed in place (DVC and the stages replace whole files), else a copy."""
    if {"cache", "models"} & set(Path(source).parts[-5:]):
        os.link(source, target)
    else:
        shutil.copy2(source, target)


@pytest.fixture
def repo(pristine: Repo, tmp_path: Path) -> Iterator[Repo]:
    """A copy of the finished repository to change."""
    yield from _copy(pristine, tmp_path)


@pytest.fixture(scope="module")
def ours(pristine: Repo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repo]:
    """One copy for all tests of a file, each of which changes things of its own."""
    yield from _copy(pristine, tmp_path_factory.mktemp("ours"))


def _copy(pristine: Repo, base: Path) -> Iterator[Repo]:
    for name in ("repo", "home"):
        shutil.copytree(pristine.folder.parent / name, base / name, symlinks=True, copy_function=link_or_copy)
    yield Repo(base / "repo")
    shutil.rmtree(base)
