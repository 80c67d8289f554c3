"""Segment photos with a trained model: what `weakseg segment` does.

Each photo gets a palette PNG of class ids in VOC's colours, by the same rule as the pipeline's own masks. A folder is
searched with its subfolders, which are repeated below `--out`. A photo that fails is reported and skipped.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from itertools import islice
from json import dumps
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from weakseg.arrays import Photo
from weakseg.batch import map_images
from weakseg.errors import UserError
from weakseg.files import label_image, png_bytes, write_bytes, write_text
from weakseg.images import read_photo
from weakseg.inference.grids import GridScores
from weakseg.inference.mask_contents import class_list, contents_of, line_of
from weakseg.inference.mask_files import Outputs, find_photos, name_outputs, printable
from weakseg.inference.segmenter import MAX_SIDE_PX, PhotoSegmenter, load_segmenter, mask_of, overlaid, shrunk
from weakseg.inference.test_time_rule import Rule

FEW_PHOTOS = 4  # up to so many, starting worker processes takes longer than what they would do
BATCH_PIXELS = 4_000_000  # of photos that a GPU sees together
JPEG_QUALITY = 92
FAILURES = (UserError, OSError, ValueError, MemoryError)  # of one photo; the others go on


@dataclass(frozen=True)
class Job:
    """One photo, the files to make, and its scores or what went wrong."""

    outputs: Outputs
    grid: GridScores | None = None
    problem: str = ""


@dataclass(frozen=True)
class Done:
    """One photo's end: a line that says what is in it, or why there is no mask."""

    line: str
    failed: bool


def segment_photos(
    photos: Sequence[Path], model: str | Path, out: Path, *, overlay: bool = False, json: bool = False,
    crf: bool = True, force: bool = False, max_side_px: int = MAX_SIDE_PX, batch_size: int = 1,
) -> None:  # fmt: skip
    """Write the masks of photos and of folders of photos below `out`, and a line about each to standard output.

    `overlay` and `json` write `<name>.overlay.jpg` and `<name>.json` too; `force` replaces files of an earlier run.
    Raises UserError before anything is written for paths without photos and files that are there already; at the end
    for photos that could not be segmented.
    """
    outputs, notes = name_outputs(find_photos(photos, out), out, overlay=overlay, json=json, force=force)
    for note in notes:
        print(note, file=sys.stderr)
    segmenter = load_segmenter(model)
    write_text(out / "classes.json", dumps(class_list(segmenter.class_names), indent=2) + "\n")
    finish = partial(write_mask, segmenter.rule, segmenter.class_names, crf, max_side_px)
    jobs = Predictions(segmenter, outputs, batch_size, max_side_px)
    apart = len(outputs) > FEW_PHOTOS and not (segmenter.rule.backend == "exact" and segmenter.device.type == "cuda")
    problems = []
    for done in map_images(finish, jobs, "photos") if apart else map(finish, jobs):
        if done.failed:
            problems.append(done.line)
        else:
            tqdm.write(done.line)
    if problems:
        raise UserError(f"{len(problems)} of {len(outputs)} photos could not be segmented:\n  " + "\n  ".join(problems))


class Predictions:
    """The jobs with their scores, as the network gets to them, or with what kept a photo from being read."""

    def __init__(self, segmenter: PhotoSegmenter, outputs: list[Outputs], batch_size: int, max_side_px: int) -> None:
        self.segmenter, self.outputs = segmenter, outputs
        self.batch_size, self.max_side_px = batch_size, max_side_px

    def __len__(self) -> int:
        return len(self.outputs)

    def __iter__(self) -> Iterator[Job]:
        waiting = iter(self.outputs)
        most = max(1, BATCH_PIXELS // self.max_side_px**2)
        while some := list(islice(waiting, min(self.batch_size, most))):
            read: list[tuple[int, Photo]] = []
            jobs = [Job(outputs) for outputs in some]
            for number, outputs in enumerate(some):
                try:
                    read.append((number, shrunk(read_photo(outputs.photo), self.max_side_px)))
                except FAILURES as error:
                    jobs[number] = Job(outputs, problem=told(outputs.photo, error))
            for (number, _), grid in zip(read, self.segmenter.grids([image for _, image in read]), strict=True):
                jobs[number] = Job(some[number], grid)
            yield from jobs


def write_mask(rule: Rule, class_names: list[str], crf: bool, max_side_px: int, job: Job) -> Done:
    """Write one photo's mask, overlay and JSON; what an earlier run wrote beside the mask does not stay."""
    outputs = job.outputs
    if job.grid is None:
        return Done(job.problem, failed=True)
    try:
        image = read_photo(outputs.photo)
        labels = mask_of(image, job.grid, rule, crf, max_side_px)
        for stale in outputs.possible()[1:]:
            stale.unlink(missing_ok=True)
        write_bytes(outputs.mask, png_bytes(label_image(labels)))
        if outputs.overlay:
            packed = BytesIO()
            Image.fromarray(overlaid(image, labels)).save(packed, "JPEG", quality=JPEG_QUALITY, subsampling=0)
            write_bytes(outputs.overlay, packed.getvalue())
        if outputs.json:
            content = {"photo": printable(outputs.photo), **contents_of(labels, class_names)}
            write_text(outputs.json, dumps(content, indent=2) + "\n")
    except FAILURES as error:
        return Done(told(outputs.photo, error), failed=True)
    return Done(f"{printable(outputs.mask)}: {line_of(labels, class_names)}", failed=False)


def told(photo: Path, error: BaseException) -> str:
    """One line about a photo, which names it."""
    text = str(error).encode("utf-8", "backslashreplace").decode() or type(error).__name__
    name = printable(photo)
    return text if name in text else f"{name}: {text}"
