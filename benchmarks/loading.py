"""What a training sample costs to load: a photo decoded and warped, cues read at random from one large archive.

`python -m benchmarks.loading` prints a markdown table (wanted: at least 200 photos a second and core, below 1 ms for
the cues of an image). Without `--photos` the photos are drawn; with it, real ones are brought to VOC's 500 px first.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.clock import cpu_seconds, heading
from weakseg.files import ArrayArchive, cue_arrays, opened_zip, read_cues, write_arrays
from weakseg.images import read_photo, warp_square

HEIGHT, WIDTH, INPUT_PX, CLASSES, GRID = 375, 500, 321, 21, 41


def drawn_photo(rng: np.random.Generator) -> Image.Image:
    """Smooth colours and some grain."""
    coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), np.float32)
    return Image.fromarray((pixels + rng.normal(0, 6, pixels.shape)).clip(0, 255).astype(np.uint8))


def write_photos(folder: Path, count: int, source: Path | None) -> list[Path]:
    """JPEGs of VOC's size and about its compression."""
    rng = np.random.default_rng(0)
    sources = sorted(source.glob("*.jpg"))[:count] if source else [None] * count
    paths = []
    for number, path in enumerate(sources):
        photo = drawn_photo(rng) if path is None else Image.open(path).convert("RGB")
        scale = WIDTH / max(photo.size)
        paths.append(folder / f"{number}.jpg")
        photo.resize((round(photo.width * scale), round(photo.height * scale))).save(paths[-1], quality=90)
    return paths


def write_cues(path: Path, count: int) -> ArrayArchive:
    rng = np.random.default_rng(0)

    def one() -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        cues = np.zeros((CLASSES, GRID, GRID), bool)
        cues[rng.integers(1, CLASSES), 10:25, 10:25], cues[0, :4] = True, True
        return cues

    write_arrays(path, (item for number in range(count) for item in cue_arrays(str(number), one())))
    return ArrayArchive(path)


def opened_anew(path: Path) -> ArrayArchive:
    """As a process opens it that has not had it before."""
    opened_zip.cache_clear()
    return ArrayArchive(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="folder of .jpg photos (default: drawn ones)")
    parser.add_argument("--images", type=int, default=60, help="photos (default 60)")
    parser.add_argument("--cues", type=int, default=10_582, help="images in the archive of cues (default 10 582)")
    parser.add_argument("--repeats", type=int, default=5, help="runs, the best of which counts (default 5)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        photos = write_photos(Path(folder), args.images, args.photos)
        archive = write_cues(Path(folder) / "cues.npz", args.cues)
        order = np.random.default_rng(1).permutation(args.cues)[:500]
        decoding = cpu_seconds(lambda: [read_photo(path) for path in photos], args.repeats)
        warping = cpu_seconds(lambda: [warp_square(read_photo(path), INPUT_PX) for path in photos], args.repeats)
        reading = cpu_seconds(lambda: [read_cues(archive, str(number)) for number in order], args.repeats)
        opening = cpu_seconds(lambda: opened_anew(archive.path), args.repeats)
    print(
        heading(f"{len(photos)} {'real' if args.photos else 'drawn'} photos of {WIDTH} px, cues of {args.cues} images")
    )
    print("| what | speed |\n|---|---:|")
    print(f"| a photo decoded | {len(photos) / decoding:.0f} a second |")
    print(f"| … and warped to {INPUT_PX} px | {len(photos) / warping:.0f} a second |")
    print(f"| the cues of an image, in random order | {1e3 * reading / len(order):.3f} ms |")
    print(f"| opening the archive of cues, once a process | {1e3 * opening:.0f} ms |")


if __name__ == "__main__":
    main()
