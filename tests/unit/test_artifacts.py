"""File formats: what is written comes back, bytes are the same each time, files are whole or absent, and no file hurts."""

import json
import os
import pickle
import secrets
import subprocess
import sys
import time
import weakref
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from archive_cases import RECORDS, SALIENCY_RECORD, arrays, labels_of
from PIL import Image

from weakseg.errors import UserError
from weakseg.files import archives
from weakseg.files.archives import ArrayArchive, ImageArchive, write_arrays, write_images
from weakseg.files.atomic import write_text
from weakseg.files.class_names import read_class_names, write_class_names
from weakseg.files.label_masks import label_image, voc_palette
from weakseg.files.manifest import read_manifest, read_saliency_manifest, write_manifest, write_saliency_manifest
from weakseg.files.maps import cue_arrays, map_arrays, read_cues, read_maps
from weakseg.files.tables import read_json, read_table, write_json, write_table
from weakseg.files.zip_index import ZipIndex

ROOT = Path(__file__).resolve().parents[2]


# --- round trips ----------------------------------------------------------------------------------------------------


def test_arrays_come_back_here_and_through_numpy(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "x.npz"
    write_arrays(path, arrays())
    archive = ArrayArchive(path)
    assert archive.names() == [key for key, _ in arrays()]
    with np.load(path, allow_pickle=False) as loaded:
        assert set(loaded.files) == {key for key, _ in arrays()}
        for key, array in arrays():
            for back in (archive[key], loaded[key]):
                np.testing.assert_array_equal(back, array)
                assert back.dtype == array.dtype and back.shape == array.shape
            assert key in archive
    assert "a" not in archive and "c/maps" not in archive


def test_images_come_back_as_label_pictures_in_voc_colours(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    grey = np.arange(63, dtype=np.uint8).reshape(7, 9)
    write_images(path, [("a", label_image(labels_of(0))), ("b", Image.fromarray(grey))])
    archive = ImageArchive(path)
    assert archive.names() == ["a", "b"] and "a" in archive and "a.png" not in archive
    np.testing.assert_array_equal(archive["a"], labels_of(0))
    np.testing.assert_array_equal(archive["b"], grey)
    assert archive["a"].dtype == np.uint8
    with zipfile.ZipFile(path) as stored:
        assert [info.compress_type for info in stored.infolist()] == [zipfile.ZIP_STORED] * 2
        picture = Image.open(BytesIO(stored.read("a.png")))
    assert picture.mode == "P"
    np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), voc_palette()[labels_of(0)])


def test_one_bit_pictures_are_read_as_0_and_255(tmp_path: Path) -> None:
    bits = labels_of(1) > 0
    write_images(tmp_path / "x.zip", [("a", Image.fromarray(bits))])
    np.testing.assert_array_equal(ImageArchive(tmp_path / "x.zip")["a"], np.where(bits, 255, 0))


@pytest.mark.parametrize("shape", [(21, 41, 41), (3, 5, 7), (2, 1, 8), (1, 3, 3)])
def test_cues_come_back_bit_by_bit(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    cues = np.random.default_rng(0).random(shape) < 0.3
    cues[1:2] = False  # a class without a cue
    none = np.zeros(shape, bool)
    items = [*cue_arrays("a", cues), *cue_arrays("none", none)]
    write_arrays(tmp_path / "x.npz", items)
    archive = ArrayArchive(tmp_path / "x.npz")
    np.testing.assert_array_equal(read_cues(archive, "a"), cues)
    np.testing.assert_array_equal(read_cues(archive, "none"), none)
    assert read_cues(archive, "a").dtype == bool
    np.testing.assert_array_equal(archive["a/labels"], [c for c in range(shape[0]) if cues[c].any()])


def test_maps_come_back_in_half_precision(tmp_path: Path) -> None:
    maps = np.random.default_rng(0).normal(0, 10, (2, 5, 6))
    write_arrays(tmp_path / "x.npz", map_arrays("a", np.array([4, 200]), maps))
    labels, back = read_maps(ArrayArchive(tmp_path / "x.npz"), "a")
    np.testing.assert_array_equal(labels, [4, 200])
    np.testing.assert_array_equal(back, maps.astype(np.float16).astype(np.float32))
    assert back.dtype == np.float32 and labels.dtype == np.uint8


def test_manifests_come_back_by_split_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "manifest.csv"
    write_manifest(path, RECORDS)
    assert read_manifest(path) == RECORDS
    assert read_manifest(path, "val") == RECORDS[1:2]
    assert read_manifest(path, "nosuch") == []
    header = path.read_text().splitlines()[0]
    assert header == "image_id,split,image,mask,width,height,labels,sha256,check"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))  # as a spreadsheet saves it
    assert read_manifest(path) == RECORDS


def test_saliency_manifest_keeps_every_digit_of_the_boxes(tmp_path: Path) -> None:
    records = [SALIENCY_RECORD, replace(SALIENCY_RECORD, image_id="t, u", left=0.0, right=1e-9)]
    write_saliency_manifest(tmp_path / "x.csv", records)
    assert read_saliency_manifest(tmp_path / "x.csv") == records


def test_class_names_stand_one_a_line_so_that_line_is_id(tmp_path: Path) -> None:
    names = ["background", "dining table", "ñandú", "sofa"]
    write_class_names(tmp_path / "classes.txt", names)
    assert (tmp_path / "classes.txt").read_bytes().decode() == "background\ndining table\nñandú\nsofa\n"
    assert read_class_names(tmp_path / "classes.txt") == names


def test_json_has_plain_numbers_of_two_decimals_and_null_for_what_is_unknown(tmp_path: Path) -> None:
    content = {
        "miou": np.float64(12.345678), "nan": float("nan"), "inf": np.float32(np.inf), "count": np.int64(3), "list": np.eye(2),
        "deep": {1: (0.1, None, "x", True)},
    }  # fmt: skip
    write_json(tmp_path / "x.json", content)
    expected = {
        "miou": 12.35, "nan": None, "inf": None, "count": 3, "list": [[1, 0], [0, 1]], "deep": {"1": [0.1, None, "x", True]},
    }  # fmt: skip
    assert json.loads((tmp_path / "x.json").read_text()) == expected
    assert read_json(tmp_path / "x.json") == expected


def test_tables_come_back(tmp_path: Path) -> None:
    write_table(tmp_path / "x.csv", [{"step": 10, "loss": "0.5"}, {"step": 20, "loss": 'a,"b"'}], ["step", "loss"])
    rows = [{"step": "10", "loss": "0.5"}, {"step": "20", "loss": 'a,"b"'}]
    assert read_table(tmp_path / "x.csv", ["loss"]) == rows


def test_palette_is_vocs() -> None:
    known = {
        0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 4: (0, 0, 128), 8: (64, 0, 0), 15: (192, 128, 128),
        16: (0, 64, 0), 20: (0, 64, 128), 255: (224, 224, 192),
    }  # fmt: skip
    palette = voc_palette()
    assert palette.shape == (256, 3) and palette.dtype == np.uint8
    assert {index: tuple(palette[index].tolist()) for index in known} == known
    assert len(np.unique(palette, axis=0)) == 256
    np.testing.assert_array_equal(voc_palette(21), palette[:21])


# --- the same content gives the same bytes -----------------------------------------------------------------------------


def write_everything(folder: Path) -> dict[str, bytes]:
    write_arrays(folder / "x.npz", arrays())
    write_images(folder / "x.zip", [("a", label_image(labels_of(0)))])
    write_manifest(folder / "manifest.csv", RECORDS)
    write_json(folder / "x.json", {"b": 1, "a": 0.1})
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_bytes_do_not_depend_on_clock_time_zone_or_umask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = write_everything(tmp_path / "first")
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    time.tzset()
    moment = time.time() + 400 * 24 * 3600
    monkeypatch.setattr(time, "time", lambda: moment)
    umask = os.umask(0o077)
    try:
        second = write_everything(tmp_path / "second")
    finally:
        os.umask(umask)
        monkeypatch.undo()
        time.tzset()
    assert first == second
    assert len(first) == 4


def test_bytes_depend_on_the_content_only_not_on_memory_layout(tmp_path: Path) -> None:
    array = np.arange(12.0).reshape(3, 4)
    write_arrays(tmp_path / "c.npz", [("x", array)])
    write_arrays(tmp_path / "f.npz", [("x", np.asfortranarray(array))])
    write_arrays(tmp_path / "view.npz", [("x", np.repeat(array, 2, 1)[:, ::2])])
    assert (
        (tmp_path / "c.npz").read_bytes() == (tmp_path / "f.npz").read_bytes() == (tmp_path / "view.npz").read_bytes()
    )


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_files_have_the_rights_that_the_umask_leaves(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        write_text(tmp_path / "x", "text")
        after = os.umask(before)
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == mode
    assert after == umask


# --- whole or absent, one item at a time --------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [UserError("photo 2 is damaged"), KeyboardInterrupt(), ValueError("bug")])
@pytest.mark.parametrize("old", [b"what was there", None])
def test_an_exception_while_streaming_leaves_what_was_there(
    tmp_path: Path, error: BaseException, old: bytes | None
) -> None:
    path = tmp_path / "x.npz"
    if old is not None:
        path.write_bytes(old)

    def items() -> Iterator[tuple[str, np.ndarray]]:
        yield "first", np.zeros(1000)
        assert (path.read_bytes() if path.exists() else None) == old  # nothing shows before all is written
        raise error

    with pytest.raises(type(error)) as caught:
        write_arrays(path, items())
    assert caught.value is error
    assert [p.name for p in tmp_path.iterdir()] == ([] if old is None else ["x.npz"])
    assert (path.read_bytes() if path.exists() else None) == old


FILL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from PIL import Image
from weakseg.errors import UserError
from weakseg.files import write_arrays, write_images, write_json, write_text

resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
path = Path(sys.argv[1])
noise = np.random.default_rng(0).integers(0, 256, (200, 200), np.uint8)
write = {
    "arrays": lambda: write_arrays(path, ((str(i), noise) for i in range(5))),
    "images": lambda: write_images(path, ((str(i), Image.fromarray(noise)) for i in range(5))),
    "text": lambda: write_text(path, "x" * (1 << 17)),
    "json": lambda: write_json(path, {"x": "x" * (1 << 17)}),
}[sys.argv[2]]
try:
    write()
except UserError as error:
    sys.exit(f"UserError: {error}")
"""


@pytest.mark.parametrize("kind", ["arrays", "images", "text", "json"])
def test_a_full_disk_is_told_and_leaves_what_was_there(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"what was there")
    command = [sys.executable, "-c", FILL_DISK, str(path), kind]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(f"UserError: {path}: cannot be written (")
    assert "nothing was changed" in done.stderr and "Traceback" not in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
    assert path.read_bytes() == b"what was there"


def test_abandoned_files_are_removed_by_age_and_only_ours(tmp_path: Path) -> None:
    old, new, foreign = f".x.npz.{'0' * 16}.weakseg-tmp", f".y.{'1' * 16}.weakseg-tmp", ".x.npz.4711.tmp"
    link = f".z.{'2' * 16}.weakseg-tmp"
    for name in (old, new, foreign):
        (tmp_path / name).touch()
    (tmp_path / link).symlink_to(tmp_path / new)
    two_days_ago = time.time() - 2 * 24 * 3600
    for name in (old, foreign, link):
        os.utime(tmp_path / name, (two_days_ago, two_days_ago), follow_symlinks=False)
    write_text(tmp_path / "x.npz", "new")
    assert {path.name for path in tmp_path.iterdir()} == {"x.npz", new, foreign, link}


def test_a_folder_is_looked_through_once_not_at_each_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[Any] = []
    scan = os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder: looked.append(folder) or scan(folder))  # type: ignore[func-returns-value]
    for number in range(3):
        write_text(tmp_path / f"{number}.txt", "text")
    assert looked == [tmp_path]


def test_names_that_others_lay_in_wait_with_are_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Someone who may write to the folder guesses the temporary name and makes it a link to the user's own file."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    victim.chmod(0o600)
    monkeypatch.setattr(secrets, "token_hex", lambda _: "0" * 16)
    (tmp_path / f".x.{'0' * 16}.weakseg-tmp").symlink_to(victim)
    with pytest.raises(UserError, match=r"x: cannot be written .*exists"):
        write_text(tmp_path / "x", "text")
    assert victim.read_text() == "precious" and victim.stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_files_get_the_mode_that_the_umask_gives(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_text(tmp_path / "x", "text")
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o666 & ~umask


def test_the_longest_names_can_be_written(tmp_path: Path) -> None:
    for name in ("x" * 255, "é" * 127):
        write_text(tmp_path / name, "text")
        assert (tmp_path / name).read_text() == "text"


def test_content_is_on_the_disk_before_the_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """fsync of the file, rename, fsync of the folder, in this order."""
    calls: list[tuple[str, str]] = []
    fsync, replace = os.fsync, os.replace

    def seen_fsync(descriptor: int) -> None:
        calls.append(("fsync", os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    def seen_replace(source: Path, target: Path) -> None:
        assert Path(source).read_bytes() == b"new"
        calls.append(("replace", str(target)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", seen_fsync)
    monkeypatch.setattr(os, "replace", seen_replace)
    write_text(tmp_path / "x", "new")
    assert [kind for kind, _ in calls] == ["fsync", "replace", "fsync"]
    assert Path(calls[0][1]).name.startswith(".x.") and calls[1:] == [
        ("replace", str(tmp_path / "x")), ("fsync", str(tmp_path)),
    ]  # fmt: skip


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"file/x\.txt: cannot be written"):
        write_text(tmp_path / "file" / "x.txt", "text")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="folder: cannot be written"):
        write_text(tmp_path / "folder", "text")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]


def test_items_are_written_one_at_a_time(tmp_path: Path) -> None:
    alive: list[Any] = []

    def items() -> Iterator[tuple[str, np.ndarray]]:
        for index in range(20):
            array = np.zeros(1000)
            alive.append(weakref.ref(array))
            assert sum(reference() is not None for reference in alive) <= 2
            yield str(index), array

    write_arrays(tmp_path / "x.npz", items())
    assert len(ArrayArchive(tmp_path / "x.npz").names()) == 20


def test_archives_travel_to_worker_processes_by_name_alone(tmp_path: Path) -> None:
    write_arrays(tmp_path / "x.npz", [("a", np.zeros(100_000))])
    archive = ArrayArchive(tmp_path / "x.npz")
    sent = pickle.dumps(archive)
    assert len(sent) < 1000
    np.testing.assert_array_equal(pickle.loads(sent)["a"], archive["a"])


def test_a_process_opens_an_archive_once_however_often_it_is_handed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As worker processes are, with every photo."""
    write_arrays(tmp_path / "x.npz", [("a", np.arange(3))])
    handed_over = pickle.dumps(ArrayArchive(tmp_path / "x.npz"))
    assert len(handed_over) < 300
    opened = []
    monkeypatch.setattr(archives, "ZipIndex", lambda infos: opened.append(1) or ZipIndex(infos))
    for _ in range(5):
        assert pickle.loads(handed_over)["a"].tolist() == [0, 1, 2]
    assert not opened
    write_arrays(tmp_path / "x.npz", [("a", np.arange(4))])
    for _ in range(5):
        assert pickle.loads(handed_over)["a"].tolist() == [0, 1, 2, 3]
    assert len(opened) == 1
