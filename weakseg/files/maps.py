"""How cues, heat maps and scores are stored in archives of arrays."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from weakseg.arrays import LabelMap
from weakseg.errors import UserError
from weakseg.files.archives import MAX_ENTRY_BYTES, ArrayArchive, ImageArchive
from weakseg.files.label_masks import IGNORE_INDEX
from weakseg.files.manifest import Record


def cue_arrays(image_id: str, cues: npt.NDArray[np.bool_]) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """(C, H, W) bool → `<id>/labels` (class ids that have a cue), `<id>/shape`, `<id>/bits` (packed rows)."""
    labels = np.flatnonzero(cues.any((1, 2))).astype(np.uint8)
    yield f"{image_id}/labels", labels
    yield f"{image_id}/shape", np.array(cues.shape, np.uint16)
    yield f"{image_id}/bits", np.packbits(cues[labels].reshape(len(labels), cues[0].size), axis=1)


def read_cues(archive: ArrayArchive, image_id: str) -> npt.NDArray[np.bool_]:
    """(C, H, W) bool of one image."""
    labels, shape, bits = (archive[f"{image_id}/{part}"] for part in ("labels", "shape", "bits"))
    if [part.dtype.name for part in (labels, shape, bits)] != ["uint8", "uint16", "uint8"] or shape.shape != (3,):
        raise UserError(f"{archive.path}: cues of {image_id} are of the wrong kind")
    if bits.ndim != 2 or labels.shape != bits.shape[:1] or (labels >= shape[0]).any():
        raise UserError(f"{archive.path}: cues of {image_id} are inconsistent")
    num_classes, height, width = map(int, shape)
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
    """Class ids (L,) and maps (L, H, W) of one image."""
    labels, maps = archive[f"{image_id}/labels"], archive[f"{image_id}/maps"]
    if maps.ndim != 3 or maps.dtype.kind != "f" or labels.dtype.kind not in "ui" or labels.shape != maps.shape[:1]:
        raise UserError(f"{archive.path}: maps of {image_id} are inconsistent")
    return labels.astype(np.uint8), maps.astype(np.float32)


def open_archive(path: Path) -> ArrayArchive | ImageArchive:
    return ArrayArchive(path) if path.suffix == ".npz" else ImageArchive(path)


def read_target(archive: ArrayArchive | ImageArchive, image_id: str) -> LabelMap:
    """(H, W) class ids on the archive's own grid; 255 where nothing is known."""
    if isinstance(archive, ImageArchive):
        return archive[image_id]
    cues = read_cues(archive, image_id)
    return np.where(cues.any(0), cues.argmax(0), IGNORE_INDEX).astype(np.uint8)


def has_target(archive: ArrayArchive | ImageArchive, image_id: str) -> bool:
    return image_id + ("/labels" if isinstance(archive, ArrayArchive) else "") in archive


def check_complete(archive: ArrayArchive | ImageArchive, records: list[Record]) -> None:
    """Raises UserError listing the photos that the archive knows nothing of."""
    missing = [record.image_id for record in records if not has_target(archive, record.image_id)]
    if missing:
        shown = ", ".join(missing[:10]) + (", …" if len(missing) > 10 else "")
        raise UserError(f"{archive.path}: nothing for {len(missing)} training photos ({shown}); run `dvc repro`")
