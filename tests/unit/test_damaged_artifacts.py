"""No file hurts: hostile, damaged and missing ones are told by name, and nothing of them is run."""

import re
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from archive_cases import RECORD, SALIENCY_RECORD, arrays, labels_of
from PIL import Image

from weakseg.errors import UserError
from weakseg.files.archives import ArrayArchive, ImageArchive, png_bytes, write_arrays
from weakseg.files.atomic import read_text
from weakseg.files.class_names import read_class_names
from weakseg.files.label_masks import label_image
from weakseg.files.manifest import read_manifest, read_saliency_manifest, write_manifest, write_saliency_manifest
from weakseg.files.maps import read_cues, read_maps
from weakseg.files.tables import read_json

ROOT = Path(__file__).resolve().parents[2]


class Evil:
    """Unpickled, it creates a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


def test_pickled_objects_are_refused_and_never_run(tmp_path: Path) -> None:
    marker, path = tmp_path / "marker", tmp_path / "x.npz"
    np.savez(path, **{"x": np.array([Evil(marker)], object), "plain": np.arange(3)})
    archive = ArrayArchive(path)
    with pytest.raises(UserError, match=r"x\.npz: array x is damaged or not plain"):
        archive["x"]
    assert not marker.exists()
    np.testing.assert_array_equal(archive["plain"], [0, 1, 2])
    with np.load(path, allow_pickle=True) as careless:
        careless["x"]
    assert marker.exists()  # the trap was armed


@pytest.mark.parametrize("name", ["../outside", "/absolute", "a/../../b", "..\\outside", "\\server"])
@pytest.mark.parametrize("archive", [ArrayArchive, ImageArchive])
def test_entries_that_name_other_folders_are_refused(tmp_path: Path, name: str, archive: Callable[[Path], Any]) -> None:
    folder = tmp_path / "inner"
    write_arrays(folder / "x.npz", [("a", np.arange(5)), (name, np.arange(3))])
    with pytest.raises(UserError, match=r"x\.npz: entry .* points outside the archive; refused"):
        archive(folder / "x.npz")
    assert [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")] == ["inner", "inner/x.npz"]


def test_two_dots_within_a_name_are_no_other_folder(tmp_path: Path) -> None:
    write_arrays(tmp_path / "x.npz", [("a..b", np.arange(5))])
    assert ArrayArchive(tmp_path / "x.npz")["a..b"].shape == (5,)


BOMB = """
import resource, sys
from pathlib import Path
from weakseg.files import ArrayArchive, ImageArchive
from weakseg.errors import UserError

room = 400 << 20
resource.setrlimit(resource.RLIMIT_AS, (room, room))
for archive in (ArrayArchive, ImageArchive):
    try:
        archive(Path(sys.argv[1]))["a"]
    except UserError as error:
        print(error)
"""


@pytest.mark.parametrize("told", ["the truth", "a lie"])
def test_a_zip_bomb_is_refused_in_little_memory(tmp_path: Path, told: str) -> None:
    """A quarter of a gigabyte of zeros in a quarter of a megabyte, twice."""
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in ("a.npy", "a.png"):
            with archive.open(name, "w", force_zip64=True) as entry:
                for _ in range(257):
                    entry.write(bytes(1 << 20))
    if told == "a lie":
        content = bytearray(path.read_bytes())
        for found in re.finditer(rb"PK\x01\x02", bytes(content)):
            struct.pack_into("<I", content, found.start() + 24, 1000)
        path.write_bytes(content)
    done = subprocess.run([sys.executable, "-c", BOMB, str(path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2 and done.stdout.count("bomb.zip: entry a.") == 2


def claim_bytes(path: Path, size: int) -> None:
    """Makes the archive's first entry claim `size` bytes in the central directory."""
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, content.index(b"PK\x01\x02") + 24, size)
    path.write_bytes(content)


@pytest.mark.parametrize("size", [0x7FFFFFFF, 0xFFFFFFFE])
def test_an_entry_that_claims_gigabytes_is_refused_unread(tmp_path: Path, size: int) -> None:
    write_arrays(tmp_path / "x.npz", [("a", np.arange(3))])
    claim_bytes(tmp_path / "x.npz", size)
    with pytest.raises(UserError, match=rf"entry a\.npy claims {size} bytes; refused"):
        ArrayArchive(tmp_path / "x.npz")["a"]


def npy_claiming(shape: str, descr: str = "'<f8'") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(8)


@pytest.mark.parametrize(
    "content",
    [
        npy_claiming("(1000000000000000,)"), npy_claiming("(4000000000, 4000000000, 4000000000)"), npy_claiming("(-1,)"),
        npy_claiming("(1, __import__('os'))"), npy_claiming("(1,)", "'|O'"), npy_claiming("(" * 3000), npy_claiming("(2,)"),
        npy_claiming("(1,)", "[('a', '<f8'), (1, 2)]"), b"\x93NUMPY\x01\x00", b"", b"plain text",
    ],
)  # fmt: skip
def test_arrays_with_hostile_headers_are_refused(tmp_path: Path, content: bytes) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("a.npy", content)
    with pytest.raises(UserError, match=r"x\.npz: array a is damaged or not plain"):
        ArrayArchive(tmp_path / "x.npz")["a"]


def png(image: Image.Image) -> bytes:
    return png_bytes(image)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (png(Image.new("RGB", (3, 3))), "mode RGB"),
        (png(Image.new("I;16", (3, 3))), "mode I;16"),
        (png(Image.new("L", (64, 64)))[:60], "damaged"),
        (b"GIF89a" + bytes(20), "damaged"),
        (b"", "damaged"),
    ],
)
def test_pictures_that_are_no_label_maps_are_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.png", content)
    with pytest.raises(UserError, match=rf"x\.zip: entry a\.png .*{reason}"):
        ImageArchive(tmp_path / "x.zip")["a"]


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    content = bytearray(png(Image.new("L", (8, 8))))
    struct.pack_into(">II", content, 16, 60_000, 60_000)
    header = bytes(content[12:29])
    struct.pack_into(">I", content, 29, zipfile.crc32(header))
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.png", bytes(content))
    with pytest.raises(UserError, match=r"entry a\.png is damaged"):
        ImageArchive(tmp_path / "x.zip")["a"]


@pytest.mark.parametrize("archive", [ArrayArchive, ImageArchive])
def test_what_is_missing_or_no_archive_is_told_by_name(tmp_path: Path, archive: Callable[[Path], Any]) -> None:
    with pytest.raises(UserError, match=r"missing\.zip: no such file"):
        archive(tmp_path / "missing.zip")
    for name, content in {"empty.zip": b"", "text.zip": b"plain text", "cut.zip": b"PK\x03\x04" + bytes(100)}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=rf"{name}: damaged archive"):
            archive(tmp_path / name)
    with pytest.raises(UserError, match="damaged archive"):
        archive(tmp_path)
    write_arrays(tmp_path / "x.zip", [])
    with pytest.raises(UserError, match=r"x\.zip: has no entry nosuch"):
        archive(tmp_path / "x.zip")["nosuch"]


def test_a_truncated_archive_is_told(tmp_path: Path) -> None:
    write_arrays(tmp_path / "x.npz", arrays())
    whole = (tmp_path / "x.npz").read_bytes()
    for length in range(0, len(whole) - 1, 97):
        (tmp_path / "x.npz").write_bytes(whole[:length])
        with pytest.raises(UserError, match="damaged archive"):
            ArrayArchive(tmp_path / "x.npz")


def test_damage_to_one_entry_leaves_the_others_readable(tmp_path: Path) -> None:
    write_arrays(tmp_path / "x.npz", [("a", np.full(50, 7, np.uint8)), ("b", np.arange(3))])
    content = (tmp_path / "x.npz").read_bytes()
    (tmp_path / "x.npz").write_bytes(content.replace(bytes([7] * 50), bytes([7] * 49 + [8])))
    archive = ArrayArchive(tmp_path / "x.npz")
    np.testing.assert_array_equal(archive["b"], [0, 1, 2])
    with pytest.raises(UserError, match=r"entry a\.npy is damaged"):
        archive["a"]


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_random_damage_is_told_or_harmless_but_never_another_error(tmp_path: Path, compression: int) -> None:
    array, labels = np.arange(100.0), labels_of(0)
    buffer, npy = BytesIO(), BytesIO()
    np.save(npy, array)
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr("a.npy", npy.getvalue())
        archive.writestr("a.png", png(label_image(labels)))
    rng, told = np.random.default_rng(0), 0
    for _ in range(300):
        content = bytearray(buffer.getvalue())
        for position in rng.integers(0, len(content), 3):
            content[position] = rng.integers(256)
        (tmp_path / "x").write_bytes(content)
        for read, expected in ((ArrayArchive, array), (ImageArchive, labels)):
            try:
                np.testing.assert_array_equal(read(tmp_path / "x")["a"], expected)
            except UserError:
                told += 1
    assert told > 150


UINT8, UINT16 = np.uint8, np.uint16


@pytest.mark.parametrize(
    ("labels", "shape", "bits"),
    [
        (np.array([3], UINT8), np.array([3, 2, 4], UINT16), np.zeros((1, 1), UINT8)),  # class 3 of 0..2
        (np.array([1, 2], UINT8), np.array([3, 2, 4], UINT16), np.zeros((1, 1), UINT8)),
        (np.array([1], UINT8), np.array([3, 2], UINT16), np.zeros((1, 1), UINT8)),
        (np.array([1], UINT8), np.array([3, 2, 5], UINT16), np.zeros((1, 1), UINT8)),
        (np.array([1], UINT8), np.array([3, 2, 4], UINT16), np.zeros((1, 2), UINT8)),
        (np.array([1.0]), np.array([3, 2, 4], UINT16), np.zeros((1, 1), UINT8)),
        (np.array([-1]), np.array([3, 2, 4], UINT16), np.zeros((1, 1), UINT8)),
        (np.array([1], UINT8), np.array([3, 2, np.nan]), np.zeros((1, 1), UINT8)),
        (np.array([1], UINT8), np.array([3, 2, 4], UINT16), np.zeros((1, 1))),
        (np.array(1, UINT8), np.array([3, 2, 4], UINT16), np.zeros((1, 1), UINT8)),
        (np.zeros(0, UINT8), np.array([65535, 65535, 65535], UINT16), np.zeros((0, 536_854_529), UINT8)),
    ],
)
def test_cues_that_contradict_themselves_are_refused(
    tmp_path: Path, labels: np.ndarray, shape: np.ndarray, bits: np.ndarray
) -> None:
    write_arrays(tmp_path / "x.npz", [("a/labels", labels), ("a/shape", shape), ("a/bits", bits)])
    with pytest.raises(UserError, match=r"x\.npz: cues of a "):
        read_cues(ArrayArchive(tmp_path / "x.npz"), "a")


@pytest.mark.parametrize(
    ("labels", "maps"),
    [
        (np.array([1]), np.zeros((2, 3, 3))), (np.array([1]), np.zeros((3, 3))), (np.array([[1]]), np.zeros((1, 3, 3))),
        (np.array(["a"]), np.zeros((1, 3, 3))), (np.array([1]), np.full((1, 3, 3), "a")),
    ],
)  # fmt: skip
def test_maps_that_contradict_themselves_are_refused(tmp_path: Path, labels: np.ndarray, maps: np.ndarray) -> None:
    write_arrays(tmp_path / "x.npz", [("a/labels", labels), ("a/maps", maps)])
    with pytest.raises(UserError, match=r"x\.npz: maps of a "):
        read_maps(ArrayArchive(tmp_path / "x.npz"), "a")


def test_damaged_manifests_are_told_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "manifest.csv"
    write_manifest(path, [RECORD])
    whole = path.read_text()
    for old, new in {
        ",12,": ",twelve,",
        "1 20": "1 dog",
        ",12,10,1 20," + "0f" * 32: "",
        ",10,1 20," + "0f" * 32: "",
    }.items():
        path.write_text(whole.replace(old, new))
        assert path.read_text() != whole
        with pytest.raises(UserError, match=r"manifest\.csv: damaged manifest .*dvc repro prepare"):
            read_manifest(path)
    path.write_text(whole.replace("image_id,split", "id,part"))
    with pytest.raises(UserError, match=r"manifest\.csv: missing columns image_id, split$"):
        read_manifest(path)


def test_damaged_saliency_manifests_are_told_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "saliency.csv"
    write_saliency_manifest(path, [SALIENCY_RECORD])
    whole = path.read_text()
    for old, new in {"11.5": "right", ",11.5,9.25," + "3f" * 32: ""}.items():
        path.write_text(whole.replace(old, new))
        with pytest.raises(UserError, match=r"saliency\.csv: damaged manifest .*dvc repro prepare_saliency"):
            read_saliency_manifest(path)


def test_text_that_cannot_be_read_is_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nosuch\.txt: no such file"):
        read_class_names(tmp_path / "nosuch.txt")
    (tmp_path / "latin.txt").write_bytes("ñ".encode("latin-1"))
    for path in (tmp_path / "latin.txt", tmp_path):
        with pytest.raises(UserError, match="cannot be read as UTF-8 text"):
            read_text(path)
    for content, reason in {"{": "not valid JSON", "[1]": "expected a JSON object"}.items():
        (tmp_path / "x.json").write_text(content)
        with pytest.raises(UserError, match=rf"x\.json: {reason}"):
            read_json(tmp_path / "x.json")
