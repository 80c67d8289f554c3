"""Names in the settings that must be entries of other settings, and files that must exist or be made by a stage.
Checked on the content of the file, not on the typed settings, so these mistakes are listed together with all others.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

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
    ("experiments.*.train.loss", "losses"),
    ("experiments.*.train.crf", "crf"),
    ("experiments.*.test.crf", "crf"),
    ("self_training.*.crf", "crf"),
    ("export_voc.experiments.*", "experiments"),
)
MADE = ("cues.npz", "seeds.zip", "oracle_guides.zip", "ground_truth.zip")  # below data/, whatever the settings


def unknown_names(content: Any) -> Iterator[str]:
    """References to entries that do not exist, one line each; the content may be wrong in other ways, too."""
    for pattern, section in REFERENCES:
        for key, value in _values(content, pattern.split(".")):
            if isinstance(value, str) and value not in _entries(content, section):
                yield f"{key}: there is no {section}.{value}"
    for name in _entries(content, "make_cams"):
        if name not in _entries(content, "train_classifier"):
            yield f"make_cams.{name}: there is no train_classifier.{name}"
    for name in _entries(content, "self_training"):
        if name not in _entries(content, "experiments"):
            yield f"self_training.{name}: there is no experiments.{name}"
    for key, start in _values(content, ["train_segmenter", "start_from"]):
        folder, _, name = str(start).partition("/")
        if folder == "classifier" and name not in _entries(content, "train_classifier"):
            yield f"{key}: there is no train_classifier.{name}"


def wrong_roles(content: Any) -> Iterator[str]:
    """Heat maps that are no cues of the kind which make_cues takes them for, a line each. A row may make others."""
    for role in ("foreground", "background"):
        for _, name in _values(content, ["make_cues", f"{role}_net"]):
            for key, method in _values(content, ["make_cams", str(name), "method"]):
                if (method == "background_gradient") != (role == "background"):
                    yield f"{key}: {method} shows no {role}, which make_cues.{role}_net wants"


def missing_files(content: Any, root: Path) -> Iterator[str]:
    """Files and folders that neither exist nor are made by a stage, one line each. root: the repository's folder."""
    supervision = {*MADE, *(f"imported_cues/{name}.npz" for name in _entries(content, "import_cues"))}
    supervision |= {
        f"guides/{name}.zip" for part in ("make_guides", "make_g1_guides") for name in _entries(content, part)
    }
    supervision |= {f"self/{name}.zip" for name in _entries(content, "self_training")}
    for key, value in _values(content, ["experiments", "*", "train", "supervision"]):
        if isinstance(value, str) and value not in supervision and not (root / "data" / value).is_file():
            yield f"{key}: data/{value} is not there, and no stage makes it; there are {', '.join(sorted(supervision))}"
    for key, value in _values(content, ["data", "root"]) + _values(content, ["saliency", "root"]):
        drawn = isinstance(value, str) and Path(value).parts[:2] == ("data", "toy")
        if isinstance(value, str) and not drawn and not (root / value).is_dir():
            yield f"{key}: {value}: no such folder; put the photos there, or name the folder where they are"
    for part in ("train_classifier.*", "train_saliency"):
        for key, value in _values(content, [*part.split("."), "pretrained"]):
            if isinstance(value, str) and not (root / "models" / "pretrained" / value).is_file():
                yield f"{key}: models/pretrained/{value}: no such file; models/pretrained/README.md says what goes there"
    for key, value in _values(content, ["import_cues", "*", "cues"]) + _values(
        content, ["import_cues", "*", "image_list"]
    ):
        if isinstance(value, str) and not (root / value).is_file():
            yield f"{key}: {value}: no such file"


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
