"""VOC 2012 with SBD's masks, in VOC's layout."""

from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
from scipy.io import loadmat
from tqdm import tqdm

from weakseg.download.sources import Sources
from weakseg.download.transfer import fetch
from weakseg.download.unpacking import unpack
from weakseg.errors import UserError
from weakseg.files import IGNORE_INDEX, VOC_CLASSES, atomic_folder, label_image

LISTS = Path("ImageSets", "Segmentation")
WANTED = ("Annotations", "ImageSets", "JPEGImages", "SegmentationClass", "SegmentationObject")


def make_voc12(sources: Sources) -> Path:
    """The folder `sources.voc12.folder`: VOC's trainval, SBD's masks in SegmentationClassAug, the list trainaug.

    trainaug is SBD ∪ VOC's train − VOC's val (10 582 photos). A photo that VOC has a mask of keeps VOC's.
    Raises UserError where an archive cannot be had or holds something else; nothing is made then.
    """
    archives, wanted = Path(sources.archives), sources.voc12
    voc, sbd = (fetch(name, source, archives) for name, source in wanted.files.items())
    limits = [source.unpacked_bytes for source in wanted.files.values()]
    with atomic_folder(Path(wanted.folder)) as folder:
        unpack(voc, folder, _below(PurePosixPath("VOCdevkit/VOC2012"), WANTED), limits[0])
        matrices = folder / ".sbd"
        unpack(sbd, matrices, _below(PurePosixPath("benchmark_RELEASE/dataset"), ("cls",)), limits[1])
        _write_trainaug(folder, {path.stem for path in matrices.rglob("*.mat")}, wanted.trainaug, sbd)
        _write_masks(sorted(matrices.rglob("*.mat")), folder)
        for path in matrices.rglob("*.mat"):
            path.unlink()
        (matrices / "cls").rmdir()
        matrices.rmdir()
    return Path(wanted.folder)


def _below(top: PurePosixPath, folders: tuple[str, ...]) -> Callable[[PurePosixPath], str | None]:
    """Places of the members below some folders of `top`, without `top`."""

    def place(name: PurePosixPath) -> str | None:
        if not name.is_relative_to(top):
            return None
        inside = name.relative_to(top)
        return inside.as_posix() if len(inside.parts) > 1 and inside.parts[0] in folders else None

    return place


def _write_trainaug(folder: Path, sbd: set[str], promised: int, archive: Path) -> None:
    train, val = (set(_read_list(folder / LISTS / f"{name}.txt")) for name in ("train", "val"))
    trainaug = sorted((sbd | train) - val)
    if len(trainaug) != promised:
        raise UserError(
            f"{archive}: with {len(sbd)} masks of SBD, VOC's train ({len(train)}) and val ({len(val)}), trainaug has "
            f"{len(trainaug)} photos, not {promised}; the archives are not what they should be"
        )
    (folder / LISTS / "trainaug.txt").write_text("".join(f"{name}\n" for name in trainaug), encoding="utf-8")


def _read_list(path: Path) -> list[str]:
    if not path.is_file():
        raise UserError(f"{path.name}: not in VOC's archive")
    return path.read_text(encoding="utf-8").split()


def _write_masks(matrices: list[Path], folder: Path) -> None:
    """SBD's class masks as palette pictures, for photos that VOC has no mask of."""
    out = folder / "SegmentationClassAug"
    out.mkdir()
    for path in tqdm(matrices, "SBD's masks", unit="mask", disable=None):
        if not (folder / "SegmentationClass" / f"{path.stem}.png").exists():
            label_image(read_sbd_mask(path)).save(out / f"{path.stem}.png")


def read_sbd_mask(path: Path) -> npt.NDArray[np.uint8]:
    """(H, W) class ids of SBD's `cls/<id>.mat`, 255 = ignore. Raises UserError for any other file."""
    try:
        mask = np.asarray(loadmat(path, variable_names=["GTcls"])["GTcls"][0]["Segmentation"][0])
    except Exception as error:  # loadmat's reader raises whatever a damaged file leads it to
        raise UserError(f"{path.name}: not a mask of SBD ({type(error).__name__}: {error})") from None
    known = (mask >= 0) & ((mask <= len(VOC_CLASSES)) | (mask == IGNORE_INDEX)) if mask.dtype.kind in "iu" else False
    if mask.ndim != 2 or not np.all(known):
        raise UserError(f"{path.name}: not a mask of SBD (class ids 0 to {len(VOC_CLASSES)}, 255)")
    return mask.astype(np.uint8)
