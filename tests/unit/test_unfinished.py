"""What a batch stage has made survives any end of its process, and the archive comes out the same byte for byte."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st
from PIL import Image

from weakseg.batch import partial_results
from weakseg.batch.partial_results import Unfinished
from weakseg.errors import UserError
from weakseg.files.archives import write_arrays, write_images
from weakseg.files.label_masks import label_image

REPO = Path(__file__).resolve().parents[2]
COUNT = 12


@dataclass(frozen=True)
class Photo:
    image_id: str


PHOTOS = [Photo(f"photo{number}") for number in range(COUNT)]


@dataclass(frozen=True)
class Proof:
    """Leaves a folder `ran` where it is unpickled."""

    folder: Path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder / "ran"),)


class Made:
    """Arrays and pictures that depend on the photo's name alone; counts what is made, and can end at one of them."""

    def __init__(self, stop_at: int = COUNT, kill: bool = False) -> None:
        self.ids: list[str] = []
        self.stop_at, self.kill = stop_at, kill

    def _noise(self, photo: Photo) -> np.ndarray:
        if photo.image_id == f"photo{self.stop_at}":
            if self.kill:
                os.kill(os.getpid(), signal.SIGKILL)
            raise KeyboardInterrupt
        self.ids.append(photo.image_id)
        return np.random.default_rng(list(photo.image_id.encode())).integers(0, 21, (9, 7), np.uint8)

    def arrays(self, photos: Sequence[Photo]) -> Iterator[tuple[str, np.ndarray]]:
        for photo in photos:
            noise = self._noise(photo)
            yield f"{photo.image_id}/maps", noise.astype(np.float16)
            yield f"{photo.image_id}/labels", noise[0]

    def images(self, photos: Sequence[Photo]) -> Iterator[tuple[str, Image.Image]]:
        for photo in photos:
            yield photo.image_id, label_image(self._noise(photo))

    def grey(self, photos: Sequence[Photo]) -> Iterator[tuple[str, Image.Image]]:
        for photo in photos:
            yield photo.image_id, Image.fromarray(self._noise(photo))


def write(folder: Path, kind: str, made: Made, identity: str = "a" * 64, photos: Sequence[Photo] = PHOTOS) -> bytes:
    """The archive of all photos."""
    unfinished, path = Unfinished(folder / "half", Path("data/made.v1/x.npz"), identity), folder / kind
    if kind == "arrays":
        write_arrays(path, unfinished.arrays(photos, made.arrays))
    else:
        write_images(path, unfinished.images(photos, getattr(made, kind)))
    unfinished.remove()
    return path.read_bytes()


def plain(folder: Path, kind: str) -> bytes:
    """The archive as it is written without `Unfinished`."""
    make = getattr(Made(), kind)
    (write_arrays if kind == "arrays" else write_images)(folder / "plain", make(PHOTOS))
    return (folder / "plain").read_bytes()


def part(folder: Path) -> Path:
    (path,) = (folder / "half").iterdir()
    return path


each_kind = pytest.mark.parametrize("kind", ["arrays", "images", "grey"])


@each_kind
def test_without_interruption_the_bytes_are_those_of_a_plain_archive(kind: str, tmp_path: Path) -> None:
    assert write(tmp_path, kind, Made()) == plain(tmp_path, kind)
    assert list((tmp_path / "half").iterdir()) == []


@each_kind
def test_broken_off_again_and_again_it_makes_only_what_was_not_done(kind: str, tmp_path: Path) -> None:
    made_ids = []
    for stop_at in (0, 1, 5, 6, 11):
        made = Made(stop_at)
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path, kind, made)
        assert not (tmp_path / kind).exists()
        made_ids += made.ids
    last = Made()
    assert write(tmp_path, kind, last) == plain(tmp_path, kind)
    assert last.ids == ["photo10", "photo11"]  # the last one kept might have been half there
    assert len(made_ids + last.ids) <= COUNT + 5


@each_kind
def test_killed_it_goes_on_with_what_was_not_done(kind: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    for stop_at in ("3", "8"):
        done = subprocess.run([sys.executable, __file__, str(tmp_path), kind, stop_at], env=environment)
        assert done.returncode == -signal.SIGKILL
    last = Made()
    assert write(tmp_path, kind, last) == plain(tmp_path, kind)
    assert last.ids == [f"photo{number}" for number in range(7, COUNT)]


def interrupted(folder: Path, kind: str = "arrays", stop_at: int = 8) -> Path:
    with pytest.raises(KeyboardInterrupt):
        write(folder, kind, Made(stop_at))
    return part(folder)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(place=0, what=b"", cut=True)
@example(place=1, what=bytes(5000), cut=True)
@given(place=st.integers(0, 3000), what=st.binary(max_size=40), cut=st.booleans())
def test_whatever_damage_is_cut_off(place: int, what: bytes, cut: bool, tmp_path: Path) -> None:
    path = interrupted(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[:place] + what + (b"" if cut else content[place + len(what) :]))
    assert write(tmp_path, "arrays", Made()) == plain(tmp_path, "arrays")


def test_changed_settings_start_afresh_and_say_so(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    name = interrupted(tmp_path).name
    made = Made()
    write(tmp_path, "arrays", made, identity="b" * 64)
    assert made.ids == [photo.image_id for photo in PHOTOS]
    told = capfd.readouterr().err
    assert f"data/made.v1/x.npz: settings, inputs or code changed, {name} is not used; starting afresh" in told
    assert list((tmp_path / "half").iterdir()) == []


def test_another_share_of_the_photos_is_kept_apart(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    interrupted(tmp_path)
    made = Made()
    write(tmp_path, "arrays", made, photos=PHOTOS[6:])
    assert made.ids == [f"photo{number}" for number in range(6, COUNT)]
    assert capfd.readouterr().err == ""


def test_what_was_done_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    interrupted(tmp_path)
    write(tmp_path, "arrays", Made())
    assert capfd.readouterr().err == "data/made.v1/x.npz: 7 of 12 photos were done; going on\n"


def test_a_full_disk_keeps_what_was_done_and_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "arrays").write_bytes(b"what was there")
    limits, previous = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2500, limits[1]))
    try:
        with pytest.raises(UserError, match="cannot be written"):
            write(tmp_path, "arrays", Made())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, previous)
    assert (tmp_path / "arrays").read_bytes() == b"what was there"
    last = Made()
    assert write(tmp_path, "arrays", last) == plain(tmp_path, "arrays")
    assert 0 < len(last.ids) < COUNT


def test_a_poisoned_part_runs_nothing(tmp_path: Path) -> None:
    """Object arrays would be unpickled; a part that holds one is no part of ours."""
    path = interrupted(tmp_path)
    np.save(tmp_path / "object.npy", np.array([Proof(tmp_path)], object), allow_pickle=True)
    poisoned = (tmp_path / "object.npy").read_bytes()
    with open(path, "wb") as file:
        for key in ("photo0/maps", "photo1/maps"):
            partial_results._append(file, key, poisoned)
    with pytest.raises(UserError, match=r"damaged.*delete it"):
        write(tmp_path, "arrays", Made())
    assert not (tmp_path / "ran").exists()
    np.load(tmp_path / "object.npy", allow_pickle=True)
    assert (tmp_path / "ran").exists()  # so the proof would have shown it


if __name__ == "__main__":
    write(Path(sys.argv[1]), sys.argv[2], Made(int(sys.argv[3]), kill=True))
