"""Training IRN's network of boundaries, and reading boundaries off photos (Ahn, Cho & Kwak, CVPR 2019, §4.2)."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from weakseg.arrays import Photo
from weakseg.batch import NetworkTask
from weakseg.files import Record
from weakseg.images import input_size, resized
from weakseg.networks import rebuild_boundaries
from weakseg.refinement.affinity import affinity_sums
from weakseg.runtime import average, launch
from weakseg.settings import PredictBoundaries
from weakseg.training import Batch

EdgeMap = npt.NDArray[np.float32]
BOUNDARY_STRIDE = 4  # px between the cells of a boundary map


@dataclass(frozen=True)
class AffinityTerms:
    """IRN's three means over pairs (equations 6 and 7), each over the whole batch, all processes' shares together."""

    radius: int

    @property
    def weights(self) -> Mapping[str, float]:
        return {"foreground": 0.25, "background": 0.25, "apart": 0.5}

    def __call__(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        edges = network(batch["images"]).float().sigmoid()
        sums, counts = affinity_sums(edges, batch["targets"], self.radius)
        means = sums / average(counts).clamp(min=1 / launch.processes())
        return dict(zip(self.weights, means, strict=True))


@dataclass(frozen=True)
class BoundaryTask(NetworkTask[EdgeMap]):
    """Photos through the network in a folder: (h, w) boundary maps in [0, 1], a cell every 4 px of the input.

    The sigmoid is taken of the mean of the logits of the photo and, with `settings.flip`, of its mirror image turned back.
    """

    model: Path
    settings: PredictBoundaries

    def network(self) -> nn.Module:
        return rebuild_boundaries(self.model)[0]

    def size(self, image: Photo) -> Hashable:
        height, width = image.shape[:2]
        return input_size(height, width, self.settings.input_px or max(height, width), "fit")

    def results(
        self, network: nn.Module, records: Sequence[Record], images: Sequence[Photo], device: torch.device
    ) -> list[EdgeMap]:
        height, width = images[0].shape[:2]
        rows, columns = input_size(height, width, self.settings.input_px or max(height, width), "fit")
        pixels = torch.cat([resized(image, rows, columns) for image in images]).to(device)
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits = network(pixels).float()
            if self.settings.flip:
                logits = (logits + network(pixels.flip(3)).float().flip(2)) / 2
        return list(np.asarray(logits.sigmoid().cpu().numpy(), np.float32))
