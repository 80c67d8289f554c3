"""What a mask contains, for people and for programs: the classes, their areas and boxes."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from weakseg.arrays import LabelMap
from weakseg.files import voc_palette


def line_of(labels: LabelMap, class_names: Sequence[str]) -> str:
    """E.g. `person 31 %, sofa 12 %`: the foreground classes and their share of the photo, largest first.

    >>> import numpy as np
    >>> line_of(np.array([[0, 1], [1, 2]]), ["background", "person", "sofa"])
    'person 50 %, sofa 25 %'
    """
    found = contents_of(labels, class_names)["classes"]
    return ", ".join(f"{item['name']} {100 * item['area_fraction']:.0f} %" for item in found) or "only background"


def contents_of(labels: LabelMap, class_names: Sequence[str]) -> dict[str, Any]:
    """Size of the mask and, largest first, its foreground classes: id, name, area in px and as a fraction of the photo,
    and the box around all of the class's pixels (left, top, right, bottom in px; right and bottom exclusive)."""
    counts = np.bincount(labels.ravel(), minlength=len(class_names))
    present = [int(label) for label in np.argsort(-counts, kind="stable") if counts[label] and label]
    return {
        "height": labels.shape[0],
        "width": labels.shape[1],
        "classes": [
            {
                "id": label,
                "name": class_names[label],
                "area_px": int(counts[label]),
                "area_fraction": float(counts[label] / labels.size),
                "box_xyxy": _box(labels == label),
            }
            for label in present
        ],
    }


def _box(mask: np.ndarray) -> list[int]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]


def class_list(class_names: Sequence[str]) -> list[dict[str, Any]]:
    """Id, name and colour of each class, as `classes.json` lists them."""
    colours = voc_palette()
    return [
        {"id": label, "name": name, "colour_rgb": colours[label].tolist()} for label, name in enumerate(class_names)
    ]
