"""Photos and tiles of a figure: which photos, and how a map is shown."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from weakseg.arrays import LabelMap, Photo
from weakseg.figures.artifacts import Artifacts
from weakseg.figures.drawing import Tile
from weakseg.files import Record, SaliencyRecord
from weakseg.report import spread


@dataclass(frozen=True)
class Wanted:
    """How many photos a figure shows, or which."""

    count: int
    image_ids: tuple[str, ...] = ()


def chosen(records: Sequence[Record] | Sequence[SaliencyRecord], wanted: Wanted, seed: int | None = None) -> list:  # type: ignore[type-arg]
    """The named photos; else some at even distances or, with `seed`, at random. The same for every column."""
    if wanted.image_ids:
        return [record for record in records if record.image_id in wanted.image_ids]
    if seed is None:
        return spread(list(records), wanted.count)
    order = np.random.default_rng(seed).permutation(len(records))
    return [records[index] for index in order[: wanted.count]]


def by_iou(records: Sequence[Record], ious: dict[str, float], order: str, seed: int) -> list[Record]:
    known = [record for record in records if record.image_id in ious]
    if order == "random":
        return [known[index] for index in np.random.default_rng(seed).permutation(len(known))]
    return sorted(known, key=lambda record: ious[record.image_id], reverse=order == "best")


def tags_of(artifacts: Artifacts, record: Record, first: bool = False) -> str:
    names = artifacts.class_names()
    words = [names[label] if label < len(names) else str(label) for label in record.labels]
    return ", ".join(words[:1] if first else words) or record.image_id


def layer(artifacts: Artifacts, name: str, record: Record) -> Tile:
    found = artifacts.map(name, record)
    return grey(found) if name == "saliency" else found


def state_of(artifacts: Artifacts, name: str) -> str:
    return "" if artifacts.has(name) else "not run"


def grey(values: LabelMap | None) -> Photo | None:
    return None if values is None else np.repeat(values[..., None], 3, axis=2)


def black_and_white(mask: LabelMap | None) -> Photo | None:
    return None if mask is None else grey(np.where(mask == 1, 255, np.where(mask == 255, 128, 0)).astype(np.uint8))


def boxed(photo: Photo | None, record: SaliencyRecord) -> Photo | None:
    if photo is None:
        return None
    picture = Image.fromarray(photo)
    down, across = photo.shape[0] / record.height, photo.shape[1] / record.width
    corners = (record.left * across, record.top * down, record.right * across - 1, record.bottom * down - 1)
    ImageDraw.Draw(picture).rectangle(corners, outline=(230, 30, 30), width=2)
    return np.asarray(picture)
