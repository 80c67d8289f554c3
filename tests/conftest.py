"""The pipeline run once on tiny drawn data, for all tests to look at or to copy."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipeline.tiny_repo import Repo, copy_repository, tiny_params, write_params


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repo]:
    """The repository after its first `dvc repro`. Tests only look at it; who changes something takes `repo`."""
    base = tmp_path_factory.mktemp("pipeline")
    repo = Repo(base / "repo")
    copy_repository(repo.folder)
    (base / "home").mkdir()
    write_params(repo.folder, tiny_params())
    repo.run("git", "init", "--quiet")
    (base / "first_run.txt").write_text(repo.dvc("repro"), encoding="utf-8")
    repo.commit()
    yield repo
    shutil.rmtree(base)  # some 200 MB


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
