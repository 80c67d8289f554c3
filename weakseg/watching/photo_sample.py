"""What a segmenter makes of a few validation photos at a few steps of its training.

It sees no ground truth, and nothing is chosen by it: the report compares the masks with the photos' own afterwards. The
training's weights and losses are the same bits with and without: no random number is drawn, batch norm's statistics
stand still, and every module goes back to the mode that it was in.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from weakseg.arrays import Photo
from weakseg.errors import UserError
from weakseg.files import Record, label_image, write_images
from weakseg.images import network_input, read_record
from weakseg.runtime import is_first

MOST_PHOTOS, MOST_LOOKS = 8, 6


@dataclass
class PhotoSample:
    """Photos, and `masks`, full-size class ids (H, W) uint8 by `<step>/<image id>`."""

    records: Sequence[Record]
    geometry: str
    input_px: int
    steps: frozenset[int]
    masks: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, val: Sequence[Record], geometry: str, input_px: int, num_steps: int) -> "PhotoSample":
        """Up to `MOST_PHOTOS` of the photos that have a mask, at even distances in the manifest, looked at up to
        `MOST_LOOKS` times at even distances, the last time after the last step."""
        known = [record for record in val if record.mask]
        chosen = np.linspace(0, len(known) - 1, min(MOST_PHOTOS, len(known))).round().astype(int).tolist()
        steps = np.linspace(0, num_steps, MOST_LOOKS + 1).round().astype(int)[1:]
        return cls([known[index] for index in chosen], geometry, input_px, frozenset(steps.tolist()))

    def look(self, network: nn.Module, step: int, device: torch.device) -> None:
        """Adds the masks that the network gives after this step, if it is one to look at; in the first process alone."""
        if step not in self.steps or not self.records or not is_first():
            return
        modes = [(module, module.training) for module in network.modules()]
        network.eval()
        for record in self.records:
            with suppress(UserError):  # a photo that is gone must not end a training; stage `predict` names it
                self.masks[f"{step:08d}/{record.image_id}"] = self._mask(network, read_record(record), device)
        for module, training in modes:
            module.training = training

    def _mask(self, network: nn.Module, photo: Photo, device: torch.device) -> Tensor:
        """(H, W) without CRF; upsampled in log-space for both geometries, which is enough for a look."""
        pixels, extent = network_input(photo, self.geometry, self.input_px)
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits = network(pixels[None].to(device)).float()
        whole = functional.interpolate(logits.log_softmax(1), extent, mode="bilinear", align_corners=True)[0]
        return whole[:, : photo.shape[0], : photo.shape[1]].argmax(0).to(torch.uint8).cpu()

    def write(self, path: Path) -> None:
        """A `.zip` of the masks by step and image id."""
        write_images(path, self._images())

    def _images(self) -> Iterator[tuple[str, Image.Image]]:
        for name, mask in sorted(self.masks.items()):
            yield name, label_image(mask.numpy())
