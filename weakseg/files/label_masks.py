"""Label masks: class ids (H, W) uint8 as palette pictures in VOC's colours, 255 = ignore."""

import numpy as np
import numpy.typing as npt
from PIL import Image

IGNORE_INDEX = 255


def voc_palette(num_colours: int = 256) -> npt.NDArray[np.uint8]:
    """(num_colours, 3) RGB: VOC's colour map, the bits of the class id spread over the channels' high bits."""
    ids = np.arange(num_colours)
    channels = [
        sum((((ids >> (3 * bit + channel)) & 1) << (7 - bit) for bit in range(8)), np.zeros_like(ids))
        for channel in range(3)
    ]
    return np.stack(channels, 1).astype(np.uint8)


_PALETTE = voc_palette().tobytes()


def label_image(labels: npt.NDArray[np.uint8]) -> Image.Image:
    """Palette picture of class ids (H, W), 255 = ignore, in VOC's colours."""
    image = Image.fromarray(np.ascontiguousarray(labels, np.uint8), mode="P")
    image.putpalette(_PALETTE)
    return image
