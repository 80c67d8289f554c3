"""The manifests: CSV files that list the photos of a data set, or of a saliency set with their boxes."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from weakseg.errors import UserError
from weakseg.files.tables import read_table, write_table


@dataclass(frozen=True)
class Record:
    """One photo of the data set.

    `labels` are the foreground class ids (1..C-1) of its tags; `mask` is empty where there is no ground truth.
    `sha256` is the photo's, so that a changed photo changes the manifest and thereby all that depends on it.
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
    rows = ({**asdict(record), "labels": " ".join(map(str, record.labels))} for record in records)
    write_table(path, rows, [field.name for field in fields(Record)])


def read_manifest(path: Path, *splits: str) -> list[Record]:
    """All records of `splits` (of every split if none is named), in the manifest's order."""
    rows = read_table(path, [field.name for field in fields(Record)])
    try:
        records = [
            Record(
                row["image_id"], row["split"], row["image"], row["mask"], int(row["width"]), int(row["height"]),
                tuple(map(int, row["labels"].split())), row["sha256"],
            )
            for row in rows
        ]  # fmt: skip
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: damaged manifest ({error}); run `dvc repro prepare`") from None
    return [record for record in records if not splits or record.split in splits]


def write_saliency_manifest(path: Path, records: Iterable[SaliencyRecord]) -> None:
    write_table(path, (asdict(record) for record in records), [field.name for field in fields(SaliencyRecord)])


def read_saliency_manifest(path: Path) -> list[SaliencyRecord]:
    rows = read_table(path, [field.name for field in fields(SaliencyRecord)])
    try:
        return [
            SaliencyRecord(
                row["image_id"], row["image"], row["mask"], int(row["width"]), int(row["height"]),
                float(row["left"]), float(row["top"]), float(row["right"]), float(row["bottom"]), row["sha256"],
            )
            for row in rows
        ]  # fmt: skip
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: damaged manifest ({error}); run `dvc repro prepare_saliency`") from None
