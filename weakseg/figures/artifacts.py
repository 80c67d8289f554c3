"""What has run, of the main pipeline and of the rows: pictures of a photo at display size, and numbers of an experiment.

An artifact is looked for below `data/` and `models/` of the root, then of `ablations/`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from weakseg.arrays import LabelMap, Photo
from weakseg.evaluation import foreground_fraction, mean_iou
from weakseg.files import (
    ArrayArchive,
    ImageArchive,
    Record,
    SaliencyRecord,
    read_class_names,
    read_counts,
    read_manifest,
    read_picture,
    read_saliency_manifest,
)
from weakseg.images import read_record
from weakseg.report import photo_at, resize_labels


@dataclass(frozen=True)
class Artifacts:
    """`root` is the repository's folder, or any with the same layout below it; pictures have at most `side_px`."""

    root: Path
    side_px: int

    def find(self, *names: str) -> Path | None:
        """The first of `root/<name>` and `root/ablations/<name>` that is there, name by name."""
        paths = (base / name for name in names for base in (self.root, self.root / "ablations"))
        return next((path for path in paths if path.exists()), None)

    def class_names(self) -> list[str]:
        return read_class_names(self.root / "data" / "classes.txt")

    def records(self, split: str) -> list[Record]:
        return read_manifest(self.root / "data" / "manifest.csv", split)

    def saliency_records(self) -> list[SaliencyRecord]:
        """The photos that the saliency network learnt from; [] where that has not run."""
        path = self.find("data/saliency_selection.csv", "data/saliency_manifest.csv")
        return [] if path is None else read_saliency_manifest(path)

    def photo(self, record: Record | SaliencyRecord) -> Photo | None:
        return photo_at(record, self.side_px)  # type: ignore[arg-type]

    def whole_photo(self, record: Record | SaliencyRecord) -> Photo:
        return read_record(record)

    def has(self, name: str) -> bool:
        """Whether there is an archive of pictures `data/<name>.zip`."""
        return self.find(f"data/{name}.zip") is not None

    def map(self, name: str, record: Record | SaliencyRecord) -> LabelMap | None:
        """The photo's picture in `data/<name>.zip`, at display size; None where there is none."""
        path = self.find(f"data/{name}.zip")
        if path is None:
            return None
        archive = _opened(path)
        if record.image_id not in archive:
            return None
        return self.shown(read_picture(archive, record), record)  # type: ignore[arg-type]

    def shown(self, labels: LabelMap, record: Record | SaliencyRecord) -> LabelMap:
        scale = self.side_px / max(record.width, record.height, 1)
        return resize_labels(labels, max(1, round(record.height * scale)), max(1, round(record.width * scale)))

    def iou(self, experiment: str) -> dict[str, float]:
        """Mean IoU with CRF of each evaluated photo by id; {} where the experiment has not run."""
        path = self.find(f"data/evaluation/{experiment}.npz")
        if path is None:
            return {}
        archive = ArrayArchive(path)
        return {
            key.removesuffix("/iou"): float(archive[key][1])
            for key in archive.names()
            if key.endswith("/iou") and np.isfinite(archive[key][1])
        }

    def numbers(self, experiment: str) -> str:
        """`foreground 24.1 %, mIoU 50.7`, with CRF; what is missing in words."""
        path = self.find(f"data/evaluation/{experiment}.npz")
        if path is None:
            return "not run"
        confusion = read_counts(ArrayArchive(path), "crf/confusion")
        return f"fg {100 * foreground_fraction(confusion):.1f} %, mIoU {100 * mean_iou(confusion):.1f}"

    def true_foreground(self, experiments: Sequence[str]) -> str:
        """`foreground 26.6 %` of the ground truth, from any of these experiments' counts."""
        path = next((path for name in experiments if (path := self.find(f"data/evaluation/{name}.npz"))), None)
        if path is None:
            return ""
        return f"fg {100 * foreground_fraction(read_counts(ArrayArchive(path), 'crf/confusion').T):.1f} %"


@lru_cache(maxsize=64)
def _opened(path: Path) -> ImageArchive:
    return ImageArchive(path)
