"""What a `dvc repro` with nothing to do costs, by number of photos.

`python -m benchmarks.noop --images 10582` writes tiny photos and masks in VOC's layout and a stand-in for every
output (DVC compares hashes, whatever the files hold), has DVC record them, and times `dvc repro` repeatedly.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import workspace
from benchmarks.growth import heading
from weakseg.errors import UserError
from weakseg.files import label_image


def write_photos(root: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / name).mkdir(parents=True)
    for index in range(count):
        pixels = rng.integers(0, 256, (16, 16, 3), np.uint8)  # so that no two files are the same
        Image.fromarray(pixels).save(root / "JPEGImages" / f"{index:08d}.jpg")
        label_image(pixels[..., 0] % 21).save(root / "SegmentationClass" / f"{index:08d}.png")
    for name in ("train", "val"):
        ids = "".join(f"{index:08d}\n" for index in range(count))
        (root / "ImageSets" / "Segmentation" / f"{name}.txt").write_text(ids, encoding="utf-8")


def write_outputs(folder: Path) -> None:
    """A small file for every output of every stage."""
    from dvc.repo import Repo  # slow to import

    with Repo(str(folder)) as repo:
        outputs = [Path(out.fs_path) for out in repo.index.outs]
    for path in outputs:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{path.name}\n", encoding="utf-8")


def no_op_seconds(folder: Path, repeats: int) -> list[tuple[float, float]]:
    """(wall, CPU) seconds of each run."""
    seconds = []
    for _ in range(repeats):
        start, spent = time.perf_counter(), _children_seconds()
        printed = workspace.dvc(folder, "repro")
        seconds.append((time.perf_counter() - start, _children_seconds() - spent))
        if "Running stage" in printed:
            raise UserError(f"dvc repro found something to do:\n{printed}")
    return seconds


def _children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_582, help="photos (default 10582)")
    parser.add_argument("--repeats", type=int, default=3, help="how often to time (default 3; the best counts)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        params = workspace.read_profile("papers")
        params["data"]["root"] = params["saliency"]["root"] = "photos"
        write_photos(folder / "photos", args.images)
        workspace.create(folder, params)
        write_outputs(folder)
        workspace.dvc(folder, "commit", "--force")
        seconds = no_op_seconds(folder, args.repeats)
    print(heading(f"`dvc repro` with nothing to do, {args.images} photos and as many masks"))
    print(
        f"least of {args.repeats}: {min(wall for wall, _ in seconds):.1f} s, CPU {min(cpu for _, cpu in seconds):.1f} s"
    )


if __name__ == "__main__":
    main()
