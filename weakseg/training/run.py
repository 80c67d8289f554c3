"""What identifies a training run, and its step count and log."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from weakseg.errors import UserError
from weakseg.files import write_table
from weakseg.runtime import average, first_message, identity_of, is_first, pick_device
from weakseg.settings import Training
from weakseg.training.checkpoints import Checkpoints
from weakseg.watching import EventFile


@dataclass(frozen=True)
class Run:
    """What identifies a training run, and where its files are."""

    name: str
    settings: Training
    random_seed: int
    log_path: Path
    checkpoint_folder: Path
    identity: str  # hash of everything the result depends on; a checkpoint of another identity is not used

    @classmethod
    def of(
        cls, model: Path, settings: Training, random_seed: int, log: Path, checkpoints: Path, *,
        depends_on: Sequence[Any], files: Mapping[str, Path],
    ) -> "Run":  # fmt: skip
        """Of the model in a folder; depends_on, files: settings and input files that the result depends on."""
        identity = identity_of(pick_device().type, random_seed, *depends_on, files=files)
        return cls(model.as_posix(), settings, random_seed, log, checkpoints, identity)

    @property
    def checkpoints(self) -> Checkpoints:
        return Checkpoints(self.checkpoint_folder, self.name, self.identity)


class Progress:
    """Step count and the log so far. Losses stay on the device until they are written, so no step waits for them."""

    def __init__(self, events: EventFile | None = None) -> None:
        self.events = events
        self.step = 0
        self.rows: list[dict[str, float]] = []
        self.names: list[str] = []
        self.pending: list[Tensor] = []  # (terms,) of each step since the last row, means over the processes
        self.own: list[Tensor] = []  # the same for this process's share, computed from `images`
        self.images: list[list[str]] = []
        self.learning_rate = 0.0

    def add(self, terms: Mapping[str, Tensor], image_ids: list[str], learning_rate: float) -> None:
        self.names, self.learning_rate, self.step = list(terms), learning_rate, self.step + 1
        self.own.append(torch.stack([term.float() for term in terms.values()]))
        self.pending.append(average(self.own[-1]))
        self.images.append(image_ids)

    def check(self, run: Run) -> npt.NDArray[np.float64]:
        """The pending losses (steps, terms), if any; raises UserError naming the first that is not finite."""
        if not self.pending:
            return np.empty((0, len(self.names)))
        values = torch.stack(self.pending).cpu().double().numpy()
        for index, row in enumerate(values):
            bad = [name for name, value in zip(self.names, row, strict=True) if not math.isfinite(value)]
            if bad:
                guilty = not bool(self.own[index].isfinite().all())
                images = first_message(", ".join(self.images[index]) if guilty else "")
                raise UserError(
                    f"{run.name}: the loss term {bad[0]} is not finite at step {self.step - len(values) + index + 1} "
                    f"(images {images}); lower the learning rate or look at these images. "
                    "The last checkpoint is kept."
                )
        return values

    def flush(self, run: Run) -> dict[str, float]:
        """Append the means since the last row to the log."""
        means = dict(zip(self.names, self.check(run).mean(0).tolist(), strict=True))
        self.rows.append({"step": self.step, "learning_rate": self.learning_rate, **means})
        self.pending, self.own, self.images = [], [], []
        self.write_log(run)
        if self.events is not None:
            self.events.add(self.step, {**means, "learning_rate": self.learning_rate})
        return means

    def write_log(self, run: Run) -> None:
        if not is_first():
            return
        rounded = ({k: v if k == "step" else f"{v:.6g}" for k, v in row.items()} for row in self.rows)
        write_table(run.log_path, rounded, list(self.rows[0]) if self.rows else ["step"])

    def saved(self) -> dict[str, Any]:
        pending = torch.stack(self.pending).cpu() if self.pending else torch.zeros(0, len(self.names))
        return {"step": self.step, "rows": self.rows, "names": self.names, "pending": pending, "images": self.images}

    def restore(self, content: dict[str, Any], device: torch.device) -> None:
        self.step, self.rows, self.names = content["step"], content["rows"], content["names"]
        self.pending, self.images = list(content["pending"].to(device)), content["images"]
        self.own = list(self.pending)
