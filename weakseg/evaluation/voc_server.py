"""The archive that VOC 2012's evaluation server takes (host.robots.ox.ac.uk:8080), checked before it is written.

`results/VOC2012/Segmentation/comp6_test_cls/<id>.png`, a palette PNG per test photo. comp6 is the contest for methods
that learn from data of their own choice, as everything that starts from ImageNet weights does.
"""

import re
import tarfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from weakseg.errors import Problems
from weakseg.files import BACKGROUND, VOC_CLASSES, ImageArchive, Record, atomic_file, label_image, png_bytes

FOLDER = "results/VOC2012/Segmentation/comp6_test_cls"


VOC_ID = re.compile(r"\d{4}_\d{6}")


def check_submission(records: Sequence[Record], masks: ImageArchive, class_names: Sequence[str]) -> None:
    """Raises one UserError with all that the server would refuse, or score wrongly without a word.

    The classes must be VOC's in VOC's order; each photo needs a VOC id and a mask of its own size with ids 0..20.
    """
    problems = Problems()
    if list(class_names) != [BACKGROUND, *VOC_CLASSES]:
        problems.add(f"the classes are not VOC's 20 in VOC's order, but {', '.join(class_names[1:])}")
    if not records:
        problems.add("there are no test photos; set data.test_list (VOC: test)")
    for record in records:
        with problems.collect():
            _check_mask(record, masks, problems)
    problems.raise_any(f"{masks.path}")


def _check_mask(record: Record, masks: ImageArchive, problems: Problems) -> None:
    if not VOC_ID.fullmatch(record.image_id):
        problems.add(f"{record.image_id}: is no id of VOC 2012, such as 2008_000006")
    mask = masks[record.image_id]
    height, width = mask.shape
    if mask.shape != (record.height, record.width):
        problems.add(
            f"{record.image_id}: the mask has {width}x{height} px, its photo {record.width}x{record.height} px"
        )
    if mask.max() > len(VOC_CLASSES):
        problems.add(f"{record.image_id}: the mask holds class id {mask.max()}; allowed are 0..{len(VOC_CLASSES)}")


def write_submission(path: Path, records: Sequence[Record], masks: ImageArchive) -> None:
    """The masks as a tar, in alphabetical order; equal masks give equal bytes."""
    with atomic_file(path) as file, tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for image_id in sorted(record.image_id for record in records):
            content = png_bytes(label_image(masks[image_id]))
            entry = tarfile.TarInfo(f"{FOLDER}/{image_id}.png")
            entry.size, entry.mode = len(content), 0o644  # owner and time stay 0
            archive.addfile(entry, BytesIO(content))
