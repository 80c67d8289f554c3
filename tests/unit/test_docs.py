"""The docs say what the code says: every setting, the drawn pipeline, the commands."""

import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from docs import draw_pipeline
from weakseg.settings.params import Params

ROOT = Path(__file__).resolve().parents[2]
PARAMETERS = ROOT / "docs" / "parameters.md"


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
