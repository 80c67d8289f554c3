"""A throw-away copy of the pipeline on as many photos as asked for, and what running one stage of it costs."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from weakseg.errors import UserError
from weakseg.files import read_text

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("dvc.yaml", "stages", "weakseg", "ablations/published.yaml")
Params = dict[str, Any]
# what a stage says of itself (weakseg.usage)
USED = re.compile(r"CPU (?P<cpu>[\d.]+) s, peak memory (?P<own>\d+) MiB(?:, largest worker (?P<worker>\d+) MiB)?")


@dataclass(frozen=True)
class Cost:
    """Of one stage: wall and CPU seconds, and the peak resident memory of its largest process in MiB."""

    seconds: float
    cpu_seconds: float
    peak_mib: float


def read_profile(name: str) -> Params:
    path = ROOT / "profiles" / f"{name}.yaml"
    if not path.is_file():
        raise UserError(f"{path}: no such profile; there are {', '.join(p.stem for p in path.parent.glob('*.yaml'))}")
    content: Params = yaml.safe_load(read_text(path))
    return content


def with_steps(params: Params, steps: int) -> Params:
    """The settings with that many training steps everywhere."""
    for network in (*params["classifiers"].values(), params["train_saliency"], params["segmenter"]):
        network["training"]["steps"] = steps
    return params


def create(folder: Path, params: Params) -> None:
    """The pipeline's code with these settings, as a DVC repository without git."""
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
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


def use_photos(folder: Path, photos: Path, train: int, val: int) -> Params:
    """Below `folder`, the first photos of the lists trainaug (else train) and val of the VOC-layout folder `photos`.

    Returns the section `data` of the settings that goes with them.
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


def use_saliency(folder: Path, photos: Path, image_list: str | None, count: int) -> Params:
    """The saliency set `photos`, cut to the first photos of its list; the entries of the settings that change."""
    if image_list is None:
        return {"root": str(photos.resolve())}
    ids = _first(photos / image_list, count)
    (folder / "saliency.txt").write_text("\n".join(ids) + "\n", encoding="utf-8")
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
    for name, command in stages:
        yield name, [sys.executable, *shlex.split(command)[1:]]


def run_stage(folder: Path, stage: str, command: list[str]) -> Cost:
    """Run one stage and wait for it. Raises UserError with its last words if it fails."""
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
