"""G1 of photos: a classifier scores each component with all else blacked out (GS §5)."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from weakseg.arrays import LabelMap, Photo
from weakseg.batch import NetworkTask
from weakseg.files import ImageArchive, Record
from weakseg.images import as_image_tensor, classifier_input
from weakseg.networks import classifier_description, rebuild_classifier
from weakseg.settings import MakeG1Guides
from weakseg.supervision.photo_guides import guide_g1, salient


@dataclass(frozen=True)
class G1Task(NetworkTask[LabelMap]):
    """Photos and their saliency through the classifier in a folder."""

    model: Path
    settings: MakeG1Guides
    saliency: Path

    def network(self) -> nn.Module:
        return rebuild_classifier(self.model)[0]

    def size(self, image: Photo) -> Hashable:
        return image.shape  # each photo's own components make the batch

    def results(
        self, network: nn.Module, records: Sequence[Record], images: Sequence[Photo], device: torch.device
    ) -> list[LabelMap]:
        description, saliency = classifier_description(self.model), ImageArchive(self.saliency)

        def classify(copies: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
            """Scores of blacked-out copies of a photo, each seen as the classifier sees photos in training."""
            side, geometry = description["input_px"], description["geometry"]
            pixels = torch.stack([as_image_tensor(classifier_input(copy, side, geometry)) for copy in copies])
            with torch.no_grad():
                return np.asarray(network(pixels.to(device)).float().cpu().numpy())

        return [
            guide_g1(
                self.settings,
                salient(self.settings.saliency_threshold, saliency, record),
                classify,
                image,
                record.labels,
            )
            for record, image in zip(records, images, strict=True)
        ]
