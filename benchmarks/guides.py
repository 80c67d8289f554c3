"""Guides a second at VOC's size where no CRF is needed (wanted: at least 15 a core), reading and PNG included.

`python -m benchmarks.guides` prints a markdown table. Each photo has two salient objects, ragged and with specks around
them, and in each a seed of a class of its own; so every rule but G1, which asks a network, runs as in its stage.
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.clock import cpu_seconds, heading
from benchmarks.loading import HEIGHT, WIDTH, write_photos
from benchmarks.workspace import profile_params
from weakseg.crf import crf_params
from weakseg.files import ImageArchive, Record, label_image, png_bytes, write_images
from weakseg.supervision import PhotoGuide

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


def all_of(guide: PhotoGuide, records: list[Record]) -> None:
    for record in records:
        png_bytes(label_image(guide(record)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="folder of .jpg photos (default: drawn ones)")
    parser.add_argument("--images", type=int, default=40, help="photos (default 40)")
    parser.add_argument("--repeats", type=int, default=3, help="runs, the best of which counts (default 3)")
    args = parser.parse_args()
    params = profile_params("papers")
    settings = params.make_guides["g2"]
    crf = params.crf[settings.crf]
    assert crf is not None  # checked where settings are read
    with tempfile.TemporaryDirectory() as folder:
        records, saliency, seeds = write_inputs(Path(folder), args.images, args.photos)
        seconds = {}
        for rule in ("g0", "g2"):
            guide = PhotoGuide(settings.model_copy(update={"rule": rule}), crf_params(crf), seeds, saliency)
            seconds[rule] = cpu_seconds(partial(all_of, guide, records), args.repeats)
    print(heading(f"{len(records)} {'real' if args.photos else 'drawn'} photos of {WIDTH}x{HEIGHT} or so"))
    print("| rule | guides a second |\n|---|---:|")
    for rule, value in seconds.items():
        print(f"| {rule}{', no CRF needed' if rule == 'g2' else ''} | {len(records) / value:.0f} |")


if __name__ == "__main__":
    main()
