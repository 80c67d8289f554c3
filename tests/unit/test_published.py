"""The papers' numbers beside ours: what is compared with what, what is missing, and what the tables say."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from stages.compare_published import (
    experiment_numbers,
    ground_truth_foreground,
    guide_numbers,
    seeder_curves,
    seeder_numbers,
    write_tables,
)
from weakseg.errors import UserError
from weakseg.files.archives import write_arrays
from weakseg.files.tables import write_json, write_table
from weakseg.report.published import Compared, compare, markdown_table, read_published, text_table

ROOT = Path(__file__).resolve().parents[2]


def file_of(folder: Path, experiments: list[dict[str, Any]], guides: list[dict[str, Any]] | None = None) -> Path:
    path = folder / "published.yaml"
    path.write_text(
        yaml.safe_dump({"experiments": experiments, "guides": guides or [], "seeders": []}), encoding="utf-8"
    )
    return path


def row(name: str, miou: float | None, miou_crf: float | None, paper: str = "P table 1") -> dict[str, Any]:
    return {"paper": paper, "row": f"row {name}", "experiment": name, "miou": miou, "miou_crf": miou_crf}


OURS = {"full": {"miou": 50.0, "miou_crf": 40.0}, "a": {"miou": 10.0, "miou_crf": 20.0}}


@pytest.fixture
def table(tmp_path: Path) -> list[Compared]:
    rows = [row("a", 30.0, None), row("b", None, 45.0), row("full", None, 60.0)]
    return compare(read_published(file_of(tmp_path, rows)).experiments, OURS.get, "full")


def test_per_cent_of_the_bound_is_the_better_of_two_over_the_better_of_two(table: list[Compared]) -> None:
    """Of the papers' numbers and of ours, each by their own bound."""
    published, ours = [each.published["percent_of_full"] for each in table], [each.ours for each in table]
    assert published == pytest.approx([50.0, 75.0, 100.0])
    assert ours[0] == {"miou": 10.0, "miou_crf": 20.0, "percent_of_full": 40.0}
    assert ours[1] is None  # has not run
    assert ours[2] is not None and ours[2]["percent_of_full"] == 100.0


def test_without_the_bound_there_is_no_per_cent(tmp_path: Path) -> None:
    rows = read_published(file_of(tmp_path, [row("a", 30.0, None)])).experiments
    (only,) = compare(rows, OURS.get, "full")
    assert only.ours is not None and only.ours["percent_of_full"] is None
    assert only.published["percent_of_full"] is None
    (not_run, _) = compare(
        read_published(file_of(tmp_path, [row("a", 30.0, None), row("full", None, 60.0)])).experiments,
        {"a": OURS["a"]}.get, "full",
    )  # fmt: skip
    assert not_run.ours is not None and not_run.ours["percent_of_full"] is None
    assert not_run.published["percent_of_full"] == 50


def test_the_text_has_our_number_with_the_published_one_in_brackets(table: list[Compared]) -> None:
    head, columns, *lines = text_table(table).splitlines()
    assert head == "Experiments: ours (published)"
    assert columns.split("  ")[0] == "table" and "mIoU %" in columns
    cells = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines]
    assert cells == [
        ["P table 1", "row a", "a", "10.0 (30.0)", "20.0", "40.0 (50.0)", "–", "–"],
        ["P table 1", "row b", "b (not run)", "–", "– (45.0)", "– (75.0)", "–", "–"],
        ["P table 1", "row full", "full", "50.0", "40.0 (60.0)", "100.0 (100.0)", "–", "–"],
    ]


def test_the_markdown_says_the_same(table: list[Compared]) -> None:
    lines = [line for line in markdown_table(table).splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1
    assert "| P table 1 | row a | a | 10.0 (30.0) | 20.0 | 40.0 (50.0) | – | – |" in lines


@pytest.mark.parametrize(
    ("change", "words"),
    [({"miou": 138.7}, "experiments.0.miou"), ({"miou": "38.7"}, "experiments.0.miou"), ({"test": 1.0}, "experiments.0.test"),
     ({"experiment": "../a"}, "experiments.0.experiment")],
)  # fmt: skip
def test_a_wrong_entry_is_told(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=rf"published\.yaml:\n  {words}: "):
        read_published(file_of(tmp_path, [row("a", 1.0, 2.0) | change]))


@pytest.mark.parametrize("content", ["a: [", "a: 2000-99-99", "[" * 5000])
def test_what_is_no_yaml_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "published.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match="cannot be read as YAML"):
        read_published(tmp_path / "published.yaml")


# --- the stage -------------------------------------------------------------------------------------------------------------


def save_confusions(folder: Path, name: str, raw: list[list[int]], crf: list[list[int]]) -> None:
    arrays = {"raw/confusion": np.array(raw, np.int64), "crf/confusion": np.array(crf, np.int64)}
    write_arrays(folder / f"{name}.npz", arrays.items())


def test_numbers_of_an_experiment_come_from_its_confusion_matrices(tmp_path: Path) -> None:
    main, ablations = tmp_path / "main", tmp_path / "ablations"
    save_confusions(main, "full", [[60, 20], [10, 10]], [[80, 0], [20, 0]])
    assert experiment_numbers([ablations, main], "full") == {
        "miou": pytest.approx(100 * (60 / 90 + 10 / 40) / 2), "miou_crf": pytest.approx(100 * (80 / 100 + 0) / 2),
        "foreground": 30.0, "foreground_crf": 0.0,
    }  # fmt: skip
    assert ground_truth_foreground(main, "full") == 20.0  # rows are the ground truth
    assert experiment_numbers([ablations, main], "other") is None
    assert ground_truth_foreground(ablations, "full") is None
    save_confusions(ablations, "full", [[100, 0], [0, 0]], [[100, 0], [0, 0]])
    numbers = experiment_numbers([ablations, main], "full")
    assert numbers is not None and numbers["foreground"] == 0


def test_numbers_of_a_guide_are_those_against_the_ground_truth(tmp_path: Path) -> None:
    quality = {"foreground_precision": 70.0, "foreground_recall": 60.0}
    write_json(tmp_path / "a.json", {"g0": {"against_ground_truth": quality}, "g1": {"against_ground_truth": None}})
    files = [tmp_path / "nosuch.json", tmp_path / "a.json"]
    assert guide_numbers(files, "g0") == quality
    assert guide_numbers(files, "g1") is None and guide_numbers(files, "g2") is None


def test_numbers_and_curves_of_a_seeder_come_from_the_first_folder_that_has_it(tmp_path: Path) -> None:
    main, ablations = tmp_path / "main", tmp_path / "ablations"
    columns = ["threshold", "foreground_precision", "foreground_recall", "background_precision", "background_recall"]
    for folder, name, value in ((main, "seeder", 70.5), (ablations, "guided", 60.5), (main, "guided", 1.0)):
        write_json(folder / f"{name}.json", {"mean_precision": value, "map": None, "images": 4})
        write_table(folder / f"{name}.csv", [dict.fromkeys(columns, str(value))], columns)
    folders = [ablations, main]
    assert [seeder_numbers(folders, name) for name in ("seeder", "guided", "vanilla")] == [
        {"mean_precision": 70.5, "map": None, "images": 4}, {"mean_precision": 60.5, "map": None, "images": 4}, None,
    ]  # fmt: skip
    curves = seeder_curves(folders, ["seeder", "guided", "vanilla"])
    assert {name: curve["foreground_recall"].tolist() for name, curve in curves.items()} == {
        "seeder": [70.5], "guided": [60.5],
    }  # fmt: skip


def test_all_four_files_hold_the_numbers(tmp_path: Path, table: list[Compared]) -> None:
    write_tables(tmp_path / "out", [table], 26.4)
    text, markdown = ((tmp_path / "out" / f"table.{kind}").read_text(encoding="utf-8") for kind in ("txt", "md"))
    for content in (text, markdown):
        assert "10.0 (30.0)" in content and "Foreground in the ground truth: 26.4 %" in content
    with open(tmp_path / "out" / "table.csv", encoding="utf-8", newline="") as file:
        found = {(line["name"], line["measure"]): (line["published"], line["ours"]) for line in csv.DictReader(file)}
    assert found["a", "miou"] == ("30.0", "10.0") and found["b", "miou_crf"] == ("45.0", "")
    content = json.loads((tmp_path / "out" / "table.json").read_text(encoding="utf-8"))
    assert content["ground_truth_foreground"] == 26.4
    assert [each["ours"] is None for each in content["experiments"]] == [False, True, False]
    assert content["experiments"][0]["published"]["miou"] == 30.0
