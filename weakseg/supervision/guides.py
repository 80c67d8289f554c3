"""Guide labels: how saliency and seeds become training targets (Oh et al., CVPR 2017, §5 and supplement E).

Every rule splits the salient foreground into 8-connected components, drops those under 1 % of the image and gives each
of the others a class: `fuse_g0` by chance, `fuse_g1` by a classifier, `fuse_g2` by the seeds. Guides are uint8 (H, W)
label maps: 0 = background, 255 = ignore. The *oracle* row of GS table 2 is `fuse_g2` with `oracle_saliency(target)`;
the *seeds* row is the seed map itself.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from weakseg.arrays import LabelMap, Mask
from weakseg.crf import DEEPLAB, CRFParams, soft
from weakseg.files import IGNORE_INDEX
from weakseg.supervision.regions import components, min_area_px, seed_components, touches

Unresolved = Literal["ignore", "background"]
Classify = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.floating]]
MIN_SALIENCY_FRACTION = 0.01  # of the image, supplement E
MIN_SEED_PX = 25  # the authors' code; supplement E asks for 1 % of the image here too
UNARY_CLIP = 1e-3
UNARY_BLUR_PX = 10.0


def oracle_saliency(target: LabelMap) -> Mask:
    """Ground-truth foreground in place of saliency (GS table 2): (H, W) uint8 → (H, W) bool; 255 is not foreground.

    Example:
        >>> oracle_saliency(np.array([[0, 7, 255]], np.uint8))
        array([[False,  True, False]])
    """
    return np.asarray((target != 0) & (target != IGNORE_INDEX), np.bool_)


def fuse_g0(
    image_id: str,
    image_labels: Iterable[int],
    saliency: Mask,
    *,
    random_seed: int = 0,
    unresolved: Unresolved = "ignore",
    min_saliency_fraction: float = MIN_SALIENCY_FRACTION,
) -> LabelMap:
    """G0: the whole foreground takes one of the image's labels at random (GS §5.3).

    The draw depends on `random_seed` and `image_id` alone, never on the order of images, labels or workers. An image
    without labels has its foreground unresolved.

    Args:
        image_id: the photo's id.
        image_labels: class ids 1..C-1.
        saliency: (H, W) bool.
        random_seed: another seed gives another draw.
        unresolved: "ignore" leaves undecided pixels at 255, "background" makes them 0.
        min_saliency_fraction: smaller components, as a share of the image, become background.

    Returns:
        (H, W) uint8.

    Raises:
        ValueError: a label that is not a class id.

    Example:
        >>> saliency = np.array([[False, True, True]])
        >>> fuse_g0("2007_000032", [15], saliency)
        array([[ 0, 15, 15]], dtype=uint8)
    """
    regions, _ = components(saliency, min_area_px(saliency, min_saliency_fraction))
    labels = _checked_labels(image_labels)
    label = labels[_draw(f"{random_seed}/{image_id}", len(labels))] if labels else IGNORE_INDEX
    return _resolve(np.where(regions > 0, label, 0).astype(np.uint8), unresolved)


def fuse_g1(
    image: npt.NDArray[np.uint8],
    image_labels: Iterable[int],
    saliency: Mask,
    classify: Classify,
    *,
    unresolved: Unresolved = "ignore",
    min_saliency_fraction: float = MIN_SALIENCY_FRACTION,
    require_positive: bool = False,
) -> LabelMap:
    """G1: each component takes the image label whose score gains most when all else is blacked out (GS §5.3).

    It is argmax over the labels of score(component alone) - score(full image), the lower id of equals; negative gains
    count unless `require_positive` (GS's "greatest positive score difference"). No label: all foreground is unresolved.

    Args:
        image, image_labels, saliency: (H, W, 3) uint8; class ids 1..C-1; (H, W) bool.
        classify: images (N, H, W, 3) uint8, the full one first → scores (N, C-1). Not called if there is no choice.
        unresolved, min_saliency_fraction: see `fuse_g2`.

    Returns (H, W) uint8. Raises ValueError for sizes that differ, labels that are not class ids, or misshapen scores.

    Example:
        >>> image = np.array([[[200, 0, 0], [0, 0, 0], [0, 0, 200]]], np.uint8)  # class 1 is red, 2 blue
        >>> fuse_g1(image, [1, 2], image.any(2), lambda images: images[..., [0, 2]].sum((1, 2)))
        array([[1, 0, 2]], dtype=uint8)
    """
    _check_same_size(image, saliency)
    regions, count = components(saliency, min_area_px(saliency, min_saliency_fraction))
    labels = np.array(_checked_labels(image_labels), np.uint8)
    names = np.array([0] + count * [IGNORE_INDEX], np.uint8)
    if count and labels.size == 1 and not require_positive:
        names[1:] = labels[0]
    elif count and labels.size:
        gains = _score_gains(image, regions, count, classify)[:, labels.astype(np.intp) - 1]
        names[1:] = labels[gains.argmax(axis=1)]
        if require_positive:
            names[1:][gains.max(axis=1) <= 0] = IGNORE_INDEX
    return _resolve(names[regions], unresolved)


def fuse_g2(
    image: npt.NDArray[np.uint8],
    seeds: LabelMap,
    saliency: Mask,
    unresolved: Unresolved = "ignore",
    *,
    min_saliency_fraction: float = MIN_SALIENCY_FRACTION,
    min_seed_px: int = MIN_SEED_PX,
    min_seed_fraction: float | None = None,
    crf: CRFParams = DEEPLAB,
    unary_clip: float = UNARY_CLIP,
    unary_blur_px: float = UNARY_BLUR_PX,
) -> LabelMap:
    """G2: seeds name the components they touch (GS §5.3, supplement E).

    A component that no seed touches is 255; seeds of one class give it that class; seeds of several divide it by a dense
    CRF. Where a seed leaks out of components, the leak is 255; one that touches none stays. All else is background.

    Args:
        image, seeds, saliency: (H, W, 3) uint8 RGB; (H, W) uint8 class ids, 0 or 255 = none; (H, W) bool.
        unresolved: "ignore" leaves undecided pixels at 255; "background" makes them 0 (the authors' code).
        min_saliency_fraction, min_seed_px, min_seed_fraction (overrides px): smaller components are dropped.
        crf, unary_clip, unary_blur_px: what divides a component; see `_divide`.

    Returns (H, W) uint8. Raises ValueError if the three sizes differ.

    Example:
        >>> seeds, saliency = np.array([[0, 3, 0, 0, 0]], np.uint8), np.array([[False, True, True, False, True]])
        >>> fuse_g2(np.zeros((1, 5, 3), np.uint8), seeds, saliency, min_seed_px=1)
        array([[  0,   3,   3,   0, 255]], dtype=uint8)
    """
    _check_same_size(image, seeds, saliency)
    min_seed_area = min_seed_px if min_seed_fraction is None else min_area_px(seeds, min_seed_fraction)
    seed_ids, seed_classes = seed_components(seeds, min_seed_area)
    regions, count = components(saliency, min_area_px(saliency, min_saliency_fraction))
    shared = touches(seed_ids, len(seed_classes), regions, count)
    outside = np.where(shared.any(axis=1), IGNORE_INDEX, seed_classes).astype(np.uint8)[seed_ids]
    touching = [tuple(np.unique(seed_classes[shared[:, region]]).tolist()) for region in range(count)]
    divide = partial(_divide, image, seeds, crf=crf, clip=unary_clip, blur_px=unary_blur_px)
    return _resolve(_named(regions, touching, outside, divide), unresolved)


def _named(
    regions: npt.NDArray[np.int32],
    touching: Sequence[tuple[int, ...]],
    outside: LabelMap,
    divide: Callable[[tuple[int, ...]], LabelMap],
) -> LabelMap:
    """The guide: `outside` where there is no region, else the class or classes that touch the region."""
    names = [0, *(classes[0] if len(classes) == 1 else IGNORE_INDEX for classes in touching)]
    guide: LabelMap = np.where(regions > 0, np.array(names, np.uint8)[regions], outside)
    for classes in sorted({classes for classes in touching if len(classes) > 1}):
        inside = np.isin(regions, [region for region, own in enumerate(touching, start=1) if own == classes])
        guide[inside] = divide(classes)[inside]
    return guide


def _divide(
    image: npt.NDArray[np.uint8],
    seeds: LabelMap,
    classes: tuple[int, ...],
    crf: CRFParams,
    clip: float,
    blur_px: float,
) -> LabelMap:
    """The dense CRF's choice among `classes` at every pixel, with unary energy -blurred(clipped seed mask).

    It sees the whole image and all seeds of those classes; the caller keeps the component only. This reproduces the
    recorded cases exactly; cropping the image or blacking it out around the component does not.
    """
    masks = [np.clip((seeds == label).astype(np.float32), clip, 1 - clip) for label in classes]
    scores = np.stack([_blur(mask, blur_px) for mask in masks])
    chosen = soft(np.ascontiguousarray(image), scores, crf).argmax(axis=0)
    divided: LabelMap = np.array(classes, np.uint8)[chosen]
    return divided


def _blur(mask: npt.NDArray[np.float32], sigma_px: float) -> npt.NDArray[np.float32]:
    """Gaussian cut off at 4 σ, border mirrored: like scipy.ndimage.gaussian_filter, several times faster."""
    if sigma_px <= 0:
        return mask
    side = 2 * int(4 * sigma_px + 0.5) + 1
    # Padded here, because cv2's own mirroring needs an image larger than the kernel.
    padded = np.pad(mask, side // 2, mode="symmetric")
    blurred = cv2.GaussianBlur(padded, (side, side), sigma_px)
    return np.asarray(blurred[side // 2 : -(side // 2), side // 2 : -(side // 2)], np.float32)


def _score_gains(
    image: npt.NDArray[np.uint8], regions: npt.NDArray[np.int32], count: int, classify: Classify
) -> npt.NDArray[np.float64]:
    """score(region alone) - score(full image): (count, C-1)."""
    alone = [np.where((regions == region)[..., None], image, 0) for region in range(1, count + 1)]
    scores = np.asarray(classify(np.stack([image, *alone]).astype(np.uint8)), np.float64)
    if scores.ndim != 2 or len(scores) != count + 1:
        raise ValueError(f"classify must return ({count + 1}, C-1) scores, not {scores.shape}")
    return np.asarray(scores[1:] - scores[0])


def _draw(text: str, count: int) -> int:
    """A number below `count` that depends only on the text."""
    digest = int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")
    return digest % count


def _checked_labels(image_labels: Iterable[int]) -> list[int]:
    labels = sorted({int(label) for label in image_labels})
    if labels and not 1 <= labels[0] <= labels[-1] < IGNORE_INDEX:
        raise ValueError(f"image labels are class ids 1..254, not {labels}")
    return labels


def _check_same_size(*arrays: npt.NDArray[np.generic]) -> None:
    sizes: Sequence[tuple[int, ...]] = [array.shape[:2] for array in arrays]
    if len(set(sizes)) > 1:
        raise ValueError(f"image, seeds and saliency differ in size (height, width): {sizes}")


def _resolve(guide: LabelMap, unresolved: Unresolved) -> LabelMap:
    if unresolved not in ("ignore", "background"):
        raise ValueError(f"unresolved is 'ignore' or 'background', not {unresolved!r}")
    if unresolved == "background":
        guide[guide == IGNORE_INDEX] = 0
    return guide
