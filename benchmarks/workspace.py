"""A temporary copy of the pipeline with a given number of photos, and the cost of running one of its stages."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from weakseg.errors import UserError
from weakseg.files import read_text
from weakseg.settings import read_params, write_profile
from weakseg.settings.params import Params

ROOT = Path(__file__).resolve().parents[1]
COPIED = (
    "dvc.yaml", ".dvcignore", "stages", "weakseg", "data/lists", "data/none", "models/pretrained",
    "ablations/published.yaml",
)  # fmt: skip
Content = dict[str, Any]  # of params.yaml
# what a stage reports when it ends (weakseg.runtime.resources)
USED = re.compile(r"CPU (?P<cpu>[\d.]+) s, peak memory (?P<own>\d+) MiB(?:, largest worker (?P<worker>\d+) MiB)?")


@dataclass(frozen=True)
class Cost:
    """Of one stage: wall and CPU seconds, and the peak resident memory of its largest process in MiB."""

    seconds: float
    cpu_seconds: float
    peak_mib: float


def profile_params(name: str) -> Params:
    """A profile's settings, checked. Raises UserError where there is no such profile."""
    with tempfile.TemporaryDirectory() as folder:
        return read_params([_written(name, Path(folder))])


def read_profile(name: str) -> Content:
    """A profile's settings as they stand in params.yaml, to be changed."""
    with tempfile.TemporaryDirectory() as folder:
        content: Content = yaml.safe_load(read_text(_written(name, Path(folder))))
    return content


def _written(profile: str, folder: Path) -> Path:
    write_profile(profile, folder / "params.yaml", ROOT / "profiles")
    return folder / "params.yaml"


def with_steps(params: Content, steps: int) -> Content:
    """The settings with that many training steps everywhere."""
    classifiers, boundaries = (params[name].values() for name in ("train_classifier", "train_boundaries"))
    for network in (*classifiers, *boundaries, params["train_saliency"], params["train_segmenter"]):
        network["training"]["steps"] = steps
    return params


def create(folder: Path, params: Content) -> None:
    """The pipeline's code with these settings, as a DVC repository without git."""
    for name in COPIED:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, folder / name, ignore=ignored, dirs_exist_ok=True)
        else:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    dvc(folder, "init", "--no-scm", "--quiet")
    dvc(folder, "config", "core.analytics", "false")
    dvc(folder, "config", "core.check_update", "false")


def dvc(folder: Path, *arguments: str) -> str:
    """What `dvc` prints. Raises UserError with its message if it fails."""
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=_environment(folder))
    if done.returncode:
        raise UserError(f"dvc {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def _environment(folder: Path) -> dict[str, str]:
    """Caches and site folders below `folder`, so that nothing of this machine's user is read or written."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "DVC_SITE_CACHE_DIR": str(folder / ".site"), "PYTHONPATH": str(folder)}


def use_photos(folder: Path, photos: Path, train: int, val: int) -> Content:
    """Below `folder`, the first photos of the lists trainaug (else train) and val of the VOC-layout folder `photos`.

    Returns the entries of the section `data` that go with them.
    """
    lists = photos / "ImageSets" / "Segmentation"
    source = "trainaug" if (lists / "trainaug.txt").is_file() else "train"
    chosen = {"train": _first(lists / f"{source}.txt", train), "val": _first(lists / "val.txt", val)}
    own = folder / "photos" / "ImageSets" / "Segmentation"
    own.mkdir(parents=True)
    for name in ("JPEGImages", "SegmentationClass"):
        (folder / "photos" / name).symlink_to((photos / name).resolve())
    for name, ids in chosen.items():
        (own / f"{name}.txt").write_text("\n".join(ids) + "\n", encoding="utf-8")
    return {"root": "photos", "train_list": "train", "val_list": "val"}


def use_saliency(folder: Path, photos: Path, image_list: str | None, count: int) -> Content:
    """The saliency set `photos`, cut to the first photos of its list; returns the entries of `saliency` that change."""
    if image_list is None:
        return {"root": str(photos.resolve())}
    ids = _first(photos / image_list, count)
    lists = folder / "data" / "lists"
    lists.mkdir(parents=True, exist_ok=True)
    (lists / "saliency.txt").write_text("\n".join(ids) + "\n", encoding="utf-8")
    return {"root": str(photos.resolve()), "image_list": "saliency.txt"}


def _first(path: Path, count: int) -> list[str]:
    ids = read_text(path).split()
    if len(ids) < count:
        raise UserError(f"{path}: lists {len(ids)} photos; {count} are asked for")
    return ids[:count]


def commands(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """(stage, command) of the whole pipeline, every stage after those that it depends on."""
    from dvc.repo import Repo  # slow to import
    from networkx import dfs_postorder_nodes

    with Repo(str(folder)) as repo:
        stages = [(stage.name, stage.cmd) for stage in dfs_postorder_nodes(repo.index.graph)]
    for stage, command in stages:
        _, _, name = stage.partition("@")  # DVC would set DVC_STAGE
        yield stage, [sys.executable, *shlex.split(command)[1:], *(["--name", name] if name else [])]


def run_stage(folder: Path, stage: str, command: list[str]) -> Cost:
    """Run one stage and wait for it. Raises UserError with the end of its output if it fails."""
    log = folder / "last_stage.log"
    with open(log, "wb") as output:
        start = time.monotonic()
        done = subprocess.run(command, cwd=folder, stdout=output, stderr=output, env=_environment(folder))
        seconds = time.monotonic() - start
    told = log.read_text(errors="replace")
    used = USED.search(told)
    if done.returncode or not used:
        raise UserError(f"{stage} failed:\n{told[-2000:]}")
    return Cost(seconds, float(used["cpu"]), max(float(used["own"]), float(used["worker"] or 0)))
