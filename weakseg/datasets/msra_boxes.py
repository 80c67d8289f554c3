"""MSRA's text format: photos with boxes of their main object by several annotators."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from weakseg.errors import UserError

Boxes = npt.NDArray[np.int64]


Line = tuple[int, str]  # its number in the file, its text


@dataclass(frozen=True, eq=False)
class MsraRecord:
    """One photo: path below the data folder with forward slashes, size, and a box per annotator (A, 4)."""

    image: str
    width: int
    height: int
    boxes_xyxy: Boxes


def read_msra_boxes(path: Path | str) -> list[MsraRecord]:
    """Reads MSRA's text format: a count, then per image a blank line, the path, `width height` and the boxes.

    Boxes are `left top right bottom;` once per annotator. Either line ending, a byte-order mark, trailing blanks and a
    missing last newline are accepted. Raises one UserError that lists every faulty line by its number.
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
        raise UserError(f"{path}: {len(problems)} errors in the list of boxes; fix them:\n  {listing}")
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
    """One image's three lines, or None if they are faulty, with the reasons in `problems`."""
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
        yield f"line {line}: {image} must be below the data folder"
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
