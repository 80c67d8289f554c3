"""Frames of partial results: there in whole or not at all, whatever happens to the file that holds them."""

import os
import resource
import signal
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st

from weakseg.batch.partial_results import Entries, PartialResults
from weakseg.errors import UserError
from weakseg.files.archives import ArrayArchive, npy_bytes, write_entries

REPO = Path(__file__).resolve().parents[2]
OUT = Path("data/made.v1/x.npz")
COUNT = 12
IDS = [f"photo{number}" for number in range(COUNT)]


def entries_of(image_id: str) -> Entries:
    """Two arrays that depend on the photo's name alone."""
    noise = np.random.default_rng(list(image_id.encode())).integers(0, 21, (9, 7), np.uint8)
    return [
        (f"{image_id}/maps.npy", npy_bytes(noise.astype(np.float16))),
        (f"{image_id}/labels.npy", npy_bytes(noise[0])),
    ]


ALL = [entry for image_id in IDS for entry in entries_of(image_id)]


def partial(folder: Path, identity: str = "a" * 64, out: Path = OUT) -> PartialResults:
    return PartialResults(folder / "half", out, identity)


def results(ids: Sequence[str], stop_at: str = "", kill: bool = False) -> Iterator[tuple[str, Entries]]:
    for image_id in ids:
        if image_id == stop_at and kill:
            os.kill(os.getpid(), signal.SIGKILL)
        if image_id == stop_at:
            raise KeyboardInterrupt
        yield image_id, entries_of(image_id)


def interrupted(folder: Path, stop_at: int = 8, maker: str = "1-of-1") -> Path:
    with pytest.raises(KeyboardInterrupt):
        partial(folder).append(maker, results(IDS, f"photo{stop_at}"))
    (path,) = (folder / "half").glob(f"*.{maker}.part")
    return path


def gone_on(folder: Path) -> list[tuple[str, bytes]]:
    """All entries, after the photos that are not done have been made."""
    found = partial(folder)
    done = found.done()
    found.append("1-of-1", results([image_id for image_id in IDS if image_id not in done]))
    return list(found.entries(IDS, found.done()))


def test_what_was_kept_is_there_in_any_order_asked(tmp_path: Path) -> None:
    found = partial(tmp_path)
    assert found.done() == {}
    found.append("1-of-1", results(IDS))
    assert list(found.done()) == IDS
    assert list(found.entries(IDS, found.done())) == ALL
    backwards = [entry for image_id in reversed(IDS) for entry in entries_of(image_id)]
    assert list(found.entries(IDS[::-1], found.done())) == backwards


def test_a_photo_may_have_no_entry_an_empty_one_and_any_name(tmp_path: Path) -> None:
    found = partial(tmp_path)
    odd: list[tuple[str, Entries]] = [
        ("ñ 雪", [("ñ 雪/x.npy", b""), ("y", b"\0" * 3)]),
        ("nothing", []),
        ("z", [("", b"z")]),
    ]
    found.append("1-of-1", odd)
    assert list(found.done()) == ["ñ 雪", "nothing", "z"]
    assert list(found.entries([name for name, _ in odd], found.done())) == [*odd[0][1], *odd[2][1]]


def test_several_makers_keep_files_of_their_own_and_are_read_together(tmp_path: Path) -> None:
    for number, maker in enumerate(("1-of-3", "2-of-3", "3-of-3")):
        partial(tmp_path).append(maker, results(IDS[number::3]))
    partial(tmp_path).append("1-of-2", results(IDS[:2]))  # made twice, by another number of makers: the same
    assert len(list((tmp_path / "half").iterdir())) == 4
    found = partial(tmp_path)
    assert list(found.entries(IDS, found.done())) == ALL


def test_a_photo_that_was_not_made_is_told(tmp_path: Path) -> None:
    found = partial(tmp_path)
    found.append("1-of-1", results(IDS[:3]))
    with pytest.raises(UserError, match=r"data/made\.v1/x\.npz: photo3 was not computed; rerun the stage"):
        list(found.entries(IDS, found.done()))


@pytest.mark.parametrize("stops", [(0, 1, 5, 6, 11), (3, 3, 3)])
def test_broken_off_again_and_again_nothing_is_made_twice(stops: tuple[int, ...], tmp_path: Path) -> None:
    made: list[str] = []
    for stop_at in stops:
        found = partial(tmp_path)
        todo = [image_id for image_id in IDS if image_id not in found.done()]
        with pytest.raises(KeyboardInterrupt):
            found.append("1-of-1", results(todo, f"photo{stop_at}"))
        assert list(partial(tmp_path).done()) == IDS[:stop_at]
        made += todo[: todo.index(f"photo{stop_at}")]
    assert len(made) == len(set(made))
    assert gone_on(tmp_path) == ALL


def test_killed_it_has_all_that_was_made(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    for stop_at in (3, 8):
        done = subprocess.run([sys.executable, __file__, str(tmp_path), str(stop_at)], env=environment)
        assert done.returncode == -signal.SIGKILL
        assert list(partial(tmp_path).done()) == IDS[:stop_at]
    assert gone_on(tmp_path) == ALL


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(place=0, what=b"", cut=True)
@example(place=1, what=bytes(5000), cut=True)
@example(place=0, what=b"\xff" * 8, cut=False)
@example(place=0, what=bytes(48), cut=True)  # a power cut leaves zeros
@given(place=st.integers(0, 4000), what=st.binary(max_size=40), cut=st.booleans())
def test_whatever_damage_is_cut_off(place: int, what: bytes, cut: bool, tmp_path: Path) -> None:
    """What stood before it is kept, and what is made again is as if nothing had happened."""
    for path in (tmp_path / "half").glob("*"):
        path.unlink()
    path = interrupted(tmp_path)
    content = path.read_bytes()
    spoilt = content[:place] + what + (b"" if cut else content[place + len(what) :])
    path.write_bytes(spoilt)
    done = list(partial(tmp_path).done())
    assert done == IDS[: len(done)]
    pairs = enumerate(zip(content, spoilt, strict=False))
    sound = next((number for number, (was, now) in pairs if was != now), min(len(content), len(spoilt)))
    assert len(done) == sound // (len(content) // 8)  # the frames are of one size
    assert gone_on(tmp_path) == ALL
    assert list(partial(tmp_path).done()) == IDS


def test_a_header_that_lies_about_gigabytes_asks_for_none(tmp_path: Path) -> None:
    """As a damaged one may."""
    path = interrupted(tmp_path, 2)
    with open(path, "ab") as file:
        file.write(struct.pack("<III", 0xFFFFFFFF, 0xFFFFFFFF, 0) + b"abc")
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), limits[1]))
    try:
        assert list(partial(tmp_path).done()) == IDS[:2]
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    assert gone_on(tmp_path) == ALL


def test_other_settings_know_nothing_of_it_and_say_so(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    name = interrupted(tmp_path).name
    other = partial(tmp_path, "b" * 64)
    assert other.done() == {}
    other.append("1-of-1", results(IDS[:1]))
    other.tell_of_others()
    told = capfd.readouterr().err
    assert told == f"data/made.v1/x.npz: settings, inputs or code changed, {name} is not used; starting over\n"
    assert list(partial(tmp_path).done()) == IDS[:8]  # it is still there, should they come back


def test_another_archive_s_results_are_no_business_of_ours(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    interrupted(tmp_path)
    for other in ("data/made.v1/x.npz2", "data/made.v1/y.npz", "data/made.v1", "x.npz", "data/made[.]v1/x.npz", "*"):
        found = partial(tmp_path, out=Path(other))
        assert found.done() == {}, other
        found.tell_of_others()
        found.remove()
    assert capfd.readouterr().err == ""
    assert list(partial(tmp_path).done()) == IDS[:8]


def test_it_is_removed_with_what_other_settings_left(tmp_path: Path) -> None:
    interrupted(tmp_path)
    interrupted(tmp_path, maker="2-of-2")
    partial(tmp_path, "b" * 64).append("1-of-1", results(IDS))
    (tmp_path / "half" / "other.txt").touch()
    partial(tmp_path).remove()
    assert [path.name for path in (tmp_path / "half").iterdir()] == ["other.txt"]


def test_names_longer_than_a_file_s_may_be_stay_apart(tmp_path: Path) -> None:
    names = [Path("data") / ("ä" * 120 + f"{number}.npz") for number in range(2)]
    for number, name in enumerate(names):
        partial(tmp_path, out=name).append("1-of-1", results(IDS[number : number + 1]))
    assert [list(partial(tmp_path, out=name).done()) for name in names] == [IDS[:1], IDS[1:2]]


def test_a_full_disk_is_told_and_keeps_what_was_done(tmp_path: Path) -> None:
    limits, previous = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2500, limits[1]))
    try:
        with pytest.raises(
            UserError, match=r"1-of-1\.part: cannot be written \(File too large\); finished photos are kept"
        ):
            partial(tmp_path).append("1-of-1", results(IDS))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, previous)
    done = list(partial(tmp_path).done())
    assert 0 < len(done) < COUNT and done == IDS[: len(done)]
    assert gone_on(tmp_path) == ALL


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "half").write_text("no folder")
    with pytest.raises(UserError, match="cannot be written"):
        partial(tmp_path).append("1-of-1", results(IDS))


@dataclass(frozen=True)
class Proof:
    """Leaves a folder `ran` where it is unpickled."""

    folder: Path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder / "ran"),)


def test_a_poisoned_part_runs_nothing(tmp_path: Path) -> None:
    """Object arrays would be unpickled; nothing here unpickles, and neither does who reads the archive."""
    np.save(tmp_path / "object.npy", np.array([Proof(tmp_path)], object), allow_pickle=True)
    poisoned = (tmp_path / "object.npy").read_bytes()
    found = partial(tmp_path)
    found.append("1-of-1", [("photo0", [("photo0/maps.npy", poisoned)])])
    write_entries(tmp_path / "x.npz", found.entries(["photo0"], found.done()))
    with pytest.raises(UserError, match=r"x\.npz"):
        _ = ArrayArchive(tmp_path / "x.npz")["photo0/maps"]
    assert not (tmp_path / "ran").exists()
    np.load(tmp_path / "object.npy", allow_pickle=True)
    assert (tmp_path / "ran").exists()  # so the proof would have shown it


def test_a_frame_s_checksum_covers_its_photo_s_name(tmp_path: Path) -> None:
    """So that no photo takes another's result."""
    path = interrupted(tmp_path, 1)
    content = path.read_bytes()
    assert content.count(b"photo0") == 3
    path.write_bytes(content.replace(b"photo0", b"photo1", 1))
    assert partial(tmp_path).done() == {}
    header = struct.unpack_from("<III", content)
    assert header[2] == zlib.crc32(content[12:])


if __name__ == "__main__":
    todo = [image_id for image_id in IDS if image_id not in partial(Path(sys.argv[1])).done()]
    partial(Path(sys.argv[1])).append("1-of-1", results(todo, f"photo{sys.argv[2]}", kill=True))
