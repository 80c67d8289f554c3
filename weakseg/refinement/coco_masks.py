"""Masks in COCO's run-length encoding, without pycocotools, and the masks that another tool left for a photo."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from weakseg.arrays import Mask
from weakseg.errors import UserError
from weakseg.files import Record
from weakseg.images import read_mask

MOST_PROPOSALS = 10_000  # of a photo


def decoded(counts: str | Sequence[int], height: int, width: int) -> Mask:
    """(H, W) bool of run lengths, zeros first, down the columns one after the other.

    counts: a list of numbers, or COCO's text: five bits a character, least first, from the third on as differences
    from the number two before. Raises ValueError where they do not fill the mask.

    Example:
        >>> decoded([1, 2, 1], 2, 2).astype(int)
        array([[0, 1],
               [1, 0]])
    """
    runs = _numbers(counts) if isinstance(counts, str) else [*counts]
    if not all(type(run) is int and 0 <= run <= height * width for run in runs) or sum(runs) != height * width:
        raise ValueError(f"run lengths do not fill {width}x{height} px")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(width, height).T


def _numbers(text: str) -> list[int]:
    numbers: list[int] = []
    value = shift = 0
    for letter in text.encode():
        piece = letter - 48
        if not 0 <= piece < 64 or shift > 60:
            raise ValueError("no run lengths of COCO's")
        value |= (piece & 31) << shift
        shift += 5
        if not piece & 32:
            value -= (1 << shift) if piece & 16 else 0
            numbers.append(value + (numbers[-2] if len(numbers) > 2 else 0))
            value = shift = 0
    return numbers


@dataclass(frozen=True)
class ForeignProposals:
    """A photo's masks (N, H, W) bool from a folder: see `proposals_of`."""

    folder: Path

    def __call__(self, record: Record) -> npt.NDArray[np.bool_]:
        return proposals_of(self.folder, record)


def proposals_of(folder: Path, record: Record) -> npt.NDArray[np.bool_]:
    """(N, H, W): `<image_id>.json`, a list of masks as SAM's tool writes it (each with `segmentation`), or a folder
    `<image_id>` of PNGs, foreground where not 0. Raises UserError naming the file that is missing or wrong."""
    path = folder / f"{record.image_id}.json"
    masks = list(_from_json(path, record) if path.is_file() else _from_folder(folder / record.image_id, record))
    return np.stack(masks) if masks else np.zeros((0, record.height, record.width), np.bool_)


def _from_json(path: Path, record: Record) -> Iterator[Mask]:
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        entries = content["annotations"] if isinstance(content, dict) else content
        if not isinstance(entries, list) or len(entries) > MOST_PROPOSALS:
            raise ValueError(f"is no list of at most {MOST_PROPOSALS} masks")
        for entry in entries:
            mask = entry.get("segmentation", entry)
            height, width = mask["size"]
            if (height, width) != (record.height, record.width):
                raise ValueError(f"a mask has {width}x{height} px, the photo {record.width}x{record.height}")
            yield decoded(mask["counts"], height, width)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: not masks in COCO's run lengths ({type(error).__name__}: {error})") from None


def _from_folder(folder: Path, record: Record) -> Iterator[Mask]:
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder, and no {folder.name}.json beside it: what are the photo's proposals?"
        )
    for path in sorted(folder.glob("*.png")):
        mask = read_mask(path, 256)
        if mask.shape != (record.height, record.width):
            raise UserError(f"{path}: has {mask.shape[1]}x{mask.shape[0]} px, the photo {record.width}x{record.height}")
        yield np.asarray(mask > 0, np.bool_)
