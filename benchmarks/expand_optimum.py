"""Which object size SEC's expand loss prefers: its value on ground-truth masks, as they are and grown.

`python -m benchmarks.expand_optimum` reads data/manifest.csv and data/ground_truth.zip of a finished run and prints a
markdown table. If the loss is lowest on grown masks, it asks for more foreground than there is.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import binary_dilation

from weakseg.files import IGNORE_INDEX, ImageArchive, Record, read_manifest
from weakseg.images import resize_nearest
from weakseg.losses import expand_loss
from weakseg.settings import SecLoss, read_keys
from weakseg.training import STRIDE, SecTerms, multi_hot

CONFIDENCE = 0.98  # a mask's class gets this probability, the rest is shared


def grown(labels: npt.NDArray[np.uint8], classes: tuple[int, ...], cells: int) -> npt.NDArray[np.uint8]:
    """Every class `cells` larger on all sides, at the background's cost; where classes meet, the first one wins."""
    for label in classes if cells else ():
        reach = binary_dilation(labels == label, iterations=cells)
        labels = np.where((labels == 0) & reach, label, labels).astype(np.uint8)
    return labels


def probabilities(labels: npt.NDArray[np.uint8], num_classes: int) -> torch.Tensor:
    """(1, C, h, w) for class ids (h, w)."""
    one_hot = torch.nn.functional.one_hot(torch.from_numpy(labels.astype(np.int64)), num_classes)
    return (one_hot.permute(2, 0, 1)[None] * CONFIDENCE + (1 - CONFIDENCE) / num_classes).float()


def expand(record: Record, labels: npt.NDArray[np.uint8], num_classes: int, decays: Mapping[str, float]) -> float:
    present = torch.from_numpy(multi_hot(record.labels, num_classes))[None]
    return float(expand_loss(probabilities(labels, num_classes), present, **decays))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grid", type=int, default=29, help="cells a side (default 29, small-voc's)")
    parser.add_argument("--every", type=int, default=4, help="use every n-th training photo (default 4)")
    parser.add_argument("--params", nargs=1, default=["params.yaml"], metavar="FILE", help="settings (params.yaml)")
    args = parser.parse_args()
    settings: SecLoss = read_keys("losses.sec", options=args)
    masks = ImageArchive(Path("data/ground_truth.zip"))
    records = read_manifest(Path("data/manifest.csv"), "train")[:: args.every]
    num_classes = 1 + max(max(record.labels) for record in records)
    decays = SecTerms(settings, num_classes, STRIDE * (args.grid - 1) + 1, crf=None).decays
    print(f"{len(records)} photos, grid {args.grid}×{args.grid}\n\n| grown by, cells | expand loss | foreground % |")
    print("|---:|---:|---:|")
    for cells in range(5):
        values, shares = [], []
        for record in records:
            mask = masks[record.image_id]
            labels = resize_nearest(np.where(mask == IGNORE_INDEX, 0, mask), args.grid, args.grid)
            labels = grown(labels.astype(np.uint8), record.labels, cells)
            values.append(expand(record, labels, num_classes, decays))
            shares.append((labels > 0).mean())
        print(f"| {cells} | {np.mean(values):.3f} | {100 * np.mean(shares):.1f} |", flush=True)


if __name__ == "__main__":
    main()
