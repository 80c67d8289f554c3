"""The small index of a zip against `zipfile`'s own."""

import tracemalloc
import warnings
import zipfile
from pathlib import Path

import pytest

from weakseg.files import zip_index
from weakseg.files.zip_index import ZipIndex

NAMES = ["2007_000001/labels.npy", "2007_000001/maps.npy", "b.png", "straße.png", "a/b/../c.png"]


@pytest.fixture
def archive(tmp_path: Path) -> zipfile.ZipFile:
    path = tmp_path / "some.zip"
    with zipfile.ZipFile(path, "w") as new:
        for number, name in enumerate(NAMES):
            kind = zipfile.ZIP_DEFLATED if number % 2 else zipfile.ZIP_STORED
            new.writestr(name, f"content {number}" * 9, kind)
    return zipfile.ZipFile(path)


def test_names_are_in_the_zips_order_and_every_entry_is_found(archive: zipfile.ZipFile) -> None:
    index = ZipIndex(archive.infolist())
    assert list(index) == NAMES
    contents = {name: archive.read(name) for name in NAMES}
    archive.filelist.clear()
    archive.NameToInfo.clear()
    for name in NAMES:
        info = index.find(name)
        assert info is not None
        assert archive.open(info).read() == contents[name]
    assert "b" not in index
    assert ZipIndex([]).find("b.png") is None


def test_names_of_equal_hash_are_told_apart(archive: zipfile.ZipFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_index, "_hash", lambda name: len(name) % 2)
    index = ZipIndex(archive.infolist())
    for name in NAMES:
        info = index.find(name)
        assert info is not None
        assert (info.filename, info.header_offset) == (name, archive.getinfo(name).header_offset)
    assert "x.png" not in index


def test_of_entries_with_one_name_the_last_counts_as_in_zipfile(tmp_path: Path) -> None:
    path = tmp_path / "twice.zip"
    with zipfile.ZipFile(path, "w") as new, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        new.writestr("a", "first")
        new.writestr("a", "second")
    with zipfile.ZipFile(path) as archive:
        info = ZipIndex(archive.infolist()).find("a")
        assert info is not None
        assert archive.open(info).read() == archive.read("a") == b"second"


def test_it_is_small(tmp_path: Path) -> None:
    path = tmp_path / "many.zip"
    with zipfile.ZipFile(path, "w") as new:
        for number in range(2000):
            new.writestr(f"2007_{number:06d}/maps.npy", b"")
    with zipfile.ZipFile(path) as archive:
        tracemalloc.start()
        try:
            index = ZipIndex(archive.infolist())
            held = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
    assert len(list(index)) == 2000
    assert held < 100 * 2000
