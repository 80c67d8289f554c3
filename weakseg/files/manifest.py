"""The manifests: CSV files that list the photos of a data set, or of a saliency set with their boxes."""

import csv
import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

from weakseg.errors import UserError
from weakseg.files.label_masks import IGNORE_INDEX
from weakseg.files.tables import read_table, write_table

SPLITS = ("train", "val", "test")
CHECK = "check"  # a column: checksum of the row and all later rows, so the first one covers the whole file
Row = TypeVar("Row", "Record", "SaliencyRecord")


@dataclass(frozen=True)
class Record:
    """One photo of the data set.

    `labels` are the foreground class ids (1..C-1) of its tags; `mask` is empty without ground truth. `sha256` is the
    photo's, so a changed photo changes the manifest, and everything that depends on it reruns.
    """

    image_id: str
    split: str
    image: str
    mask: str
    width: int
    height: int
    labels: tuple[int, ...]
    sha256: str


@dataclass(frozen=True)
class SaliencyRecord:
    """One photo of the saliency set with the average of its annotators' boxes (pixels, right/bottom exclusive)."""

    image_id: str
    image: str
    mask: str
    width: int
    height: int
    left: float
    top: float
    right: float
    bottom: float
    sha256: str


def write_manifest(path: Path, records: Iterable[Record]) -> None:
    _write(path, [{**asdict(record), "labels": " ".join(map(str, record.labels))} for record in records], Record)


def read_manifest(path: Path, *splits: str, num_classes: int = IGNORE_INDEX) -> list[Record]:
    """All records of `splits` (of every split if none is named), in the manifest's order.

    Raises UserError for a manifest that was changed after it was written, or that has impossible content, such as a tag
    outside 1..num_classes - 1.
    """
    records = _read(path, Record, _record, "dvc repro prepare")
    wrong = [record.image_id for record in records if any(label >= num_classes for label in record.labels)]
    if wrong:
        raise UserError(
            f"{path}: tags outside the {num_classes} classes ({', '.join(wrong[:5])}); run `dvc repro prepare`"
        )
    return [record for record in records if not splits or record.split in splits]


def write_saliency_manifest(path: Path, records: Iterable[SaliencyRecord]) -> None:
    _write(path, [asdict(record) for record in records], SaliencyRecord)


def read_saliency_manifest(path: Path) -> list[SaliencyRecord]:
    """All records. Raises UserError as `read_manifest` does."""
    return _read(path, SaliencyRecord, _saliency_record, "dvc repro prepare_saliency")


def _write(path: Path, rows: list[dict[str, Any]], kind: type[Record] | type[SaliencyRecord]) -> None:
    columns = [field.name for field in fields(kind)]
    checks = _checks([{name: str(row[name]) for name in columns} for row in rows], columns)
    write_table(path, ({**row, CHECK: check} for row, check in zip(rows, checks, strict=True)), [*columns, CHECK])


def _read(path: Path, kind: type[Row], parse: Callable[[Mapping[str, str]], Row], remedy: str) -> list[Row]:
    columns = [field.name for field in fields(kind)]
    rows = read_table(path, columns)
    try:
        if rows and CHECK in rows[0] and [row[CHECK] for row in rows] != _checks(rows, columns):
            raise ValueError("it was changed after it was written")
        records = [parse(row) for row in rows]
        if len({record.image_id for record in records}) < len(records):
            raise ValueError("an image id is listed twice")
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: damaged manifest ({error}); run `{remedy}`") from None
    return records


def _checks(rows: list[Any], columns: list[str]) -> list[str]:
    """For each row, 16 digits that depend on it and on all later rows."""
    check, found = "", []
    for row in reversed(rows):
        text = StringIO()
        csv.writer(text).writerow([*(row[name] for name in columns), check])
        check = hashlib.sha256(text.getvalue().encode()).hexdigest()[:16]
        found.append(check)
    return found[::-1]


def _record(row: Mapping[str, str]) -> Record:
    if row["split"] not in SPLITS:
        raise ValueError(f"split {row['split']!r} of {row['image_id']}")
    labels = tuple(map(int, row["labels"].split()))
    if any(not 0 < label < IGNORE_INDEX for label in labels) or len(set(labels)) < len(labels):
        raise ValueError(f"labels {row['labels']!r} of {row['image_id']}")
    return Record(
        row["image_id"], row["split"], row["image"], row["mask"], *_size(row), labels, row["sha256"]
    )  # fmt: skip


def _saliency_record(row: Mapping[str, str]) -> SaliencyRecord:
    left, top, right, bottom = (float(row[side]) for side in ("left", "top", "right", "bottom"))
    if not all(map(math.isfinite, (left, top, right, bottom))) or left >= right or top >= bottom:
        raise ValueError(f"box of {row['image_id']}")
    return SaliencyRecord(
        row["image_id"], row["image"], row["mask"], *_size(row), left, top, right, bottom, row["sha256"]
    )  # fmt: skip


def _size(row: Mapping[str, str]) -> tuple[int, int]:
    width, height = int(row["width"]), int(row["height"])
    if width < 1 or height < 1:
        raise ValueError(f"size {width}x{height} of {row['image_id']}")
    return width, height
