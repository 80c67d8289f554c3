"""The text files beside the photos: lists of ids, labels files, VOC annotations, class names.

Readers collect what is wrong in a `Problems`, so a user sees all of it at once.
"""

import csv
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from xml.parsers import expat

from weakseg.errors import Problems, UserError
from weakseg.files import BACKGROUND, IGNORE_INDEX, read_text

MAX_ID_BYTES = 200  # file systems allow 255, some of which suffixes and temporary names need


MAX_XML_BYTES = 1 << 20


SPLITS = ("train", "val", "test")


def composed(text: str) -> str:
    """The text with each accented letter as one character (NFC): some systems write file names with two (NFD)."""
    return unicodedata.normalize("NFC", text)


def text_problem(text: str) -> str | None:
    """Why `text` cannot be written to a text file: control characters, line separators, broken UTF-8."""
    bad = next((c for c in text if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")), None)
    return None if bad is None else f"contains the character {bad!a}"


def image_id_problem(image_id: str) -> str | None:
    """Why `image_id` cannot name files, archive entries and array keys; None if it can."""
    if not image_id:
        return "is empty"
    if "/" in image_id or "\\" in image_id or re.match("[A-Za-z]:", image_id):
        return "is a path; an id is a file name without folder and suffix"
    if ".." in image_id:
        return "holds '..'"
    if len(image_id.encode(errors="surrogatepass")) > MAX_ID_BYTES:
        return f"is longer than {MAX_ID_BYTES} bytes"
    return text_problem(image_id)


def read_image_ids(path: Path, problems: Problems, may_be_empty: bool = False) -> list[str]:
    """Ids of a list, one per line, in its order; blank lines, a byte-order mark and either line ending are accepted.
    Bad and repeated ids become problems and are left out. Raises UserError if the list cannot be read as UTF-8 or,
    unless it `may_be_empty`, has no id.
    """
    image_ids: dict[str, int] = {}
    lines = [(number, composed(line.strip())) for number, line in enumerate(read_text(path).split("\n"), 1)]
    for number, image_id in lines:
        if not image_id:
            continue
        if problem := image_id_problem(image_id):
            problems.add(f"{path}, line {number}: id {image_id!a} {problem}")
        elif image_id in image_ids:
            problems.add(f"{path}, line {number}: id {image_id!r} is already on line {image_ids[image_id]}")
        else:
            image_ids[image_id] = number
    if not may_be_empty and not any(image_id for _, image_id in lines):
        raise UserError(f"{path}: the list is empty; it needs one image id per line")
    return list(image_ids)


@dataclass(frozen=True)
class LabelRow:
    """One line of a labels file: names of the classes in the photo, and its split ('' if none is given)."""

    labels: tuple[str, ...]
    split: str
    line: int


def read_labels_file(path: Path, problems: Problems) -> dict[str, LabelRow]:
    """Rows by image id of a CSV with the columns image_id, labels (separated by spaces, or in quotes by commas or
    semicolons) and optionally split. Other columns are ignored. Faulty rows become problems and are left out. Raises
    UserError if the file cannot be read as UTF-8 or lacks a column.
    """
    rows: dict[str, LabelRow] = {}
    reader = csv.reader(StringIO(read_text(path)), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        missing = [name for name in ("image_id", "labels") if name not in header]
        if missing:
            raise UserError(f"{path}: the first line must be 'image_id,labels'; it lacks {' and '.join(missing)}")
        for cells in reader:
            if any(cell.strip() for cell in cells):
                _add_label_row(path, reader.line_num, header, cells, rows, problems)
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: not valid CSV ({error})") from None
    return rows


def _add_label_row(
    path: Path, line: int, header: list[str], cells: list[str], rows: dict[str, LabelRow], problems: Problems
) -> None:
    where = f"{path}, line {line}"
    if len(cells) > len(header):
        problems.add(f"{where}: more cells than the first line; separate labels by spaces, or put them in quotes")
        return
    row = dict(zip(header, (composed(cell.strip()) for cell in cells), strict=False))
    image_id, split = row.get("image_id", ""), row.get("split", "")
    if problem := image_id_problem(image_id):
        problems.add(f"{where}: id {image_id!a} {problem}")
    elif image_id in rows:
        problems.add(f"{where}: id {image_id!r} is already on line {rows[image_id].line}")
    elif split and split not in SPLITS:
        problems.add(f"{where}: split {split!a} of {image_id!r} is none of {', '.join(SPLITS)}")
    else:
        labels = tuple(dict.fromkeys(filter(None, re.split(r"[\s,;|]+", row.get("labels", "")))))
        rows[image_id] = LabelRow(labels, split, line)


def report_unknown_classes(
    path: Path, rows: Mapping[str, LabelRow], class_names: Sequence[str], problems: Problems
) -> None:
    """One problem per row with labels that are not foreground classes; none if the classes themselves are at fault."""
    known = set(class_names[1:])
    for image_id, row in rows.items() if known else ():
        unknown = [label for label in row.labels if label not in known]
        if unknown:
            where = f"{path}, line {row.line}" if row.line else str(path)
            problems.add(f"{where}: {image_id} has the unknown class {', '.join(map(ascii, unknown))}")


def read_annotation(path: Path) -> tuple[str, ...]:
    """Names of the objects in a VOC annotation, difficult ones included, each once. A document type declaration, and
    thus every entity, is refused. Raises UserError naming the file.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_XML_BYTES + 1)
        if len(content) > MAX_XML_BYTES:
            raise UserError(f"{path}: is larger than {MAX_XML_BYTES} bytes; no VOC annotation is")
        return tuple(dict.fromkeys(composed(name.strip()) for name in _object_names(content)))
    except (OSError, expat.ExpatError, LookupError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as a VOC annotation ({error})") from None


def _object_names(content: bytes) -> list[str]:
    """Text of every annotation/object/name (a person's parts have names of their own, one level deeper)."""
    names: list[str] = []
    path: list[str] = []

    def start(tag: str, _: dict[str, str]) -> None:
        path.append(tag)
        if path == ["annotation", "object", "name"]:
            names.append("")

    def text(data: str) -> None:
        if path == ["annotation", "object", "name"]:
            names[-1] += data

    def refuse_doctype(*_: object) -> None:
        raise ValueError("it declares a document type, which annotations do not need")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.CharacterDataHandler = start, text
    parser.EndElementHandler = lambda _: path.pop()
    parser.StartDoctypeDeclHandler = refuse_doctype
    parser.Parse(content, True)
    return names


def with_background(names: Sequence[str], where: str) -> list[str]:
    """Class names, background first, from foreground names (a leading 'background' may be among them).

    Raises UserError naming `where` for empty, repeated or unprintable names, none at all, or more than 254.
    """
    foreground = [composed(name.strip()) for name in names]
    if foreground[:1] == [BACKGROUND]:
        del foreground[0]
    if not foreground:
        raise UserError(f"{where}: no class names")
    if len(foreground) >= IGNORE_INDEX:
        raise UserError(f"{where}: {len(foreground)} classes; 8-bit masks can hold {IGNORE_INDEX - 1}")
    for index, name in enumerate(foreground):
        if not name or text_problem(name):
            raise UserError(f"{where}: class name {name!a} is empty or has control characters")
        if name == BACKGROUND or name in foreground[:index]:
            raise UserError(f"{where}: class name {name!r} is listed twice; '{BACKGROUND}' is always class 0")
    return [BACKGROUND, *foreground]


def declared_class_names(root: Path, class_names: Sequence[str] | None) -> list[str] | None:
    """Background and the classes of the settings, else of `root/classes.txt` (one per line), else None."""
    if class_names is not None:
        return with_background(class_names, "class_names")
    path = root / "classes.txt"
    if not path.exists():
        return None
    return with_background([line for line in read_text(path).split("\n") if line.strip()], str(path))
