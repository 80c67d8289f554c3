"""Guides a second at VOC's size where no CRF is needed (wanted: at least 15 a core), reading and PNG included.

`python -m benchmarks.guides` prints a markdown table. Each photo has two salient objects, ragged and with specks around
them, and in each a seed of a class of its own; so every rule but G1, which asks a network, runs as in its stage.
"""

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.clock import cpu_seconds, heading
from benchmarks.loading import HEIGHT, WIDTH, write_photos
from weakseg.files import ImageArchive, Record, label_image, png_bytes, write_images
from weakseg.settings import Guides, read_params
from weakseg.supervision import guide_g0, guide_g2, salient

Pixels = npt.NDArray[np.uint8]


def drawn_pair(rng: np.random.Generator, height: int, width: int) -> tuple[Pixels, Pixels]:
    """Saliency (8-bit probabilities) and seeds, each (height, width): one object in either half of the photo."""
    y, x = np.mgrid[:height, :width]
    grain = cv2.GaussianBlur(rng.normal(size=(height, width)).astype(np.float32), (0, 0), 4)
    saliency, seeds = np.zeros((height, width), np.float32), np.zeros((height, width), np.uint8)
    for half in range(2):
        centre_y, centre_x = rng.uniform(0.35, 0.65) * height, (0.25 + half / 2) * width
        distance = np.hypot((y - centre_y) / (rng.uniform(0.2, 0.35) * height), (x - centre_x) / (0.15 * width))
        saliency = np.maximum(saliency, 1 / (1 + np.exp(6 * (distance - 1) + 6 * grain / grain.std() * 0.3)))
        seeds[distance + 0.2 * grain / grain.std() < 0.6] = 3 + half
    return np.rint(saliency * 255).astype(np.uint8), seeds


def write_inputs(folder: Path, count: int, photos: Path | None) -> tuple[list[Record], ImageArchive, ImageArchive]:
    """Photos, and the archives of their saliency and their seeds."""
    rng, records, drawn = np.random.default_rng(0), [], []
    for path in write_photos(folder, count, photos):
        with Image.open(path) as photo:
            width, height = photo.size
        records.append(Record(path.stem, "train", str(path), "", width, height, (3, 4), ""))
        drawn.append(drawn_pair(rng, height, width))
    for name, part in (("saliency", 0), ("seeds", 1)):
        pictures = (Image.fromarray(pair[part]) if part == 0 else label_image(pair[part]) for pair in drawn)
        write_images(folder / f"{name}.zip", zip((record.image_id for record in records), pictures, strict=True))
    return records, ImageArchive(folder / "saliency.zip"), ImageArchive(folder / "seeds.zip")


def g0(settings: Guides, saliency: ImageArchive, record: Record) -> Pixels:
    return guide_g0(settings, salient(settings.saliency_threshold, saliency, record.image_id), record)


def g2(settings: Guides, seeds: ImageArchive, saliency: ImageArchive, record: Record) -> Pixels:
    return guide_g2(settings, seeds, salient(settings.saliency_threshold, saliency, record.image_id), record)


def all_of(rule: Callable[[Record], Pixels], records: list[Record]) -> None:
    for record in records:
        png_bytes(label_image(rule(record)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="folder of .jpg photos (default: drawn ones)")
    parser.add_argument("--images", type=int, default=40, help="photos (default 40)")
    parser.add_argument("--repeats", type=int, default=3, help="runs, the best of which counts (default 3)")
    args = parser.parse_args()
    settings = read_params(["params.yaml"]).make_guides
    with tempfile.TemporaryDirectory() as folder:
        records, saliency, seeds = write_inputs(Path(folder), args.images, args.photos)
        rules = {"G0": partial(g0, settings, saliency), "G2, no CRF needed": partial(g2, settings, seeds, saliency)}
        seconds = {name: cpu_seconds(partial(all_of, rule, records), args.repeats) for name, rule in rules.items()}
    print(heading(f"{len(records)} {'real' if args.photos else 'drawn'} photos of {WIDTH}x{HEIGHT} or so"))
    print("| rule | guides a second |\n|---|---:|")
    for name, value in seconds.items():
        print(f"| {name} | {len(records) / value:.0f} |")


if __name__ == "__main__":
    main()
