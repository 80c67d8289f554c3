"""Confusion matrices a second on masks of VOC's size (wanted: at least 300 a core).

`python -m benchmarks.evaluation` prints a markdown table. Masks are drawn: one to four ellipses with an ignored rim.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.clock import cpu_seconds, heading
from weakseg.arrays import LabelMap
from weakseg.evaluation import confusion_matrix
from weakseg.files import IGNORE_INDEX, ImageArchive, label_image, write_images

HEIGHT, WIDTH, CLASSES = 375, 500, 21


def drawn_mask(rng: np.random.Generator, rim: bool) -> LabelMap:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for label in rng.integers(1, CLASSES, rng.integers(1, 5)):
        centre_y, centre_x = rng.uniform(0, HEIGHT), rng.uniform(0, WIDTH)
        distance = np.hypot((y - centre_y) / rng.uniform(30, 150), (x - centre_x) / rng.uniform(30, 200))
        mask[distance < 1] = label
        if rim:
            mask[(distance >= 1) & (distance < 1.05)] = IGNORE_INDEX
    return mask


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=50, help="masks (default 50)")
    parser.add_argument("--repeats", type=int, default=5, help="runs, the best of which counts (default 5)")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    targets = {str(number): drawn_mask(rng, rim=True) for number in range(args.images)}
    predictions = {key: drawn_mask(rng, rim=False) for key in targets}
    with tempfile.TemporaryDirectory() as folder:
        archives = []
        for name, masks in (("targets", targets), ("predictions", predictions)):
            path = Path(folder) / f"{name}.zip"
            write_images(path, ((key, label_image(mask)) for key, mask in masks.items()))
            archives.append(ImageArchive(path))

        def counted() -> None:
            for key, target in targets.items():
                confusion_matrix(target, predictions[key], CLASSES)

        def read_and_counted() -> None:
            for key in targets:
                confusion_matrix(archives[0][key], archives[1][key], CLASSES)

        seconds = [cpu_seconds(work, args.repeats) for work in (counted, read_and_counted)]
    print(heading(f"{args.images} masks of {WIDTH}x{HEIGHT}"))
    print("| what | masks a second |\n|---|---:|")
    print(f"| `confusion_matrix` | {args.images / seconds[0]:.0f} |")
    print(f"| … reading both masks from their archives | {args.images / seconds[1]:.0f} |")


if __name__ == "__main__":
    main()
