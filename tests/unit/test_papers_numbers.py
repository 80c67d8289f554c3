"""profiles/papers.yaml is what the papers say: each value with the section that states it, and the section's words."""

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

import pytest

from tests.papers_numbers import HEADINGS, OURS, PINS, SECTIONS
from tests.profile_cases import ROOT, settings_of

PAPERS = ROOT.parent / "shared" / "papers"  # the text of both, which is not ours to pass on
FILES = {"SEC": "sec.md", "GS": "guided-segmentation.md"}
OTHER_SOURCES = {"SEC code", "GS code", "DeepLab", "DeepLab-v2"}


def leaves(content: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def wrong(content: dict[str, Any]) -> dict[str, str]:
    """Keys whose values are not the paper's, with the section that says so."""
    found = dict(leaves(content))
    missing = object()
    return {
        key: pin.source
        for key, pin in PINS.items()
        if (value := found.get(key, missing)) != pin.value or isinstance(value, bool) != isinstance(pin.value, bool)
    }


@pytest.mark.parametrize("profile", ["papers", "voc12"])
def test_every_value_that_a_paper_states_is_the_paper_s(profile: str) -> None:
    assert wrong(settings_of(profile)) == {}


def test_every_value_is_a_paper_s_or_listed_as_ours() -> None:
    keys = [key for key, _ in leaves(settings_of("papers")) if key.split(".")[0] in SECTIONS]
    ours = {key for key in keys if any(fnmatchcase(key, pattern) for pattern in OURS)}
    assert [key for key in keys if key not in PINS and key not in ours] == []
    assert sorted(ours & PINS.keys()) == []
    assert [pattern for pattern in OURS if not any(fnmatchcase(key, pattern) for key in keys)] == []
    assert len(PINS) > 200


DELIBERATE = [  # slips that nobody would see in a review
    ("experiments.guided.test.input_px", 401, "GS code"),
    ("experiments.guided.test.crf", "sec", "GS §6.1"),
    ("train_classifier.seeder.training.learning_rate", 0.01, "GS §B.2"),
    ("train_classifier.classifier.training.steps", 8000, "GS §F"),
    ("train_classifier.classifier.training.batch_size", 15, "GS §F"),
    ("train_classifier.classifier.training.schedule.step_every", 2000, "GS §F"),
    ("train_classifier.classifier.vgg16.fc_channels", 1024, "GS table 6"),
    ("make_cams.seeder.geometry", "warp", "GS code"),
    ("make_seeds.foreground.threshold", 0.3, "GS §6.1"),
    ("make_guides.g2.saliency_threshold", 0.4, "GS §6.1"),
    ("make_guides.g2.min_saliency_fraction", 0.02, "GS §E"),
    ("make_guides.g2.unresolved", "background", "GS §E"),
    ("make_oracle_guides.crf", "sec", "GS §C.1"),
    ("crf.deeplab.bilateral_sigma_xy", 80.0, "GS §C.1"),
    ("train_saliency.training.learning_rate", 0.0025, "DeepLab-v2"),
    ("train_saliency.input_scales", [1.0], "DeepLab-v2"),
    ("evaluate_saliency.threshold", 0.6, "GS §6.1"),
    ("train_segmenter.training.steps", 20000, "SEC §4.1"),
    ("experiments.seeds.train.flip", False, "GS code"),
    ("train_classifier.background.training.batch_size", 40, "SEC §6.1"),
    ("losses.sec.decay_present", 0.99, "SEC §4.1"),
]


@pytest.mark.parametrize(("key", "value", "source"), DELIBERATE)
def test_a_changed_value_is_told_with_the_section_that_it_contradicts(key: str, value: Any, source: str) -> None:
    content = settings_of("papers")
    *sections, last = key.split(".")
    inner = content
    for section in sections:
        inner = inner[section]
    assert inner[last] != value
    inner[last] = value
    assert wrong(content) == {key: source}


# --- sections ---------------------------------------------------------------------------------------------------------------


def is_there(source: str) -> bool:
    paper, _, place = source.partition(" ")
    if source in OTHER_SOURCES:
        return True
    if place.startswith("§"):
        return place[1:] in HEADINGS[paper]
    kind, _, number = place.partition(" ")
    last = {"SEC": {"eq.": 5, "table": 2, "figure": 9}, "GS": {"table": 6, "figure": 13}}[paper]
    return 1 <= int(number) <= last[kind]


def test_every_source_is_a_place_in_a_paper() -> None:
    assert {pin.source for pin in PINS.values() if not is_there(pin.source)} == set()


@pytest.mark.parametrize("name", ["docs/parameters.md", "profiles/papers.yaml", "ablations/params.yaml", "ablations/published.yaml"])  # fmt: skip
def test_every_section_that_is_cited_is_there(name: str) -> None:
    """`SEC §3.1, §6.1` and `GS §6.1, §F` are two each."""
    text = (ROOT / name).read_text(encoding="utf-8")
    cited = {
        (paper, section.rstrip("."))
        for paper, sections in re.findall(r"\b(SEC|GS)((?:,? §[\w.]+)+)", text)
        for section in re.findall(r"§([\w.]+)", sections)
    }
    assert {(paper, section) for paper, section in cited if section not in HEADINGS[paper]} == set()
    assert cited


def test_the_page_of_all_settings_cites_the_sections_that_state_them() -> None:
    """For each pinned key its row of docs/parameters.md names the section."""
    rows = documented()
    silent = {
        key: pin.source
        for key, pin in PINS.items()
        if "§" in pin.source and not any(cites(row, pin.source) for row in rows_of(key, rows))
    }
    assert silent == {}


def documented() -> dict[str, str]:
    """The last column of every row, by its key with `*` for a name."""
    rows: dict[str, str] = {}
    prefixes: list[str] = []
    for line in (ROOT / "docs" / "parameters.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            prefixes = [re.sub(r"<\w+>", "*", prefix) for prefix in re.findall(r"`([^`]+)`", line)]
        if cells := re.fullmatch(r"\| `(\w+)` \|.*\|([^|]*)\|", line):
            for prefix in prefixes:
                rows[cells[1] if prefix == "(file)" else f"{prefix}.{cells[1]}"] = cells[2].strip()
    return rows


def rows_of(key: str, rows: dict[str, str]) -> list[str]:
    found = [
        text for pattern, text in rows.items() if fnmatchcase(key, pattern) and key.count(".") == pattern.count(".")
    ]
    assert found, f"{key}: docs/parameters.md has no row for it"
    return found


def cites(row: str, source: str) -> bool:
    """`SEC §3.1, §6.1; GS §F` cites three."""
    paper, place = source.split(" ")
    groups = re.findall(rf"\b{paper}((?:[^;]*?§[\w.]+)+)", row)
    return place in {section.rstrip(".") for group in groups for section in re.findall(r"§[\w.]+", group)}


# --- the papers' own words --------------------------------------------------------------------------------------------------


@cache
def parts_of(paper: str) -> dict[str, str]:
    """Sections by number, each with those below it, and under "" the whole text; spaces as single ones."""
    text = (PAPERS / FILES[paper]).read_text(encoding="utf-8")
    starts, at = {}, 0
    for number in HEADINGS[paper]:
        found = re.compile(rf"^#*\s*{re.escape(number)}\.?(?: [^\n]+)?$", re.MULTILINE).search(text, at)
        if found is None and number == "1":
            found = re.search(r"^# Introduction$", text, re.MULTILINE)
        assert found, f"{paper} §{number}"
        starts[number] = at = found.start()
    numbers = list(starts)
    ends = {
        number: next((starts[later] for later in numbers[index + 1 :] if not later.startswith(f"{number}.")), len(text))
        for index, number in enumerate(numbers)
    }
    parts = {number: text[starts[number] : ends[number]] for number in numbers}
    return {number: " ".join(part.split()) for number, part in {**parts, "": text}.items()}


@pytest.mark.skipif(not PAPERS.is_dir(), reason="the papers' text is not part of the repository")
@pytest.mark.parametrize("paper", FILES)
def test_the_words_stand_in_the_section(paper: str) -> None:
    pins = {key: pin for key, pin in PINS.items() if pin.words and pin.source.startswith(paper)}
    assert len(pins) > 60
    parts = parts_of(paper)
    missing = {
        key: (pin.source, pin.words)
        for key, pin in pins.items()
        if " ".join(pin.words.split()) not in parts[pin.source.partition("§")[2]]
    }
    assert missing == {}
