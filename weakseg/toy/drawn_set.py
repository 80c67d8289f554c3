"""The built-in toy set: small drawn photos in VOC's layout, and saliency photos in MSRA's.

Every image has its own generator, seeded by (random_seed, split, index), so it does not depend on how many others
are drawn. All drawing is numpy arithmetic and Pillow's polygons, blur and JPEG coder, in one thread.
"""

from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_dilation

from weakseg.files import label_image
from weakseg.toy.categories import CLASSES, SALIENT, BoolMap, Category
from weakseg.toy.scenes import Scene, SceneStyle, draw_scene

CLASS_NAMES = tuple(category.name for category in CLASSES)


IGNORE = 255


MIN_IMAGE_PX = 48  # below, an object is only a few pixels wide and may vanish behind another


_SPLITS = {"train": 0, "val": 1, "saliency": 2}


_SALIENT_SIZE = (0.5, 0.8)


_ANNOTATORS, _JITTER_FRACTION = 3, 0.03


def write_toy(
    folder: Path,
    *,
    train_images: int,
    val_images: int,
    saliency_images: int,
    image_px: int,
    random_seed: int,
    style: SceneStyle | None = None,
) -> None:
    """Write `folder/voc` (train and val) and `folder/saliency`; the same bytes for the same arguments.

    Sides vary between 7/8 and 9/8 of `image_px`. Each split holds every class if it has at least as many images
    as there are classes. Files of an earlier run with other counts are not removed. Image-level labels are those
    of `Annotations/*.xml`; masks mark a ring of one pixel around each object as 255.

    Raises:
        ValueError: a negative count or seed, or `image_px` below 48.
    """
    if min(train_images, val_images, saliency_images, random_seed) < 0 or image_px < MIN_IMAGE_PX:
        raise ValueError(f"counts and random_seed must be >= 0 and image_px >= {MIN_IMAGE_PX}")
    style = style or SceneStyle()
    voc, saliency = folder / "voc", folder / "saliency"
    for name in ("JPEGImages", "SegmentationClass", "Annotations", "ImageSets/Segmentation"):
        (voc / name).mkdir(parents=True, exist_ok=True)
    _write_text(voc / "classes.txt", list(CLASS_NAMES))
    for split, count in (("train", train_images), ("val", val_images)):
        image_ids = [f"{split}_{index:04d}" for index in range(count)]
        for index, image_id in enumerate(image_ids):
            _write_voc_image(voc, image_id, voc_scene(random_seed, split, index, image_px, style))
        _write_text(voc / f"ImageSets/Segmentation/{split}.txt", image_ids)
    write_saliency(saliency, saliency_images, image_px, random_seed, style)


def _generator(random_seed: int, split: str, index: int) -> Generator:
    return np.random.default_rng([random_seed, _SPLITS[split], index])


def _sides(rng: Generator, image_px: int) -> tuple[int, int]:
    low, high = image_px * 7 // 8, image_px * 9 // 8
    height, width = rng.integers(low, high, 2, endpoint=True).tolist()
    return height, width


def voc_scene(random_seed: int, split: str, index: int, image_px: int, style: SceneStyle) -> Scene:
    """One to three objects; the first has class `index` modulo the number of classes, so each class occurs."""
    rng = _generator(random_seed, split, index)
    height, width = _sides(rng, image_px)
    wanted = [CLASSES[index % len(CLASSES)]]
    for _ in range(int(rng.choice(3, p=(0.35, 0.4, 0.25)))):
        wanted.append(wanted[-1] if rng.random() < 0.3 else CLASSES[int(rng.integers(len(CLASSES)))])
    size = style.alone_size if len(wanted) == 1 else style.grouped_size
    return draw_scene(rng, wanted, height, width, size, style)


def saliency_scene(random_seed: int, index: int, image_px: int, style: SceneStyle) -> Scene:
    """One large object, and in about every fourth photo a second one."""
    rng = _generator(random_seed, "saliency", index)
    height, width = _sides(rng, image_px)
    wanted: list[Category] = [SALIENT[index % len(SALIENT)]]
    if rng.random() < 0.25:
        wanted.append(SALIENT[int(rng.integers(len(SALIENT)))])
    size = _SALIENT_SIZE if len(wanted) == 1 else style.alone_size
    return draw_scene(rng, wanted, height, width, size, style)


def label_mask(scene: Scene) -> NDArray[np.uint8]:
    """Class ids (H, W), 1 = the first class; 255 on the ring of one pixel outside each object."""
    mask = np.zeros(scene.photo.shape[:2], dtype=np.uint8)
    rings = [binary_dilation(shown) & ~shown for shown in scene.visible]
    for category, shown in zip(scene.categories, scene.visible, strict=True):
        mask[shown] = CLASS_NAMES.index(category.name) + 1
    for ring in rings:  # after all objects: where two touch, both sides of the line are uncertain
        mask[ring] = IGNORE
    return mask


def box_xyxy(shown: BoolMap) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the pixels in `shown` (H, W), from 0, all inside."""
    rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])


def _annotation(image_id: str, scene: Scene) -> str:
    """VOC's XML, boxes counted from 1. An object that is hardly visible is difficult, one at the border truncated."""
    height, width = scene.photo.shape[:2]
    objects = []
    for category, shown in zip(scene.categories, scene.visible, strict=True):
        left, top, right, bottom = box_xyxy(shown)
        truncated = int(left == 0 or top == 0 or right == width - 1 or bottom == height - 1)
        difficult = int(shown.mean() < 0.01)
        corners = f"<xmin>{left + 1}</xmin><ymin>{top + 1}</ymin><xmax>{right + 1}</xmax><ymax>{bottom + 1}</ymax>"
        objects.append(
            f"  <object>\n    <name>{escape(category.name)}</name>\n    <truncated>{truncated}</truncated>\n"
            f"    <difficult>{difficult}</difficult>\n    <bndbox>{corners}</bndbox>\n  </object>\n"
        )
    size = f"<width>{width}</width><height>{height}</height><depth>3</depth>"
    head = f"  <folder>toy</folder>\n  <filename>{image_id}.jpg</filename>\n  <size>{size}</size>\n"
    return f"<annotation>\n{head}  <segmented>1</segmented>\n{''.join(objects)}</annotation>\n"


def _write_voc_image(voc: Path, image_id: str, scene: Scene) -> None:
    _write_photo(voc / "JPEGImages" / f"{image_id}.jpg", scene)
    label_image(label_mask(scene)).save(voc / "SegmentationClass" / f"{image_id}.png")
    (voc / "Annotations" / f"{image_id}.xml").write_text(_annotation(image_id, scene), encoding="utf-8", newline="\n")


def write_saliency(folder: Path, count: int, image_px: int, random_seed: int, style: SceneStyle) -> None:
    """`Imgs`, `Masks` (1 bit, for evaluation only) and `UserData/boxes.txt` in MSRA's text format."""
    for name in ("Imgs", "Masks", "UserData"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    lines = [str(count)]
    for index in range(count):
        image_id = f"salient_{index:04d}"
        scene = saliency_scene(random_seed, index, image_px, style)
        salient = np.any(scene.visible, axis=0)
        _write_photo(folder / "Imgs" / f"{image_id}.jpg", scene)
        Image.fromarray(salient).save(folder / "Masks" / f"{image_id}.png")
        height, width = salient.shape
        boxes = annotate(np.random.default_rng([random_seed, len(_SPLITS), index]), salient)
        told = " ".join("{} {} {} {};".format(*box) for box in boxes)
        lines += ["", f"Imgs\\{image_id}.jpg", f"{width} {height}", told]
    _write_text(folder / "UserData" / "boxes.txt", lines)


def annotate(rng: Generator, salient: BoolMap) -> list[list[int]]:
    """Three annotators' boxes (left, top, right, bottom): the tight one, each side off by up to 3 % of its length."""
    left, top, right, bottom = box_xyxy(salient)
    lengths = np.array([right - left, bottom - top] * 2)
    errors = rng.uniform(-_JITTER_FRACTION, _JITTER_FRACTION, (_ANNOTATORS, 4)) * lengths
    height, width = salient.shape
    boxes = np.rint(np.array([left, top, right, bottom]) + errors).astype(int)
    return [[int(value) for value in box] for box in np.clip(boxes, 0, [width - 1, height - 1] * 2)]


def _write_photo(path: Path, scene: Scene) -> None:
    Image.fromarray(scene.photo).save(path, quality=92, subsampling=0)


def _write_text(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


def contact_sheet(
    folder: Path, *, split: str = "val", rows: int = 6, columns: int = 4, cell_px: int = 128
) -> Image.Image:
    """The first photos of a split of `folder/voc` (or "saliency"), each beside its mask in VOC's colours."""
    if split == "saliency":
        photos = sorted((folder / "saliency/Imgs").glob("*.jpg"))
        masks = [folder / "saliency/Masks" / f"{photo.stem}.png" for photo in photos]
    else:
        image_ids = (folder / f"voc/ImageSets/Segmentation/{split}.txt").read_text(encoding="utf-8").split()
        photos = [folder / "voc/JPEGImages" / f"{image_id}.jpg" for image_id in image_ids]
        masks = [folder / "voc/SegmentationClass" / f"{image_id}.png" for image_id in image_ids]
    sheet = Image.new("RGB", (columns * 2 * cell_px, rows * cell_px), "white")
    for cell, pair in enumerate(list(zip(photos, masks, strict=True))[: rows * columns]):
        for side, path in enumerate(pair):
            with Image.open(path) as image:
                tile = image.convert("RGB").resize((cell_px - 2, cell_px - 2), Image.Resampling.NEAREST)
            sheet.paste(tile, ((cell % columns * 2 + side) * cell_px, cell // columns * cell_px))
    return sheet
