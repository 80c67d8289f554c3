"""What our dense CRF costs against a plain serial pydensecrf loop, at test time and in the training loop.

`python -m benchmarks.crf` prints a markdown table; all numbers of it come from one run on one machine. Scores
are synthetic: class scores of a 41×41 grid as a trained SEC network gives them (background, 1 to 3 classes of
the image, 3 classes it is confused with, 17 to 14 it rules out), smooth, upsampled to the photo and floored
at 1e-5.
"""

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydensecrf import densecrf

from weakseg.crf import KEEP_FLOOR, SEC, CRFParams, lattice_labels
from weakseg.errors import UserError
from weakseg.runtime import MALLOC_SETTINGS

Array = npt.NDArray[Any]
HEIGHT, WIDTH, GRID, NUM_CLASSES = 375, 500, 41, 21
Row = tuple[str, str, str, str]


# --- inputs -------------------------------------------------------------------------------------------------


def smooth(rng: np.random.Generator, channels: int, cells: int, height: int, width: int) -> Array:
    """(channels, height, width): normal noise on a coarse grid of `cells`, order-1 upsampled."""
    return upsampled(rng.normal(size=(channels, cells, cells)).astype(np.float32), height, width)


def upsampled(maps: Array, height: int, width: int) -> Array:
    resized = [Image.fromarray(one).resize((width, height), Image.Resampling.BILINEAR) for one in maps]
    return np.stack([np.asarray(one, np.float32) for one in resized])


def grid_logits(rng: np.random.Generator) -> Array:
    """(C, GRID, GRID) logits; an ellipse for each class present, as many as in VOC (60 %, 30 %, 10 %)."""
    logits = smooth(rng, NUM_CLASSES, 7, GRID, GRID) - 4
    logits[0] += 7
    foreground = rng.permutation(np.arange(1, NUM_CLASSES))
    present, confused = np.split(foreground[: rng.choice([1, 2, 3], p=[0.6, 0.3, 0.1]) + 3], [-3])
    y, x = np.mgrid[:GRID, :GRID] / GRID
    for label in present:
        centre_y, centre_x, radius_y, radius_x = rng.uniform([0.2, 0.2, 0.1, 0.1], [0.8, 0.8, 0.35, 0.35])
        distance = ((y - centre_y) / radius_y) ** 2 + ((x - centre_x) / radius_x) ** 2
        logits[label] += 1 + 9 / (1 + distance**2)
    logits[confused] += 2
    return logits


def log_probs(logits: Array, floor: float = 1e-5) -> Array:
    exponentials = np.exp(logits - logits.max(0))
    probs: Array = np.maximum(exponentials / exponentials.sum(0), floor)
    return np.log(probs, dtype=np.float32)


def photo(rng: np.random.Generator, path: Path | None) -> Array:
    """(HEIGHT, WIDTH, 3) uint8, from a file or made of smooth colours and grain."""
    if path is not None:
        with Image.open(path) as opened:
            return np.asarray(opened.convert("RGB").resize((WIDTH, HEIGHT)), np.uint8)
    colours = smooth(rng, 3, 9, HEIGHT, WIDTH) * 60 + 128 + rng.normal(size=(3, HEIGHT, WIDTH)) * 6
    return np.ascontiguousarray(colours.clip(0, 255).transpose(1, 2, 0).astype(np.uint8))


def write_cases(folder: Path, count: int, photos: Path | None) -> list[Path]:
    """One `.npz` per image: image, log_probs (full size), grid_image, grid_logits."""
    paths = sorted(photos.glob("*.jpg"))[:: max(1, len(list(photos.glob("*.jpg"))) // count)] if photos else []
    if photos and len(paths) < count:
        raise UserError(f"{photos}: holds fewer than {count} .jpg files; give --images a smaller number")
    rng = np.random.default_rng(0)
    for index in range(count):
        image, logits = photo(rng, paths[index] if paths else None), grid_logits(rng)
        small = np.asarray(Image.fromarray(image).resize((GRID, GRID)), np.uint8)
        full = log_probs(upsampled(logits, HEIGHT, WIDTH))
        np.savez(folder / f"{index}.npz", image=image, log_probs=full, grid_image=small, grid_logits=logits)
    return [folder / f"{index}.npz" for index in range(count)]


def load(path: Path, *names: str) -> list[Array]:
    with np.load(path, allow_pickle=False) as case:
        return [case[name] for name in names]


# --- what is timed ------------------------------------------------------------------------------------------


def plain_crf(image: Array, scores: Array, params: CRFParams) -> Array:
    """The usual pydensecrf script: all classes, (C, H, W) probabilities."""
    classes, height, width = scores.shape
    crf = densecrf.DenseCRF2D(width, height, classes)
    crf.setUnaryEnergy(np.ascontiguousarray(-scores.reshape(classes, -1).astype(np.float32)))
    crf.addPairwiseGaussian(sxy=params.gaussian_sigma_xy, compat=params.gaussian_weight)
    crf.addPairwiseBilateral(
        sxy=params.bilateral_sigma_xy,
        srgb=params.bilateral_sigma_rgb,
        rgbim=np.ascontiguousarray(image),
        compat=params.bilateral_weight,
    )
    return np.array(crf.inference(params.steps)).reshape(scores.shape)


def plain_labels(path: Path) -> Array:
    image, scores = load(path, "image", "log_probs")
    labels: Array = plain_crf(image, scores, SEC).argmax(0)
    return labels.astype(np.uint8)


def our_labels(path: Path, keep_floor: float) -> Array:
    image, scores = load(path, "image", "log_probs")
    return lattice_labels(image, scores, SEC, keep_floor)


def timed(work: Callable[[], Any], repeats: int = 1) -> tuple[float, Any]:
    """Shortest wall time of `repeats` runs, and the result."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - start)
    return min(seconds), result


def test_time(cases: Sequence[Path], workers: int, keep_floor: float) -> list[Row]:
    """The worker processes have a stage's memory settings; the loop has what a script has."""
    ours_one = partial(our_labels, keep_floor=keep_floor)
    serial_seconds, plain = timed(lambda: [plain_labels(path) for path in cases])
    single_seconds, _ = timed(lambda: [ours_one(path) for path in cases])
    with patch.dict(os.environ, MALLOC_SETTINGS), ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        list(pool.map(time.sleep, [0.5] * workers))  # processes started and imported before the clock runs
        pooled_seconds, ours = timed(lambda: list(pool.map(ours_one, cases)))
    equal = 100 * np.mean([(a == b).mean() for a, b in zip(plain, ours, strict=True)])

    def row(name: str, seconds: float, equality: str) -> Row:
        return name, f"{len(cases) / seconds:.2f} images/s", f"{serial_seconds / seconds:.2f}×", equality

    return [
        row(f"test time {WIDTH}×{HEIGHT}: serial pydensecrf loop, {NUM_CLASSES} classes", serial_seconds, "–"),
        row(f"… `lattice_labels`, one process, keep_floor {keep_floor}", single_seconds, f"{equal:.3f} %"),
        row(f"… `lattice_labels`, {workers} processes", pooled_seconds, f"{equal:.3f} %"),
    ]


def train_time(cases: Sequence[Path], workers: int, batch_size: int, repeats: int) -> list[Row]:
    import torch  # not at the top: the spawned workers above import this module

    from weakseg.crf import SEC, mean_field

    chosen = [load(cases[index % len(cases)], "grid_image", "grid_logits") for index in range(batch_size)]
    images, logits = (np.stack(part) for part in zip(*chosen, strict=True))
    params, scores = SEC.scaled(12), torch.from_numpy(logits)
    runs: dict[str, Callable[[], Any]] = {
        f"training {batch_size}×{NUM_CLASSES}×{GRID}×{GRID}: serial pydensecrf loop": lambda: torch.from_numpy(
            np.stack([plain_crf(image, maps, params) for image, maps in zip(images, logits, strict=True)])
        ),
        "… `mean_field` lattice, in process": lambda: mean_field(images, scores, params, workers=1),
        f"… `mean_field` lattice, {workers} workers": lambda: mean_field(images, scores, params, workers=workers),
        "… `mean_field` exact, kernel included": lambda: mean_field(images, scores, params, "exact"),
    }
    results = {}
    for name, work in runs.items():
        work()  # starts the workers
        results[name] = timed(work, repeats)
    serial_seconds, plain = next(iter(results.values()))
    return [
        (name, f"{seconds:.3f} s", f"{serial_seconds / seconds:.2f}×", f"{_agreement(plain, result):.2f} %")
        for name, (seconds, result) in results.items()
    ]


def _agreement(first: Any, second: Any) -> float:
    return 100 * float((first.argmax(1) == second.argmax(1)).float().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="folder of .jpg photos (default: synthetic pictures)")
    parser.add_argument("--images", type=int, default=12, help="images at test time (default 12)")
    parser.add_argument("--workers", type=int, default=2, help="worker processes (default 2)")
    parser.add_argument("--keep-floor", type=float, default=KEEP_FLOOR, help="see lattice_labels")
    parser.add_argument("--batch-size", type=int, default=15, help="images of a training step (default 15)")
    parser.add_argument("--repeats", type=int, default=5, help="runs of a training step, best counts (default 5)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cases = write_cases(Path(folder), args.images, args.photos)
        rows = test_time(cases, args.workers, args.keep_floor)
        rows += train_time(cases, args.workers, args.batch_size, args.repeats)
    pictures = "photos" if args.photos else "synthetic pictures"
    print(f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores, {args.images} {pictures}\n")
    print("| what | speed | against the serial loop | equal labels |\n|---|---|---|---|")
    print("\n".join(f"| {' | '.join(row)} |" for row in rows))


if __name__ == "__main__":
    main()
