"""How cues, heat maps, scores and masks are stored in archives, and the readers that check them against the manifest.

A file from elsewhere, or a corrupted one, may be well-formed and still wrong: sizes, ranges and finiteness are checked
here, so no other code has to.
"""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from weakseg.arrays import LabelMap
from weakseg.errors import UserError
from weakseg.files.archives import MAX_ENTRY_BYTES, ArrayArchive, ImageArchive
from weakseg.files.label_masks import IGNORE_INDEX
from weakseg.files.manifest import Record


class Sized(Protocol):
    """A photo with its size in px, as both manifests list it."""

    @property
    def image_id(self) -> str: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...


def cue_arrays(image_id: str, cues: npt.NDArray[np.bool_]) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """(C, H, W) bool → `<id>/labels` (class ids that have a cue), `<id>/shape`, `<id>/bits` (packed rows)."""
    labels = np.flatnonzero(cues.any((1, 2))).astype(np.uint8)
    yield f"{image_id}/labels", labels
    yield f"{image_id}/shape", np.array(cues.shape, np.uint16)
    yield f"{image_id}/bits", np.packbits(cues[labels].reshape(len(labels), cues[0].size), axis=1)


def read_cues(archive: ArrayArchive, image_id: str, expected_classes: int | None = None) -> npt.NDArray[np.bool_]:
    """(C, H, W) bool of one image. Raises UserError for anything else, or another C than expected."""
    labels, shape, bits = (archive[f"{image_id}/{part}"] for part in ("labels", "shape", "bits"))
    if [part.dtype.name for part in (labels, shape, bits)] != ["uint8", "uint16", "uint8"] or shape.shape != (3,):
        raise UserError(f"{archive.path}: cues of {image_id} have the wrong types")
    if bits.ndim != 2 or labels.shape != bits.shape[:1] or (labels >= shape[0]).any() or (np.diff(labels) <= 0).any():
        raise UserError(f"{archive.path}: cues of {image_id} are inconsistent")
    num_classes, height, width = map(int, shape)
    if expected_classes not in (None, num_classes) or not (height and width):
        raise UserError(
            f"{archive.path}: cues of {image_id} have {num_classes} classes of {height}x{width} cells; "
            f"the data have {expected_classes or 'some'} classes with background"
        )
    too_large = num_classes * height * width > MAX_ENTRY_BYTES
    if too_large or bits.shape[1] * 8 < height * width or bits.shape[1] * 8 - height * width >= 8:
        raise UserError(f"{archive.path}: cues of {image_id} have the wrong length")
    cues = np.zeros((num_classes, height, width), bool)
    unpacked = np.unpackbits(bits, axis=1, count=height * width)
    cues[labels] = unpacked.reshape(-1, height, width).astype(bool)
    return cues


def map_arrays(
    image_id: str, labels: npt.NDArray[np.integer[Any]], maps: npt.NDArray[np.floating[Any]]
) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """`<id>/labels` (L,) class ids and `<id>/maps` (L, H, W) float16: cams, saliency gradients, scores."""
    yield f"{image_id}/labels", labels.astype(np.uint8)
    yield f"{image_id}/maps", maps.astype(np.float16)


def read_maps(archive: ArrayArchive, image_id: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Distinct class ids (L,) and finite maps (L, H, W) of one image. Raises UserError for anything else."""
    labels, maps = archive[f"{image_id}/labels"], archive[f"{image_id}/maps"]
    if maps.ndim != 3 or maps.dtype.kind != "f" or labels.dtype.kind not in "ui" or labels.shape != maps.shape[:1]:
        raise UserError(f"{archive.path}: maps of {image_id} are inconsistent")
    if 0 in maps.shape[1:] or not np.isfinite(maps).all():
        raise UserError(f"{archive.path}: maps of {image_id} are empty, or hold NaN or infinity")
    if labels.size and (labels.min() < 0 or labels.max() >= IGNORE_INDEX or len(np.unique(labels)) < len(labels)):
        raise UserError(f"{archive.path}: maps of {image_id} have class ids out of range or twice")
    return labels.astype(np.uint8), maps.astype(np.float32)


def read_cams(archive: ArrayArchive, record: Record) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """Class ids (L,) of the photo's own tags and their heat maps (L, h, w)."""
    labels, maps = read_maps(archive, record.image_id)
    _require(labels.tolist() == list(record.labels), archive, record, f"heat maps have classes {labels.tolist()}")
    return labels.astype(np.intp), maps


def read_gradient(archive: ArrayArchive, record: Record) -> npt.NDArray[np.float32]:
    """The class-independent map (h, w) of a photo, whose lowest values are background."""
    labels, maps = read_maps(archive, record.image_id)
    _require(labels.tolist() == [0], archive, record, f"the background map has classes {labels.tolist()}")
    return maps[0]


def proposal_arrays(image_id: str, masks: npt.NDArray[np.bool_]) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """(N, H, W) bool masks of no class → `<id>/proposals` (N, packed pixels)."""
    yield f"{image_id}/proposals", np.packbits(masks.reshape(len(masks), -1), axis=1)


def read_proposals(archive: ArrayArchive, record: Record) -> npt.NDArray[np.bool_]:
    """(N, H, W) bool masks of a photo, N perhaps 0."""
    bits, pixels = archive[f"{record.image_id}/proposals"], record.height * record.width
    fits = bits.dtype == np.uint8 and bits.ndim == 2 and 0 <= bits.shape[1] * 8 - pixels < 8
    _require(fits, archive, record, f"proposals are {bits.dtype} of shape {bits.shape}")
    _require(len(bits) * pixels <= MAX_ENTRY_BYTES, archive, record, f"has {len(bits)} proposals")
    unpacked = np.unpackbits(bits, axis=1, count=pixels)
    return unpacked.reshape(-1, record.height, record.width).astype(bool)


def gradient_arrays(image_id: str, one: npt.NDArray[np.floating[Any]]) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """A map (h, w) of no class, as `read_gradient` reads it."""
    return map_arrays(image_id, np.zeros(1, np.uint8), one[None])


def _require(holds: bool, archive: ArrayArchive | ImageArchive, record: Sized, found: str) -> None:
    if not holds:
        of = f"{record.width}x{record.height} px" + (
            f", tags {list(record.labels)}" if isinstance(record, Record) else ""
        )
        raise UserError(f"{archive.path}: {record.image_id}: {found}; the manifest's photo: {of}. Regenerate the file")


def read_picture(
    archive: ImageArchive, record: Sized, classes: Collection[int] | None = None, ignored: bool = True
) -> LabelMap:
    """A photo's (H, W) uint8 map at its own size; with `classes`, only these class ids are allowed, and 255 if
    `ignored`."""
    values = archive[record.image_id]
    height, width = values.shape
    _require((height, width) == (record.height, record.width), archive, record, f"has {width}x{height} px")
    if classes is not None:
        allowed = np.zeros(256, np.bool_)
        allowed[[*classes]] = True
        allowed[IGNORE_INDEX] = ignored
        wrong = [] if allowed[values].all() else np.unique(values[~allowed[values]]).tolist()
        _require(not wrong, archive, record, f"holds class ids {wrong[:5]}")
    return values


def open_archive(path: Path) -> ArrayArchive | ImageArchive:
    return ArrayArchive(path) if path.suffix == ".npz" else ImageArchive(path)


def read_target(archive: ArrayArchive | ImageArchive, record: Record, num_classes: int) -> LabelMap:
    """(H, W) class ids on the archive's own grid; 255 = unknown."""
    if isinstance(archive, ImageArchive):
        return read_picture(archive, record, range(num_classes))
    cues = read_cues(archive, record.image_id, num_classes)
    return np.where(cues.any(0), cues.argmax(0), IGNORE_INDEX).astype(np.uint8)


def read_counts(archive: ArrayArchive, key: str, num_classes: int | None = None) -> npt.NDArray[np.int64]:
    """A confusion matrix (C, C) of pixel counts, of any C if none is given."""
    counts = archive[key]
    side = num_classes or len(counts) if counts.ndim else 0
    if counts.shape != (side, side) or counts.dtype != np.int64 or (counts < 0).any():
        found = f"{counts.dtype} of shape {counts.shape}"
        raise UserError(f"{archive.path}: {key} is {found}, not counts of {side}x{side} classes; run `dvc repro`")
    return np.asarray(counts, np.int64)


def has_target(archive: ArrayArchive | ImageArchive, image_id: str) -> bool:
    return image_id + ("/labels" if isinstance(archive, ArrayArchive) else "") in archive


def check_complete(archive: ArrayArchive | ImageArchive, records: list[Record]) -> None:
    """Raises UserError listing the photos that are missing from the archive."""
    missing = [record.image_id for record in records if not has_target(archive, record.image_id)]
    if missing:
        shown = ", ".join(missing[:10]) + (", …" if len(missing) > 10 else "")
        raise UserError(f"{archive.path}: nothing for {len(missing)} training photos ({shown}); run `dvc repro`")
