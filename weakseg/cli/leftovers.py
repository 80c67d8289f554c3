"""What `weakseg clean` removes: work of interrupted runs, temporary files, caches of tools; on request, results."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from weakseg.cli.verify import dvc_digest
from weakseg.errors import UserError

LEFTOVERS = ("checkpoints", "ablations/checkpoints", "build", "weakseg.egg-info", "dvc_plots", "dvclive",
             ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis")  # fmt: skip
CODE = ("weakseg", "stages", "tests", "benchmarks", "docs")
RESULTS = ("data", "models", "metrics")  # an out outside of these is never removed
TEMPORARY = ".*.weakseg-tmp"


def remove_leftovers() -> None:
    """Remove them from the clone that is the working directory. Raises UserError while a stage is at work."""
    if running := _running_stage(Path(".dvc/tmp/stages")):
        raise UserError(f"{running} is running and needs what would be removed; wait for it or stop it first")
    found = [Path(name) for name in LEFTOVERS]
    found += [cache for folder in CODE for cache in Path(folder).rglob("__pycache__")]
    found += [file for folder in RESULTS for file in Path(folder).rglob(TEMPORARY)]
    print(f"removed {_removed(path for path in found if path.exists())} of leftovers")


def remove_results(lock: Path) -> None:
    """Remove the outs that `lock` records and DVC's cache holds as they are; other outs are kept, and named."""
    outs = list(_outs(lock))
    cache = _cache_folder() / "files" / "md5"
    kept = [path for path, md5 in outs if not (cache / md5[:2] / md5[2:]).exists() or dvc_digest(path) != md5]
    print(
        f"removed {_removed(path for path, _ in outs if path not in kept)} of results; `dvc checkout` brings them back"
    )
    if kept:
        print(f"kept, since DVC's cache does not have them as they are: {', '.join(map(str, kept))}")


def _running_stage(folder: Path) -> str:
    """A stage whose lock another process holds (see runtime.one_run); empty if there is none."""
    for path in sorted(folder.glob("*.lock")) if folder.is_dir() else []:
        with open(path, "a", encoding="utf-8") as file:
            try:
                fcntl.lockf(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                return path.name.rpartition("-")[0]
            except OSError:  # a file system without locks
                continue
    return ""


def _outs(lock: Path) -> Iterator[tuple[Path, str]]:
    """Path and hash of each out that is there."""
    if not lock.is_file():
        return
    stages: dict[str, Any] = (yaml.safe_load(lock.read_text(encoding="utf-8")) or {}).get("stages", {})
    for stage in stages.values():
        for out in stage.get("outs", []):
            path = Path(out["path"])
            if path.parts[0] in RESULTS and ".." not in path.parts and path.exists():
                yield path, out["md5"]


def _cache_folder() -> Path:
    from dvc.repo import Repo

    with Repo() as repo:
        return Path(repo.cache.local.path).parents[1]


def _removed(paths: Iterator[Path]) -> str:
    """Remove files and folders; their size in words."""
    size = 0
    for path in paths:
        inside = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        size += sum(os.lstat(file).st_size for file in inside)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    return f"{size / 2**20:.1f} MiB"
