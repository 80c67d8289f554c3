"""Scans of a saliency set in MSRA's layout."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from PIL import Image

from weakseg.datasets.saliency import scan_saliency
from weakseg.errors import UserError
from weakseg.files.manifest import read_saliency_manifest, write_saliency_manifest

SHARED = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "saliency"
BOXES = "1 2 7 8; 3 2 9 10;"


def write_photo(root: Path, name: str, width: int = 12, height: int = 10) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), "red").save(root / name)


def write_boxes(root: Path, images: Sequence[str], size: str = "12 10", boxes: str = BOXES) -> None:
    blocks = [f"\n{image}\n{size}\n{boxes}\n" for image in images]
    (root / "boxes.txt").write_text("".join([f"{len(images)}\n", *blocks]), newline="\r\n")


def make_set(root: Path, names: Sequence[str]) -> Path:
    for name in names:
        write_photo(root, f"Imgs/{name}.jpg")
    write_boxes(root, [f"Imgs\\{name}.jpg" for name in names])
    return root


def fault(root: Path, image_list: str | None = None, exclude: str | None = None) -> str:
    with pytest.raises(UserError) as caught:
        scan_saliency(root, "boxes.txt", image_list, exclude)
    return str(caught.value)


def test_records_hold_the_average_box(tmp_path: Path) -> None:
    root = make_set(tmp_path, ["b", "a"])
    (root / "Masks").mkdir()
    Image.fromarray(np.eye(10, 12, dtype=bool)).save(root / "Masks/a.png")
    records = scan_saliency(root, "boxes.txt")
    assert [record.image_id for record in records] == ["b", "a"]
    first, second = records
    assert first.image == f"{root.as_posix()}/Imgs/b.jpg"
    assert (first.width, first.height) == (12, 10)
    assert (first.left, first.top, first.right, first.bottom) == (2.0, 2.0, 8.0, 9.0)
    assert first.sha256 == hashlib.sha256((root / "Imgs/b.jpg").read_bytes()).hexdigest()
    assert (first.mask, second.mask) == ("", f"{root.as_posix()}/Masks/a.png")
    write_saliency_manifest(tmp_path / "manifest.csv", records)
    assert read_saliency_manifest(tmp_path / "manifest.csv") == records


def test_lists_choose_order_and_leave_out(tmp_path: Path) -> None:
    root = make_set(tmp_path, ["a", "b", "c", "d"])
    (root / "Imgs/d.jpg").unlink()  # not chosen, so not looked at
    (root / "use.txt").write_bytes(b"\xef\xbb\xbfc\r\na\r\nb\r\n")
    (root / "not.txt").write_text("a\nd\n")
    (root / "none.txt").write_text("")
    assert [r.image_id for r in scan_saliency(root, "boxes.txt", "use.txt")] == ["c", "a", "b"]
    assert [r.image_id for r in scan_saliency(root, "boxes.txt", "use.txt", "not.txt")] == ["c", "b"]
    assert [r.image_id for r in scan_saliency(root, "boxes.txt", None, "not.txt")] == ["b", "c"]
    assert len(scan_saliency(root, "boxes.txt", "use.txt", "none.txt")) == 3


def test_equal_names_in_several_folders_get_their_path_as_id(tmp_path: Path) -> None:
    images = ["0/1.jpg", "1/1.jpg", "1/2.jpg"]
    for image in images:
        write_photo(tmp_path, image)
    write_boxes(tmp_path, images)
    assert [r.image_id for r in scan_saliency(tmp_path, "boxes.txt")] == ["0_1", "1_1", "2"]
    write_photo(tmp_path, "0/1.png")
    write_boxes(tmp_path, [*images, "0/1.png"])
    assert "0/1.png and 0/1.jpg: have the same id 0_1" in fault(tmp_path)


def test_every_fault_is_told_in_one_message(tmp_path: Path) -> None:
    root = make_set(tmp_path, ["good", "cut", "lost", "size", "mask", "dot"])
    (root / "Imgs/cut.jpg").write_bytes((root / "Imgs/cut.jpg").read_bytes()[:-150])
    (root / "Imgs/lost.jpg").unlink()
    write_photo(root, "Imgs/size.jpg", 10, 12)
    write_photo(root, "Masks/mask.png", 12, 11)
    Image.new("L", (12, 11)).save(root / "Masks/mask.png")
    write_photo(root, "Imgs/dot.jpg", 1, 1)
    (root / "use.txt").write_text("good\ncut\nlost\nsize\nmask\ndot\nstranger\n../x\n")
    message = fault(root, "use.txt", "absent.txt")
    for expected in (
        "Imgs/cut.jpg: cannot be decoded", "Imgs/lost.jpg: no such file",
        "Imgs/size.jpg: has 10x12 px, the file of boxes says 12x10", "Masks/mask.png: has 12x11 px, its photo 12x10",
        "Imgs/dot.jpg: has 1x1 px", "use.txt: stranger has no boxes", "line 8: id '../x' is a path",
        "absent.txt: no such file",
    ):  # fmt: skip
        assert expected in message
    assert ": 8 problems;" in message and "good" not in message


def test_sizes_are_those_of_the_upright_photo(tmp_path: Path) -> None:
    root = make_set(tmp_path, ["a"])
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (10, 12)).save(root / "Imgs/a.jpg", exif=exif)
    assert scan_saliency(root, "boxes.txt")[0].width == 12


def test_nothing_to_use(tmp_path: Path) -> None:
    root = make_set(tmp_path, ["a"])
    (root / "all.txt").write_text("a\n")
    assert "no photos left" in fault(root, None, "all.txt")
    write_boxes(root, [])
    assert "no photos left" in fault(root)
    (root / "boxes.txt").unlink()
    assert "boxes.txt: no such file" in fault(root)
    assert "nowhere: no such folder" in fault(root / "nowhere")


@pytest.mark.parametrize("boxes", ["7 2 1 8;", "1 2 13 8;", "-1 2 7 8;", "1 2 7;", ""])
def test_faulty_boxes_are_refused(tmp_path: Path, boxes: str) -> None:
    root = make_set(tmp_path, ["a"])
    write_boxes(root, ["Imgs\\a.jpg"], boxes=boxes)
    assert "boxes.txt" in fault(root)


@pytest.mark.parametrize(
    "image", ["..\\a.jpg", "/etc/passwd", "C:\\a.jpg", "Imgs\\x..y.jpg", "Imgs\\\x1b.jpg", "I\x1b\\b.jpg"]
)
def test_paths_out_of_the_folder_are_refused(tmp_path: Path, image: str) -> None:
    root = make_set(tmp_path, ["a"])
    write_boxes(root, ["Imgs\\a.jpg", image])
    message = fault(root)
    assert "1 problem;" in message and "no such file" not in message


WORDS = st.sampled_from(
    [
        "1\n",
        "\n",
        "Imgs\\a.jpg\n",
        "12 10\n",
        BOXES + "\n",
        "\r\n",
        "\0",
        "a\n",
        "..",
        "\\",
        "\u2028",
        "²",
        "9" * 30,
    ]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(st.binary(max_size=60), st.lists(WORDS, max_size=9).map(lambda words: "".join(words).encode())),
    st.lists(WORDS, max_size=4),
)
def test_fuzzed_sets_scan_or_raise_user_error(tmp_path: Path, boxes: bytes, image_list: list[str]) -> None:
    write_photo(tmp_path, "Imgs/a.jpg")
    (tmp_path / "boxes.txt").write_bytes(boxes)
    (tmp_path / "use.txt").write_text("".join(image_list))
    try:
        assert [record.image_id for record in scan_saliency(tmp_path, "boxes.txt", "use.txt")] == ["a"]
    except UserError as error:
        assert str(tmp_path) in str(error)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data/saliency, which is not here")
def test_real_saliency_photos() -> None:
    records = scan_saliency(SHARED, "UserData/boxes_3users.txt", "UserData/val.txt")
    assert len(records) == 300  # what the data's README promises
    assert all(record.mask for record in records)
    first = next(record for record in records if record.image_id == "0001")
    assert (first.width, first.height) == (267, 400)
    # its three boxes: 101 68 229 381; 93 79 233 371; 92 82 236 372
    box = first.left, first.top, first.right, first.bottom
    assert box == pytest.approx((286 / 3, 229 / 3, 698 / 3, 1124 / 3))
