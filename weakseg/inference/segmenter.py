"""A trained segmenter, used on photos by its experiment's own test rule: the masks are those of the pipeline."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from weakseg.arrays import LabelMap, Photo
from weakseg.batch import in_batches
from weakseg.crf import TestTimeCRF
from weakseg.files import voc_palette
from weakseg.images import enlarge_labels, input_sides, photo_of, read_photo, rescale
from weakseg.inference.grids import PROB_FLOOR, GridScores, as_stored, full_size, label_mask
from weakseg.inference.predict import predict_grids
from weakseg.inference.test_time_rule import Rule, read_rule
from weakseg.networks import rebuild_segmenter
from weakseg.runtime import pick_device, to_device
from weakseg.zoo import model_folder

OVERLAY_OPACITY = 0.55
MAX_SIDE_PX = 1000  # larger photos are segmented at this size: time and memory of the CRF grow with the pixels


def load_segmenter(place: Path | str, device: torch.device | str | None = None) -> "PhotoSegmenter":
    """The segmenter in a folder, as `train_segmenter` and `write_test_rule` left it (e.g. models/segmenter/guided), or
    from elsewhere: `https://…`, `dvc:REPOSITORY#FOLDER`, `hub:ORGANIZATION/NAME` (see `zoo.model_folder`).

    `device` None: WEAKSEG_DEVICE, else the GPU if there is one. Raises UserError for a missing or damaged file.
    """
    folder = model_folder(place)
    network, description = rebuild_segmenter(folder)
    chosen = pick_device() if device is None else torch.device(device)
    return PhotoSegmenter(network, read_rule(folder), description["class_names"], chosen)


class PhotoSegmenter:
    """`class_names` are those of the masks' ids, background first; `rule` is the experiment's test rule.

    >>> segmenter = load_segmenter("models/segmenter/guided")  # doctest: +SKIP
    >>> mask = segmenter.segment(image)                        # doctest: +SKIP
    """

    def __init__(self, network: nn.Module, rule: Rule, class_names: Sequence[str], device: torch.device) -> None:
        self.network, self.device = to_device(network, device).eval(), device
        self.rule, self.class_names = rule, list(class_names)

    def segment(
        self, image: Photo | Image.Image | Path | str, crf: bool = True, max_side_px: int = MAX_SIDE_PX
    ) -> LabelMap:
        """(H, W) uint8 class ids of one photo, with the dense CRF unless told otherwise.

        `image`: an RGB array (H, W, 3) uint8, a PIL image, or the path of a photo; the latter two are turned upright by
        their EXIF orientation. A photo larger than `max_side_px` is segmented at that size, and its mask enlarged.

        Raises ValueError for an array of another kind, UserError for a file that cannot be read.
        """
        photo = _as_photo(image)
        grid = self.grids([shrunk(photo, max_side_px)])[0]
        return mask_of(photo, grid, self.rule, crf, max_side_px)

    def grids(self, images: Sequence[Photo]) -> list[GridScores]:
        """Scores of each photo, in order; photos that the network sees at one size go through it together."""
        geometry, input_px = self.rule.geometry, self.rule.input_px

        def together(some: list[Photo]) -> list[GridScores]:
            return predict_grids(self.network, some, geometry, input_px, self.device)

        checked = [_checked(image) for image in images]
        grids = in_batches(checked, lambda image: input_sides(image, geometry, input_px), together, len(checked))
        return [as_stored(grid) for grid in grids]


def mask_of(image: Photo, grid: GridScores, rule: Rule, crf: bool, max_side_px: int = MAX_SIDE_PX) -> LabelMap:
    """(H, W) uint8 class ids from the scores of the photo `shrunk`; needs no network, so worker processes can do it."""
    small = shrunk(image, max_side_px)
    height, width = small.shape[:2]
    if crf:
        scores = full_size(grid, height, width, PROB_FLOOR, rule.geometry)
        labels = TestTimeCRF(rule.crf, rule.backend)(small, scores)
    else:
        labels = label_mask(grid, height, width, rule.geometry)
    return enlarge_labels(labels, *image.shape[:2])


def shrunk(image: Photo, max_side_px: int) -> Photo:
    """The photo with its longer side at most `max_side_px`."""
    scale = max_side_px / max(image.shape[:2])
    return rescale(image, scale) if scale < 1 else image


def _as_photo(image: Photo | Image.Image | Path | str) -> Photo:
    if isinstance(image, (Path, str)):
        return read_photo(image)
    return _checked(photo_of(image) if isinstance(image, Image.Image) else image)


def _checked(image: Photo) -> Photo:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        kind = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f"a photo must be RGB, uint8 of shape (H, W, 3), not {kind}")
    if 0 in image.shape:
        raise ValueError(f"a photo of {image.shape[0]}x{image.shape[1]} px has no pixels")
    return np.ascontiguousarray(image)


def overlaid(image: Photo, labels: LabelMap) -> Photo:
    """The photo (H, W, 3) with its foreground classes overlaid in VOC's colours; background stays as it is."""
    painted = OVERLAY_OPACITY * voc_palette()[labels] + (1 - OVERLAY_OPACITY) * image
    return np.where((labels > 0)[..., None], np.rint(painted), image).astype(np.uint8)
