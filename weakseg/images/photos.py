"""Reading a photo or a label mask, however it is stored; what cannot be read correctly is refused.

A photo comes back as uint8 RGB (H, W, 3), turned upright by its EXIF orientation. Grey, palette, CMYK and 16-bit
pictures become 8-bit RGB (16 bits scaled, not clipped), transparency becomes white, and of an animation the first frame
is read. Any size from 1x1 px up is read. Before anything is decoded, the size in the file's header is checked against a
limit (decompression bombs). An unreadable orientation counts as upright, as in other viewers.
"""

import hashlib
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from weakseg.errors import UserError
from weakseg.files import IGNORE_INDEX, Record, SaliencyRecord, file_sha256

MAX_PIXELS = 100_000_000


PHOTO_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF")


PHOTO_SUFFIXES = (".jpg", ".jpeg", ".jfif", ".jpe", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif")


_ORIENTATION_TAG = 0x0112


_UPRIGHT_BY = {  # EXIF orientation → what turns the stored picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


_GREY_STEP = {"L;2": 85, "L;4": 17}  # Pillow stretches 2- and 4-bit grey to 0..255; for class ids this is undone


@dataclass(frozen=True)
class PhotoFacts:
    """Upright size in pixels and the SHA-256 of the file's bytes."""

    height: int
    width: int
    sha256: str


def read_photo(
    path: Path | str, max_side_px: int | None = None, max_pixels: int = MAX_PIXELS, sha256: str = ""
) -> npt.NDArray[np.uint8]:
    """The photo as upright uint8 RGB (H, W, 3).

    With `max_side_px` a JPEG is decoded at 1/2, 1/4 or 1/8 of its size as long as its longer side is still at least
    `max_side_px`; other formats are decoded at full size. The caller resizes from there. Raises UserError naming the
    file if it is missing, empty, truncated, damaged, in an unknown format, larger than `max_pixels` pixels, or, if
    `sha256` is given, has other content. Pillow's own limit (179 million pixels) holds as well.
    """
    with _opened(Path(path), PHOTO_FORMATS, max_pixels, sha256) as image:
        if image.mode in ("I", "F"):
            raise UserError(f"{path}: has 32-bit pixels without a defined range; save it with 8 or 16 bits")
        if max_side_px is not None:
            _reduce_jpeg(image, max_side_px)
        return photo_of(image)


def read_record(record: Record | SaliencyRecord, max_side_px: int | None = None) -> npt.NDArray[np.uint8]:
    """The photo of a manifest's record, as `read_photo` returns it; refused if it has changed since the manifest was
    written."""
    return read_photo(record.image, max_side_px, sha256=record.sha256)


def photo_of(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Upright uint8 RGB (H, W, 3) of any picture that Pillow has opened or made."""
    upright_by = _UPRIGHT_BY.get(_orientation(image))
    image.load()
    rgb = _to_rgb(image)
    return np.array(rgb if upright_by is None else rgb.transpose(upright_by), np.uint8)


def inspect_photo(path: Path | str, max_pixels: int = MAX_PIXELS) -> PhotoFacts:
    """Decodes the whole photo to check it. Raises UserError as `read_photo` does."""
    height, width = read_photo(path, max_pixels=max_pixels).shape[:2]
    return PhotoFacts(height, width, file_sha256(path))


def read_mask(path: Path | str, num_classes: int, max_pixels: int = MAX_PIXELS) -> npt.NDArray[np.uint8]:
    """Class ids (H, W) uint8 of a palette or grey PNG: 0..num_classes-1, or 255 = ignore.

    The stored numbers are the ids; the palette's colours do not matter. Raises UserError naming the file if it is
    unreadable, in colour, or has other ids.
    """
    with _opened(Path(path), ("PNG",), max_pixels) as image:
        if image.mode not in ("L", "P", "1", "I;16"):
            raise UserError(f"{path}: has mode {image.mode}; save the mask as a palette or grey PNG of class ids")
        step = _GREY_STEP.get(_raw_mode(image), 1)
        image.load()
        ids = np.asarray(image) // step if step > 1 else np.asarray(image)
    wrong = [int(value) for value in np.unique(ids) if value >= num_classes and value != IGNORE_INDEX]
    if wrong:
        shown = ", ".join(map(str, wrong[:5])) + (", ..." if len(wrong) > 5 else "")
        raise UserError(f"{path}: has class ids {shown}; allowed are 0..{num_classes - 1} and {IGNORE_INDEX}")
    return ids.astype(np.uint8)


@contextmanager
def _opened(path: Path, formats: tuple[str, ...], max_pixels: int, sha256: str = "") -> Iterator[Image.Image]:
    """The picture with its header read; any failure here or in the caller's body becomes a UserError."""
    try:
        _require_content(path)
        with Image.open(_checked(path, sha256) if sha256 else path, formats=formats) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise UserError(
                    f"{path}: claims {width}x{height} px, over the limit of {max_pixels} pixels; scale it down"
                )
            yield image
    except UserError:
        raise
    except UnidentifiedImageError:
        raise UserError(f"{path}: is no readable {', '.join(formats)} file; replace or remove it") from None
    except Image.DecompressionBombError:
        raise UserError(f"{path}: claims far more than {max_pixels} pixels; scale it down or remove it") from None
    except Exception as error:  # on damaged bytes, decoders raise almost anything
        reason = str(error) or type(error).__name__
        raise UserError(f"{path}: cannot be decoded ({reason}); truncated or damaged? replace or remove it") from error


def _checked(path: Path, sha256: str) -> BytesIO:
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise UserError(
            f"{path}: changed since the manifest was written; run `dvc repro`, which prepares the data again"
        )
    return BytesIO(content)


def _require_content(path: Path) -> None:
    if not path.is_file():  # also false for pipes, devices and symbolic links in a loop
        raise UserError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise UserError(f"{path}: is empty (0 bytes); replace or remove it")


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8, if the header has one."""
    if image.format == "TIFF":  # Pillow rotates these itself
        return 1
    try:
        # PNG's own getexif would decode the picture first, to look for EXIF behind the pixels
        orientation = int(Image.Image.getexif(image).get(_ORIENTATION_TAG, 1))
        return orientation if orientation in _UPRIGHT_BY else 1
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        OSError,
        SyntaxError,
        TypeError,
        ValueError,
        struct.error,
    ):
        return 1  # damaged EXIF harms no pixel


def _reduce_jpeg(image: Image.Image, max_side_px: int) -> None:
    """Asks libjpeg for the smallest of its scales whose longer side is at least `max_side_px`; else does nothing."""
    longer = max(image.size)
    width, height = (max(1, -(-side * max_side_px // longer)) for side in image.size)
    image.draft(None, (width, height))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image) >> 8).astype(np.uint8)  # the high byte, as Pillow does with 16-bit colour
        return Image.fromarray(grey).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def _raw_mode(image: Image.Image) -> str:
    """How Pillow unpacks the pixels, e.g. `L;4` for 4-bit grey; only known before they are loaded."""
    tiles = getattr(image, "tile", None)
    arguments = tiles[0][3] if tiles else ""
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)
