"""Two processes at one training: the losses of one, and a clear end and a new start if one of them dies.

Run as a module, this file is what the processes run; torchrun starts them as it would a stage.
"""

import csv
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from tests.unit.test_distributed import SIDE_PX, small_params, start
from weakseg.crf.params import CRFParams
from weakseg.networks.heads import MultiScale
from weakseg.networks.registry import build_classifier, build_segmenter
from weakseg.runtime import launch
from weakseg.runtime.launch import is_first
from weakseg.runtime.stage import run
from weakseg.settings.losses import Loss
from weakseg.settings.networks import Training
from weakseg.training import loop
from weakseg.training.classification import classification_terms
from weakseg.training.loop import LossTerms, train
from weakseg.training.objectives import MultiScaleTerms, objective_of
from weakseg.training.run import Run

NAMES = ("logistic", "cross_entropy", "sec", "multi_scale")  # the last one on class-balanced batches
SCALES = [0.5, 1.0]
STEPS, BATCH, GRID = 20, 4, 9


@dataclass(frozen=True)
class Scenes:
    """Seven noisy pictures; very different shares of their cells are without a label, all of them in the first."""

    def __len__(self) -> int:
        return 7

    def classes(self, index: int) -> tuple[int, ...]:
        return (1, 2) if index < 2 else (2,)

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        pixels = rng.integers(0, 256, (3, SIDE_PX, SIDE_PX), np.uint8)
        targets = np.full((GRID, GRID), 255, np.uint8)
        targets[:index] = rng.integers(0, 3, (index, GRID))
        labels = torch.tensor([index % 2 == 0, index % 3 == 0])
        tensors = {"images": torch.from_numpy(pixels), "targets": torch.from_numpy(targets), "image_labels": labels}
        return {**tensors, "image_id": f"scene{index}"}


def run_named(name: str, folder: Path) -> Run:
    values = {
        "steps": STEPS, "batch_size": BATCH, "optimizer": "sgd", "learning_rate": 0.002, "new_layers_factor": 10.0,
        "momentum": 0.9, "weight_decay": 0.01,
        "schedule": {"kind": "poly", "power": 0.9, "step_every": 5, "step_factor": 0.1},
    }  # fmt: skip
    sampling = "class_balanced" if name == "multi_scale" else "shuffle"
    settings = Training.model_validate({**values, "sampling": sampling})
    return Run(name, settings, 0, folder / f"{name}.csv", folder / "checkpoints", "a" * 64)


def objective(name: str) -> tuple[LossTerms, dict[str, float]]:
    if name == "logistic":
        return classification_terms, {name: 1.0}
    if name == "multi_scale":
        scaled = MultiScaleTerms(SCALES)
        return scaled, dict(scaled.weights)
    settings: Loss = TypeAdapter(Loss).validate_python(small_params()["losses"][name])
    crf = CRFParams(**small_params()["crf"]["sec"]) if name == "sec" else None
    terms = objective_of(settings, crf, 3, SIDE_PX)
    return terms, dict(terms.weights)


def network_of(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name == "logistic":
        return build_classifier("gap_lowres", "efficientnet_lite0", 2, 0.0)
    network = build_segmenter("largefov", "efficientnet_lite0", 3, 0.0, False)
    return MultiScale(network, SCALES) if name == "multi_scale" else network


def train_one(name: str, folder: Path, hook: Callable[[], None] = lambda: None) -> None:
    """One of the kinds of training, with a log row a step; its weights go to <folder>/<name>.pt."""
    terms, weights = objective(name)

    def hooked(network: nn.Module, batch: dict[str, Any]) -> dict[str, Tensor]:
        hook()
        return terms(network, batch)

    loop.LOG_EVERY_STEPS = 1
    network = train(network_of(name), Scenes(), hooked, weights, run_named(name, folder))
    if is_first():
        torch.save(network.state_dict(), folder / f"{name}.pt")


def losses_in(path: Path) -> list[list[float]]:
    with open(path, newline="") as file:
        return [[float(value) for value in row.values()] for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the logs and weights of a single process are."""
    folder, threads = tmp_path_factory.mktemp("alone"), torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WEAKSEG_DEVICE", "cpu")
        patch.setenv("WEAKSEG_WORKERS", "0")
        patch.setattr(loop, "LOG_EVERY_STEPS", 1)
        for name in NAMES:
            train_one(name, folder)
    yield folder
    torch.set_num_threads(threads)


def test_two_processes_learn_what_one_does(alone: Path, tmp_path: Path) -> None:
    job = start(tmp_path, "train", module=__name__)
    assert job.returncode == 0, job.stderr
    for name in NAMES:
        ours, theirs = losses_in(alone / f"{name}.csv"), losses_in(tmp_path / f"{name}.csv")
        assert len(ours) == STEPS
        np.testing.assert_allclose(theirs, ours, rtol=1e-5)
        weights = [torch.load(folder / f"{name}.pt", weights_only=True) for folder in (alone, tmp_path)]
        for first, second in zip(*(one.values() for one in weights), strict=True):
            torch.testing.assert_close(second, first, rtol=1e-3, atol=1e-5)


def test_a_killed_process_ends_the_job_which_can_go_on_even_on_two_machines(alone: Path, tmp_path: Path) -> None:
    job = start(tmp_path, "die", module=__name__, WEAKSEG_CHECKPOINT_STEPS="5")
    assert job.returncode == 1
    assert "process 1 of the job was ended by SIGKILL" in job.stderr
    assert not (tmp_path / "cross_entropy.pt").exists()
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    twice = tmp_path / "on_both_machines"  # stands for srun, mpirun and the like
    twice.write_text('#!/bin/sh\n"$@" & first=$!\n"$@" || exit 1\nwait $first\n')
    twice.chmod(0o755)
    machines = {"PET_NNODES": "2", "PET_NPROC_PER_NODE": "1", "PET_RDZV_BACKEND": "c10d"}
    machines |= {"PET_RDZV_ENDPOINT": f"localhost:{port}", "WEAKSEG_LAUNCH": str(twice)}
    job = start(tmp_path, "go on", module=__name__, **machines)
    assert job.returncode == 0, job.stderr
    assert "resuming from step 10" in job.stderr
    ours, theirs = (losses_in(folder / "cross_entropy.csv") for folder in (alone, tmp_path))
    np.testing.assert_allclose(theirs, ours, rtol=1e-5)
    assert (tmp_path / "cross_entropy.pt").exists()


def die_in_step_13() -> Callable[[], None]:
    calls = iter(range(100))

    def hook() -> None:
        if next(calls) == 12 and launch.rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    return hook


TASKS: dict[str, Callable[[], object]] = {
    "train": lambda: [train_one(name, Path()) for name in NAMES],
    "die": lambda: train_one("cross_entropy", Path(), die_in_step_13()),
    "go on": lambda: train_one("cross_entropy", Path()),
}

if __name__ == "__main__":
    task = TASKS[sys.argv[1]]
    run(lambda: task() and None, distributed=True)
