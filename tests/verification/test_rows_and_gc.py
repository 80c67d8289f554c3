"""The rows of ablations/ beside the main pipeline: neither clears the other's cache, nor starts from stale results."""

import re
import shutil
from pathlib import Path

import pytest

from tests.pipeline.tiny_repo import Repo, stages_run
from tests.profile_cases import ROOT

ROW = "make_guides@g0"
OUT = "ablations/data/guides/g0.zip"


def rows(repo: Repo, *arguments: str) -> str:
    return repo.dvc("--cd", "ablations", *arguments)


def cached(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


def test_gc_in_either_repository_leaves_the_other_s_results(repo: Repo, tmp_path: Path) -> None:
    """With caches of their own, and with folders set as docs/share-caches.md says."""
    documented = (ROOT / "docs" / "share-caches.md").read_text(encoding="utf-8")
    moves = re.findall(r"^(dvc (?:--cd ablations )?cache dir --local )/big/disk/([a-z-]+)", documented, re.M)
    assert len(moves) == 2
    for command, name in moves:
        repo.run("sh", "-c", f"{command}'{tmp_path / name}'")
    caches = [tmp_path / name for _, name in moves]
    shutil.copytree(repo.folder / ".dvc" / "cache", caches[0])
    assert stages_run(rows(repo, "repro", ROW)) == {"check_rows", ROW}
    mask, row = (repo.folder / "data/guides/g2.zip").read_bytes(), (repo.folder / OUT).read_bytes()
    assert mask != row
    full = [cached(cache) for cache in caches]
    assert all(full)
    repo.change(lambda params: params["make_guides"]["g2"].update(min_saliency_fraction=0.02))
    repo.repro("make_guides@g2")
    repo.dvc("gc", "--workspace", "--force")
    rows(repo, "gc", "--workspace", "--force")
    assert cached(caches[0]) != full[0]  # what no dvc.lock mentions any more is gone
    assert cached(caches[1]) == full[1]
    for path in ("data/guides/g2.zip", "data/saliency.zip", OUT):
        (repo.folder / path).unlink()
    repo.dvc("checkout", "make_guides@g2", "predict_saliency")
    rows(repo, "checkout", ROW)
    assert (repo.folder / "data/saliency.zip").is_file() and (repo.folder / OUT).read_bytes() == row


def test_a_cache_set_for_all_repositories_of_a_user_is_not_that_of_the_rows(repo: Repo, tmp_path: Path) -> None:
    repo.dvc("cache", "dir", "--global", str(tmp_path / "everybody"))
    assert repo.dvc("cache", "dir").strip() == str(tmp_path / "everybody")
    assert rows(repo, "cache", "dir").strip() == str(repo.folder / "ablations" / ".dvc" / "cache")


@pytest.mark.parametrize("how", ["other settings", "other code", "a file removed"])
def test_rows_refuse_to_start_from_a_root_that_is_not_up_to_date(repo: Repo, how: str) -> None:
    if how == "other settings":
        repo.change(lambda params: params["predict_saliency"].update(max_side_px=300))
    elif how == "other code":
        with open(repo.folder / "stages" / "predict_saliency.py", "a", encoding="utf-8") as script:
            script.write("# changed\n")
    else:
        (repo.folder / "data" / "saliency.zip").unlink()
    done = repo.call("dvc", "--cd", "ablations", "repro", ROW)
    assert done.returncode != 0
    assert "these are not up to date" in done.stderr and "run `dvc repro` in the repository's root first" in done.stderr
    assert "  data/saliency.zip: stage predict_saliency has changed" in done.stderr
    assert "Traceback" not in done.stderr
    assert stages_run(done.stdout) == {"check_rows"} and not (repo.folder / OUT).exists()
    if how == "a file removed":
        repo.dvc("checkout", "predict_saliency")
        assert stages_run(rows(repo, "repro", ROW)) == {"check_rows", ROW}
        assert stages_run(rows(repo, "repro", ROW)) == {"check_rows"}  # asked each time, at no cost to the rows
