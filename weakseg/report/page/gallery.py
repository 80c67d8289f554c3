"""The photos of the report page and what it knows about each, as plain data ready for JSON."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from weakseg.arrays import LabelMap
from weakseg.files import Record
from weakseg.report.colours import Palette
from weakseg.report.page.layers import label_uri, photo_uri, saliency_uri
from weakseg.report.pictures import Views, spread

ImageIous = Mapping[str, Mapping[str, npt.NDArray[np.floating[Any]]]]


@dataclass(frozen=True)
class Gallery:
    """Which photos are shown, and how large. `held_out` are those of val and test, which nothing was trained on."""

    held_out: list[Record]
    train: list[Record]
    side_px: int
    num_held_out: int  # there are, shown or not


LARGEST_PX, SMALLEST_PX = 288, 112


FULL_SIZE_PICTURES = 2600  # about 10 MB; with more, each is smaller, down to SMALLEST_PX


def choose_gallery(
    records: list[Record], experiments: Sequence[str], ious: ImageIous, num_held_out: int, num_train: int
) -> Gallery:
    """All photos of val and test up to `num_held_out`, and `num_train` training photos."""
    by_split = {split: [record for record in records if record.split == split] for split in ("val", "test", "train")}
    val = choose_records(by_split["val"], ious, num_held_out)
    test = choose_records(by_split["test"], {}, num_held_out - len(val))
    train = choose_records(by_split["train"], {}, num_train)
    pictures = (2 + 2 * len(experiments)) * len([*val, *test]) + 7 * len(train)
    scale = min(1.0, float(np.sqrt(FULL_SIZE_PICTURES / max(1, pictures))))
    largest_px = max((max(record.width, record.height) for record in records), default=LARGEST_PX)
    side_px = min(largest_px, max(SMALLEST_PX, round(LARGEST_PX * scale)))
    return Gallery([*val, *test], train, side_px, len(by_split["val"]) + len(by_split["test"]))


def mean_crf_iou(ious: ImageIous, image_id: str) -> float:
    """Mean over the experiments of the image's IoU with CRF; NaN where no experiment has one."""
    values = [float(own[image_id][-1]) for own in ious.values() if image_id in own]
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")


def _first_of_each_class(records: Iterable[Record], each: int = 2) -> list[Record]:
    taken: dict[int, int] = {}
    chosen = []
    for record in records:
        if any(taken.get(label, 0) < each for label in record.labels):
            chosen.append(record)
            taken |= {label: taken.get(label, 0) + 1 for label in record.labels}
    return chosen


def choose_records(records: list[Record], ious: ImageIous, count: int) -> list[Record]:
    """At most `count` photos in the order given: the worst and best, two of each class, the rest evenly spread."""
    scored = [record for record in records if np.isfinite(mean_crf_iou(ious, record.image_id))]
    ranked = sorted(scored, key=lambda record: (mean_crf_iou(ious, record.image_id), record.image_id))
    extremes = min(count // 6, len(ranked) // 2)
    wanted = [*ranked[:extremes], *ranked[len(ranked) - extremes :], *_first_of_each_class(records)]
    wanted += [*spread(records, count), *records]
    chosen = set(list(dict.fromkeys(record.image_id for record in wanted))[:count])
    return [record for record in records if record.image_id in chosen]


def gallery_cards(
    gallery: Gallery, views: Views, experiments: Sequence[str], ious: ImageIous, palette: Palette, num_classes: int
) -> list[dict[str, Any]]:
    def uris(layers: Mapping[str, LabelMap | None]) -> dict[str, str]:
        return {name: label_uri(labels, palette) for name, labels in layers.items() if labels is not None}

    def card(record: Record) -> dict[str, Any]:
        photo, saliency = views.photo(record), views.mask("saliency", record)
        counts = {name: views.confusion(name, record, num_classes) for name in experiments}
        return {
            "id": record.image_id,
            "split": record.split,
            "tags": list(record.labels),
            "size": [record.width, record.height],
            "photo": None if photo is None else photo_uri(photo),
            "truth": uris({"truth": views.mask("ground_truth", record)}).get("truth"),
            "made": uris({"cues": views.cues(record), "seeds": views.mask("seeds", record)}),
            "saliency": None if saliency is None else saliency_uri(saliency),
            "guides": uris({rule: views.guide(rule, record) for rule in views.guides}),
            "raw": uris({name: views.raw(name, record) for name in experiments}),
            "crf": uris({name: views.crf(name, record) for name in experiments}),
            "iou": {name: _percent(own[record.image_id]) for name, own in ious.items() if record.image_id in own},
            "pixels": {name: _pairs(matrix) for name, matrix in counts.items() if matrix is not None},
        }

    return [card(record) for record in [*gallery.held_out, *gallery.train]]


def _percent(ious: npt.NDArray[np.floating[Any]]) -> list[float | None]:
    return [round(100 * float(value), 1) if np.isfinite(value) else None for value in ious]


def _pairs(confusion: npt.NDArray[np.int64]) -> list[list[int]]:
    """[true class, predicted class, pixels] of each pair that occurs."""
    return [[int(row), int(column), int(confusion[row, column])] for row, column in np.argwhere(confusion)]
