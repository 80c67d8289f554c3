"""Class names: one per line, background first, so the line number is the class id."""

from collections.abc import Iterable
from pathlib import Path

from weakseg.files.atomic import read_text, write_text


def write_class_names(path: Path, names: Iterable[str]) -> None:
    """One class name per line, background first: line number = class id."""
    write_text(path, "".join(f"{name}\n" for name in names))


def read_class_names(path: Path) -> list[str]:
    return read_text(path).splitlines()


BACKGROUND = "background"


VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
