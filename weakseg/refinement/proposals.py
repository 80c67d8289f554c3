"""Class-agnostic masks (of SAM or any other tool) joined to pseudo-masks (SEPL: Chen, Mai, Li & Chao, 2023, §3)."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from weakseg.arrays import LabelMap
from weakseg.files import IGNORE_INDEX

Masks = Iterable[npt.NDArray[np.bool_]]


def joined_to_proposals(labels: LabelMap, proposals: Masks, inside: float = 0.5, covering: float = 0.85) -> LabelMap:
    """The pseudo-mask with each class replaced by the proposals that belong to it, (H, W) uint8.

    A proposal joins a class if more than `inside` of it lies in the class's pseudo-mask, or if it covers at least
    `covering` of that. A class that none joins keeps its pseudo-mask. Where proposals of two classes overlap, the smaller
    proposal is on top: it is the nearer to one object. Pixels that no class holds any more become background; 255 stays
    where nothing is laid on it.

    Args:
        labels: (H, W) class ids, 0 = background, 255 = unknown.
        proposals: masks (H, W) bool of one photo.

    Example:
        >>> labels = np.array([[0, 4, 4, 0, 0]], np.uint8)
        >>> joined_to_proposals(labels, [np.array([[False, True, True, True, False]])])
        array([[0, 4, 4, 4, 0]], dtype=uint8)
    """
    classes = [int(label) for label in np.unique(labels) if label not in (0, IGNORE_INDEX)]
    areas = {label: int((labels == label).sum()) for label in classes}
    chosen: list[tuple[int, int, npt.NDArray[np.bool_]]] = []  # size, class, mask
    for mask in proposals:
        size = int(mask.sum())
        shared = np.bincount(labels[mask], minlength=256)
        for label in classes:
            if shared[label] > inside * size or (size and shared[label] >= covering * areas[label]):
                chosen.append((size, label, mask))
    replaced = {label for _, label, _ in chosen}
    result = np.where(np.isin(labels, list(replaced)), 0, labels).astype(np.uint8)
    for _, label, mask in sorted(chosen, key=lambda item: (-item[0], item[1])):
        result[mask] = label
    kept = np.isin(labels, [label for label in classes if label not in replaced])
    return np.where(kept & (result == 0), labels, result).astype(np.uint8)
