"""Looks at a training while it runs: they change no bit of it, survive a restart, and TensorBoard can read its file."""

import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_training import STEPS, WEIGHTS, Noise, TinyNet, bytes_of, loss_terms, run_in, tiny_net
from torch import Tensor, nn
from torch.nn import functional

from weakseg.errors import UserError
from weakseg.files.archives import ImageArchive
from weakseg.files.manifest import Record
from weakseg.training.loop import train
from weakseg.training.run import Run
from weakseg.watching.photo_sample import MOST_LOOKS, MOST_PHOTOS, PhotoSample
from weakseg.watching.tensorboard_events import EventFile, crc32c, event_file, varint

HEIGHT, WIDTH = 20, 30


@pytest.fixture(autouse=True)
def _on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEAKSEG_DEVICE", "cpu")
    monkeypatch.setenv("WEAKSEG_WORKERS", "0")
    monkeypatch.setenv("WEAKSEG_CHECKPOINT_STEPS", "4")


class TinySegmenter(TinyNet):
    """The training's network, seen by the sample as scores on a grid; batch norm must not learn from a look."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(8)

    def forward(self, images: Tensor) -> Tensor:
        grid = self.fc8(self.dropout(self.norm(functional.relu(self.conv(images / 255)))))
        return grid.mean((2, 3)) if self.training else grid[:, :, ::8, ::8]


def make_val(folder: Path, count: int = 3) -> list[Record]:
    records = []
    for index in range(count):
        path = folder / f"{index}.png"
        Image.fromarray(np.full((HEIGHT, WIDTH, 3), 50 * index % 256, np.uint8)).save(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        records.append(Record(f"photo{index}", "val", str(path), "a mask", WIDTH, HEIGHT, (1,), digest))
    return records


def segmenter() -> TinySegmenter:
    torch.manual_seed(7)
    return TinySegmenter()


def trained(run: Run, sample: PhotoSample | None) -> tuple[dict[str, bytes], str]:
    network = train(segmenter(), Noise(), loss_terms, WEIGHTS, run, sample)
    return bytes_of(network.state_dict()), run.log_path.read_text()


@pytest.mark.parametrize("geometry", ["warp", "crop"])
def test_looking_changes_no_bit_of_weights_and_log(tmp_path: Path, geometry: str) -> None:
    sample = PhotoSample.of(make_val(tmp_path), geometry, 33, STEPS)
    assert trained(run_in(tmp_path / "one"), None) == trained(run_in(tmp_path / "two"), sample)
    assert len(sample.masks) == 3 * MOST_LOOKS
    assert all(mask.shape == (HEIGHT, WIDTH) and mask.dtype == torch.uint8 for mask in sample.masks.values())


def test_the_last_look_is_the_finished_networks(tmp_path: Path) -> None:
    """And a mask is the class of the highest score, upsampled corner to corner."""
    records = make_val(tmp_path, 1)
    sample = PhotoSample.of(records, "warp", 33, STEPS)
    network = train(segmenter(), Noise(), loss_terms, WEIGHTS, run_in(tmp_path), sample)
    again = PhotoSample.of(records, "warp", 33, STEPS)
    again.look(network, STEPS, torch.device("cpu"))
    assert list(again.masks) == [f"{STEPS:08d}/photo0"]
    assert torch.equal(again.masks[f"{STEPS:08d}/photo0"], sample.masks[f"{STEPS:08d}/photo0"])


def test_a_restart_keeps_what_was_seen(tmp_path: Path) -> None:
    records = make_val(tmp_path)
    whole = PhotoSample.of(records, "crop", 33, STEPS)
    trained(run_in(tmp_path / "whole"), whole)

    run = run_in(tmp_path / "broken")
    first = PhotoSample.of(records, "crop", 33, STEPS)

    def breaking(network: nn.Module, batch: dict[str, object]) -> dict[str, Tensor]:
        if len(first.masks) >= 6:
            raise KeyboardInterrupt
        return loss_terms(network, batch)

    with pytest.raises(KeyboardInterrupt):
        train(segmenter(), Noise(), breaking, WEIGHTS, run, first)
    assert run.checkpoints.own()
    second = PhotoSample.of(records, "crop", 33, STEPS)
    trained(run, second)
    for sample in (whole, second):
        sample.write(tmp_path / "broken.zip" if sample is second else tmp_path / "whole.zip")
    assert (tmp_path / "broken.zip").read_bytes() == (tmp_path / "whole.zip").read_bytes()
    assert len(ImageArchive(tmp_path / "whole.zip").names()) == 3 * MOST_LOOKS


def test_the_sample_is_fixed_spread_and_of_photos_with_masks(tmp_path: Path) -> None:
    photos = [Record(f"{i}", "val", "", "m" if i % 2 else "", 4, 4, (1,), "") for i in range(100)]
    sample = PhotoSample.of(photos, "warp", 33, 240)
    ids = [int(record.image_id) for record in sample.records]
    assert len(ids) == MOST_PHOTOS and ids[0] == 1 and ids[-1] == 99 and all(index % 2 for index in ids)
    assert sorted(sample.steps) == [40, 80, 120, 160, 200, 240]
    assert sorted(PhotoSample.of(photos, "warp", 33, 2).steps) == [0, 1, 2]  # fewer steps than looks; 0 never comes
    empty = PhotoSample.of([photos[0]], "warp", 33, 240)
    empty.look(tiny_net(), 40, torch.device("cpu"))
    empty.write(tmp_path / "empty.zip")
    assert ImageArchive(tmp_path / "empty.zip").names() == []


def test_a_photo_that_is_gone_ends_no_training(tmp_path: Path) -> None:
    records = make_val(tmp_path)
    Path(records[1].image).unlink()
    sample = PhotoSample.of(records, "crop", 33, STEPS)
    trained(run_in(tmp_path), sample)
    assert {name.partition("/")[2] for name in sample.masks} == {"photo0", "photo2"}


# --- TensorBoard ----------------------------------------------------------------------------------------------------


def records_of(content: bytes) -> list[bytes]:
    """TFRecord: length, its checksum, the bytes, their checksum."""
    found = []
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        found.append(content[12 : 12 + length])
        for part, checksum in ((content[:8], content[8:12]), (found[-1], content[12 + length : 16 + length])):
            crc = crc32c(part)
            assert struct.unpack("<I", checksum)[0] == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
        content = content[16 + length :]
    return found


def test_checksums_and_integers_by_the_standards_examples() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # RFC 3720's polynomial, the check value of the catalogues
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4
    assert varint(1) == b"\x01" and varint(300) == b"\xac\x02"  # protobuf's encoding guide


def test_losses_reach_tensorboards_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without = trained(run_in(tmp_path / "without"), None)
    monkeypatch.setenv("WEAKSEG_TENSORBOARD", str(tmp_path / "board"))
    run = run_in(tmp_path / "with")
    assert trained(run, None) == without
    (path,) = (tmp_path / "board").rglob("events.out.tfevents.*")
    first, *rows = records_of(path.read_bytes())
    assert first.endswith(b"brain.Event:2")
    assert len(rows) == len(without[1].splitlines()) - 1
    last = rows[-1]
    assert b"\x10" + varint(STEPS) in last
    loss = float(without[1].splitlines()[-1].rpartition(",")[2])
    (written,) = struct.unpack("<f", last[(at := last.index(b"\x04loss\x15") + 6) : at + 4])
    assert written == pytest.approx(loss, rel=1e-5)


def test_without_a_folder_there_is_no_file_and_a_bad_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WEAKSEG_TENSORBOARD", raising=False)
    assert event_file("models/x") is None
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="WEAKSEG_TENSORBOARD"):
        EventFile(tmp_path / "file" / "run")
