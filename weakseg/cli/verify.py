"""`weakseg verify`: read every byte of photos, archives and models, and compare with the checksums kept for them."""

import hashlib
import json
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import yaml

from weakseg.cli.parsing import Commands, add_command
from weakseg.cli.repository import enter_repository
from weakseg.errors import Problems, UserError

RESULTS = ("data", "models", "metrics")
MANIFESTS = ("manifest.csv", "saliency_manifest.csv", "saliency_selection.csv")


def add_to(commands: Commands) -> None:
    parser = add_command(
        commands, "verify", verify, "compare photos, archives and models with the checksums kept for them",
        "weakseg verify models/segmenter/guided",
        "Photos are compared with their manifest, archives entry by entry with their own checksums, weights with model.json,\n"
        "and in a clone every result with dvc.lock, by its bytes: `dvc status` trusts what the cache says of itself.",
    )  # fmt: skip
    parser.add_argument(
        "paths", nargs="*", type=Path, metavar="PATH", help="files and folders (default: all results of the clone)"
    )


def verify(options: Namespace) -> None:
    problems, checked, missing = Problems(), 0, 0
    if not options.paths:
        enter_repository()
        for path, digest in _recorded(Path("dvc.lock")):
            if not path.exists():
                missing += 1
            elif dvc_digest(path) != digest:
                problems.add(f"{path}: is not what dvc.lock records; `dvc checkout --force` or a new run replaces it")
    for path in sorted(file for place in options.paths or map(Path, RESULTS) for file in _files(place, problems)):
        with problems.collect():
            checked += _check(path)
    if problems.found:
        raise UserError(f"{len(problems.found)} problems:\n  " + "\n  ".join(problems.found))
    print(
        f"{checked} photos, archives and models are sound" + (f"; {missing} results are not there" if missing else "")
    )


def _recorded(lock: Path) -> Iterator[tuple[Path, str]]:
    """Path and hash of every out that DVC has recorded."""
    content: dict[str, Any] = (yaml.safe_load(lock.read_text(encoding="utf-8")) if lock.is_file() else None) or {}
    for stage in content.get("stages", {}).values():
        yield from ((Path(out["path"]), out["md5"]) for out in stage.get("outs", []))


def dvc_digest(path: Path) -> str:
    """The hash that DVC gives a file, or a folder with all that is in it."""
    if path.is_file():
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "md5").hexdigest()
    files = sorted(file for file in path.rglob("*") if file.is_file())
    listed = [{"md5": dvc_digest(file), "relpath": file.relative_to(path).as_posix()} for file in files]
    listed.sort(key=lambda item: item["relpath"].split("/"))
    return hashlib.md5(json.dumps(listed, sort_keys=True).encode()).hexdigest() + ".dir"


def _files(place: Path, problems: Problems) -> list[Path]:
    if not place.exists() and place not in map(Path, RESULTS):
        problems.add(f"{place}: no such file or folder")
    return [place] if place.is_file() else [path for path in place.rglob("*") if path.is_file()]


def _check(path: Path) -> int:
    """Check one file and what it lists; how many photos, archives or models that were. Raises UserError."""
    if path.name in MANIFESTS:
        return _check_photos(path)
    if path.suffix in (".zip", ".npz"):
        return _check_archive(path)
    if path.name == "model.json":
        return _check_model(path.parent)
    return 0


def _check_photos(manifest: Path) -> int:
    from weakseg.files import file_sha256, read_manifest, read_saliency_manifest

    records = read_manifest(manifest) if manifest.name == MANIFESTS[0] else read_saliency_manifest(manifest)
    changed = [record.image for record in records if record.sha256 and file_sha256(Path(record.image)) != record.sha256]
    if changed:
        raise UserError(f"{manifest}: {len(changed)} photos were changed since: {', '.join(changed[:5])}")
    return len(records)


def _check_archive(path: Path) -> int:
    from weakseg.files import DAMAGED

    try:
        with ZipFile(path) as archive:
            bad = archive.testzip()
    except DAMAGED as error:
        raise UserError(f"{path}: damaged archive ({error})") from None
    if bad is not None:
        raise UserError(f"{path}: entry {bad} is damaged")
    return 1


def _check_model(folder: Path) -> int:
    from weakseg.files import file_sha256, read_json

    content = read_json(folder / "model.json")
    weights = folder / "weights.safetensors"
    if not weights.is_file() or file_sha256(weights) != content.get("weights_sha256"):
        raise UserError(f"{weights}: is not the file that model.json beside it was written for")
    return 1
