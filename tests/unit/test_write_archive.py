"""The one call of a batch stage: the same archive, byte for byte, whoever made which photo and however often it stopped."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from torch import nn

from weakseg.arrays import Photo
from weakseg.batch import archive, partial_results, photo_batches, write_archive
from weakseg.batch.tasks import BATCH_SIZE, WINDOW, NetworkTask
from weakseg.errors import UserError
from weakseg.files.archives import write_arrays, write_images
from weakseg.files.label_masks import label_image
from weakseg.files.manifest import Record
from weakseg.runtime import identity

REPO = Path(__file__).resolve().parents[2]
COUNT = 12
RECORDS = [Record(f"photo{number}", "train", "", "", 7, 9, (1,), "") for number in range(COUNT)]
IDS = [record.image_id for record in RECORDS]
KINDS = ["arrays", "images", "grey"]

made: list[str] = []  # ids, in this process


@dataclass(frozen=True)
class Noise:
    """Depends on the photo's name alone; notes what is made, and can end at one of them."""

    stop_at: str = ""
    kill: bool = False

    def __call__(self, record: Record) -> npt.NDArray[np.uint8]:
        if record.image_id == self.stop_at:
            if self.kill:
                os.kill(os.getpid(), signal.SIGKILL)
            raise KeyboardInterrupt
        made.append(record.image_id)
        return np.random.default_rng(list(record.image_id.encode())).integers(0, 21, (9, 7), np.uint8)


def as_arrays(record: Record, noise: npt.NDArray[np.uint8]) -> Iterable[tuple[str, npt.NDArray[Any]]]:
    yield f"{record.image_id}/maps", noise.astype(np.float16)
    yield f"{record.image_id}/labels", noise[0]


def as_label_image(record: Record, noise: npt.NDArray[np.uint8]) -> Image.Image:
    return label_image(noise)


def as_grey(record: Record, noise: npt.NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(noise)


STORED: dict[str, Callable[[Record, Any], Any]] = {"arrays": as_arrays, "images": as_label_image, "grey": as_grey}


def write(
    folder: Path, kind: str = "arrays", one: Any = None, records: Sequence[Record] = RECORDS, *,
    stored: Callable[[Record, Any], Any] | None = None, depends_on: Sequence[Any] = (1,),
) -> bytes:  # fmt: skip
    """The archive; b"" where none is written."""
    out, files = folder / "made" / kind, {"manifest": folder / "manifest.csv"}
    (folder / "manifest.csv").touch()
    write_archive(
        out, records, one or Noise(), stored or STORED[kind], "noise", depends_on=depends_on, files=files,
        checkpoints=folder / "half",
    )  # fmt: skip
    return out.read_bytes() if out.exists() else b""


def plain(folder: Path, kind: str = "arrays", records: Sequence[Record] = RECORDS) -> bytes:
    """The archive as the file formats write it."""
    results = [(record, Noise()(record)) for record in records]
    if kind == "arrays":
        write_arrays(folder / "plain", (entry for record, noise in results for entry in as_arrays(record, noise)))
    else:
        write_images(folder / "plain", ((record.image_id, STORED[kind](record, noise)) for record, noise in results))
    made.clear()
    return (folder / "plain").read_bytes()


def interrupted(folder: Path, stop_at: int = 8, **changes: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        write(folder, one=Noise(f"photo{stop_at}"), **changes)
    made.clear()


def parts(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "half").glob("*"))


def own_code() -> Iterator[Path]:
    """The code that a partial result depends on, whatever other tests have imported."""
    yield from sorted((REPO / "weakseg" / "batch").glob("*.py"))


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "code_in_use", own_code)
    made.clear()
    monkeypatch.setenv("WEAKSEG_DEVICE", "cpu")
    monkeypatch.setenv("WEAKSEG_WORKERS", "1")
    for name in ("WEAKSEG_SHARD", "TORCHELASTIC_RUN_ID", "RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


each_kind = pytest.mark.parametrize("kind", KINDS)

# --- one process ----------------------------------------------------------------------------------------------------------


@each_kind
def test_without_interruption_the_bytes_are_those_of_a_plain_archive(kind: str, tmp_path: Path) -> None:
    assert write(tmp_path, kind) == plain(tmp_path, kind)
    assert parts(tmp_path) == []


def test_no_photos_make_an_empty_archive(tmp_path: Path) -> None:
    assert write(tmp_path, records=[]) == plain(tmp_path, records=[])


@each_kind
def test_broken_off_again_and_again_it_makes_only_what_was_not_done(kind: str, tmp_path: Path) -> None:
    for stop_at in (0, 1, 5, 6, 11):
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path, kind, Noise(f"photo{stop_at}"))
        assert not (tmp_path / "made").exists()
    whole = write(tmp_path, kind)
    assert sorted(made) == sorted(IDS)  # each once
    assert whole == plain(tmp_path, kind)


@each_kind
def test_killed_it_goes_on_with_what_was_not_done(kind: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    for stop_at in ("photo3", "photo8"):
        done = subprocess.run([sys.executable, __file__, str(tmp_path), kind, stop_at], env=environment)
        assert done.returncode == -signal.SIGKILL
    whole = write(tmp_path, kind)
    assert made == IDS[8:]
    assert whole == plain(tmp_path, kind)


def test_what_was_done_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    interrupted(tmp_path)
    write(tmp_path)
    assert capfd.readouterr().err == f"{tmp_path}/made/arrays: 8 of 12 photos are done; resuming\n"


def test_worker_processes_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(tmp_path)
    monkeypatch.setenv("WEAKSEG_WORKERS", "2")
    assert write(tmp_path) == plain(tmp_path)
    assert made == []  # here; what is sent to a worker is done there


@pytest.mark.parametrize("what", ["setting", "file", "device"])
def test_what_the_results_depend_on_starts_it_afresh_and_says_so(
    what: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, one=Task("photo8"))
    (left,) = parts(tmp_path)
    made.clear()
    if what == "file":
        (tmp_path / "manifest.csv").write_text("other")
    if what == "device":
        monkeypatch.setattr(Task, "device_kind", "mps")
    whole = write(tmp_path, one=Task(), depends_on=[2 if what == "setting" else 1])
    assert made == IDS
    told = capfd.readouterr().err
    assert f"/made/arrays: settings, inputs or code changed, {left} is not used; starting over" in told
    assert parts(tmp_path) == []
    assert whole == plain(tmp_path)


def test_other_photos_are_added_and_those_done_are_kept(tmp_path: Path) -> None:
    """The manifest is among the files that stages name, so this is no way to stale results."""
    interrupted(tmp_path)
    whole = write(tmp_path, records=RECORDS[6:])
    assert made == IDS[8:]
    assert whole == plain(tmp_path, records=RECORDS[6:])


def test_a_full_disk_keeps_what_was_done_and_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "arrays").write_bytes(b"what was there")
    limits, previous = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2500, limits[1]))
    try:
        with pytest.raises(UserError, match="cannot be written"):
            write(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, previous)
    assert (tmp_path / "made" / "arrays").read_bytes() == b"what was there"
    made.clear()
    whole = write(tmp_path)
    assert 0 < len(made) < COUNT
    assert whole == plain(tmp_path)


def test_what_cannot_be_stored_or_made_is_told_and_what_was_done_is_kept(tmp_path: Path) -> None:
    def stored(record: Record, noise: npt.NDArray[np.uint8]) -> Iterable[tuple[str, npt.NDArray[Any]]]:
        if record.image_id == "photo4":
            raise UserError("photo4.jpg: is damaged")
        return as_arrays(record, noise)

    with pytest.raises(UserError, match=r"photo4\.jpg: is damaged"):
        write(tmp_path, stored=stored)
    made.clear()
    write(tmp_path)
    assert made == IDS[4:]


# --- several processes ------------------------------------------------------------------------------------------------------


class Job:
    """The environment of one process of torchrun's, and whether the others have come to where they meet."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch, self.meetings = monkeypatch, 0
        monkeypatch.setattr(archive, "_meet", self._meet)

    def _meet(self) -> None:
        self.meetings += 1

    def process(self, rank: int, processes: int) -> None:
        self.meetings = 0
        for name, value in {"TORCHELASTIC_RUN_ID": "job", "RANK": str(rank), "WORLD_SIZE": str(processes)}.items():
            self.monkeypatch.setenv(name, value)


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> Job:
    return Job(monkeypatch)


@each_kind
@pytest.mark.parametrize("processes", [2, 3, 5, 20])
def test_processes_share_the_photos_out_and_the_first_writes(
    kind: str, processes: int, job: Job, tmp_path: Path
) -> None:
    shares = []
    for rank in reversed(range(processes)):
        job.process(rank, processes)
        whole = write(tmp_path, kind)
        assert job.meetings == 2
        assert bool(whole) == (rank == 0)
        shares.append(list(made))
        made.clear()
    assert [image_id for share in reversed(shares) for image_id in share] == IDS
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert whole == plain(tmp_path, kind)
    assert parts(tmp_path) == []


@pytest.mark.parametrize("count", [0, 1, 2, 3, 10, 11])
def test_shares_are_all_photos_in_order(count: int, job: Job, tmp_path: Path) -> None:
    shares = []
    for rank in (2, 1, 0):
        job.process(rank, 3)
        write(tmp_path, records=RECORDS[:count])
        shares.insert(0, list(made))
        made.clear()
    assert [image_id for share in shares for image_id in share] == IDS[:count]
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_each_process_has_a_file_of_its_own(job: Job, tmp_path: Path) -> None:
    for rank in (1, 2):
        job.process(rank, 3)
        write(tmp_path)
    assert [name.split(".")[-2] for name in parts(tmp_path)] == ["2-of-3", "3-of-3"]


def test_it_goes_on_with_another_number_of_processes(job: Job, tmp_path: Path) -> None:
    for rank in (1, 2):
        job.process(rank, 3)
        write(tmp_path)
    assert made == IDS[4:]
    made.clear()
    job.process(1, 2)
    write(tmp_path)
    assert made == []
    job.process(0, 2)
    whole = write(tmp_path)
    assert made == IDS[:4]
    assert whole == plain(tmp_path)


def test_one_process_goes_on_with_what_several_have_done(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.process(1, 2)
    write(tmp_path)
    for name in ("TORCHELASTIC_RUN_ID", "RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name)
    made.clear()
    whole = write(tmp_path)
    assert made == IDS[:6]
    assert whole == plain(tmp_path)


def test_only_the_first_process_tells(job: Job, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    interrupted(tmp_path)
    job.process(1, 2)
    write(tmp_path)
    assert capfd.readouterr().err == ""
    job.process(0, 2)
    write(tmp_path)
    assert "photos are done; resuming" in capfd.readouterr().err


def test_a_share_that_did_not_arrive_is_told(job: Job, tmp_path: Path) -> None:
    """Where the processes' checkpoints folder is not one and the same, say."""
    job.process(0, 2)
    with pytest.raises(UserError, match="photo6 was not computed; rerun the stage"):
        write(tmp_path)
    assert not (tmp_path / "made" / "arrays").exists()


# --- shards of a job array ---------------------------------------------------------------------------------------------------


def shard(monkeypatch: pytest.MonkeyPatch, text: str | None) -> None:
    made.clear()
    monkeypatch.delenv("WEAKSEG_SHARD", raising=False)
    if text is not None:
        monkeypatch.setenv("WEAKSEG_SHARD", text)


@each_kind
def test_shards_in_any_order_and_then_a_run_that_joins_them(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    shares = {}
    for text in ("2/3", "3/3", "1/3"):
        shard(monkeypatch, text)
        assert write(tmp_path, kind) == b""
        shares[text] = list(made)
        told = f"made/{kind}: shard {text} is done; run the stage without WEAKSEG_SHARD to join all\n"
        assert capfd.readouterr().err.endswith(told)
    assert shares["1/3"] + shares["2/3"] + shares["3/3"] == IDS
    assert [name.split(".")[-2] for name in parts(tmp_path)] == ["1-of-3", "2-of-3", "3-of-3"]
    shard(monkeypatch, None)
    whole = write(tmp_path, kind)
    assert made == [] and whole == plain(tmp_path, kind) and parts(tmp_path) == []


def test_a_killed_shard_is_run_again_alone_and_what_no_shard_made_the_joining_run_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard(monkeypatch, "1/3")
    write(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(REPO), "WEAKSEG_SHARD": "2/3"}
    done = subprocess.run([sys.executable, __file__, str(tmp_path), "arrays", "photo6"], env=environment)
    assert done.returncode == -signal.SIGKILL
    shard(monkeypatch, "2/3")
    write(tmp_path)
    assert made == IDS[6:8]
    shard(monkeypatch, None)
    whole = write(tmp_path)
    assert made == IDS[8:]
    assert whole == plain(tmp_path)


def test_shards_of_other_numbers_go_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard(monkeypatch, "1/2")
    write(tmp_path)
    shard(monkeypatch, "2/4")
    write(tmp_path)
    assert made == []  # photos 3 to 5 are done
    shard(monkeypatch, "12/12")
    write(tmp_path)
    assert made == ["photo11"]
    shard(monkeypatch, None)
    whole = write(tmp_path)
    assert made == IDS[6:11]
    assert whole == plain(tmp_path)


def test_a_shard_leaves_an_archive_that_is_there_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "arrays").write_bytes(b"what was there")
    shard(monkeypatch, "1/1")
    assert write(tmp_path) == b"what was there"


@pytest.mark.parametrize(
    "text",
    ["0/3", "4/3", "1/0", "1", "a/b", "1/3/4", " 1/3", "1/3 ", "-1/3", "1.0/3", "/", "²/3", "1/9999999", "01/2x"],
)
def test_what_is_no_shard_is_refused(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard(monkeypatch, text)
    with pytest.raises(UserError) as caught:
        write(tmp_path)
    assert str(caught.value) == f"WEAKSEG_SHARD: {text!r} is not a shard; use 1/8 to 8/8 for eight of them"
    assert made == [] and parts(tmp_path) == []


def test_an_empty_shard_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard(monkeypatch, "")
    assert write(tmp_path) == plain(tmp_path)


def test_a_shard_of_a_job_is_refused(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job.process(0, 2)
    shard(monkeypatch, "1/2")
    with pytest.raises(UserError, match="WEAKSEG_SHARD is for independent runs; unset it or torchrun's variables"):
        write(tmp_path)
    assert made == []


# --- networks, and windows on a GPU --------------------------------------------------------------------------------------------

batches: list[tuple[str, ...]] = []


@dataclass(frozen=True)
class Task(NetworkTask[npt.NDArray[np.uint8]]):
    """Noise by a network, which notes who went through it together."""

    stop_at: str = ""

    def network(self) -> nn.Module:
        return nn.Identity()

    def size(self, image: Photo) -> Hashable:
        return image.shape

    def results(
        self, network: nn.Module, records: Sequence[Record], images: Sequence[Photo], device: torch.device
    ) -> list[npt.NDArray[np.uint8]]:
        batches.append(tuple(record.image_id for record in records))
        return [Noise(self.stop_at)(record) for record in records]


@pytest.fixture(autouse=True)
def photos(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two sizes, by turns of three; read from nowhere."""
    batches.clear()

    def read(record: Record) -> npt.NDArray[np.uint8]:
        return np.zeros((4 + int(record.image_id.removeprefix("photo")) // 3 % 2, 4, 3), np.uint8)

    monkeypatch.setattr(photo_batches, "read_record", read)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pretended one."""
    monkeypatch.setattr(NetworkTask, "device_kind", "cuda")
    monkeypatch.setattr(photo_batches, "pick_device", lambda: SimpleNamespace(type="cuda"))
    monkeypatch.setattr(photo_batches, "to_device", lambda network, device: network)


MANY = [replace(RECORDS[0], image_id=f"photo{number}") for number in range(2 * WINDOW + 22)]
MANY_IDS = [record.image_id for record in MANY]


def test_a_network_s_results_are_written_like_any_other(tmp_path: Path) -> None:
    assert write(tmp_path, one=Task()) == plain(tmp_path)
    assert batches == [(image_id,) for image_id in IDS]  # on a CPU each photo goes alone


def uninterrupted(folder: Path) -> set[tuple[str, ...]]:
    """The batches of one process."""
    (folder / "alone").mkdir()
    assert write(folder / "alone", one=Task(), records=MANY) == plain(folder, records=MANY)
    found = set(batches)
    assert len(found) == len(batches) and max(map(len, found)) == BATCH_SIZE
    assert sorted(image_id for batch in found for image_id in batch) == sorted(MANY_IDS)
    batches.clear()
    return found


@pytest.mark.usefixtures("gpu")
def test_on_a_gpu_photos_go_in_batches_of_their_window(tmp_path: Path) -> None:
    for batch in uninterrupted(tmp_path):
        assert len({MANY_IDS.index(image_id) // WINDOW for image_id in batch}) == 1


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("processes", [2, 3, 4])
def test_on_a_gpu_a_photo_s_batch_does_not_depend_on_the_processes(processes: int, job: Job, tmp_path: Path) -> None:
    """Its last digits do on its batch, so shares are whole windows."""
    expected = uninterrupted(tmp_path)
    for rank in reversed(range(processes)):
        job.process(rank, processes)
        whole = write(tmp_path, one=Task(), records=MANY)
    assert set(batches) == expected and len(batches) == len(expected)
    assert whole == plain(tmp_path, records=MANY)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("stop_at", [5, WINDOW - 1, WINDOW + 20, 2 * WINDOW + 3])
@pytest.mark.parametrize("where", ["in the network", "while it is kept"])
def test_on_a_gpu_a_photo_s_batch_does_not_depend_on_interruptions(
    where: str, stop_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A window that is half done is made again as a whole; what was kept of it stays."""
    expected = uninterrupted(tmp_path)

    def stored(record: Record, noise: npt.NDArray[np.uint8]) -> Iterable[tuple[str, npt.NDArray[Any]]]:
        if record.image_id == f"photo{stop_at}":
            raise KeyboardInterrupt
        return as_arrays(record, noise)

    kept: list[str] = []
    append = partial_results._append
    monkeypatch.setattr(
        partial_results,
        "_append",
        lambda file, image_id, entries: (kept.append(image_id), append(file, image_id, entries)),
    )
    stops = where == "in the network"
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, one=Task(f"photo{stop_at}" if stops else ""), records=MANY, stored=None if stops else stored)
    first = stop_at // WINDOW * WINDOW  # of the window that was not finished
    assert kept == MANY_IDS[: first if stops else stop_at]
    batches.clear()
    whole = write(tmp_path, one=Task(), records=MANY)
    assert set(batches) <= expected
    assert {image_id for batch in batches for image_id in batch} == set(MANY_IDS[first:])
    assert kept == MANY_IDS  # each once
    assert whole == plain(tmp_path, records=MANY)


@pytest.mark.usefixtures("gpu")
def test_on_a_gpu_shards_are_whole_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = uninterrupted(tmp_path)
    for text in ("1/2", "2/2"):
        shard(monkeypatch, text)
        write(tmp_path, one=Task(), records=MANY)
    shard(monkeypatch, None)
    whole = write(tmp_path, one=Task(), records=MANY)
    assert set(batches) == expected and made == []
    assert whole == plain(tmp_path, records=MANY)


def test_half_done_on_a_cpu_it_does_not_go_on_on_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, one=Task("photo8"))
    made.clear()
    monkeypatch.setattr(NetworkTask, "device_kind", "cuda")
    write(tmp_path, one=Task())
    assert made == IDS


if __name__ == "__main__":
    identity.code_in_use = own_code
    write(Path(sys.argv[1]), sys.argv[2], Noise(sys.argv[3], kill=True))
