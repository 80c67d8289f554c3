"""The pipeline run once on tiny drawn data, for all tests of this folder to look at or to copy."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tiny_repo import COPIED, ROOT, Repo, tiny_params


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repo]:
    """The repository after its first `dvc repro`. Tests only look at it; who changes something takes `repo`."""
    base = tmp_path_factory.mktemp("pipeline")
    repo = Repo(base / "repo")
    for name in COPIED:
        source, target = ROOT / name, repo.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    (base / "home").mkdir()
    (repo.folder / "params.yaml").write_text(yaml.safe_dump(tiny_params(), sort_keys=False), encoding="utf-8")
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
    for name in ("repo", "home"):
        shutil.copytree(pristine.folder.parent / name, tmp_path / name, copy_function=link_or_copy)
    yield Repo(tmp_path / "repo")
    shutil.rmtree(tmp_path)
