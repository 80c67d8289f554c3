"""MSRA's text file of boxes, and GrabCut on their average."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from weakseg.datasets.msra_boxes import average_box, read_msra_boxes
from weakseg.errors import UserError
from weakseg.supervision.grabcut import grabcut_mask

SALIENCY = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "saliency"
BOXES = SALIENCY / "UserData" / "boxes_3users.txt"

GOOD = "2\n\nImgs\\0001.jpg\n267 400\n101 68 229 381; 93 79 233 371;\n\nImgs\\a b.jpg\n30 20\n0 0 30 20;\n"


@pytest.fixture
def boxes_file(tmp_path):
    def write(text, encoding="utf-8"):
        path = tmp_path / "boxes.txt"
        path.write_bytes(text.encode(encoding))
        return path

    return write


def check_good(records):
    assert [(r.image, r.width, r.height) for r in records] == [
        ("Imgs/0001.jpg", 267, 400),
        ("Imgs/a b.jpg", 30, 20),
    ]
    np.testing.assert_array_equal(records[0].boxes_xyxy, [[101, 68, 229, 381], [93, 79, 233, 371]])
    np.testing.assert_array_equal(records[1].boxes_xyxy, [[0, 0, 30, 20]])


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        GOOD.replace("\n", "\r\n"),
        GOOD.rstrip("\n"),
        "\ufeff" + GOOD,
        GOOD.replace("\n", "  \n"),
        GOOD.replace(";\n", "; \n"),
        GOOD.replace(";\n", "\n"),
        GOOD + "\n\n \n",
        GOOD.replace("2\n\n", "2\n"),
        "\n" + GOOD,
    ],
    ids=[
        "plain",
        "crlf",
        "no newline",
        "bom",
        "trailing",
        "trailing box",
        "no semicolon",
        "blank end",
        "joined",
        "led",
    ],
)
def test_the_format_and_what_editors_do_to_it(boxes_file, text):
    check_good(read_msra_boxes(boxes_file(text)))


def test_every_fault_is_listed_with_its_line(boxes_file):
    lines = [
        "9",
        "",
        "Imgs\\ok.jpg",
        "30 20",
        "1 2 3 4;",
        "",
        "Imgs\\size.jpg",
        "30 x",
        "1 2 3 4;",
        "",
        "Imgs\\boxes.jpg",
        "30 20",
        "1 2 3; 5 2 5 4; 3 9 7 4; 1 2 31 4; -1 2 3 4; 1 2 3 21; 1 2 3 four; 1.5 2 3 4",
        "",
        "Imgs\\short.jpg",
        "30 20",
        "",
        "Imgs\\none.jpg",
        "30 20",
        ";",
        "",
        "Imgs\\ok.jpg",
        "30 20",
        "1 2 3 4;",
        "",
        "..\\up.jpg",
        "30 20",
        "1 2 3 4;",
        "",
        "C:\\root.jpg",
        "0 20",
        "1 2 3 4;",
    ]
    path = boxes_file("\n".join(lines))
    with pytest.raises(UserError) as caught:
        read_msra_boxes(path)
    message = str(caught.value)
    first, *faults = message.split("\n  ")
    assert str(path) in first and "16 errors" in first
    assert [int(fault.split(":")[0].removeprefix("line ")) for fault in faults] == [
        *(1, 8, *[13] * 8, 15, 20, 22, 26, 30, 31)
    ]
    for words in ("'1 2 3'", "'5 2 5 4' is inverted", "'1 2 31 4' reaches outside the 30x20", "on line 3"):
        assert words in message


@pytest.mark.parametrize("count", ["1", "3", "many", "9" * 5000, "2 2"])
def test_wrong_count(boxes_file, count):
    with pytest.raises(UserError, match="line 1: "):
        read_msra_boxes(boxes_file(GOOD.replace("2\n", f"{count}\n", 1)))


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_empty_file(boxes_file, text):
    with pytest.raises(UserError, match="is empty"):
        read_msra_boxes(boxes_file(text))


def test_unreadable_file(boxes_file, tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_msra_boxes(tmp_path / "missing.txt")
    with pytest.raises(UserError, match="cannot be read"):
        read_msra_boxes(boxes_file(GOOD, encoding="utf-16"))
    with pytest.raises(UserError, match="cannot be read"):
        read_msra_boxes(tmp_path)


def test_average_box():
    np.testing.assert_allclose(average_box(np.array([[0, 10, 20, 30], [3, 10, 22, 35]])), [1.5, 10, 21, 32.5])
    with pytest.raises(ValueError, match="A ≥ 1"):
        average_box(np.zeros((0, 4)))


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


def disc_photo(height=90, width=120, radius=25):
    """A noisy reddish disc on a noisy bluish ground, and its mask."""
    y, x = np.mgrid[:height, :width]
    disc = (y - height // 2) ** 2 + (x - width // 2) ** 2 <= radius**2
    noise = np.random.default_rng(0).integers(-20, 21, (height, width, 3))
    image = np.where(disc[..., None], (190, 70, 60), (60, 90, 170)) + noise
    return image.astype(np.uint8), disc


def box_of(mask, margin=0):
    y, x = np.nonzero(mask)
    return np.array([x.min() - margin, y.min() - margin, x.max() + 1 + margin, y.max() + 1 + margin])


def test_grabcut_finds_the_object_and_stays_in_the_box():
    image, disc = disc_photo()
    mask = grabcut_mask(image, box_of(disc, 4), random_seed=0)
    assert mask.dtype == bool and mask.shape == disc.shape
    assert iou(mask, disc) > 0.97
    cutting = box_of(disc, 4) - [0, 0, 10, 0]  # the disc's right edge is certain background
    assert not grabcut_mask(image, cutting, random_seed=0)[:, cutting[2] :].any()


def test_grabcut_is_that_of_opencv_with_a_rectangle():
    image, disc = disc_photo()
    left, top, right, bottom = (int(edge) for edge in box_of(disc, 4))
    labels, models = np.zeros(disc.shape, np.uint8), (np.zeros((1, 65)), np.zeros((1, 65)))
    cv2.setRNGSeed(5)
    cv2.grabCut(image, labels, (left, top, right - left, bottom - top), *models, 3, cv2.GC_INIT_WITH_RECT)
    ours = grabcut_mask(image, np.array([left, top, right, bottom]), iterations=3, random_seed=5)
    np.testing.assert_array_equal(ours, labels % 2 == 1)


def test_grabcut_depends_on_nothing_but_its_arguments():
    image = np.random.default_rng(1).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    box, threads = np.array([5, 5, 45, 35]), cv2.getNumThreads()
    cv2.setNumThreads(2)
    first = grabcut_mask(image, box, random_seed=3)
    cv2.setRNGSeed(99)
    grabcut_mask(image[::-1], box, random_seed=4)
    np.testing.assert_array_equal(grabcut_mask(image, box, random_seed=3), first)
    np.testing.assert_array_equal(grabcut_mask(image[:, ::-1][:, ::-1], box, random_seed=3), first)
    assert cv2.getNumThreads() == 2
    cv2.setNumThreads(threads)


def test_box_is_rounded_and_clipped_to_the_image():
    image, _ = disc_photo()
    clipped = grabcut_mask(image, np.array([0, 0, 90, 90]), random_seed=0)
    over_three_edges = np.array([-30.4, -1e6, 89.7, 1e6])
    np.testing.assert_array_equal(grabcut_mask(image, over_three_edges, random_seed=0), clipped)


def test_box_over_the_entire_image_is_cut_too():
    image, disc = disc_photo()
    assert iou(grabcut_mask(image, np.array([0, 0, 120, 90]), random_seed=0), disc) > 0.95


@pytest.mark.parametrize(
    ("box", "filled"),
    [
        ([10, 10, 10, 10], (10, 11, 10, 11)),
        ([20, 30, 10, 5], (30, 31, 20, 21)),
        ([500, 500, 600, 600], (89, 90, 119, 120)),
    ],
    ids=["empty", "inverted", "outside"],
)
def test_degenerate_box_is_filled(box, filled):
    image, _ = disc_photo()
    top, bottom, left, right = filled
    expected = np.zeros(image.shape[:2], bool)
    expected[top:bottom, left:right] = True
    np.testing.assert_array_equal(grabcut_mask(image, np.array(box), random_seed=0), expected)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 2), (60, 1)])
def test_tiny_image_gives_the_filled_box(shape):
    image = np.zeros((*shape, 3), np.uint8)
    assert grabcut_mask(image, np.array([0, 0, shape[1], shape[0]]), random_seed=0).all()


def test_filled_box_where_grabcut_keeps_next_to_nothing():
    image, disc = disc_photo(radius=6)  # 3 % of the box
    box = np.array([20, 10, 100, 80])
    expected = np.zeros(disc.shape, bool)
    expected[10:80, 20:100] = True
    np.testing.assert_array_equal(grabcut_mask(image, box, random_seed=0), expected)
    assert iou(grabcut_mask(image, box, random_seed=0, min_kept_fraction=0.005), disc) > 0.8


def test_large_image_is_cut_at_the_stated_size():
    image, disc = disc_photo(180, 240, 50)
    mask = grabcut_mask(image, box_of(disc, 8), random_seed=0, max_side_px=80)
    assert mask.shape == disc.shape and iou(mask, disc) > 0.9
    np.testing.assert_array_equal(mask[::3, ::3], mask[1::3, 1::3])  # blocks of 3 x 3 pixels


@pytest.mark.skipif(not BOXES.exists(), reason="needs shared/data/saliency beside the repository")
def test_real_list_of_three_annotators():
    records = read_msra_boxes(BOXES)
    assert len(records) == 1000
    assert records[0].image == "Imgs/0001.jpg" and (records[0].width, records[0].height) == (267, 400)
    np.testing.assert_allclose(average_box(records[0].boxes_xyxy), [95 + 1 / 3, 229 / 3, 698 / 3, 1124 / 3])
    assert all(record.boxes_xyxy.shape == (3, 4) for record in records)
    assert all((SALIENCY / record.image).exists() for record in records)
