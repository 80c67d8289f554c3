"""Pictures of one photo as data URIs that the page lays over each other."""

import base64
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from weakseg.arrays import LabelMap, Photo
from weakseg.report.colours import Palette
from weakseg.report.pictures import opacities

PHOTO_QUALITY = 72


SALIENCY_COLOUR = (255, 0, 170)  # of few photos, and of no class


SALIENCY_LEVELS = 16


def photo_uri(picture: Photo) -> str:
    """A lossy WebP of (H, W, 3)."""
    packed = BytesIO()
    Image.fromarray(picture).save(packed, "WEBP", quality=PHOTO_QUALITY, method=4)
    return _data_uri(packed.getvalue(), "webp")


def label_uri(labels: LabelMap, palette: Palette) -> str:
    """A palette PNG of only the colours used. Background and unlabelled pixels are transparent as in `opacities`."""
    used, compact = np.unique(labels, return_inverse=True)
    alpha = np.empty(len(used), np.uint8)
    alpha[compact.ravel()] = np.rint(255 * opacities(labels, 1.0)).ravel()
    return _palette_uri(compact.reshape(labels.shape), palette[used], alpha)


def saliency_uri(saliency: LabelMap) -> str:
    """Grey probabilities (H, W) as one colour, the more opaque the more salient."""
    levels: LabelMap = np.rint(saliency / 255 * (SALIENCY_LEVELS - 1)).astype(np.uint8)
    colours = np.tile(np.array(SALIENCY_COLOUR, np.uint8), (SALIENCY_LEVELS, 1))
    return _palette_uri(levels, colours, np.linspace(0, 255, SALIENCY_LEVELS).round())


def _palette_uri(indices: npt.NDArray[Any], colours: Palette, alpha: npt.NDArray[Any]) -> str:
    image = Image.fromarray(indices.astype(np.uint8), mode="P")
    image.putpalette(colours.tobytes())
    packed = BytesIO()
    image.save(packed, "PNG", optimize=True, transparency=alpha.astype(np.uint8).tobytes())
    return _data_uri(packed.getvalue(), "png")


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
