"""The photos of the report page and what it knows about each, as plain data ready for JSON."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from weakseg.arrays import LabelMap, Photo
from weakseg.files import Record
from weakseg.report.pictures import PALETTE, UNLABELLED, Views, spread

PHOTO_QUALITY = 72


MAX_LAYERS = 2600  # pictures of about 2 KB each on one page, so that it stays under 10 MB however many experiments


ImageIous = Mapping[str, Mapping[str, npt.NDArray[np.floating[Any]]]]


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def photo_uri(picture: Photo) -> str:
    """A lossy WebP, (H, W, 3) or grey (H, W)."""
    packed = BytesIO()
    Image.fromarray(picture).convert("RGB").save(packed, "WEBP", quality=PHOTO_QUALITY, method=4)
    return _data_uri(packed.getvalue(), "webp")


def label_uri(labels: LabelMap) -> str:
    """A palette PNG of only the colours used; `UNLABELLED` is transparent."""
    used, compact = np.unique(labels, return_inverse=True)
    image = Image.fromarray(compact.reshape(labels.shape).astype(np.uint8), mode="P")
    image.putpalette(PALETTE[used].tobytes())
    transparent = np.flatnonzero(used == UNLABELLED)
    options: dict[str, Any] = {"transparency": int(transparent[0])} if transparent.size else {}
    packed = BytesIO()
    image.save(packed, "PNG", optimize=True, **options)
    return _data_uri(packed.getvalue(), "png")


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


def _uris(layers: Mapping[str, LabelMap | None]) -> dict[str, str]:
    return {name: label_uri(labels) for name, labels in layers.items() if labels is not None}


def _card(record: Record, views: Views, experiments: Sequence[str], ious: ImageIous) -> dict[str, Any]:
    photo, saliency = views.photo(record), views.mask("saliency", record)
    return {
        "id": record.image_id,
        "split": record.split,
        "tags": list(record.labels),
        "photo": None if photo is None else photo_uri(photo),
        "truth": _uris({"truth": views.mask("ground_truth", record)}).get("truth"),
        "made": _uris({"cues": views.cues(record), "seeds": views.mask("seeds", record)}),
        "saliency": None if saliency is None else photo_uri(saliency),
        "guides": _uris({rule: views.guide(rule, record) for rule in views.guides}),
        "raw": _uris({name: views.raw(name, record) for name in experiments}),
        "crf": _uris({name: views.crf(name, record) for name in experiments}),
        "iou": {
            name: [round(100 * float(value), 1) if np.isfinite(value) else None for value in own[record.image_id]]
            for name, own in ious.items()
            if record.image_id in own
        },
    }


def gallery_cards(
    records: list[Record], views: Views, experiments: Sequence[str], ious: ImageIous, num_val: int
) -> list[dict[str, Any]]:
    """Cards of up to `num_val` val photos and a third as many train photos, fewer with very many experiments."""
    count = max(1, min(num_val, MAX_LAYERS // (6 + 2 * len(experiments))))
    by_split = {split: [record for record in records if record.split == split] for split in ("val", "train")}
    shown = choose_records(by_split["val"], ious, count) + choose_records(by_split["train"], {}, -(-count // 3))
    return [_card(record, views, experiments, ious) for record in shown]
