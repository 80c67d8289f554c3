"""The shipped profiles as plain dictionaries, for tests that change them."""

import copy
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from weakseg.settings import write_profile

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "profiles"
PROFILES = ("coco14", "own-photos", "papers", "small-voc", "toy", "voc12")
WITHOUT_MASKS = "own-photos"  # so without the experiments that learn from masks, or exist to be compared with them


@cache
def text_of(profile: str) -> str:
    """The params.yaml that `make profile` writes."""
    with TemporaryDirectory() as folder:
        write_profile(profile, Path(folder) / "params.yaml", FOLDER)
        return (Path(folder) / "params.yaml").read_text(encoding="utf-8")


@cache
def _content(profile: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(text_of(profile))
    return content


def settings_of(profile: str) -> dict[str, Any]:
    """What that file holds."""
    return copy.deepcopy(_content(profile))


def file_of(profile: str, folder: Path) -> Path:
    """That file, in a folder."""
    path = folder / f"{profile}.yaml"
    path.write_text(text_of(profile), encoding="utf-8")
    return path
