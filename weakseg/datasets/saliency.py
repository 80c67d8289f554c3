"""Scanning the saliency set: photos with boxes by several annotators, in MSRA's text format (Liu et al. 2007)."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from weakseg.datasets.label_files import image_id_problem, read_image_ids, text_problem
from weakseg.datasets.msra_boxes import MsraRecord, average_box, read_msra_boxes
from weakseg.datasets.scanning import check_photo, data_folder, existing, find_file, map_parallel
from weakseg.errors import Problems
from weakseg.files import SaliencyRecord
from weakseg.images import PhotoFacts, read_mask

MASK_FOLDER = "Masks"


@dataclass(frozen=True)
class _Boxed:
    image_id: str
    msra: MsraRecord


def scan_saliency(
    root: Path, boxes: str, image_list: str | None = None, exclude: str | None = None, lists: Path | None = None
) -> list[SaliencyRecord]:
    """Scans the photos that the text file `boxes` describes; each is decoded once. An image id is the photo's file name
    without suffix or, if several folders have a photo of that name, its path without suffix and with '_' for '/'.
    `image_list` and `exclude` are text files of ids (one per line) to use, in that order, and to leave out. All three
    files are found as `scanning.find_file` does. `Masks/<id>.png` is recorded where it exists, for evaluation only.
    Raises one UserError that lists every problem: unreadable files, faulty boxes, unknown or repeated ids, sizes that
    differ from the text file's, no photo left.
    """
    root, problems = data_folder(root), Problems()
    chosen: list[_Boxed] = []
    with problems.collect():
        known = _with_ids(read_msra_boxes(find_file(root, boxes, lists)), problems)
        chosen = list(_choose(root, known, image_list, exclude, lists, problems))
        if not chosen and not problems.found:
            problems.add(f"{boxes}: no photos left with list {image_list}, without those in {exclude}")
    checked = map_parallel(partial(_check, root), chosen, "checking saliency photos")
    problems.found += [problem for _, found in checked for problem in found]
    problems.raise_any(f"{root}")
    return [record for record, _ in checked if record]


def _with_ids(records: list[MsraRecord], problems: Problems) -> dict[str, _Boxed]:
    """Records by image id; an id that is bad or names two photos is a problem."""
    stems = Counter(PurePosixPath(record.image).stem for record in records)
    known: dict[str, _Boxed] = {}
    for record in records:
        path = PurePosixPath(record.image)
        image_id = path.stem if stems[path.stem] == 1 else path.with_suffix("").as_posix().replace("/", "_")
        if problem := image_id_problem(image_id) or text_problem(record.image):
            problems.add(f"{record.image!a}: the id {problem}")
        elif image_id in known:
            problems.add(f"{record.image} and {known[image_id].msra.image}: have the same id {image_id}; rename one")
        else:
            known[image_id] = _Boxed(image_id, record)
    return known


def _choose(
    root: Path,
    known: dict[str, _Boxed],
    image_list: str | None,
    exclude: str | None,
    lists: Path | None,
    problems: Problems,
) -> Iterator[_Boxed]:
    """Those in the list (without one, in the file of boxes), in its order, except the excluded."""
    wanted = _listed(root, known, image_list, lists, problems) if image_list else list(known)
    excluded = set(_listed(root, known, exclude, lists, problems, may_be_empty=True) if exclude else ())
    yield from (known[image_id] for image_id in wanted if image_id not in excluded)


def _listed(
    root: Path, known: dict[str, _Boxed], name: str, lists: Path | None, problems: Problems, may_be_empty: bool = False
) -> list[str]:
    image_ids: list[str] = []
    with problems.collect():
        image_ids = read_image_ids(find_file(root, name, lists), problems, may_be_empty)
    for image_id in image_ids:
        if image_id not in known:
            problems.add(f"{name}: {image_id} has no boxes (an id is a file name without suffix)")
    return [image_id for image_id in image_ids if image_id in known]


def _check(root: Path, boxed: _Boxed) -> tuple[SaliencyRecord | None, list[str]]:
    """The record of one photo if nothing is wrong with it, and its problems."""
    problems, msra = Problems(), boxed.msra
    facts = check_photo(root / msra.image, problems)
    if facts and (facts.width, facts.height) != (msra.width, msra.height):
        told = f"{msra.width}x{msra.height}"
        problems.add(f"{root / msra.image}: has {facts.width}x{facts.height} px, the file of boxes says {told}")
    mask = existing(root / MASK_FOLDER / f"{boxed.image_id}.png")
    if facts and mask:
        _check_mask(mask, facts, problems)
    if facts is None or problems.found:
        return None, problems.found
    left, top, right, bottom = map(float, average_box(msra.boxes_xyxy))
    image, mask_path = (root / msra.image).as_posix(), mask.as_posix() if mask else ""
    size = msra.width, msra.height
    record = SaliencyRecord(boxed.image_id, image, mask_path, *size, left, top, right, bottom, facts.sha256)
    return record, []


def _check_mask(path: Path, facts: PhotoFacts, problems: Problems) -> None:
    with problems.collect():
        height, width = read_mask(path, num_classes=256).shape
        if (height, width) != (facts.height, facts.width):
            problems.add(f"{path}: has {width}x{height} px, its photo {facts.width}x{facts.height} px")
