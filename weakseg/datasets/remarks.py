"""Remarks on valid data that look like a mistake, printed once, when the data are prepared."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path

from weakseg.files import Record
from weakseg.images import PHOTO_SUFFIXES

FEW_PHOTOS = 2  # a class with no more photos, one letter away from another, is probably a typo
BESIDE_PHOTOS = (".csv", ".txt", ".md", ".json", ".xml")


def class_remarks(records: Sequence[Record], class_names: Sequence[str]) -> Iterator[str]:
    """Classes with few training photos or none, and names that may be typos of others."""
    photos = Counter(label for record in records if record.split == "train" for label in record.labels)
    counts = {name: photos[label] for label, name in enumerate(class_names) if label}
    without = [name for name, count in counts.items() if not count]
    if without:
        yield f"no training photo shows {', '.join(without)}: it cannot be learned"
    single = [name for name, count in counts.items() if count == 1]
    if single:
        yield f"only one training photo shows {', '.join(single)}"
    yield from (f"likely typo: {a!r} ({counts[a]} photos) and {b!r} ({counts[b]})" for a, b in _alike(counts))


def _alike(counts: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    for one, other in combinations(counts, 2):
        rare = min(counts[one], counts[other]) <= FEW_PHOTOS
        if one.casefold() == other.casefold() or (rare and one_letter_apart(one.casefold(), other.casefold())):
            yield one, other


def one_letter_apart(one: str, other: str) -> bool:
    """Whether changing, adding or dropping one letter turns one word into the other.

    >>> one_letter_apart("bycicle", "bicycle"), one_letter_apart("dogs", "dog"), one_letter_apart("cat", "dog")
    (False, True, False)
    """
    short, long = sorted((one, other), key=len)
    if len(long) - len(short) > 1 or short == long:
        return False
    at = next((place for place, (a, b) in enumerate(zip(short, long, strict=False)) if a != b), len(short))
    return short[at + (len(short) == len(long)) :] == long[at + 1 :]


def unread_files(root: Path, without: str = "") -> tuple[str, ...]:
    """A remark on files below `root` (but not in `root/without`) that are neither photos of a known format nor texts;
    () if there are none."""
    others: Counter[str] = Counter()
    for folder, subfolders, names in os.walk(root):
        here = Path(folder).relative_to(root)
        subfolders[:] = [name for name in subfolders if not name.startswith(".") and str(here / name) != without]
        suffixes = (Path(name).suffix.lower() for name in names if not name.startswith("."))
        others.update(suffix or "no suffix" for suffix in suffixes if suffix not in (*PHOTO_SUFFIXES, *BESIDE_PHOTOS))
    if not others:
        return ()
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(others.items()))
    return (
        f"{root}: {others.total()} files have an unknown format and are left out ({kinds}); convert photos to JPEG",
    )
