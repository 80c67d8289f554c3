"""Saliency training masks: MSRA's boxes of several annotators, and GrabCut on their average (SPEC §1, §7)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import numpy.typing as npt

from weakseg.errors import UserError

Mask = npt.NDArray[np.bool_]
Boxes = npt.NDArray[np.int64]
Line = tuple[int, str]  # its number in the file, its text

MIN_KEPT_FRACTION = 0.1  # of the box; less than that is taken for a failure
FRAME_FRACTION = 0.05  # of the shorter side
MAX_SIDE_PX = 500  # MSRA's photos are smaller; GrabCut's time grows faster than the number of pixels
NO_RECTANGLE = (0, 0, 0, 0)  # the box is in the mask


@dataclass(frozen=True, eq=False)
class MsraRecord:
    """One photo: path below the data folder with forward slashes, size, and a box per annotator (A, 4)."""

    image: str
    width: int
    height: int
    boxes_xyxy: Boxes


def read_msra_boxes(path: Path | str) -> list[MsraRecord]:
    """Reads MSRA's text format: a count, then per image a blank line, the path, `width height` and the boxes.

    Boxes are `left top right bottom;` once per annotator. Takes either line ending, a byte-order mark,
    trailing blanks, and a missing last newline. Raises one UserError that lists every faulty line by its
    number.
    """
    path = Path(path)
    (first, promised), *rest = _numbered_lines(path)
    problems: list[str] = []
    seen: dict[str, int] = {}
    blocks = list(_blocks(rest))
    count = _integers(promised)
    if count is None or len(count) != 1:
        problems.append(f"line {first}: expected the number of images, found {promised!r}")
    elif count[0] != len(blocks):
        problems.append(f"line {first}: promises {promised} images, the file describes {len(blocks)}")
    records = [record for block in blocks if (record := _parse_block(block, seen, problems))]
    if problems:
        listing = "\n  ".join(problems)
        raise UserError(f"{path}: {len(problems)} faults in the list of boxes; mend them:\n  {listing}")
    return records


def average_box(boxes_xyxy: npt.NDArray[np.number]) -> npt.NDArray[np.float64]:
    """The mean of the annotators' boxes: (A, 4) → (4,). Raises ValueError without any box."""
    if boxes_xyxy.ndim != 2 or boxes_xyxy.shape[1] != 4 or not len(boxes_xyxy):
        raise ValueError(f"boxes must be (A, 4) with A ≥ 1, not {boxes_xyxy.shape}")
    return np.asarray(boxes_xyxy.mean(axis=0), np.float64)


def _numbered_lines(path: Path) -> list[Line]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; name MSRA's text file of boxes") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as text ({error}); name MSRA's text file of boxes") from None
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1)]
    start = next((index for index, (_, line) in enumerate(lines) if line), None)
    if start is None:
        raise UserError(f"{path}: is empty; expected a count and then a path, a size and boxes per image")
    return lines[start:]


def _blocks(lines: list[Line]) -> Iterator[list[Line]]:
    """Runs of lines between blank ones."""
    block: list[Line] = []
    for number, line in [*lines, (0, "")]:
        if line:
            block.append((number, line))
        elif block:
            yield block
            block = []


def _parse_block(block: list[Line], seen: dict[str, int], problems: list[str]) -> MsraRecord | None:
    """One image's three lines; None, and what is wrong in `problems`, where they are faulty."""
    if len(block) != 3:
        found = f"line {block[0][0]}: expected a path, a size and boxes on three lines, found {len(block)}"
        problems.append(f"{found}, beginning with {block[0][1]!r}")
        return None
    (path_line, path_text), (size_line, size_text), (box_line, box_text) = block
    before = len(problems)
    image = path_text.replace("\\", "/")
    problems += _path_problems(path_line, image, seen)
    size = _integers(size_text)
    if size is None or len(size) != 2 or min(size) < 1:
        problems.append(f"line {size_line}: expected 'width height' of {image}, found {size_text!r}")
        return None
    boxes = _parse_boxes(box_line, box_text, size[0], size[1], problems)
    return MsraRecord(image, size[0], size[1], boxes) if len(problems) == before else None


def _path_problems(line: int, image: str, seen: dict[str, int]) -> Iterator[str]:
    if PurePosixPath(image).is_absolute() or re.match(r"[A-Za-z]:", image) or ".." in image.split("/"):
        yield f"line {line}: {image} must lie below the data folder"
    if image in seen:
        yield f"line {line}: {image} was listed before, on line {seen[image]}"
    seen.setdefault(image, line)


def _parse_boxes(line: int, text: str, width: int, height: int, problems: list[str]) -> Boxes:
    boxes: list[list[int]] = []
    for entry in (part.strip() for part in text.split(";")):
        numbers = _integers(entry)
        if not entry:
            continue
        if numbers is None or len(numbers) != 4:
            problems.append(f"line {line}: expected 'left top right bottom;', found {entry!r}")
        elif not (numbers[0] < numbers[2] and numbers[1] < numbers[3]):
            problems.append(f"line {line}: box {entry!r} is inverted or empty")
        elif min(numbers) < 0 or numbers[2] > width or numbers[3] > height:
            problems.append(f"line {line}: box {entry!r} reaches outside the {width}x{height} image")
        else:
            boxes.append(numbers)
    if not text.strip("; "):
        problems.append(f"line {line}: no boxes")
    return np.array(boxes, np.int64).reshape(-1, 4)


def _integers(text: str) -> list[int] | None:
    words = text.split()
    return [int(word) for word in words] if all(re.fullmatch(r"-?\d{1,9}", word) for word in words) else None


def grabcut_mask(
    image: npt.NDArray[np.uint8],
    box_xyxy: npt.NDArray[np.number],
    *,
    iterations: int = 5,
    random_seed: int,
    min_kept_fraction: float = MIN_KEPT_FRACTION,
    max_side_px: int = MAX_SIDE_PX,
) -> Mask:
    """The salient object in a box by GrabCut (Rother et al., 2004): (H, W, 3) uint8 RGB, (4,) → (H, W) bool.

    All outside the box (left, top, right, bottom; rounded and clipped to at least one pixel of the image) is
    certain background. Where the box leaves no such pixel, a frame of 5 % of the shorter side starts as
    probable background. The filled box is returned where GrabCut fails or keeps less than `min_kept_fraction`
    of it. Images longer than `max_side_px` are cut at that size. The same arguments give the same mask,
    whatever ran before.
    """
    height, width = image.shape[:2]
    scale = min(1.0, max_side_px / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = image if scale == 1 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    scaled = np.asarray(box_xyxy, np.float64) * np.tile(np.array(size) / (width, height), 2)
    inside = _inside_box(scaled, small.shape[0], small.shape[1])
    mask = _cut(np.ascontiguousarray(small), inside, iterations, random_seed)
    if mask is None or mask[inside].mean() < min_kept_fraction:
        return _inside_box(np.asarray(box_xyxy, np.float64), height, width)
    if scale < 1:
        mask = cv2.resize(mask.view(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST).astype(bool)
    return mask


def _inside_box(box_xyxy: npt.NDArray[np.float64], height: int, width: int) -> Mask:
    left, top = np.clip(np.rint(box_xyxy[:2]).astype(int), 0, (width - 1, height - 1))
    right, bottom = np.clip(np.rint(box_xyxy[2:]).astype(int), (left + 1, top + 1), (width, height))
    inside = np.zeros((height, width), bool)
    inside[top:bottom, left:right] = True
    return inside


def _cut(image: npt.NDArray[np.uint8], inside: Mask, iterations: int, random_seed: int) -> Mask | None:
    """GrabCut's foreground, or None where it cannot run (too few pixels for its colour models)."""
    labels = np.where(inside, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    if inside.all():
        frame = max(1, round(FRAME_FRACTION * min(labels.shape)))
        middle = labels[frame:-frame, frame:-frame].copy()
        labels[:] = cv2.GC_PR_BGD
        labels[frame:-frame, frame:-frame] = middle
    background, foreground = (np.zeros((1, 65)) for _ in range(2))  # OpenCV's: 5 Gaussians of 13 numbers
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    cv2.setRNGSeed(random_seed)
    try:
        cv2.grabCut(image, labels, NO_RECTANGLE, background, foreground, iterations, cv2.GC_INIT_WITH_MASK)
    except cv2.error:
        return None
    finally:
        cv2.setNumThreads(threads)
    return np.asarray((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD), np.bool_)
