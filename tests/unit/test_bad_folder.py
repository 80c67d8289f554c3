"""`prepare` on a folder that holds every kind of odd and bad file at once: each handled right, or told in one message."""

import os
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.profile_cases import ROOT, settings_of
from weakseg.files.manifest import read_manifest
from weakseg.images.photos import read_photo

WIDTH, HEIGHT = 24, 16


def picture() -> Image.Image:
    """Red on the left, blue on the right."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[:, : WIDTH // 2, 0], pixels[:, WIDTH // 2 :, 2] = 200, 200
    return Image.fromarray(pixels)


def write_good(root: Path) -> None:
    photo = picture()
    photo.save(root / "plain.jpg", quality=95)
    photo.convert("CMYK").save(root / "cmyk.jpg", quality=95)
    photo.convert("L").save(root / "grey.png")
    photo.quantize(8).save(root / "palette.png")
    Image.fromarray(np.full((HEIGHT, WIDTH), 40_000, np.uint16)).save(root / "sixteen.png")
    photo.save(root / "animated.gif", save_all=True, append_images=[Image.new("RGB", photo.size)] * 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side
    photo.transpose(Image.Transpose.ROTATE_90).save(root / "turned.jpg", exif=exif, quality=95)


GOOD = ("plain", "cmyk", "grey", "palette", "sixteen", "animated", "turned")


def bomb() -> bytes:
    """A PNG of 60 000 × 60 000 px in its header."""
    header = (60_000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    chunks = (
        len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big") for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def write_bad(root: Path) -> dict[str, str]:
    """Words that must be told, once each, by image id."""
    photo, masks = picture(), root / "masks"
    masks.mkdir()
    for name in ("size", "id", "colour"):
        photo.save(root / f"{name}.jpg")
    Image.new("P", (HEIGHT, WIDTH)).save(masks / "size.png")
    Image.new("L", (WIDTH, HEIGHT), 9).save(masks / "id.png")
    photo.save(masks / "colour.png")
    whole = (root / "plain.jpg").read_bytes()
    (root / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "empty.jpg").touch()
    (root / "text.jpg").write_text("no photo")
    (root / "bomb.png").write_bytes(bomb())
    (root / "loop.jpg").symlink_to("loop.jpg")
    Image.new("RGB", (1, 1)).save(root / "dot.png")
    (root / "folder.jpg").mkdir()
    return {
        "size": "masks/size.png: has 16x24 px, its photo 24x16 px", "id": "masks/id.png: has class ids 9",
        "colour": "masks/colour.png: has mode RGB", "cut": "cut.jpg: cannot be decoded",
        "empty": "empty.jpg: is empty (0 bytes)", "text": "text.jpg: is no readable", "bomb": "bomb.png: claims",
        "loop": "loop.jpg: no such file", "dot": "dot.png: has 1x1 px", "folder": "folder: no photo of this name",
        "nosuch": "nosuch: no photo of this name", "../../x": "id '../../x' is a path", "unicorn": "unknown class 'unicorn'",
    }  # fmt: skip


def prepare(root: Path, names: list[str]) -> subprocess.CompletedProcess[str]:
    rows = "".join(f"{name},{'unicorn' if name == 'unicorn' else 'cat  dog '}\r\n" for name in names)
    (root / "labels.csv").write_bytes(f"\ufeffimage_id, labels\r\n{rows}\r\n".encode())
    params = settings_of("toy")
    params["data"] |= {
        "format": "folder",
        "root": str(root),
        "classes": ["cat", "dog"],
        "train_list": None,
        "val_list": None,
    }
    (root.parent / "params.yaml").write_text(yaml.safe_dump(params))
    command = [sys.executable, "-m", "stages.prepare"]
    for option, path in {
        "lists": str(root),
        "manifest": "manifest.csv",
        "classes": "classes.txt",
        "metrics": "prepare.json",
    }.items():
        command += [f"--{option}", path]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=root.parent, env=environment, capture_output=True, text=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    write_good(tmp_path / "photos")
    return tmp_path / "photos"


def test_odd_photos_are_read_right(root: Path) -> None:
    done = prepare(root, list(GOOD))
    assert done.returncode == 0, done.stderr
    records = read_manifest(root.parent / "manifest.csv")
    assert [record.image_id for record in records] == list(GOOD)
    for record in records:
        assert (record.width, record.height, record.labels) == (WIDTH, HEIGHT, (1, 2))
        photo = read_photo(record.image).astype(int)
        assert photo.shape == (HEIGHT, WIDTH, 3)
        if record.image_id == "sixteen":
            assert (photo == 40_000 >> 8).all()
        elif record.image_id == "grey":
            assert len(np.unique(photo)) == 2
        else:
            assert (photo[:, :8, 0] > 150).all() and (photo[:, -8:, 2] > 130).all() and (photo[:, -8:, 0] < 60).all()


def test_bad_files_are_told_in_one_message_and_nothing_is_written(root: Path) -> None:
    expected = write_bad(root)
    done = prepare(root, [*GOOD, *expected])
    assert done.returncode == 1 and "Traceback" not in done.stderr
    told = [line for line in done.stderr.splitlines() if line.startswith("  ")]
    for name, words in expected.items():
        assert sum(words in line for line in told) == 1, (name, done.stderr)
    assert len(told) == len(expected) + 1  # `unicorn` has no photo either
    assert f"{len(told)} problems; nothing was written" in done.stderr
    assert sorted(path.name for path in root.parent.iterdir()) == ["params.yaml", "photos"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("image_id,labels\nplain,ca\xe9\n".encode("latin-1"), "labels.csv: cannot be read as UTF-8"),
        (b"", "must be 'image_id,labels'"),
        (b"\0\0\0\0", "labels.csv"),
    ],
)  # fmt: skip
def test_a_label_file_that_is_no_utf8_table_is_told(root: Path, content: bytes, words: str) -> None:
    prepare(root, ["plain"])  # writes the params
    for path in root.parent.glob("*.csv"):
        path.unlink()
    (root / "labels.csv").write_bytes(content)
    command = [
        sys.executable,
        "-m",
        "stages.prepare",
        "--lists",
        str(root),
        "--manifest",
        "m.csv",
        "--classes",
        "c.txt",
        "--metrics",
        "p.json",
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=root.parent, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and words in done.stderr and "Traceback" not in done.stderr
    assert not (root.parent / "m.csv").exists()
