"""The toy set: the same bytes each time, VOC's and MSRA's layouts, tags that agree with the masks."""

import hashlib
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_dilation

from weakseg.files.label_masks import voc_palette
from weakseg.toy.categories import CLASSES, SALIENT, Category
from weakseg.toy.drawn_set import (
    CLASS_NAMES,
    annotate,
    box_xyxy,
    contact_sheet,
    label_mask,
    voc_scene,
    write_toy,
)
from weakseg.toy.scenes import Scene, SceneStyle, body_colour

TRAIN, VAL, SALIENCY, IMAGE_PX = 16, 9, 10, 64


def write(folder: Path, *, train: int = TRAIN, random_seed: int = 3) -> Path:
    write_toy(
        folder,
        train_images=train,
        val_images=VAL,
        saliency_images=SALIENCY,
        image_px=IMAGE_PX,
        random_seed=random_seed,
    )
    return folder


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def ids(folder: Path, split: str) -> list[str]:
    return (folder / f"voc/ImageSets/Segmentation/{split}.txt").read_text().split()


def mask_of(folder: Path, image_id: str) -> NDArray[np.uint8]:
    with Image.open(folder / f"voc/SegmentationClass/{image_id}.png") as image:
        assert image.mode == "P"
        return np.asarray(image)


def tagged(folder: Path, image_id: str) -> list[tuple[str, tuple[int, ...]]]:
    root = ElementTree.parse(folder / f"voc/Annotations/{image_id}.xml").getroot()
    found = []
    for element in root.iter("object"):
        corners = tuple(int(element.findtext(f"bndbox/{name}", "")) for name in ("xmin", "ymin", "xmax", "ymax"))
        assert element.findtext("difficult") in ("0", "1")
        found.append((element.findtext("name", ""), corners))
    return found


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("toy"))


def test_same_arguments_give_the_same_bytes(toy: Path, tmp_path: Path) -> None:
    assert digests(write(tmp_path)) == digests(toy)


def test_another_seed_gives_other_photos(toy: Path, tmp_path: Path) -> None:
    first, second = digests(toy), digests(write(tmp_path, random_seed=4))
    photos = [name for name in first if name.endswith(".jpg")]
    assert photos and all(first[name] != second[name] for name in photos)


def test_a_photo_does_not_depend_on_how_many_others_there_are(toy: Path, tmp_path: Path) -> None:
    all_of_them, fewer = digests(toy), digests(write(tmp_path, train=2))
    assert {name: all_of_them[name] for name in fewer if not name.endswith("train.txt")} == {
        name: digest for name, digest in fewer.items() if not name.endswith("train.txt")
    }


def test_layout_is_vocs_and_msras(toy: Path) -> None:
    train, val = ids(toy, "train"), ids(toy, "val")
    assert len(train) == TRAIN and len(val) == VAL
    salient = [path.stem for path in (toy / "saliency/Imgs").glob("*.jpg")]
    assert len(salient) == SALIENCY
    assert len({*train, *val, *salient}) == TRAIN + VAL + SALIENCY
    expected = {"voc/classes.txt", "saliency/UserData/boxes.txt"}
    expected |= {f"voc/ImageSets/Segmentation/{split}.txt" for split in ("train", "val")}
    kinds = {"JPEGImages": "jpg", "SegmentationClass": "png", "Annotations": "xml"}
    expected |= {f"voc/{kind}/{name}.{kinds[kind]}" for kind in kinds for name in train + val}
    expected |= {f"saliency/{kind}" for name in salient for kind in (f"Imgs/{name}.jpg", f"Masks/{name}.png")}
    assert set(digests(toy)) == expected
    assert (toy / "voc/classes.txt").read_text().split("\n") == [*CLASS_NAMES, ""]


def test_every_class_is_in_train_and_in_val(toy: Path) -> None:
    assert len(CLASS_NAMES) >= 6
    for split in ("train", "val"):
        seen = {name for image_id in ids(toy, split) for name, _ in tagged(toy, image_id)}
        assert seen == set(CLASS_NAMES)


def test_salient_categories_are_other_ones(toy: Path) -> None:
    salient = {category.name for category in SALIENT}
    assert not salient & set(CLASS_NAMES)
    assert len(salient) >= 6


def test_tags_agree_with_the_masks(toy: Path) -> None:
    for image_id in ids(toy, "train") + ids(toy, "val"):
        mask, objects = mask_of(toy, image_id), tagged(toy, image_id)
        names = {CLASS_NAMES[value - 1] for value in np.unique(mask).tolist() if value not in (0, 255)}
        assert names == {name for name, _ in objects}
        assert 1 <= len(objects) <= 3
        with Image.open(toy / f"voc/JPEGImages/{image_id}.jpg") as photo:
            assert photo.mode == "RGB" and (photo.height, photo.width) == mask.shape


def test_each_box_in_the_xml_holds_its_class_and_together_they_hold_all_of_it(toy: Path) -> None:
    for image_id in ids(toy, "train"):
        mask = mask_of(toy, image_id)
        uncovered = {name: mask == CLASS_NAMES.index(name) + 1 for name, _ in tagged(toy, image_id)}
        for name, (left, top, right, bottom) in tagged(toy, image_id):
            assert 1 <= left <= right <= mask.shape[1] and 1 <= top <= bottom <= mask.shape[0]
            assert (mask[top - 1 : bottom, left - 1 : right] == CLASS_NAMES.index(name) + 1).any()
            uncovered[name][top - 1 : bottom, left - 1 : right] = False
        assert not any(left_over.any() for left_over in uncovered.values())


def test_mask_ids_are_the_classes_and_255_in_vocs_colours(toy: Path) -> None:
    for image_id in ids(toy, "train"):
        values = set(np.unique(mask_of(toy, image_id)).tolist())
        assert values <= {0, 255, *range(1, len(CLASS_NAMES) + 1)}
        assert {0, 255} < values
        with Image.open(toy / f"voc/SegmentationClass/{image_id}.png") as image:
            palette = image.getpalette()
        assert palette == voc_palette().reshape(-1).tolist()


def test_border_is_one_pixel_wide_outside_and_on_both_sides_between_objects() -> None:
    left, right = np.zeros((5, 9), dtype=bool), np.zeros((5, 9), dtype=bool)
    left[1:4, 1:4], right[1:4, 4:8] = True, True
    photo = np.zeros((5, 9, 3), dtype=np.uint8)
    mask = label_mask(Scene(photo, [CLASSES[0], CLASSES[2]], [left, right]))
    x = 255
    assert mask.tolist() == [
        [0, x, x, x, x, x, x, x, 0],
        [x, 1, 1, x, x, 3, 3, 3, x],
        [x, 1, 1, x, x, 3, 3, 3, x],
        [x, 1, 1, x, x, 3, 3, 3, x],
        [0, x, x, x, x, x, x, x, 0],
    ]


def test_objects_do_not_share_pixels_and_stay_mostly_visible() -> None:
    style = SceneStyle()
    several = 0
    for index in range(40):
        scene = voc_scene(7, "train", index, 96, style)
        several += len(scene.visible) > 1
        assert np.sum(scene.visible, axis=0).max() == 1
        for category, shown in zip(scene.categories, scene.visible, strict=True):
            label = CLASS_NAMES.index(category.name) + 1
            assert (label_mask(scene)[shown] == label).sum() >= 20
    assert 15 <= several <= 35


def test_sides_vary_around_image_px(toy: Path) -> None:
    sides = [side for image_id in ids(toy, "train") for side in mask_of(toy, image_id).shape]
    assert min(sides) >= IMAGE_PX * 7 // 8 and max(sides) <= IMAGE_PX * 9 // 8
    assert len(set(sides)) > 4


def read_boxes(folder: Path) -> dict[str, tuple[tuple[int, int], list[list[int]]]]:
    lines = (folder / "saliency/UserData/boxes.txt").read_text().split("\n")
    assert lines[0] == str(SALIENCY) and lines[-1] == "" and len(lines) == 2 + 4 * SALIENCY
    records = {}
    for blank, path, size, boxes in zip(*[iter(lines[1:-1])] * 4, strict=True):
        assert blank == "" and path.startswith("Imgs\\") and path.endswith(".jpg") and boxes.endswith(";")
        width, height = (int(value) for value in size.split())
        corners = [[int(value) for value in box.split()] for box in boxes.rstrip(";").split(";")]
        records[path.removeprefix("Imgs\\").removesuffix(".jpg")] = ((width, height), corners)
    return records


def test_three_boxes_lie_within_three_per_cent_of_the_mask(toy: Path) -> None:
    records = read_boxes(toy)
    assert len(records) == SALIENCY
    for image_id, (size, boxes) in records.items():
        with Image.open(toy / f"saliency/Masks/{image_id}.png") as image:
            assert image.mode == "1" and image.size == size
            salient = np.asarray(image)
        tight = np.array(box_xyxy(salient))
        allowed = 0.03 * np.array([tight[2] - tight[0], tight[3] - tight[1]] * 2) + 0.5
        assert np.array(boxes).shape == (3, 4)
        assert (np.abs(np.array(boxes) - tight) <= allowed).all()
        assert (np.array(boxes) >= 0).all() and (np.array(boxes) < [*size, *size]).all()


def test_annotators_differ_and_are_right_on_average() -> None:
    salient = np.zeros((300, 400), dtype=bool)
    salient[50:251, 100:301] = True
    boxes = np.array([annotate(np.random.default_rng(seed), salient) for seed in range(300)])
    assert np.abs(boxes.mean(axis=(0, 1)) - [100, 50, 300, 250]).max() < 0.5
    assert (boxes.max(axis=(0, 1)) - boxes.min(axis=(0, 1)) >= 11).all()


def test_box_is_tight() -> None:
    shown = np.zeros((6, 8), dtype=bool)
    shown[2, 3], shown[4, 6] = True, True
    assert box_xyxy(shown) == (3, 2, 6, 4)


@pytest.mark.parametrize("category", CLASSES, ids=CLASS_NAMES)
def test_bodies_keep_their_distance_from_the_background_colour(category: Category) -> None:
    style, rng = SceneStyle(), np.random.default_rng(0)
    backgrounds = rng.uniform(0, 255, (100, 3))
    drawn = np.array([body_colour(rng, category, around, style) for around in backgrounds])
    far_enough = np.sqrt(((drawn - backgrounds) ** 2).sum(axis=1)) >= style.min_contrast
    assert far_enough.sum() >= 98


def test_objects_can_be_told_from_what_surrounds_them() -> None:
    """GrabCut and the CRF need visible borders: in nearly all photos an object's colours differ from its rim's."""
    distances = []
    for index in range(40):
        scene = voc_scene(1, "val", index, 96, SceneStyle())
        salient = np.any(scene.visible, axis=0)
        rim = binary_dilation(salient, iterations=6) & ~binary_dilation(salient, iterations=2)
        inside, outside = scene.photo[salient].astype(float), scene.photo[rim].astype(float)
        distances.append(np.abs(inside.mean(axis=0) - outside.mean(axis=0)).max())
    assert np.mean(np.array(distances) > 15) > 0.8


def test_a_colour_does_not_give_the_class_away() -> None:
    """Mean colours of objects of one class spread as widely as those of different classes, within a factor of two."""
    means: dict[str, list[NDArray[np.float64]]] = {name: [] for name in CLASS_NAMES}
    for index in range(96):
        scene = voc_scene(2, "train", index, 64, SceneStyle())
        for category, shown in zip(scene.categories, scene.visible, strict=True):
            means[category.name].append(scene.photo[shown].mean(axis=0))
    within = np.mean([np.var(colours, axis=0).sum() for colours in means.values()])
    total = np.var(np.concatenate([np.array(colours) for colours in means.values()]), axis=0).sum()
    assert within > 0.5 * total


def test_contact_sheet_shows_photo_and_mask_side_by_side(toy: Path) -> None:
    sheet = np.asarray(contact_sheet(toy, split="train", rows=2, columns=3, cell_px=40))
    assert sheet.shape == (80, 240, 3)
    colours = {tuple(colour) for colour in sheet[:38, 40:78].reshape(-1, 3).tolist()}
    palette = {tuple(colour) for colour in voc_palette().tolist()}
    assert (0, 0, 0) in colours and colours <= palette


@pytest.mark.parametrize("wrong", [{"image_px": 47}, {"train_images": -1}, {"random_seed": -1}])
def test_impossible_settings_are_refused(tmp_path: Path, wrong: dict[str, int]) -> None:
    settings = {"train_images": 1, "val_images": 1, "saliency_images": 1, "image_px": 64, "random_seed": 0}
    with pytest.raises(ValueError, match="image_px"):
        write_toy(tmp_path / "toy", **{**settings, **wrong})
    assert not (tmp_path / "toy").exists()
