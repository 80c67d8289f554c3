"""Someone else's params.yaml: a name that a shell, an option parser or a path would take amiss is refused everywhere."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.profile_cases import settings_of
from weakseg.errors import UserError
from weakseg.settings.reading import check_params
from weakseg.settings.references import NAMED

NAMES = (
    "guided;touch pwned;", "a$(touch pwned)", "a`touch pwned`", "b'; touch pwned; '", 'b"; touch pwned; "', "a|touch pwned",
    "a&touch pwned&", "a\ntouch pwned\n", "a && touch pwned", "a > pwned", "<(touch pwned)", "${touch}", "$((touch))",
    "../../pwned", "/tmp/pwned", "-rf", "--help", "~/pwned", "*", "{a,b}", "a\\", "#a", "!touch pwned", "é\u202ex", "a\0b",
)  # fmt: skip
EMPTY = (  # null in this profile, else names of files
    "data.labels_file", "data.test_list", "saliency.image_list", "saliency.exclude",
)  # fmt: skip
LISTS = (
    "data.classes", "evaluate_supervision.guides", "evaluate_supervision.refined", "export_voc.experiments",
    "experiments.guided.beyond_tags",
)  # fmt: skip
ANY_TEXT = {"data.classes"}  # a class may be called what it likes: no path and no command has it


def whole() -> dict[str, Any]:
    """The toy profile with an entry in every section that has entries."""
    params = settings_of("toy")
    guides = {"unresolved": "ignore", "saliency_threshold": 0.5, "min_saliency_fraction": 0.01}
    params["import_cues"]["own"] = {"cues": "cues.pkl", "image_list": "list.txt"}
    for section, settings in (
        ("import_saliency", {"input_px": 320, "mean": [0.5] * 3, "std": [0.5] * 3}),
        ("import_proposals", {}),
    ):
        params[section]["own"] = {"from": "data/other", "supervision": "masks"} | settings
    params["make_g1_guides"]["own"] = {**guides, "classifier": "seeder", "require_positive": False}
    params["self_training"]["sec"] = {"crf": "sec", "min_probability": 0.0}
    return params


def name_entries(params: dict[str, Any], *names: str) -> None:
    """Entries of these names in every section that has entries, each like one that works."""
    for section in NAMED:
        entry = next((value for value in params[section].values() if value is not None), {})
        params[section] |= dict.fromkeys(names, entry)


def put(params: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = key.split(".")
    for section in sections:
        params = params[section]
    assert last in params, key
    params[last] = value


def complaint(params: dict[str, Any], folder: Path) -> list[str]:
    path = folder / "params.yaml"
    path.write_text(yaml.dump(params, Dumper=yaml.CSafeDumper, sort_keys=False), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        check_params(path, folder)
    return str(caught.value).splitlines()


def leaves(value: Any, key: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [found for name, inner in value.items() for found in leaves(inner, f"{key}.{name}" if key else name)]
    return [(key, value)]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_could_run_or_lead_elsewhere_is_refused_in_every_place(name: str, tmp_path: Path) -> None:
    """In the place of each text of the settings."""
    texts = [key for key, value in leaves(whole()) if isinstance(value, str)]
    kinds = {key for key in texts if key.rpartition(".")[2] in ("kind", "by")}  # which say how the rest is read
    for places in (kinds, {*texts, *EMPTY, *LISTS} - kinds):
        params = whole()
        for key in places:
            put(params, key, [name] if key in LISTS else name)
        told = complaint(params, tmp_path)
        told_of = {key: key.rpartition(".")[0] if key in kinds else key for key in places}
        silent = {key for key, part in told_of.items() if not any(line.startswith(f"  {part}") for line in told)}
        assert silent <= ANY_TEXT, told


@pytest.mark.parametrize("name", NAMES)
def test_no_entry_of_any_section_can_be_called_that(name: str, tmp_path: Path) -> None:
    params = whole()
    name_entries(params, name)
    told = "\n".join(complaint(params, tmp_path))
    for section in NAMED:
        assert f"\n  {section}.{name}" in told, told
