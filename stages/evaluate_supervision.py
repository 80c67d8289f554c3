"""How good cues, seeds and guides are: coverage, and precision and recall against the ground truth."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from weakseg import precision_recall, transforms
from weakseg.artifacts import (
    IGNORE_INDEX,
    ArrayArchive,
    ImageArchive,
    Record,
    read_class_names,
    read_cues,
    read_manifest,
    write_json,
)  # fmt: skip
from weakseg.params import Guides, read_keys
from weakseg.stage import arguments, run

Labels = npt.NDArray[np.uint8]


def main() -> None:
    paths = arguments(
        __doc__, manifest="manifest", classes="class names", ground_truth=".zip of masks", cues=".npz of cues",
        seeds=".zip of seeds", guides="folder of guides", oracle=".zip of oracle guides", cue_metrics="JSON to write",
        guide_metrics="JSON to write",
    ).parse_args()  # fmt: skip
    settings: Guides = read_keys("make_guides", files=paths.params)
    num_classes, records = len(read_class_names(paths.classes)), read_manifest(paths.manifest, "train")
    truth, archive = ImageArchive(paths.ground_truth), ArrayArchive(paths.cues)
    write_json(paths.cue_metrics, quality(records, partial(cue_map, archive), truth, num_classes, "cues"))
    sources = {"seeds": paths.seeds} | {rule: paths.guides / f"{rule}.zip" for rule in settings.rules}
    sources["oracle"] = paths.oracle
    archives = {name: ImageArchive(path) for name, path in sources.items()}
    content = {
        name: quality(photos_in(masks, records, truth), partial(mask, masks), truth, num_classes, name)
        for name, masks in archives.items()
    }
    write_json(paths.guide_metrics, content)


def photos_in(archive: ImageArchive, records: list[Record], truth: ImageArchive) -> list[Record]:
    """All but those that can have no oracle guide, having no ground truth."""
    return [record for record in records if record.image_id in truth or record.image_id in archive]


def mask(archive: ImageArchive, record: Record) -> Labels:
    return archive[record.image_id]


def cue_map(archive: ArrayArchive, record: Record) -> Labels:
    cue = read_cues(archive, record.image_id)
    return np.where(cue.any(0), cue.argmax(0), IGNORE_INDEX).astype(np.uint8)


def quality(
    records: list[Record], labels_of: Callable[[Record], Labels], truth: ImageArchive, num_classes: int, name: str
) -> dict[str, Any]:
    """Per cent: coverage over all photos; precision and recall over those with ground truth, null if there are none.

    Ground truth is point-sampled on the labels' grid where that is coarser than the photo.
    """
    counts = precision_recall.LabelCounts.zeros(num_classes)
    shares, with_truth = np.zeros(3), 0
    for record in tqdm(records, f"quality of {name}", unit="image", disable=None):
        labels = labels_of(record)
        ignored = labels == IGNORE_INDEX
        shares += [((labels > 0) & ~ignored).mean(), (labels == 0).mean(), ignored.mean()]
        if record.image_id in truth:
            target = transforms.resize_nearest(truth[record.image_id], *labels.shape)
            counts += precision_recall.count_labels(target, labels, num_classes)
            with_truth += 1
    foreground, background, unknown = (100 * shares / max(len(records), 1)).tolist()
    coverage = {"foreground": foreground, "background": background, "unlabelled": unknown}
    measured = {key: 100 * value for key, value in precision_recall.summarize(counts).items()} if with_truth else None
    return {"coverage": coverage, "images_with_ground_truth": with_truth, "against_ground_truth": measured}


if __name__ == "__main__":
    run(main)
