"""Which photos `weakseg.segment` finds, and what the files are called that it makes of them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from weakseg.datasets import is_photo_name
from weakseg.errors import UserError

SHOWN_PROBLEMS = 20


@dataclass(frozen=True)
class Outputs:
    """The files made from one photo; None for those not asked for."""

    photo: Path
    mask: Path
    overlay: Path | None
    json: Path | None

    def possible(self) -> list[Path]:
        """Every file that any run makes from the photo."""
        return [self.mask, *(self.mask.with_suffix(suffix) for suffix in (OVERLAY, JSON))]


OVERLAY, JSON = ".overlay.jpg", ".json"


def printable(path: Path) -> str:
    """The path for a message: bytes that are no UTF-8 are shown as escapes."""
    return str(path).encode("utf-8", "backslashreplace").decode()


def find_photos(paths: Iterable[Path], out: Path) -> list[tuple[Path, Path]]:
    """Each photo once, with its path below the folder it was found in; `out` is not searched.

    Raises one UserError that lists every path that is neither a file nor a folder with photos.
    """
    found: dict[Path, tuple[Path, Path]] = {}
    problems = []
    for path in paths:
        inside = [(path, Path(path.name))] if path.is_file() else list(_photos_below(path, out.resolve()))
        if not inside:
            reason = "no photos in this folder" if path.is_dir() else "no such file or folder"
            problems.append(f"{printable(path)}: {reason}")
        for photo, name in inside:
            found.setdefault(photo.resolve(), (photo, name))
    if problems:
        raise UserError("nothing was written:\n  " + "\n  ".join(problems))
    return list(found.values())


def _photos_below(folder: Path, out: Path) -> Iterator[tuple[Path, Path]]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts)
        if not hidden and path.is_file() and is_photo_name(path.name) and out not in path.resolve().parents:
            yield path, name


def name_outputs(
    photos: Iterable[tuple[Path, Path]], out: Path, *, overlay: bool = False, json: bool = False, force: bool = False
) -> tuple[list[Outputs], list[str]]:
    """`<name>.png` for each photo; photos of one name get `<name>-2.png` and so on, and a note that says so.

    Raises UserError where an output would replace one of the photos or, without `force`, any file.
    """
    photos = list(photos)
    taken: set[str] = set()
    made, notes = [], []
    for photo, name in photos:
        wanted = mask = out / name.with_suffix(".png")
        number = 1
        while mask.as_posix().casefold() in taken:
            number += 1
            mask = wanted.with_stem(f"{wanted.stem}-{number}")
        taken.add(mask.as_posix().casefold())
        if mask != wanted:
            notes.append(f"{printable(photo)}: another photo has the same name; its mask is {printable(mask)}")
        made.append(
            Outputs(
                photo,
                mask,
                mask.with_suffix(OVERLAY) if overlay else None,
                mask.with_suffix(JSON) if json else None,
            )
        )
    _check_replaced(made, {photo.resolve() for photo, _ in photos}, out, force)
    return made, notes


def _check_replaced(made: list[Outputs], photos: set[Path], out: Path, force: bool) -> None:
    possible = [path for outputs in made for path in outputs.possible()]
    lost = [path for path in possible if path.resolve() in photos]
    if lost:
        raise UserError(f"--out {out}: {printable(lost[0])} would replace a photo; choose another folder")
    existing = [] if force else [path for path in possible if _exists(path)]
    if existing:
        shown = "\n  ".join(map(printable, existing[:SHOWN_PROBLEMS]))
        more = f"\n  and {len(existing) - SHOWN_PROBLEMS} more" if len(existing) > SHOWN_PROBLEMS else ""
        raise UserError(
            f"{len(existing)} files are there already; --force replaces them, or choose another --out:\n  {shown}{more}"
        )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name too long for the file system: its photo is reported when its turn comes
        return False
