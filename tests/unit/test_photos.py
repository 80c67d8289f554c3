"""Photos and masks as cameras, scanners and vandals leave them."""

import hashlib
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from PIL import Image

from weakseg.errors import UserError
from weakseg.images.photos import inspect_photo, read_mask, read_photo

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL", "ignore::PIL.Image.DecompressionBombWarning")

ORIENTATION = 0x0112


def corner_colours(height: int = 16, width: int = 24) -> npt.NDArray[np.uint8]:
    """A smooth picture whose four corners differ: top-left red, top-right green, bottom-left blue, else dark."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2, 0] = 200
    pixels[: height // 2, width // 2 :, 1] = 200
    pixels[height // 2 :, : width // 2, 2] = 200
    return pixels


def stored_as(upright: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[np.uint8]:
    """What a camera of that EXIF orientation stores (EXIF 2.3: where row 0 and column 0 of the file are seen)."""
    flips: dict[int, Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]]] = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: a.swapaxes(0, 1)[::-1],  # row 0 of the file is the right side of the scene
        7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
        8: lambda a: a.swapaxes(0, 1)[:, ::-1],
    }
    return np.ascontiguousarray(flips[orientation](upright))


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def raw_png(width: int, height: int, bit_depth: int, colour_type: int, pixels: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(pixels)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_turned_upright(tmp_path: Path, orientation: int, suffix: str) -> None:
    upright = corner_colours()
    path = tmp_path / f"photo.{suffix}"
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options: dict[str, Any] = {"quality": 95} if suffix == "jpg" else {"lossless": True} if suffix == "webp" else {}
    Image.fromarray(stored_as(upright, orientation)).save(path, exif=exif, **options)
    photo = read_photo(path)
    assert photo.shape == upright.shape and photo.dtype == np.uint8
    centres = np.s_[4::8, 6::12]
    np.testing.assert_allclose(photo[centres].astype(int), upright[centres].astype(int), atol=12)


def test_damaged_exif_counts_as_upright(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    Image.fromarray(corner_colours()).save(path, exif=b"Exif\0\0MM\0*\xff\xff\xff\xff garbage")
    assert read_photo(path).shape == (16, 24, 3)
    exif = Image.Exif()
    exif[ORIENTATION] = 262  # none of 1..8
    Image.fromarray(corner_colours()).save(path, exif=exif)
    assert read_photo(path).shape == (16, 24, 3)


def test_modes_become_rgb(tmp_path: Path) -> None:
    colour = corner_colours()
    grey = np.full((9, 8), 77, np.uint8)
    cases: dict[str, tuple[Image.Image, npt.NDArray[np.uint8]]] = {
        "grey.png": (Image.fromarray(grey), np.full((9, 8, 3), 77, np.uint8)),
        "bit.png": (
            Image.fromarray(np.eye(9, 8, dtype=bool)),
            np.eye(9, 8, dtype=np.uint8)[..., None].repeat(3, 2) * 255,
        ),
        "palette.png": (Image.fromarray(colour).quantize(4), colour),
        "palette.gif": (Image.fromarray(colour).quantize(4), colour),
        "cmyk.tif": (Image.fromarray(colour).convert("CMYK"), colour),
        "photo.bmp": (Image.fromarray(colour), colour),
    }
    for name, (picture, expected) in cases.items():
        picture.save(tmp_path / name)
        np.testing.assert_array_equal(read_photo(tmp_path / name), expected, err_msg=name)


def test_cmyk_jpeg_keeps_its_colours(tmp_path: Path) -> None:
    path = tmp_path / "cmyk.jpg"
    Image.fromarray(corner_colours()).convert("CMYK").save(path, quality=95)
    np.testing.assert_allclose(read_photo(path)[4::8, 6::12].astype(int), corner_colours()[4::8, 6::12], atol=16)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_is_scaled_not_clipped(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"deep.{suffix}"
    levels = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
    Image.fromarray(levels).save(path)
    assert read_photo(path)[0, :, 0].tolist() == [0, 0, 1, 128, 255]


def test_16_bit_colour_is_scaled_not_clipped(tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    path.write_bytes(raw_png(2, 1, 16, 2, b"\0" + struct.pack(">6H", 0, 256, 65535, 32768, 300, 65280)))
    assert read_photo(path).tolist() == [[[0, 1, 255], [128, 1, 255]]]


def test_32_bit_pixels_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "float.tif"
    Image.fromarray(np.ones((9, 9), np.float32)).save(path)
    with pytest.raises(UserError, match=r"float\.tif: has 32-bit pixels"):
        read_photo(path)


def test_transparency_lies_on_white(tmp_path: Path) -> None:
    pixels = np.zeros((1, 3, 4), np.uint8)
    pixels[0, :, 0], pixels[0, :, 3] = 100, [0, 255, 51]
    Image.fromarray(pixels).save(tmp_path / "rgba.png")
    assert read_photo(tmp_path / "rgba.png").tolist() == [[[255, 255, 255], [100, 0, 0], [224, 204, 204]]]
    grey = Image.fromarray(np.array([[10, 20]], np.uint8))
    grey.save(tmp_path / "key.png", transparency=10)
    assert read_photo(tmp_path / "key.png")[0, :, 0].tolist() == [255, 20]


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_first_frame_of_an_animation(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (12, 10), colour) for colour in ("red", "blue", "lime")]
    options: dict[str, Any] = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(tmp_path / f"moving.{suffix}", save_all=True, append_images=frames[1:], **options)
    np.testing.assert_array_equal(read_photo(tmp_path / f"moving.{suffix}"), np.array(frames[0]))


def test_one_pixel(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "dot.png")
    assert read_photo(tmp_path / "dot.png").tolist() == [[[1, 2, 3]]]
    Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "dot.jpg")
    assert read_photo(tmp_path / "dot.jpg", max_side_px=1).shape == (1, 1, 3)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "tif"])
def test_truncated_photos_are_refused(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    whole = io.BytesIO()
    Image.fromarray(noise).save(whole, {"jpg": "JPEG", "tif": "TIFF"}.get(suffix, suffix.upper()))
    path = tmp_path / f"cut.{suffix}"
    for keep in (0, 1, 10, len(whole.getvalue()) // 2, len(whole.getvalue()) - 100):
        path.write_bytes(whole.getvalue()[:keep])
        with pytest.raises(UserError, match=rf"cut\.{suffix}: (is|cannot be decoded)"):
            read_photo(path)


def test_what_is_no_photo_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("hello, I am not a photo")
    (tmp_path / "vector.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    for name in ("text.jpg", "vector.jpg", "folder.jpg", "loop.jpg", "missing.jpg"):
        for reader in (read_photo, inspect_photo):
            with pytest.raises(UserError, match=name):
                reader(tmp_path / name)


@pytest.mark.parametrize("side", [11_000, 60_000])  # over our limit; over Pillow's own
def test_decompression_bombs_are_refused_before_decoding(tmp_path: Path, side: int) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(raw_png(side, side, 8, 0, b""))  # no pixels at all: decoding would complain of that
    for reader in (read_photo, inspect_photo):
        with pytest.raises(UserError, match=r"bomb\.png: claims .*100000000 pixels"):
            reader(path)


def test_the_pixel_limit_is_the_callers(tmp_path: Path) -> None:
    Image.new("RGB", (10, 10)).save(tmp_path / "photo.png")
    assert read_photo(tmp_path / "photo.png", max_pixels=100).shape == (10, 10, 3)
    with pytest.raises(UserError, match="10x10 px, over the limit of 99 pixels"):
        read_photo(tmp_path / "photo.png", max_pixels=99)


@pytest.mark.parametrize(
    ("max_side_px", "shape"),
    [(1000, (600, 1000)), (501, (600, 1000)), (500, (300, 500)), (130, (150, 250)), (9, (75, 125))],
)
@pytest.mark.parametrize("orientation", [1, 6])
def test_jpegs_are_decoded_smaller_but_not_below_the_side_asked(
    tmp_path: Path, max_side_px: int, shape: tuple[int, int], orientation: int
) -> None:
    upright = corner_colours(600, 1000)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path = tmp_path / "photo.jpg"
    Image.fromarray(stored_as(upright, orientation)).save(path, exif=exif)
    photo = read_photo(path, max_side_px=max_side_px)
    assert photo.shape == (*shape, 3)
    assert photo[shape[0] // 4, shape[1] // 4].argmax() == 0 and photo[shape[0] // 4 * 3, shape[1] // 4].argmax() == 2


def test_inspect_photo_gives_size_and_sha256(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.new("RGB", (12, 10)).save(path)
    facts = inspect_photo(path)
    assert (facts.height, facts.width) == (10, 12)
    assert facts.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_masks_keep_the_stored_numbers(tmp_path: Path) -> None:
    ids = np.array([[0, 1, 2], [20, 255, 7]], np.uint8)
    palette = Image.fromarray(ids, mode="P")
    palette.putpalette(np.random.default_rng(0).integers(0, 256, 768, np.uint8).tobytes())
    palette.save(tmp_path / "palette.png")
    Image.fromarray(ids).save(tmp_path / "grey.png")
    Image.fromarray(ids.astype(np.uint16)).save(tmp_path / "deep.png")
    for name in ("palette.png", "grey.png", "deep.png"):
        mask = read_mask(tmp_path / name, 21)
        assert mask.dtype == np.uint8
        np.testing.assert_array_equal(mask, ids, err_msg=name)


@pytest.mark.parametrize("colour_type", [0, 3])  # grey, palette
@pytest.mark.parametrize(
    ("bit_depth", "row", "ids"), [(1, 0b01000000, [0, 1]), (2, 0b11100000, [3, 2]), (4, 0xF2, [15, 2])]
)
def test_masks_of_few_bits_keep_the_stored_numbers(
    tmp_path: Path, bit_depth: int, row: int, ids: list[int], colour_type: int
) -> None:
    content = raw_png(2, 1, bit_depth, colour_type, bytes([0, row]))
    if colour_type == 3:
        header_end = 8 + 25
        content = content[:header_end] + png_chunk(b"PLTE", bytes(range(48))[: 3 << bit_depth]) + content[header_end:]
    (tmp_path / "mask.png").write_bytes(content)
    assert read_mask(tmp_path / "mask.png", 21).tolist() == [ids]


def test_masks_with_foreign_ids_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 20, 255]], np.uint8)).save(tmp_path / "mask.png")
    assert read_mask(tmp_path / "mask.png", 21).tolist() == [[0, 20, 255]]
    with pytest.raises(UserError, match=r"mask\.png: has class ids 20; allowed are 0\.\.19 and 255"):
        read_mask(tmp_path / "mask.png", 20)
    Image.fromarray(np.array([[0, 256]], np.uint16)).save(tmp_path / "wide.png")
    with pytest.raises(UserError, match="class ids 256"):
        read_mask(tmp_path / "wide.png", 21)


def test_masks_in_colour_or_other_formats_are_refused(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "colour.png")
    with pytest.raises(UserError, match=r"colour\.png: has mode RGB"):
        read_mask(tmp_path / "colour.png", 21)
    Image.new("L", (4, 4)).save(tmp_path / "mask.jpg")
    with pytest.raises(UserError, match=r"mask\.jpg: is no readable PNG"):
        read_mask(tmp_path / "mask.jpg", 21)


def seeds() -> list[bytes]:
    picture = Image.fromarray(corner_colours())
    found = []
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"):
        buffer = io.BytesIO()
        exif = Image.Exif()
        exif[ORIENTATION] = 6
        picture.save(buffer, kind, **({} if kind in ("GIF", "BMP") else {"exif": exif}))
        found.append(buffer.getvalue())
    return found


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(seeds()),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1),
    st.integers(1),
)
def test_fuzzed_photos_read_or_raise_user_error(
    tmp_path: Path, content: bytes, changes: list[tuple[int, int]], keep: int
) -> None:
    damaged = bytearray(content)
    for position, value in changes:
        damaged[position % len(damaged)] = value
    path = tmp_path / "fuzz.bin"
    path.write_bytes(damaged[: max(1, keep % (2 * len(damaged)))])
    try:
        photo = read_photo(path, max_pixels=1_000_000)
        assert photo.ndim == 3 and photo.shape[2] == 3 and photo.dtype == np.uint8
    except UserError as error:
        assert "fuzz.bin" in str(error)
    try:
        assert read_mask(path, 2, max_pixels=1_000_000).ndim == 2
    except UserError as error:
        assert "fuzz.bin" in str(error)
