"""Scans of VOC layouts and folders: what is found, and that every fault is told at once."""

import csv
import hashlib
import os
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st
from PIL import Image

from weakseg.datasets.folder import scan_folder
from weakseg.datasets.label_files import image_id_problem, read_annotation, read_image_ids, read_labels_file
from weakseg.datasets.voc import scan_voc
from weakseg.errors import Problems, UserError
from weakseg.files.class_names import VOC_CLASSES
from weakseg.files.manifest import read_manifest, write_manifest

SHARED_VOC = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "voc"
HEIGHT, WIDTH = 10, 12


def write_photo(path: Path, colour: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (WIDTH, HEIGHT), (colour, 0, 0)).save(path)


def write_mask(path: Path, ids: Sequence[int], width: int = WIDTH) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros((HEIGHT, width), np.uint8)
    mask[0, : len(ids)] = ids
    Image.fromarray(mask).save(path)


def write_list(root: Path, name: str, image_ids: Sequence[str]) -> None:
    folder = root / "ImageSets" / "Segmentation"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.txt").write_text("".join(f"{image_id}\n" for image_id in image_ids))


def write_annotation(root: Path, image_id: str, names: Sequence[str]) -> None:
    objects = "".join(
        f"<object><name>{name}</name><difficult>1</difficult><part><name>head</name></part></object>" for name in names
    )
    (root / "Annotations").mkdir(exist_ok=True)
    (root / "Annotations" / f"{image_id}.xml").write_text(f"<annotation>{objects}</annotation>")


def make_voc(root: Path, train: Mapping[str, Sequence[int]], val: Mapping[str, Sequence[int]]) -> Path:
    """Photos and masks holding the given ids, by image id."""
    for name, ids_by_image in (("train", train), ("val", val)):
        write_list(root, name, list(ids_by_image))
        for image_id, ids in ids_by_image.items():
            write_photo(root / "JPEGImages" / f"{image_id}.jpg")
            write_mask(root / "SegmentationClass" / f"{image_id}.png", ids)
    return root


def faults(scan: Any, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(UserError) as caught:
        scan(*args, **kwargs)
    return str(caught.value)


# --- VOC layout ----------------------------------------------------------------------------------------------------


def test_voc_records_in_list_order_with_labels_of_masks(tmp_path: Path) -> None:
    root = make_voc(tmp_path, {"b": [0, 20, 7, 255], "a": [3]}, {"c": [255]})
    scan = scan_voc(root, "train", "val")
    assert [(r.image_id, r.split, r.labels) for r in scan.records] == [
        ("b", "train", (7, 20)), ("a", "train", (3,)), ("c", "val", ()),
    ]  # fmt: skip
    record = scan.records[0]
    assert record.image == f"{root.as_posix()}/JPEGImages/b.jpg"
    assert record.mask == f"{root.as_posix()}/SegmentationClass/b.png"
    assert (record.width, record.height) == (WIDTH, HEIGHT)
    assert record.sha256 == hashlib.sha256((root / "JPEGImages/b.jpg").read_bytes()).hexdigest()
    assert scan.class_names == ["background", *VOC_CLASSES]
    assert scan.label_counts == {"train": {"masks": 2}, "val": {"masks": 1}}
    assert "train: 2 photos by masks (the ground truth)" in scan.labels_source
    write_manifest(tmp_path / "manifest.csv", scan.records)
    assert read_manifest(tmp_path / "manifest.csv") == scan.records


def test_paths_stay_as_the_root_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_voc(tmp_path / "real", {"a": [1]}, {"b": [1]})
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    record = scan_voc(Path("../link"), "train", "val").records[0]
    assert (record.image, record.mask) == ("../link/JPEGImages/a.jpg", "../link/SegmentationClass/a.png")


def test_annotations_come_before_masks_and_count_difficult_objects(tmp_path: Path) -> None:
    root = make_voc(tmp_path, {"a": [1], "b": [1]}, {"c": [2]})
    write_annotation(root, "a", ["person", "aeroplane", "person"])
    scan = scan_voc(root, "train", "val")
    assert [record.labels for record in scan.records] == [(1, 15), (1,), (2,)]
    assert scan.label_counts == {"train": {"annotations": 1, "masks": 1}, "val": {"masks": 1}}


def test_labels_file_comes_first_and_is_never_filled_up_for_training(tmp_path: Path) -> None:
    root = make_voc(tmp_path, {"a": [1], "b": [1]}, {"c": [2]})
    write_annotation(root, "a", ["person"])
    (root / "tags.csv").write_text("image_id,labels\na,cat dog\nb,bird\n")
    scan = scan_voc(root, "train", "val", labels_file=Path("tags.csv"))
    assert [record.labels for record in scan.records] == [(8, 12), (3,), (2,)]
    assert scan.label_counts == {"train": {"labels file": 2}, "val": {"masks": 1}}
    (root / "tags.csv").write_text("image_id,labels\na,cat dog\n")
    message = faults(scan_voc, root, "train", "val", labels_file=Path("tags.csv"))
    assert "1 problem;" in message and "b: no labels (the labels file has none for it)" in message


def test_weak_photos_need_no_mask_and_masks_may_be_sbds(tmp_path: Path) -> None:
    root = make_voc(tmp_path, {"a": [1], "b": [1]}, {"c": [2]})
    (root / "SegmentationClassAug").mkdir()
    (root / "SegmentationClass/b.png").rename(root / "SegmentationClassAug/b.png")
    (root / "SegmentationClass/a.png").unlink()
    write_annotation(root, "a", ["cat"])
    records = scan_voc(root, "train", "val").records
    assert [record.mask.removeprefix(f"{root}/") for record in records] == [
        "", "SegmentationClassAug/b.png", "SegmentationClass/c.png",
    ]  # fmt: skip


def test_test_photos_need_neither_tags_nor_masks(tmp_path: Path) -> None:
    root = make_voc(tmp_path, {"a": [1]}, {"b": [2]})
    write_photo(root / "JPEGImages" / "t.jpg")
    (root / "ImageSets/Segmentation/test.txt").write_text("t\n")
    record = scan_voc(root, "train", "val", "test").records[-1]
    assert (record.image_id, record.split, record.labels, record.mask) == ("t", "test", (), "")
    (root / "ImageSets/Segmentation/val.txt").write_text("b\nt\n")
    message = faults(scan_voc, root, "train", "val", "test")
    assert "t: is in both the val and the test list" in message
    assert "t: no labels (nothing names any)" in message  # as a val photo


def test_class_names_of_settings_then_of_the_data_set(tmp_path: Path) -> None:
    root = make_voc(tmp_path, {"a": [1]}, {"b": [2]})
    (root / "classes.txt").write_bytes("\ufeffround\r\nsquare\r\n".encode())
    assert scan_voc(root, "train", "val").class_names == ["background", "round", "square"]
    assert scan_voc(root, "train", "val", class_names=["x", "y"]).class_names == ["background", "x", "y"]
    assert scan_voc(root, "train", None, class_names=["background", "x"]).class_names == ["background", "x"]
    assert "SegmentationClass/b.png: has class ids 2; allowed are 0..1 and 255" in faults(
        scan_voc, root, "train", "val", class_names=["x"]
    )


@pytest.mark.parametrize(
    "names", [[], ["a", "a"], ["a", "background"], ["a", " "], ["a\nb"], [f"c{i}" for i in range(255)]]
)
def test_impossible_class_names_are_refused(tmp_path: Path, names: list[str]) -> None:
    root = make_voc(tmp_path, {"a": [1]}, {"b": [1]})
    assert faults(scan_voc, root, "train", "val", class_names=names).startswith("class_names: ")


def test_lists_may_be_files_of_one_s_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_voc(tmp_path / "voc", {"a": [1], "b": [1]}, {"c": [1]})
    (tmp_path / "mine.txt").write_bytes("\ufeffb\r\n\r\n  c  \r\n".encode())
    (root / "below.txt").write_text("a")
    monkeypatch.chdir(tmp_path)
    for mine in ("mine.txt", str(tmp_path / "mine.txt")):
        records = scan_voc(Path("voc"), mine, "below.txt").records
        assert [(record.image_id, record.split) for record in records] == [
            ("b", "train"),
            ("c", "train"),
            ("a", "val"),
        ]


def test_every_fault_is_told_in_one_message(tmp_path: Path) -> None:
    good = {f"good{i}": [1] for i in range(3)}
    bad = [
        "cut",
        "zero",
        "size",
        "ids",
        "unlabelled",
        "lost",
        "colour",
        "xml",
        "tiny",
        "unknown",
        "loop",
        "badmask",
    ]
    root = make_voc(tmp_path, {**good, **{name: [1] for name in bad}}, {"v": [1]})
    photos, masks = root / "JPEGImages", root / "SegmentationClass"
    (photos / "cut.jpg").write_bytes((photos / "cut.jpg").read_bytes()[:-150])
    (photos / "zero.jpg").write_bytes(b"")
    write_mask(masks / "size.png", [1], width=WIDTH + 1)
    write_mask(masks / "ids.png", [21, 254])
    write_mask(masks / "unlabelled.png", [0, 255])
    (photos / "lost.jpg").unlink()
    Image.new("RGB", (WIDTH, HEIGHT)).save(masks / "colour.png")
    (masks / "badmask.png").write_bytes(b"nothing")
    write_annotation(root, "xml", ["cat</name>"])
    write_annotation(root, "unknown", ["unicorn"])
    Image.new("RGB", (1, 1)).save(photos / "tiny.jpg")
    write_mask(masks / "tiny.png", [1])
    (photos / "loop.jpg").unlink()
    (photos / "loop.jpg").symlink_to("loop.jpg")
    ids = [*good, *bad, "good0", "../../x", "a/b", "/etc/passwd", "a\\b", "C:x", "tab\tid", "v"]
    write_list(root, "train", ids)
    message = faults(scan_voc, root, "train", "val")
    train_list = root / "ImageSets/Segmentation/train.txt"
    for expected in (
        f"{photos}/cut.jpg: cannot be decoded", f"{photos}/zero.jpg: is empty",
        f"{masks}/size.png: has 13x10 px, its photo 12x10", f"{masks}/ids.png: has class ids 21, 254; allowed are 0..20",
        "unlabelled: no labels (its mask has no object)", f"lost: no photo of this name below {root}",
        f"{masks}/colour.png: has mode RGB", f"{masks}/badmask.png: is no readable PNG",
        f"{root}/Annotations/xml.xml: cannot be read", f"{root}/Annotations/unknown.xml: unknown class 'unicorn'",
        f"{photos}/tiny.jpg: has 1x1 px", f"{photos}/loop.jpg: no such file",
        f"{train_list}, line 16: id 'good0' is already on line 1", f"{train_list}, line 17: id '../../x' is a path",
        f"{train_list}, line 18: id 'a/b' is a path", f"{train_list}, line 19: id '/etc/passwd' is a path",
        f"{train_list}, line 20: id 'a\\\\b' is a path", f"{train_list}, line 21: id 'C:x' is a path",
        f"{train_list}, line 22: id 'tab\\tid' contains the character", "v: is in both the train and the val list",
    ):  # fmt: skip
        assert expected in message
    assert message.startswith(f"{root}: 20 problems; nothing was written.")
    assert not any(f"good{i}." in message for i in range(3))


def test_long_reports_are_cut_at_fifty(tmp_path: Path) -> None:
    root = make_voc(tmp_path, {"a": [1]}, {"b": [1]})
    write_list(root, "train", [f"lost{i}" for i in range(73)])
    message = faults(scan_voc, root, "train", "val")
    assert ": 73 problems;" in message and message.endswith("\n  ... and 23 more")
    assert "lost49:" in message and "lost50:" not in message


def test_missing_folders_and_lists(tmp_path: Path) -> None:
    assert "nowhere: no such folder" in faults(scan_voc, tmp_path / "nowhere", "train", "val")
    root = make_voc(tmp_path / "voc", {"a": [1]}, {"b": [1]})
    write_list(root, "blank", ["", "  "])
    message = faults(scan_voc, root, "absent", "blank")
    assert "absent.txt: no such file" in message and "blank.txt: the list is empty" in message
    (root / "JPEGImages").rename(root / "Pictures")
    assert "JPEGImages: the folder cannot be read" in faults(scan_voc, root, "train", "val")
    (root / "latin.txt").write_bytes("caf\xe9\n".encode("latin-1"))
    assert "latin.txt: cannot be read as UTF-8 text" in faults(scan_voc, root, "latin.txt", None)


def test_a_val_photo_needs_labels_or_a_mask(tmp_path: Path) -> None:
    root = make_voc(tmp_path, {"a": [1]}, {"b": [1]})
    (root / "SegmentationClass/b.png").unlink()
    assert "b: no labels (nothing names any)" in faults(scan_voc, root, "train", "val")
    write_annotation(root, "b", ["cat"])
    assert scan_voc(root, "train", "val").records[1].labels == (8,)


def test_one_name_with_two_suffixes_is_told(tmp_path: Path) -> None:
    root = make_voc(tmp_path, {"a": [1]}, {"b": [1]})
    write_photo(root / "JPEGImages" / "a.png")
    assert "a: several photos have this name: 'JPEGImages/a.jpg', 'JPEGImages/a.png'" in faults(
        scan_voc, root, "train", "val"
    )


def test_exif_rotated_photos_are_measured_upright(tmp_path: Path) -> None:
    root = make_voc(tmp_path, {"a": [1]}, {"b": [1]})
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (HEIGHT, WIDTH)).save(root / "JPEGImages/a.jpg", exif=exif)
    record = scan_voc(root, "train", "val").records[0]
    assert (record.width, record.height) == (WIDTH, HEIGHT)


# --- annotations, label files and lists ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        '<!DOCTYPE a [<!ENTITY x "cat">]><annotation><object><name>&x;</name></object></annotation>',
        '<!DOCTYPE annotation SYSTEM "file:///etc/passwd"><annotation/>',
        "<annotation>&undefined;</annotation>",
        '<?xml version="1.0" encoding="nonsense"?><annotation/>',
        "",
    ],
)
def test_hostile_annotations_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.xml").write_text(content)
    assert "a.xml: " in faults(read_annotation, tmp_path / "a.xml")


def test_huge_annotations_are_not_parsed(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(" " * (2 << 20))
    assert "a.xml: is larger than 1048576 bytes" in faults(read_annotation, tmp_path / "a.xml")


def test_annotation_names_of_objects_not_of_parts(tmp_path: Path) -> None:
    write_annotation(tmp_path, "a", ["dog", "person", "dog"])
    assert read_annotation(tmp_path / "Annotations/a.xml") == ("dog", "person")


@pytest.mark.parametrize(
    "content",
    [b"a,\xe9\n", b'"a', b'image_id,labels\n"a,b\n', b"id,labels\na,b\n", b"", b"image_id;labels\n"],
)
def test_unreadable_label_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "labels.csv").write_bytes(content)
    assert "labels.csv" in faults(read_labels_file, tmp_path / "labels.csv", Problems())


def test_bom_crlf_spaces_and_quotes_in_label_files(tmp_path: Path) -> None:
    content = '\ufeffimage_id , labels,split\r\n "x y" , cat   dog cat ,val\r\n\r\nb,"bird"\r\n'
    (tmp_path / "labels.csv").write_bytes(content.replace(' "x y" ', "x y ").encode())
    problems = Problems()
    rows = read_labels_file(tmp_path / "labels.csv", problems)
    assert not problems.found
    assert {key: (row.labels, row.split) for key, row in rows.items()} == {
        "x y": (("cat", "dog"), "val"), "b": (("bird",), ""),
    }  # fmt: skip


def test_faulty_rows_are_told_by_line(tmp_path: Path) -> None:
    rows = "a,cat\na,dog\n../x,cat\nb,cat,dog\n,cat\nc,unicorn\n"
    (tmp_path / "labels.csv").write_text("image_id,labels\n" + rows)
    for name in "abc":
        write_photo(tmp_path / f"{name}.jpg")
    message = faults(scan_folder, tmp_path, class_names=["cat", "dog"])
    for line, text in ((3, "id 'a' is already on line 2"), (4, "id '../x' is a path"), (5, "more cells"),
                       (6, "id '' is empty"), (7, "c has the unknown class 'unicorn'")):  # fmt: skip
        assert f"labels.csv, line {line}: {text}" in message
    assert ": 5 problems;" in message


@pytest.mark.parametrize(
    "image_id", ["", "..", "a..b", "/a", "a/b", "a\\b", "C:a", "a\0", "a\n", "a\x1b[2J", "\udcff", "x" * 201]
)
def test_ids_that_cannot_name_files(image_id: str) -> None:
    assert image_id_problem(image_id)


@pytest.mark.parametrize("image_id", ["2007_000032", "IMG 001", "a.b", "été", "写真", "x" * 200, "-"])
def test_ids_that_can_name_files(image_id: str) -> None:
    assert image_id_problem(image_id) is None


FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
WORDS = st.sampled_from(["image_id,labels\n", "image_id,labels,split\n", "a,cat\n", "b,dog,val\n", '"', ",", "\n", "\r\n", "a", "\0",
                         "../x", "\x85", "\u2028", "\ud800", "<annotation>", "<object>", "<name>cat</name>", "</object>",
                         "<!DOCTYPE a [", "<?xml version='1.0' encoding='utf-16'?>", "</annotation>", "&amp;", "\ufeff"])  # fmt: skip
CONTENT = st.one_of(
    st.binary(max_size=60),
    st.lists(WORDS, max_size=8).map(lambda words: "".join(words).encode(errors="surrogatepass")),
)


@FUZZ
@given(CONTENT)
@example(b"image_id,labels\n" + b"a" * 200_000)
@example(b"image_id,labels\na\0,cat\n")
def test_fuzzed_text_files_read_or_raise_user_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "fuzz.txt"
    path.write_bytes(content)
    readers: list[Callable[[Path, Problems], Iterable[str]]] = [read_image_ids, read_labels_file]
    for reader in readers:
        try:
            assert all(image_id_problem(image_id) is None for image_id in reader(path, Problems()))
        except UserError as error:
            assert "fuzz.txt" in str(error)
    try:
        assert all(isinstance(name, str) for name in read_annotation(path))
    except UserError as error:
        assert "fuzz.txt" in str(error)


@FUZZ
@given(CONTENT, CONTENT, CONTENT)
def test_fuzzed_folders_scan_or_raise_user_error(tmp_path: Path, labels: bytes, val: bytes, classes: bytes) -> None:
    write_photo(tmp_path / "a.png")
    (tmp_path / "labels.csv").write_bytes(labels)
    (tmp_path / "val.txt").write_bytes(val)
    (tmp_path / "classes.txt").write_bytes(classes)
    try:
        scan = scan_folder(tmp_path, val_list="val.txt")
        assert {record.image_id for record in scan.records} == {"a"}
    except UserError as error:
        assert str(tmp_path) in str(error)
        str(error).encode()  # can be printed


# --- folder layout -------------------------------------------------------------------------------------------------


def write_labels(root: Path, rows: Sequence[Sequence[str]], header: Sequence[str] = ("image_id", "labels")) -> None:
    with open(root / "labels.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def test_folder_with_labels_and_nothing_else(tmp_path: Path) -> None:
    write_photo(tmp_path / "IMG 1.JPG")
    write_photo(tmp_path / "deep" / "er" / "b.png")
    write_photo(tmp_path / "extra.png")
    write_labels(tmp_path, [("b", "owl tree"), ("IMG 1.JPG", "owl")])
    scan = scan_folder(tmp_path)
    assert scan.class_names == ["background", "owl", "tree"]
    assert [(r.image_id, r.split, r.labels, r.mask) for r in scan.records] == [
        ("b", "train", (1, 2), ""), ("IMG 1", "train", (1,), ""),
    ]  # fmt: skip
    assert scan.records[0].image == f"{tmp_path.as_posix()}/deep/er/b.png"
    assert scan.label_counts == {"train": {"labels file": 2}}
    assert scan.notes[0] == f"1 photos below {tmp_path} have no tag in {tmp_path / 'labels.csv'} and are left out"


def test_folder_with_splits_masks_and_val_list(tmp_path: Path) -> None:
    for name in "abcde":
        write_photo(tmp_path / f"{name}.png")
    write_mask(tmp_path / "masks" / "a.png", [2, 255])
    rows = [("d", "", "test"), ("c", "owl", "val"), ("b", "tree", ""), ("a", "owl", "train")]
    write_labels(tmp_path, rows, ("image_id", "labels", "split"))
    (tmp_path / "held.txt").write_text("b\ne\n")
    scan = scan_folder(tmp_path, val_list="held.txt")
    assert [(r.image_id, r.split, r.labels, bool(r.mask)) for r in scan.records] == [
        ("a", "train", (1,), True), ("c", "val", (1,), False), ("b", "val", (2,), False), ("e", "val", (), False),
        ("d", "test", (), False),
    ]  # fmt: skip
    (tmp_path / "held.txt").write_text("a\nd\nlost\n")
    message = faults(scan_folder, tmp_path, val_list="held.txt")
    assert "a: is in held.txt, but its row says train" in message
    assert "d: is in held.txt, but its row says test" in message
    assert "lost: no photo of this name" in message


def test_folder_masks_are_checked_but_give_no_labels(tmp_path: Path) -> None:
    for name in "ab":
        write_photo(tmp_path / f"{name}.png")
    write_mask(tmp_path / "masks" / "a.png", [2])
    write_mask(tmp_path / "masks" / "b.png", [1])
    write_labels(tmp_path, [("a", "owl"), ("b", "")])
    message = faults(scan_folder, tmp_path)
    assert "masks/a.png: has class ids 2; allowed are 0..1" in message
    assert "b: no labels (nothing names any)" in message
    assert ": 2 problems;" in message


def test_folder_without_training_photos(tmp_path: Path) -> None:
    write_photo(tmp_path / "a.png")
    write_labels(tmp_path, [("a", "owl", "val")], ("image_id", "labels", "split"))
    assert "no train photos" in faults(scan_folder, tmp_path)
    write_labels(tmp_path, [])
    assert "no class names" in faults(scan_folder, tmp_path)


def test_same_row_with_and_without_suffix_is_told(tmp_path: Path) -> None:
    write_photo(tmp_path / "a.png")
    write_labels(tmp_path, [("a", "owl"), ("a.png", "cat")])
    assert "line 3: id 'a' is already on line 2" in faults(scan_folder, tmp_path)


def test_tag_folders(tmp_path: Path) -> None:
    write_photo(tmp_path / "tree" / "b.png", 1)
    write_photo(tmp_path / "owl" / "b.png", 1)
    write_photo(tmp_path / "owl" / "a.png", 2)
    write_photo(tmp_path / "tree" / "0.png", 4)
    write_photo(tmp_path / "c.png", 3)
    write_mask(tmp_path / "masks" / "a.png", [1])
    (tmp_path / ".hidden").mkdir()
    scan = scan_folder(tmp_path)
    assert scan.class_names == ["background", "owl", "tree"]
    assert [(r.image_id, r.labels, bool(r.mask)) for r in scan.records] == [
        ("0", (2,), False),
        ("a", (1,), True),
        ("b", (1, 2), False),
    ]
    assert scan.records[2].image == f"{tmp_path.as_posix()}/owl/b.png"
    assert scan.label_counts == {"train": {"folders": 3}}
    assert len(scan.notes) == 1 and scan.notes[0].startswith("1 photos")


def test_tag_folder_faults(tmp_path: Path) -> None:
    write_photo(tmp_path / "owl" / "a.png", 1)
    write_photo(tmp_path / "tree" / "a.png", 2)
    write_photo(tmp_path / "tree" / "x..y.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    message = faults(scan_folder, tmp_path)
    assert f"a: {tmp_path}/owl/a.png and {tmp_path}/tree/a.png are different photos" in message
    assert "'tree/x..y.png': the file name holds '..'" in message
    assert "empty: no photos directly in this tag's folder" in message
    assert ": 3 problems;" in message
    (tmp_path / "blank").mkdir()
    assert "neither a labels.csv nor a subfolder per tag" in faults(scan_folder, tmp_path / "blank")


def test_folder_names_that_no_text_file_can_hold_are_told(tmp_path: Path) -> None:
    write_photo(tmp_path / "two\nlines" / "a.png")
    write_labels(tmp_path, [("a", "owl")])
    assert "'two\\nlines/a.png': the path contains the character '\\n'" in faults(scan_folder, tmp_path)


def test_class_faults_bring_no_false_mask_faults(tmp_path: Path) -> None:
    write_photo(tmp_path / "a.png")
    write_mask(tmp_path / "masks" / "a.png", [3])
    write_labels(tmp_path, [("a", "owl")])
    (tmp_path / "classes.txt").write_text("owl\nowl\n")
    message = faults(scan_folder, tmp_path)
    assert "classes.txt: class name 'owl' is listed twice" in message and ": 1 problem;" in message


def test_folders_linked_in_a_circle_end(tmp_path: Path) -> None:
    write_photo(tmp_path / "a.png")
    (tmp_path / "again").symlink_to(".")
    write_labels(tmp_path, [("a", "owl")])
    assert [record.image_id for record in scan_folder(tmp_path).records] == ["a"]


def test_file_names_that_are_no_text_are_told_printably(tmp_path: Path) -> None:
    write_photo(tmp_path / "owl" / "a.png")
    os.rename(tmp_path / "owl" / "a.png", os.fsencode(tmp_path / "owl") + b"/\xff.png")
    message = faults(scan_folder, tmp_path)
    assert "owl/\\udcff.png" in message
    message.encode()


# --- real photos ---------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not SHARED_VOC.is_dir(), reason="needs ../shared/data/voc, which is not here")
def test_real_voc_photos() -> None:
    scan = scan_voc(SHARED_VOC, "train_animals", "val_animals")
    train = [record for record in scan.records if record.split == "train"]
    animals = {VOC_CLASSES.index(name) + 1 for name in ("cat", "cow", "dog", "horse", "sheep")}
    counts = {label: sum(record.labels == (label,) for record in train) for label in animals}
    assert counts == dict.fromkeys(animals, 150)  # what the data's README promises
    assert all(max(record.width, record.height) <= 320 for record in scan.records)


# --- what is sound and looks like a mistake --------------------------------------------------------------------------


@pytest.mark.parametrize("written", ["owl tree", "owl,tree", "owl;tree", "owl; tree", "owl | tree", " owl,  ,tree "])
def test_tags_may_be_separated_by_spaces_commas_semicolons_or_bars(tmp_path: Path, written: str) -> None:
    write_photo(tmp_path / "a.jpg")
    write_labels(tmp_path, [("a", written)])
    scan = scan_folder(tmp_path)
    assert scan.class_names == ["background", "owl", "tree"] and scan.records[0].labels == (1, 2)


def test_tags_apart_by_commas_without_quotes_are_told(tmp_path: Path) -> None:
    write_photo(tmp_path / "a.jpg")
    (tmp_path / "labels.csv").write_text("image_id,labels\na,owl,tree\n")
    with pytest.raises(UserError, match=r"labels\.csv, line 2: more cells .* put them in quotes"):
        scan_folder(tmp_path)


def test_accents_written_either_way_are_one_class_and_one_photo(tmp_path: Path) -> None:
    nfc, nfd = unicodedata.normalize("NFC", "café"), unicodedata.normalize("NFD", "café")
    write_photo(tmp_path / f"{nfd}.jpg")
    write_photo(tmp_path / "b.jpg")
    write_mask(tmp_path / "masks" / f"{nfd}.png", [0, 1])
    write_labels(tmp_path, [(nfc, nfc), ("b", nfd)])
    scan = scan_folder(tmp_path)
    assert scan.class_names == ["background", nfc]
    assert [(record.image_id, record.labels) for record in scan.records] == [(nfc, (1,)), ("b", (1,))]
    assert scan.records[0].mask == f"{tmp_path.as_posix()}/masks/{nfd}.png"
    folders = tmp_path / "folders"
    for number, tag in enumerate((nfc, nfd)):
        write_photo(folders / tag / f"{number}.jpg", number)
    assert scan_folder(folders).class_names == ["background", nfc]


def test_photos_of_every_suffix_are_read_and_other_files_counted(tmp_path: Path) -> None:
    write_photo(tmp_path / "owl" / "a.jpg")
    for suffix in ("jfif", "avif", "webp"):
        kind = {"jfif": "JPEG"}.get(suffix, suffix.upper())
        Image.new("RGB", (20, 20), "red").save(tmp_path / "owl" / f"{suffix}.{suffix}", kind)
    for name in ("x.heic", "y.HEIC", "film.mov", "notes.txt", ".hidden.heic"):
        (tmp_path / "owl" / name).write_bytes(b"x")
    scan = scan_folder(tmp_path)
    assert sorted(record.image_id for record in scan.records) == ["a", "avif", "jfif", "webp"]
    (note,) = [note for note in scan.notes if "have an unknown format" in note]
    assert "3 files" in note and "2 .heic, 1 .mov" in note


def test_classes_that_look_like_slips_are_remarked_on(tmp_path: Path) -> None:
    for number in range(9):
        write_photo(tmp_path / f"{number}.jpg", number)
    tags = ["dog", "dog", "dog", "dogs", "Dog", "sofa", "sofa", "sofa", "lamp"]
    write_labels(tmp_path, [(str(number), tag) for number, tag in enumerate(tags)])
    notes = scan_folder(tmp_path).notes
    assert "only one training photo shows Dog, dogs, lamp" in notes
    assert (
        "likely typo: 'Dog' (1 photos) and 'dog' (3)" in notes
        and "likely typo: 'dog' (3 photos) and 'dogs' (1)" in notes
    )
    assert not any("sofa" in note for note in notes)
    named = scan_folder(tmp_path, class_names=["dog", "dogs", "Dog", "sofa", "lamp", "zebra"]).notes
    assert "no training photo shows zebra: it cannot be learned" in named
