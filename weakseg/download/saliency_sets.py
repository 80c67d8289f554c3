"""MSRA-B and ECSSD: photos with masks of their main object, and boxes made from the masks in MSRA's text format."""

from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
from PIL import Image

from weakseg.download.sources import SaliencySet, Sources
from weakseg.download.transfer import fetch
from weakseg.download.unpacking import unpack
from weakseg.errors import UserError
from weakseg.files import atomic_folder

PHOTOS, MASKS = "Imgs", "Masks"


def make_msra(sources: Sources) -> Path:
    """`sources.msra.folder`: MSRA-B's photos in Imgs, masks (1 bit, for evaluation only) in Masks, and the boxes."""
    return _make(sources.msra, Path(sources.archives))


def make_ecssd(sources: Sources) -> Path:
    """The same of ECSSD."""
    return _make(sources.ecssd, Path(sources.archives))


def _make(wanted: SaliencySet, archives: Path) -> Path:
    fetched = [fetch(name, source, archives) for name, source in wanted.files.items()]
    with atomic_folder(Path(wanted.folder)) as folder:
        for archive, source in zip(fetched, wanted.files.values(), strict=True):
            unpack(archive, folder, _place, source.unpacked_bytes)
        write_boxes(folder, wanted.boxes)
    return Path(wanted.folder)


def _place(name: PurePosixPath) -> str | None:
    """Photos are JPEGs and masks PNGs in both sets; hidden files are packers' own."""
    kind: Callable[[str], str | None] = {".jpg": PHOTOS, ".png": MASKS}.get
    folder = kind(name.suffix.lower())
    return None if folder is None or name.name.startswith(".") else f"{folder}/{name.stem}{name.suffix.lower()}"


def write_boxes(folder: Path, boxes: str) -> None:
    """`folder/boxes` in MSRA's text format, one annotator: the box of each mask. Masks become 1-bit.

    Photos without a mask, or with an empty one, get no box and so are not used. Raises UserError where none is left.
    """
    blocks = []
    for photo in sorted((folder / PHOTOS).glob("*.jpg")):
        mask = _mask(folder / MASKS / f"{photo.stem}.png")
        if mask is not None and mask.any():
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            box = f"{columns[0]} {rows[0]} {columns[-1] + 1} {rows[-1] + 1};"  # right and bottom are exclusive
            blocks.append(f"\n{PHOTOS}\\{photo.name}\n{mask.shape[1]} {mask.shape[0]}\n{box}\n")
    if not blocks:
        raise UserError(f"{folder.name}: the archives hold no photo with a mask")
    (folder / boxes).parent.mkdir(parents=True, exist_ok=True)
    (folder / boxes).write_text(f"{len(blocks)}\n{''.join(blocks)}", encoding="utf-8", newline="\n")


def _mask(path: Path) -> npt.NDArray[np.bool_] | None:
    """Read, thresholded in the middle, and written back as one bit; None where there is none."""
    if not path.is_file():
        return None
    try:
        with Image.open(path) as image:
            mask = np.asarray(image.convert("L")) > 127
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path.name}: not a picture ({error})") from None
    Image.fromarray(mask).save(path)
    return mask
