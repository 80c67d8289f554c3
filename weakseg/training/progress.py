"""Step count and log of a training run."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from weakseg.errors import UserError
from weakseg.files import write_table
from weakseg.runtime import average, first_message, is_first
from weakseg.training.run import Run


class Progress:
    """Step count and the log so far. Losses stay on the device until they are written, so no step waits for them."""

    def __init__(self) -> None:
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
