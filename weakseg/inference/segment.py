"""Segment photos with a trained model: `python -m weakseg.segment photo.jpg folder/ --model … --out masks/`.

Each photo gets a palette PNG of class ids in VOC's colours, by the same rule as the pipeline's own masks. A folder is
searched with its sub-folders, which are repeated below `--out`.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from weakseg.batch import map_images
from weakseg.datasets import is_photo_name
from weakseg.errors import UserError
from weakseg.files import label_image, png_bytes, write_bytes
from weakseg.images import read_photo
from weakseg.inference.grids import GridScores
from weakseg.inference.segmenter import PhotoSegmenter, load_segmenter, mask_of, overlay
from weakseg.inference.test_time_rule import Rule

FEW_PHOTOS = 4  # up to so many, starting worker processes takes longer than what they would do


JPEG_QUALITY = 92


@dataclass(frozen=True)
class Job:
    """One photo and the files made from it."""

    photo: Path
    mask: Path
    overlay: Path | None
    grid: GridScores | None = None


def segment_photos() -> None:
    options = parse_arguments()
    jobs, notes = name_outputs(find_photos(options.photos, options.out), options.out, options.overlay)
    for note in notes:
        print(note, file=sys.stderr)
    segmenter = load_segmenter(options.model)
    problems: list[str] = []
    finish = partial(write_mask, segmenter.rule, segmenter.class_names, not options.no_crf)
    tasks = Predictions(segmenter, jobs, options.batch_size, problems)
    for line in map_images(finish, tasks, "photos") if len(jobs) > FEW_PHOTOS else map(finish, tasks):
        tqdm.write(line)
    if problems:
        raise UserError(f"{len(problems)} of {len(jobs)} photos could not be segmented:\n  " + "\n  ".join(problems))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m weakseg.segment", description="Segment photos.")
    parser.add_argument("photos", nargs="+", type=Path, metavar="PHOTO", help="photos, or folders of photos")
    parser.add_argument("--model", type=Path, required=True, metavar="FOLDER", help="e.g. models/segmenter/guided")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where to write the masks")
    parser.add_argument("--overlay", action="store_true", help="write <name>.overlay.jpg too: the mask on the photo")
    parser.add_argument("--no-crf", action="store_true", help="skip the dense CRF: faster, rougher outlines")
    parser.add_argument("--batch-size", type=_count, default=1, metavar="N",
                        help="photos of one size that a GPU sees together (default 1)")  # fmt: skip
    return parser.parse_args()


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1")
    return int(text)


def find_photos(paths: Iterable[Path], out: Path) -> list[tuple[Path, Path]]:
    """Each photo once, with its path below the folder it was found in; `out` is not searched.

    Raises one UserError that lists every path that is neither a file nor a folder with photos.
    """
    found: dict[Path, tuple[Path, Path]] = {}
    problems = []
    for path in paths:
        inside = [(path, Path(path.name))] if path.is_file() else list(_photos_below(path, out.resolve()))
        if not inside:
            problems.append(f"{path}: {'no photos in this folder' if path.is_dir() else 'no such file or folder'}")
        for photo, name in inside:
            found.setdefault(photo.resolve(), (photo, name))
    if problems:
        raise UserError("nothing was written:\n  " + "\n  ".join(problems))
    return list(found.values())


def _photos_below(folder: Path, out: Path) -> Iterator[tuple[Path, Path]]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts)
        if not hidden and path.is_file() and is_photo_name(path.name) and out not in path.resolve().parents:
            yield path, name


def name_outputs(photos: Iterable[tuple[Path, Path]], out: Path, with_overlay: bool) -> tuple[list[Job], list[str]]:
    """`<name>.png` for each photo; photos of one name get `<name>-2.png` and so on, and a note that says so.

    Raises UserError where an output would replace one of the photos.
    """
    photos = list(photos)
    taken: set[str] = set()
    jobs, notes = [], []
    for photo, name in photos:
        wanted = mask = out / name.with_suffix(".png")
        number = 1
        while mask.as_posix().casefold() in taken:
            number += 1
            mask = wanted.with_stem(f"{wanted.stem}-{number}")
        taken.add(mask.as_posix().casefold())
        if mask != wanted:
            notes.append(f"{photo}: another photo has the same name; its mask is {mask}")
        jobs.append(Job(photo, mask, mask.with_suffix(".overlay.jpg") if with_overlay else None))
    sources = {photo.resolve() for photo, _ in photos}
    replaced = [path for job in jobs for path in (job.mask, job.overlay) if path and path.resolve() in sources]
    if replaced:
        raise UserError(f"--out {out}: {replaced[0]} would replace a photo; choose another folder")
    return jobs, notes


class Predictions:
    """The jobs with their scores, as the network gets to them; photos that cannot be read go to `problems`."""

    def __init__(self, segmenter: PhotoSegmenter, jobs: list[Job], batch_size: int, problems: list[str]) -> None:
        self.segmenter, self.jobs, self.batch_size, self.problems = segmenter, jobs, batch_size, problems

    def __len__(self) -> int:
        return len(self.jobs)

    def __iter__(self) -> Iterator[Job]:
        for first in range(0, len(self.jobs), self.batch_size):
            read = list(self._read(self.jobs[first : first + self.batch_size]))
            grids = self.segmenter.grids([image for _, image in read])
            yield from (replace(job, grid=grid) for (job, _), grid in zip(read, grids, strict=True))

    def _read(self, jobs: list[Job]) -> Iterator[tuple[Job, npt.NDArray[np.uint8]]]:
        for job in jobs:
            try:
                yield job, read_photo(job.photo)
            except UserError as error:
                self.problems.append(str(error))


def write_mask(rule: Rule, class_names: list[str], crf: bool, job: Job) -> str:
    """Writes one photo's mask and overlay; a line that says what is in it."""
    assert job.grid is not None
    image = read_photo(job.photo)
    labels = mask_of(image, job.grid, rule, crf)
    write_bytes(job.mask, png_bytes(label_image(labels)))
    if job.overlay:
        packed = BytesIO()
        Image.fromarray(overlay(image, labels)).save(packed, "JPEG", quality=JPEG_QUALITY, subsampling=0)
        write_bytes(job.overlay, packed.getvalue())
    return f"{job.mask}: {contents(labels, class_names)}"


def contents(labels: npt.NDArray[np.uint8], class_names: list[str]) -> str:
    """E.g. `person 31 %, sofa 12 %`: the foreground classes and their share of the photo, largest first."""
    shares = np.bincount(labels.ravel(), minlength=len(class_names))[1:] / labels.size
    largest = [label for label in np.argsort(-shares, kind="stable") if shares[label] > 0]
    named = [f"{class_names[label + 1]} {100 * shares[label]:.0f} %" for label in largest]
    return ", ".join(named) or "nothing but background"
