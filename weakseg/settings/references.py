"""Names in the settings that must be entries of other settings, and files that must exist or be made by a stage.
Checked on the content of the file, not on the typed settings, so these mistakes are listed together with all others.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from weakseg.runtime import NAME

REFERENCES = (  # key (* is any entry), and the section that its value names an entry of
    ("make_cues.foreground_net", "make_cams"),
    ("make_cues.background_net", "make_cams"),
    ("make_seeds.net", "make_cams"),
    ("make_seeds.crf", "crf"),
    ("evaluate_seeds.net", "make_cams"),
    ("evaluate_seeds.crf", "crf"),
    ("select_saliency_photos.classifier", "train_classifier"),
    ("make_guides.*.crf", "crf"),
    ("make_g1_guides.*.classifier", "train_classifier"),
    ("make_oracle_guides.crf", "crf"),
    ("refine.*.crf", "crf"),
    ("evaluate_supervision.net", "make_cams"),
    ("evaluate_supervision.refined.*", "refine"),
    ("evaluate_supervision.self_trained.*", "self_training"),
    ("experiments.*.train.loss", "losses"),
    ("experiments.*.train.crf", "crf"),
    ("experiments.*.test.crf", "crf"),
    ("self_training.*.crf", "crf"),
    ("export_voc.experiments.*", "experiments"),
)
MADE = ("cues.npz", "seeds.zip", "saliency.zip", "oracle_guides.zip", "ground_truth.zip")  # below data/, in any case
BOXES, MASKS = "saliency boxes", "masks"  # what experiments say that learn from these
ENTRIES_MAKE = (  # section, and the file below data/ that each of its entries makes
    ("import_cues", "imported_cues/{}.npz"), ("import_saliency", "imported_saliency/{}.zip"),
    ("import_proposals", "imported_proposals/{}.npz"), ("make_cams", "cams/{}.npz"),
    ("make_guides", "guides/{}.zip"), ("make_g1_guides", "guides/{}.zip"), ("train_boundaries", "boundaries/{}.npz"),
    ("refine", "refined/{}.zip"), ("refine", "refined/{}.npz"), ("self_training", "self/{}.zip"),
)  # fmt: skip
NAMED = (  # sections whose entries have names of the user's choice
    "crf", "train_classifier", "make_cams", "import_cues", "import_saliency", "import_proposals", "make_guides",
    "make_g1_guides", "train_boundaries", "refine", "losses", "experiments", "self_training",
)  # fmt: skip
READ = (  # key that names a file below data/, and what such files are called
    (
        "experiments.*.train.supervision",
        r"^(?!saliency|cams|boundaries|imported_saliency|imported_proposals|refined/.*npz)",
    ),
    ("make_guides.*.seeds", r"^(seeds|guides/.*|refined/.*)\.zip$"),
    ("make_guides.*.saliency", r"^(imported_)?saliency"),
    ("train_classifier.*.loss.saliency", r"^none$|^(imported_)?saliency"),
    ("train_boundaries.*.labels", r"^(seeds|guides/.*|refined/.*)\.zip$"),
    ("refine.*.from", r"^(seeds|guides/.*|refined/.*)\.zip$|^(cams|refined)/"),
    ("refine.*.using", r"^none$|^boundaries/|^imported_proposals/"),
)


def unknown_names(content: Any) -> Iterator[str]:
    """References to entries that do not exist, one line each; the content may be wrong in other ways, too."""
    for pattern, section in REFERENCES:
        for key, value in _values(content, pattern.split(".")):
            if _is_name(value) and value not in _entries(content, section):
                yield f"{key}: there is no {section}.{value}"
    for name in _entries(content, "make_cams"):
        if name not in _entries(content, "train_classifier"):
            yield f"make_cams.{name}: there is no train_classifier.{name}"
    for name in _entries(content, "self_training"):
        if name not in _entries(content, "experiments"):
            yield f"self_training.{name}: there is no experiments.{name}"
    for key, start in _values(content, ["train_segmenter", "start_from"]):
        folder, _, name = str(start).partition("/")
        if folder == "classifier" and _is_name(name) and name not in _entries(content, "train_classifier"):
            yield f"{key}: there is no train_classifier.{name}"


def _is_name(value: Any) -> bool:
    """Any other value is told of by the settings' types."""
    return isinstance(value, str) and re.fullmatch(NAME, value) is not None


def wrong_roles(content: Any) -> Iterator[str]:
    """Heat maps that are no cues of the kind which make_cues takes them for, a line each. A row may make others."""
    for role in ("foreground", "background"):
        for _, name in _values(content, ["make_cues", f"{role}_net"]):
            for key, method in _values(content, ["make_cams", str(name), "method"]):
                if (method == "background_gradient") != (role == "background"):
                    yield f"{key}: {method} shows no {role}, which make_cues.{role}_net wants"


def missing_files(content: Any, root: Path) -> Iterator[str]:
    """Files and folders that are neither there nor made by a stage, a line each. root: the repository's folder."""
    made = {*MADE, *(path.format(name) for section, path in ENTRIES_MAKE for name in _entries(content, section))}
    for pattern, suffixes in READ:
        for key, value in _values(content, pattern.split(".")):
            if isinstance(value, str) and value not in {"none", *made} and not (root / "data" / value).is_file():
                shown = ", ".join(sorted(path for path in made if re.search(suffixes, path)))
                yield f"{key}: data/{value} is not there, and no stage makes it; there are {shown}"
    for key, value in _values(content, ["data", "root"]) + _values(content, ["saliency", "root"]):
        drawn = isinstance(value, str) and Path(value).parts[:2] == ("data", "toy")
        if isinstance(value, str) and not drawn and not (root / value).is_dir():
            yield f"{key}: {value}: no such folder; put the photos there, or name the folder where they are"
    for part in ("train_classifier.*", "train_saliency", "train_boundaries.*"):
        for key, value in _values(content, [*part.split("."), "pretrained"]):
            if isinstance(value, str) and not (root / "models" / "pretrained" / value).is_file():
                yield f"{key}: models/pretrained/{value}: no such file; models/pretrained/README.md says what goes there"
    for key, value in _values(content, ["import_cues", "*", "cues"]) + _values(
        content, ["import_cues", "*", "image_list"]
    ):
        if isinstance(value, str) and not (root / value).is_file():
            yield f"{key}: {value}: no such file"
    for section in ("import_saliency", "import_proposals"):
        for key, value in _values(content, [section, "*", "from"]):
            if isinstance(value, str) and not (root / value).exists():
                yield f"{key}: {value}: no such file or folder"


def circles(content: Any) -> Iterator[str]:
    """Files below data/ that come from themselves, a line each."""
    for section in ("refine", "make_guides", "train_boundaries"):
        for name in _entries(content, section):
            path = next(path for part, path in ENTRIES_MAKE if part == section).format(name)
            if path in _reached(content, _origins(content, path)):
                yield f"{section}.{name}: data/{path} comes from itself, by way of {', '.join(_origins(content, path))}"


def undeclared(content: Any) -> Iterator[str]:
    """Experiments that learn from more than tags and do not say so, a line each."""
    for name in _entries(content, "experiments"):
        keys = ("train.supervision", "beyond_tags")
        used = [value for key in keys for _, value in _values(content, ["experiments", name, *key.split(".")])]
        if len(used) == 2 and isinstance(used[0], str) and isinstance(used[1], list):
            start = f"models/{_one(content, 'train_segmenter.start_from')}"
            reached = _reached(content, [used[0], start])
            if missing := sorted(
                {_declared(content, path) for path in reached} - {""} - {str(item) for item in used[1]}
            ):
                yield f"experiments.{name}.beyond_tags: {used[0]} owes something to {', '.join(missing)}: name it"


def _reached(content: Any, paths: list[str]) -> set[str]:
    waiting, seen = list(paths), set[str]()
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            waiting += _origins(content, path)
    return seen


def _origins(content: Any, path: str) -> list[str]:
    """Files and classifiers that a file below data/ (or models/classifier/<name>) is made from, raw data apart."""
    folder, _, name = path.rpartition("/")
    name = name.partition(".")[0]
    keys = {
        "refined": (f"refine.{name}.from", f"refine.{name}.using"),
        "boundaries": (f"train_boundaries.{name}.labels",),
        "guides": (f"make_guides.{name}.seeds", f"make_guides.{name}.saliency"),
        "self": (f"experiments.{name}.train.supervision",),
        "models/classifier": (f"train_classifier.{name}.loss.saliency",),
    }.get(folder, ())
    found = [_one(content, key) for key in keys]
    if name in _entries(content, "make_g1_guides") and folder == "guides":
        found += ["saliency.zip", f"models/classifier/{_one(content, f'make_g1_guides.{name}.classifier')}"]
    if folder == "cams":
        found.append(f"models/classifier/{name}")
    nets = {"seeds.zip": ("make_seeds.net",), "cues.npz": ("make_cues.foreground_net", "make_cues.background_net")}
    found += [f"models/classifier/{_one(content, key)}" for key in nets.get(path, ())]
    return [item for item in found if item not in ("", "none")]


def _declared(content: Any, path: str) -> str:
    """The supervision beyond tags that a file is, or "" for none."""
    known = {"saliency.zip": BOXES, "ground_truth.zip": MASKS, "oracle_guides.zip": MASKS}
    folder, _, file = path.partition("/")
    section = folder.replace("imported_", "import_")
    imported = section in ("import_saliency", "import_proposals")
    return _one(content, f"{section}.{file.partition('.')[0]}.supervision") if imported else known.get(path, "")


def _one(content: Any, key: str) -> str:
    """The text at a dotted key; "" for anything else."""
    found = [value for _, value in _values(content, key.split(".")) if isinstance(value, str)]
    return found[0] if found else ""


def unknown_guides(content: Any) -> Iterator[str]:
    """Guides that are compared and that no stage makes, a line each. A row may compare others, of its own."""
    made = {*_entries(content, "make_guides"), *_entries(content, "make_g1_guides")}
    for key, name in _values(content, ["evaluate_supervision", "guides", "*"]):
        if isinstance(name, str) and name not in made:
            yield f"{key}: there is no make_guides.{name} or make_g1_guides.{name}"


def twins(content: Any) -> Iterator[str]:
    """Names that a file system which ignores case takes for one, a line each."""
    for section in NAMED:
        seen: dict[str, str] = {}
        for name in map(str, _entries(content, section)):
            twin = seen.setdefault(name.casefold(), name)
            if twin != name:
                yield f"{section}.{name}: differs from {twin} by capital letters alone, and some file systems ignore these"


def _values(content: Any, parts: list[str], key: str = "") -> list[tuple[str, Any]]:
    """Dotted keys and values that match a pattern; none if the content has another shape."""
    if not parts:
        return [(key, content)]
    first, *rest = parts
    if first == "*" and isinstance(content, list):
        return [found for item in content for found in _values(item, rest, key)]
    if not isinstance(content, Mapping):
        return []
    names = list(content) if first == "*" else [first] if first in content else []
    return [found for name in names for found in _values(content[name], rest, f"{key}.{name}" if key else str(name))]


def _entries(content: Any, section: str) -> list[Any]:
    inside = content.get(section) if isinstance(content, Mapping) else None
    return list(inside) if isinstance(inside, Mapping) else []
