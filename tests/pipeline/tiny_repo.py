"""A copy of this repository with tiny settings, for the tests beside this file."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.profile_cases import ROOT, settings_of
from weakseg.files.manifest import Record, read_manifest

COPIED = (
    "dvc.yaml",
    "ablations/dvc.yaml",
    "ablations/params.yaml",
    "ablations/published.yaml",
    "ablations/.dvc/config",
    "ablations/.dvc/.gitignore",
    "ablations/.dvcignore",
    "ablations/.gitignore",
    "ablations/stages",
    "ablations/weakseg",
    "data/lists/README.md",
    "data/none",
    "data/self/README.md",
    "models/pretrained/README.md",
    "models/pretrained/imagenet",
    "models/pretrained/none",
    "stages",
    "weakseg",
    "profiles",
    ".dvc/config",
    ".dvc/plots",
    ".dvc/plots.html",
    ".dvc/.gitignore",
    ".dvcignore",
    ".gitignore",
)
EXPERIMENTS = ("sec", "guided", "seeds", "tags_only", "best", "full")
NUM_TRAIN, NUM_VAL, SIDE_PX, STEPS = 16, 8, 65, 4
NOWHERE = "http://127.0.0.1:9"  # nobody listens there: what tries the network fails


def tiny_params() -> dict[str, Any]:
    """The toy profile, with as little of everything as still does something."""
    params = settings_of("toy")
    params["make_toy"] |= {"train_images": NUM_TRAIN, "val_images": NUM_VAL, "saliency_images": 8, "image_px": 64}
    boundaries = params["train_boundaries"]["irn"]
    networks = [*params["train_classifier"].values(), params["train_saliency"], boundaries, params["train_segmenter"]]
    for network in networks:
        network["input_px"] = SIDE_PX
        network["training"] |= {"steps": STEPS, "batch_size": 4}
    for cams in params["make_cams"].values():
        cams |= {"input_px": SIDE_PX, "scales": [1.0], "flip": False}
    params["train_segmenter"]["training"]["learning_rate"] = 0.001  # at less, so few steps call everything background
    # of networks that hardly learn, further rounds would learn nothing; tests/pipeline/test_rows.py has one
    params["self_training"], params["evaluate_supervision"]["self_trained"] = {}, []
    params["experiments"]["tags_only"]["train"]["supervision"] = "refined/walk.zip"
    params["experiments"]["best"]["train"]["supervision"] = "guides/walked.zip"
    params["make_cues"]["grid"] = 9
    boundaries["radius"] = 4  # crops have 17 cells
    params["experiments"]["sec"]["test"]["input_px"] = SIDE_PX
    params["report"]["images"] = 2
    return params


def copy_repository(folder: Path) -> None:
    """What a clone has of this repository, as far as stages need it."""
    for name in COPIED:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir() and not source.is_symlink():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target, follow_symlinks=False)


def write_params(folder: Path, params: dict[str, Any]) -> None:
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


@dataclass(frozen=True)
class Repo:
    """A copy of the repository, with a home folder of its own that knows no git identity."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "DVC_", "WEAKSEG_"))}
        home = self.folder.parent / "home"
        return kept | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config"), "XDG_CACHE_HOME": str(home / ".cache"),
            "DVC_SITE_CACHE_DIR": str(home / "dvc"), "GIT_CONFIG_NOSYSTEM": "1", "WEAKSEG_WORKERS": "2",
            "WEAKSEG_DEVICE": "cpu", "WEAKSEG_CHECKPOINT_STEPS": "2", "OMP_NUM_THREADS": "1", "http_proxy": NOWHERE, "https_proxy": NOWHERE,
        }  # fmt: skip

    def call(self, *command: str, **extra: str) -> subprocess.CompletedProcess[str]:
        environment = self.environment | extra
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )

    def run(self, *command: str, **extra: str) -> str:
        """What a command that must succeed prints."""
        done = self.call(*command, **extra)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-4000:]}\n{done.stderr[-6000:]}"
        return done.stdout

    def dvc(self, *arguments: str, **extra: str) -> str:
        return self.run(sys.executable, "-m", "dvc", *arguments, **extra)

    def repro(self, *arguments: str, **extra: str) -> set[str]:
        """The stages that ran."""
        return stages_run(self.dvc("repro", *arguments, **extra))

    def commit(self) -> None:
        self.run("git", "add", "--all")
        self.run(
            "git", "-c", "user.name=Test", "-c", "user.email=test@localhost", "commit", "--quiet", "--message", "state"
        )

    def json(self, path: str) -> Any:
        return json.loads((self.folder / path).read_text(encoding="utf-8"))

    def records(self, split: str) -> list[Record]:
        return read_manifest(self.folder / "data" / "manifest.csv", split)

    def params(self) -> dict[str, Any]:
        content: dict[str, Any] = yaml.safe_load((self.folder / "params.yaml").read_text(encoding="utf-8"))
        return content

    def change(self, change: Callable[[dict[str, Any]], object]) -> None:
        params = self.params()
        change(params)
        write_params(self.folder, params)


def stages_run(output: str) -> set[str]:
    """But for the check of params.yaml, which goes before all others whenever a key changes."""
    return set(re.findall(r"Running stage '([^']+)'", output)) - {"check_params"}
