"""The colours that stand for classes in the report: VOC's for VOC's classes, else colours that differ as much as can be.

VOC's own rule gives neighbouring ids nearly the same dark colour: 1 is (128, 0, 0), 8 is (64, 0, 0).
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

from weakseg.files import IGNORE_INDEX, VOC_CLASSES, voc_palette

Palette = npt.NDArray[np.uint8]


IGNORED_COLOUR = (224, 224, 192)  # VOC's cream


_TAKEN = ((0, 0, 0), (255, 255, 255), (128, 128, 128), IGNORED_COLOUR)  # ink, paper, photos in grey, ignored


def class_palette(class_names: Sequence[str]) -> Palette:
    """(256, 3) colours by class id, background first; 255 is `IGNORED_COLOUR`."""
    return voc_palette() if tuple(class_names[1:]) == VOC_CLASSES else distinct_palette()


@cache
def distinct_palette() -> Palette:
    """Black for background, then each colour as far as possible from all before it, by distance in CIELAB.

    Chosen greedily among 12³ colours, without the palest and the most glaring; the first few differ most.
    """
    levels = np.linspace(0, 255, 12).round()
    candidates = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(-1, 3)
    lab = cielab(candidates)
    chroma = np.hypot(lab[:, 1], lab[:, 2])
    usable = (lab[:, 0] > 30) & (lab[:, 0] < 88) & (chroma > 25) & (chroma < 105)
    candidates, lab = candidates[usable], lab[usable]
    nearest = np.min([np.linalg.norm(lab - own, axis=1) for own in cielab(np.array(_TAKEN, np.float64))], axis=0)
    palette = np.zeros((256, 3), np.uint8)
    for label in range(1, IGNORE_INDEX):
        chosen = int(nearest.argmax())
        palette[label] = candidates[chosen]
        nearest = np.minimum(nearest, np.linalg.norm(lab - lab[chosen], axis=1))
    palette[IGNORE_INDEX] = IGNORED_COLOUR
    return palette


def cielab(rgb: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(N, 3) sRGB 0..255 → (N, 3) L*a*b* under D65 (IEC 61966-2-1, CIE 15)."""
    values = rgb / 255
    linear = np.where(values > 0.04045, ((values + 0.055) / 1.055) ** 2.4, values / 12.92)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    relative = linear @ to_xyz.T / [0.9505, 1.0, 1.089]
    root = np.where(relative > (6 / 29) ** 3, np.cbrt(relative), relative / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = root.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)
