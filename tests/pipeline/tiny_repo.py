"""A copy of this repository with tiny settings, for the tests beside this file."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from weakseg.files.manifest import Record, read_manifest

ROOT = Path(__file__).resolve().parents[2]
COPIED = (
    "dvc.yaml",
    "ablations/dvc.yaml",
    "ablations/params.yaml",
    "ablations/published.yaml",
    "ablations/.dvc/config",
    "ablations/.dvc/.gitignore",
    "ablations/.dvcignore",
    "ablations/.gitignore",
    "stages",
    "weakseg",
    "profiles",
    ".dvc/config",
    ".dvc/plots.html",
    ".dvc/.gitignore",
    ".dvcignore",
    ".gitignore",
)
EXPERIMENTS = ("sec", "guided", "seeds", "full")
NUM_TRAIN, NUM_VAL, SIDE_PX, STEPS = 16, 8, 65, 4
NOWHERE = "http://127.0.0.1:9"  # nobody listens there: what tries the network fails


def tiny_params() -> dict[str, Any]:
    """The toy profile, with as little of everything as still does something."""
    params: dict[str, Any] = yaml.safe_load((ROOT / "profiles" / "toy.yaml").read_text(encoding="utf-8"))
    params["make_toy"] |= {"train_images": NUM_TRAIN, "val_images": NUM_VAL, "saliency_images": 8, "image_px": 64}
    networks = [*params["classifiers"].values(), params["train_saliency"], params["segmenter"]]
    for network in networks:
        network["input_px"] = SIDE_PX
        network["training"] |= {"steps": STEPS, "batch_size": 4, "checkpoint_every_steps": 2}
    for classifier in params["classifiers"].values():
        classifier["cam"] |= {"input_px": SIDE_PX, "scales": [1.0], "flip": False}
    params["segmenter"]["training"]["learning_rate"] = 0.001  # at less, so few steps call everything background
    params["make_cues"]["grid"] = 9
    params["experiments"]["sec"]["test_input_px"] = SIDE_PX
    params["report"]["images"] = 2
    return params


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
            "WEAKSEG_DEVICE": "cpu", "OMP_NUM_THREADS": "1", "http_proxy": NOWHERE, "https_proxy": NOWHERE,
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
        (self.folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


def stages_run(output: str) -> set[str]:
    return set(re.findall(r"Running stage '([^']+)'", output))
