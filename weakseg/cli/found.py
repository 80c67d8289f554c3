"""What `weakseg init` finds in a folder of photos, in words and as settings."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from weakseg.datasets import Scan, is_photo_name, scan_folder, scan_voc
from weakseg.errors import UserError
from weakseg.files import Record
from weakseg.settings import profile_text

LISTS = Path("data/lists")
SHOWN_CLASSES = 30
DRAWN_SALIENCY = {
    "saliency.root": "data/toy/saliency", "saliency.boxes": "UserData/boxes.txt", "saliency.image_list": None,
}  # fmt: skip
PLAIN_FOLDER = {"data.format": "folder", "data.train_list": None, "data.val_list": None}


@dataclass(frozen=True)
class Found:
    """A valid data set, and the profile and changes that suit it."""

    folder: Path
    layout: str
    scan: Scan
    profile: str
    changes: Mapping[str, Any]

    def params_text(self) -> str:
        title = f"Profile {self.profile} for the photos in {self.folder}, as `weakseg init` writes it."
        return profile_text(self.profile, changes=self.changes, title=title)

    def told(self) -> str:
        """Photos by split, masks, tags, sizes and remarks, one line each."""
        records = self.scan.records
        splits = Counter(record.split for record in records)
        masks = sum(bool(record.mask) for record in records)
        sides = [max(record.width, record.height) for record in records]
        lines = [
            f"{self.folder}: {len(records)} photos, {len(self.scan.class_names) - 1} classes ({self.layout})",
            "  split: " + ", ".join(f"{count} {split}" for split, count in splits.items()),
            f"  masks: {masks or 'none'}" + ("" if masks else "; tags are enough"),
            f"  tags from: {self.scan.labels_source}",
            f"  training photos by class: {self._classes()}",
            f"  longer side: {min(sides)} to {max(sides)} px, median {median(sides):.0f}; 300 to 600 px do best",
            *(f"  note: {note}" for note in self.scan.notes),
        ]
        if self.changes.get("saliency.root") == DRAWN_SALIENCY["saliency.root"] or self.profile == "own-photos":
            lines.append(
                "saliency: learnt from built-in drawings; photos with boxes (saliency.root) make better guides"
            )
        return "\n".join(lines)

    def _classes(self) -> str:
        train = [record for record in self.scan.records if record.split == "train"]
        counts = Counter(label for record in train for label in record.labels)
        shown = [f"{self.scan.class_names[label]} {count}" for label, count in counts.most_common(SHOWN_CLASSES)]
        more = len(counts) - len(shown)
        return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def look_at(folder: Path) -> Found:
    """Scan a folder, in the clone's root. Raises one UserError that lists everything wrong with it."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; name the folder of your photos, or try `weakseg profile toy`")
    if (folder / "JPEGImages").is_dir():
        return _voc_layout(folder)
    if not (folder / "labels.csv").exists() and not _tag_folders(folder):
        raise UserError(_no_tags(folder))
    layout = "labels.csv" if (folder / "labels.csv").exists() else "one subfolder per tag"
    scan = scan_folder(folder, lists=LISTS)
    root = {"data.root": folder.as_posix()}
    if _can_be_bounded(scan.records):
        return Found(folder, layout, scan, "small-voc", root | PLAIN_FOLDER | DRAWN_SALIENCY)
    return Found(folder, layout, scan, "own-photos", root)


def _voc_layout(folder: Path) -> Found:
    """With the lists that are there: `trainaug` before `train`, and `val`."""
    lists = folder / "ImageSets" / "Segmentation"
    train = next((name for name in ("trainaug", "train") if (lists / f"{name}.txt").is_file()), None)
    if train is None:
        raise UserError(f"{lists}: has neither trainaug.txt nor train.txt, the ids of the photos to learn from")
    val = "val" if (lists / "val.txt").is_file() else None
    scan = scan_voc(folder, train, val, lists=LISTS)
    changes = {"data.root": folder.as_posix(), "data.train_list": train, "data.val_list": val}
    if _can_be_bounded(scan.records):
        return Found(folder, "VOC's layout", scan, "small-voc", changes | DRAWN_SALIENCY)
    return Found(folder, "VOC's layout", scan, "own-photos", changes | {"data.format": "voc"})


def _can_be_bounded(records: list[Record]) -> bool:
    """Whether every training photo has a mask, and photos are held out to measure on."""
    masked = {split: [bool(r.mask) for r in records if r.split == split] for split in ("train", "val")}
    return all(masked["train"]) and any(masked["val"])


def _tag_folders(folder: Path) -> list[str]:
    return [
        path.name for path in folder.iterdir()
        if path.is_dir() and not path.name.startswith(".") and path.name != "masks" and any(path.iterdir())
    ]  # fmt: skip


def _no_tags(folder: Path) -> str:
    photos = sorted(path.stem for path in folder.iterdir() if is_photo_name(path.name))
    if not photos:
        return f"{folder}: holds no photos; put them there, in one subfolder per tag or with a labels.csv"
    rows = "".join(f"    {name},TAG OTHER_TAG\n" for name in photos[:2])
    return (
        f"{folder}: {len(photos)} photos without tags. Sort them into one subfolder per tag, or write {folder}/labels.csv:\n"
        f"    image_id,labels\n{rows}    ..."
    )
