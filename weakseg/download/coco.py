"""COCO 2014: photos, annotations, and masks drawn from them."""

from collections import defaultdict
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_masks
from tqdm import tqdm

from weakseg.download.sources import Sources
from weakseg.download.transfer import fetch
from weakseg.download.unpacking import unpack
from weakseg.errors import UserError
from weakseg.files import atomic_folder, label_image, read_json

ANNOTATIONS = "annotations"
MASKS = "masks"


def make_coco14(sources: Sources) -> Path:
    """The folder `sources.coco14.folder`: train2014, val2014, annotations/instances_*.json, masks/<split>/<photo>.png."""
    archives, wanted = Path(sources.archives), sources.coco14
    fetched = [fetch(name, source, archives) for name, source in wanted.files.items()]
    with atomic_folder(Path(wanted.folder)) as folder:
        for archive, source in zip(fetched, wanted.files.values(), strict=True):
            unpack(archive, folder, _place, source.unpacked_bytes)
        for path in sorted((folder / ANNOTATIONS).glob("instances_*.json")):
            draw_masks(path, folder / MASKS / path.stem.removeprefix("instances_"))
    return Path(wanted.folder)


def _place(name: PurePosixPath) -> str | None:
    if len(name.parts) != 2:
        return None
    is_photo = name.suffix == ".jpg" and not name.name.startswith(".")
    is_wanted = name.parts[0] == ANNOTATIONS and name.match("instances_*.json")
    return name.as_posix() if is_photo or is_wanted else None


def draw_masks(annotations: Path, out: Path) -> None:
    """`out/<photo>.png` of each photo: class ids 1.. in the order of COCO's category ids, 0 where no object is.

    Where objects overlap, the smaller lies on top. A crowd takes its class like an object.
    """
    content = read_json(annotations)
    try:
        ids = {number: index for index, number in enumerate(sorted(c["id"] for c in content["categories"]), start=1)}
        objects: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for item in content["annotations"]:
            objects[item["image_id"]].append(item)
        out.mkdir(parents=True)
        for image in tqdm(content["images"], f"masks of {out.name}", unit="mask", disable=None):
            mask = _draw(objects[image["id"]], ids, image["height"], image["width"])
            label_image(mask).save(out / f"{Path(image['file_name']).stem}.png")
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{annotations.name}: not COCO's annotations ({type(error).__name__}: {error})") from None


def _draw(objects: list[dict[str, Any]], ids: dict[int, int], height: int, width: int) -> npt.NDArray[np.uint8]:
    mask = np.zeros((height, width), np.uint8)
    for item in sorted(objects, key=lambda item: -item["area"]):
        mask[_shape(item["segmentation"], height, width)] = ids[item["category_id"]]
    return mask


def _shape(segmentation: Any, height: int, width: int) -> npt.NDArray[np.bool_]:
    """Of polygons, or of run lengths, compressed or not (crowds)."""
    if isinstance(segmentation, list):
        code = coco_masks.merge(coco_masks.frPyObjects(segmentation, height, width))
    else:
        counts = segmentation["counts"]
        code = coco_masks.frPyObjects(segmentation, height, width) if isinstance(counts, list) else segmentation
    shape = np.asarray(coco_masks.decode(code), bool)
    if shape.shape != (height, width):
        raise ValueError(f"an object of {shape.shape} on a photo of {(height, width)}")
    return shape
