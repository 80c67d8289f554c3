"""The docs agree with the code: every setting, the drawn pipeline, the papers' sections."""

import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from docs import draw_pipeline
from weakseg.settings.params import Params
from weakseg.settings.types import backbones

ROOT = Path(__file__).resolve().parents[2]
PARAMETERS = ROOT / "docs" / "parameters.md"
DOCS = sorted([*ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md"), *ROOT.glob("*.md")])
SECTIONS = {
    "SEC": {"1", "2", "3", "3.1", "3.2", "4", "4.1", "4.2", "4.3", "5", "6", "6.1", "6.2"},
    "GS": {"1", "2", "3", "4", "4.1", "4.2", "5", "5.1", "5.3", "6", "6.1", "6.2", "6.3", "7"}
    | {"A", "B", "B.1", "B.2", "B.3", "C", "C.1", "D", "E", "F", "G"},
}


def sections_in(annotation: Any) -> Iterator[tuple[str, type[BaseModel]]]:
    """Sections that a setting holds, with `.<name>` where they stand under names of the user's."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield "", annotation
    named = ".<name>" if typing.get_origin(annotation) is dict else ""
    for inner in typing.get_args(annotation):
        yield from ((named + path, section) for path, section in sections_in(inner))


def walk(section: type[BaseModel], place: str = "") -> Iterator[tuple[str, str, Any]]:
    """(place of the section, key, annotation) of every setting that holds no section itself."""
    for key, field in section.model_fields.items():
        inside = list(sections_in(field.annotation))
        for path, inner in inside:
            yield from walk(inner, f"{place}.{key}{path}".lstrip("."))
        if not inside:
            yield place or "(file)", key, field.annotation


def choices(annotation: Any) -> set[str]:
    if typing.get_origin(annotation) is typing.Literal:
        return {str(value) for value in typing.get_args(annotation)}
    return {choice for inner in typing.get_args(annotation) for choice in choices(inner)}


def documented() -> dict[tuple[str, str], list[str]]:
    """Cells of each table row by place and key."""
    rows: dict[tuple[str, str], list[str]] = {}
    for part in PARAMETERS.read_text(encoding="utf-8").split("\n## ")[1:]:
        heading, _, content = part.partition("\n")
        for place in re.findall(r"`([^`]+)`", heading):
            for line in re.findall(r"^\| `.*$", content, re.MULTILINE):
                _, key, *cells, _ = (cell.strip() for cell in line.split("|"))
                rows[place, key.strip("`")] = cells
    return rows


def test_every_setting_is_documented_and_no_other() -> None:
    assert documented().keys() == {(place, key) for place, key, _ in walk(Params)}


def test_every_choice_of_a_setting_is_documented() -> None:
    rows = documented()
    for place, key, annotation in walk(Params):
        missing = [choice for choice in choices(annotation) if choice not in rows[place, key][0]]
        assert not missing, (place, key, missing)


def test_every_setting_has_values_and_a_paper_or_a_dash() -> None:
    for where, cells in documented().items():
        assert len(cells) == 3 and cells[0] and cells[2], where


def test_every_backbone_is_documented() -> None:
    _, _, section = PARAMETERS.read_text(encoding="utf-8").partition("\n## Backbones\n")
    assert set(re.findall(r"^\| `([^`]+)`", section, re.MULTILINE)) == set(backbones())


def test_cited_sections_exist_in_the_papers() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in DOCS)
    for paper, known in SECTIONS.items():
        places = re.findall(rf"\b{paper}((?:,? §[\w.]*\w)+)", text)
        cited = {section for place in places for section in re.findall(r"§([\w.]+)", place)}
        assert cited and cited <= known, (paper, cited - known)
    assert "SPEC" not in text


def test_every_environment_variable_is_documented() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "weakseg").rglob("*.py"))
    table = re.findall(r"^\| `(WEAKSEG_\w+)`", (ROOT / "docs" / "running.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(table) == set(re.findall(r"\bWEAKSEG_[A-Z_]+", code))


def test_files_that_the_docs_name_exist() -> None:
    """Those of the repository; what the pipeline writes is not there."""
    for page in DOCS:
        text = page.read_text(encoding="utf-8")
        named = re.findall(r"\b((?:tests|weakseg|stages|benchmarks|docs|profiles)/[\w/]+\.(?:pyi?|md|yaml))\b", text)
        missing = sorted({name for name in named if not (ROOT / name).is_file()})
        links = re.findall(r"\]\(([^)#]+)(?:#[\w-]+)?\)", text)
        missing += [link for link in links if "://" not in link and not (page.parent / link).exists()]
        assert not missing, (page.relative_to(ROOT).as_posix(), missing)


def test_the_drawn_pipeline_is_that_of_dvc_yaml() -> None:
    assert (ROOT / "docs" / "pipeline.md").read_text(encoding="utf-8") == draw_pipeline.page(ROOT / "dvc.yaml")


def test_the_drawing_follows_deps() -> None:
    stages = {
        "a": {"outs": ["data/a.zip", {"data/b": {"cache": True}}]},
        "b": {"foreach": "${x}", "do": {"deps": ["data/a.zip", "raw", "weakseg/x.py"], "outs": ["data/m/${key}.npz"]}},
        "c": {"deps": ["data/m", "data/b/one.txt"], "metrics": ["metrics/c.json"]},
    }
    arrows = [("a", "b"), ("a", "c"), ("b", "c"), ("a", "d"), ("c", "d")]
    assert draw_pipeline.needed(arrows) == [("a", "b"), ("b", "c"), ("c", "d")]
    assert draw_pipeline.edges(stages) == [("a", "b", "data/a.zip"), ("b", "c", "data/m"), ("a", "c", "data/b/one.txt")]


def test_the_drawing_follows_deps_that_params_choose() -> None:
    stages = {
        "train_classifier": {"foreach": "${x}", "do": {"outs": ["models/classifier/${key}"]}},
        "make_cues": {"deps": ["models/classifier/${make_cues.net}"], "outs": ["data/cues.npz"]},
        "train": {"deps": ["data/${item.train.supervision}", "models/${train.start_from}"], "outs": ["models/s"]},
    }
    assert draw_pipeline.edges(stages) == [
        ("train_classifier", "make_cues", "models/classifier/${make_cues.net}"),
        ("make_cues", "train", "data/${item.train.supervision}"),
        ("train_classifier", "train", "models/${train.start_from}"),
    ]
