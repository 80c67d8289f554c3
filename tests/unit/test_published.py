"""The papers' numbers beside ours: what is compared with what, what is missing, and what the tables say."""

import csv
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from stages.compare_published import (
    class_tables,
    experiment_numbers,
    ground_truth_foreground,
    guide_numbers,
    method_numbers,
    seeder_curves,
    seeder_numbers,
    write_tables,
)
from weakseg.errors import UserError
from weakseg.files.archives import write_arrays
from weakseg.files.class_names import BACKGROUND, VOC_CLASSES
from weakseg.files.tables import write_json, write_table
from weakseg.published import Compared, Published, compare, markdown_table, read_published, table_of, text_table

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
    head, columns, *lines = text_table(table_of(table)).splitlines()
    assert head == "Experiments: ours (published)"
    assert columns.split("  ")[0] == "table" and "mIoU %" in columns
    cells = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines]
    assert cells == [
        ["P table 1", "row a", "a", "10.0 (30.0)", "20.0", "40.0 (50.0)", "–", "–"],
        ["P table 1", "row b", "b (not run)", "–", "– (45.0)", "– (75.0)", "–", "–"],
        ["P table 1", "row full", "full", "50.0", "40.0 (60.0)", "100.0 (100.0)", "–", "–"],
    ]


def test_the_markdown_says_the_same(table: list[Compared]) -> None:
    lines = [line for line in markdown_table(table_of(table)).splitlines() if line.startswith("|")]
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


# --- tables of methods and of classes ---------------------------------------------------------------------------------------


def test_methods_have_val_with_crf_and_what_the_server_gave_for_test(tmp_path: Path) -> None:
    save_confusions(tmp_path, "full", [[60, 20], [10, 10]], [[80, 0], [0, 20]])
    save_confusions(tmp_path, "sec", [[80, 0], [0, 20]], [[60, 20], [10, 10]])
    server = {"sec": 45.0, "full": 90.0}
    rows = [
        {"paper": "P", "row": "theirs", "supervision": "tags", "val": 30.0, "test": 35.0},
        {"paper": "P", "row": "SEC", "supervision": "tags", "experiment": "sec", "val": 45.0, "test": 56.0, "test_percent_of_full": 81.0},
        {"paper": "P", "row": "DeepLab", "supervision": "masks", "experiment": "full", "val": 60.0, "test": 70.0},
    ]  # fmt: skip
    methods = Published.model_validate({"experiments": [], "guides": [], "seeders": [], "methods": rows}).methods
    compared = compare(methods, lambda name: method_numbers([tmp_path], server, name), "full")
    table = table_of(compared)
    assert table.head[3:] == ["val mIoU %", "% of full", "test mIoU %", "FS%, test"]
    assert table.rows == [
        ["P", "theirs (tags)", "–", "– (30.0)", "– (50.0)", "– (35.0)", "– (50.0)"],
        ["P", "SEC (tags)", "sec", "45.8 (45.0)", "45.8 (75.0)", "45.0 (56.0)", "50.0 (81.0)"],
        ["P", "DeepLab (masks)", "full", "100.0 (60.0)", "100.0 (100.0)", "90.0 (70.0)", "100.0 (100.0)"],
    ]
    assert method_numbers([tmp_path], {}, "sec") == {"val": pytest.approx(45.8, abs=0.05), "test": None}
    assert method_numbers([tmp_path], server, "nosuch") is None
    assert method_numbers([tmp_path / "nosuch"], server, "sec") == {"val": None, "test": 45.0}


def published_by_class(server: dict[str, float] | None = None) -> Published:
    columns = [
        {
            "paper": "P table 1",
            "split": split,
            "method": method,
            "mean": 32.2,
            "classes": classes,
            "experiment": experiment,
        }
        for split in ("val", "test")
        for method, classes, experiment in (("first", {"cat": 12.5}, None), ("SEC", {"background": 82.4}, "sec"))
    ]
    content = {"experiments": [], "guides": [], "seeders": [], "per_class": columns, "server": server or {}}
    return Published.model_validate(content)


def test_classes_have_a_row_each_and_ours_the_last_column(tmp_path: Path) -> None:
    save_confusions(tmp_path, "sec", [[80, 0], [0, 20]], [[60, 20], [10, 10]])
    val, test = class_tables(published_by_class({"sec": 45.0}), [tmp_path], ["background", "cat"])
    assert val.head == ["class", "first", "SEC", "ours: sec"]
    rows = {row[0]: row[1:] for row in val.rows}
    assert list(rows) == [BACKGROUND, *VOC_CLASSES, "mean"]
    assert rows["background"] == ["–", "82.4", "66.7"] and rows["cat"] == ["12.5", "–", "25.0"]
    assert rows["dog"] == ["–", "–", "–"] and rows["mean"] == ["32.2", "32.2", "45.8"]
    assert "test" in test.title and test.rows[-1] == ["mean", "32.2", "32.2", "45.0"] and test.rows[0][-1] == "–"
    not_run, not_sent = class_tables(published_by_class(), [tmp_path / "nosuch"], ["background", "cat"])
    assert not_run.head[-1] == not_sent.head[-1] == "ours: sec (not run)"
    assert {row[-1] for row in not_run.rows} == {"–"}


def test_the_published_tables_of_results_agree_with_themselves() -> None:
    """Means of whole columns, FS% from test over DeepLab's test, and the rows that both papers print."""
    published = read_published(ROOT / "ablations" / "published.yaml")
    whole = [column for column in published.per_class if len(column.classes) == 21]
    assert [(column.split, column.method) for column in whole] == [
        ("val", "SEC"), ("test", "MIL+ILP+SP-sppxl"), ("test", "SEC"),
    ]  # fmt: skip
    for column in whole:
        assert np.mean([*column.classes.values()]) == pytest.approx(column.mean, abs=0.06)
    assert all({*column.classes} <= {BACKGROUND, *VOC_CLASSES} for column in published.per_class)
    assert len(published.methods) == 8 + 10 + 16
    for row in published.methods:
        if row.test_percent_of_full is not None:
            assert row.test is not None
            assert row.test_percent_of_full == pytest.approx(100 * row.test / 70.3, abs=0.11)
    printed = {(row.paper, row.row, row.supervision): (row.val, row.test) for row in published.methods}
    assert printed["SEC table 1", "SEC", "tags"] == printed["GS table 3", "SEC", "I+P"] == (50.7, 51.7)
    assert printed["GS table 3", "G2", "I+P+S"] == (55.7, 56.7)
    assert {row.experiment for row in published.methods} == {None, "sec", "full", "seeds", "g0", "guided"}


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


def test_all_files_hold_the_numbers(tmp_path: Path, table: list[Compared]) -> None:
    by_class = class_tables(published_by_class(), [tmp_path], ["background", "<b>"])
    write_tables(tmp_path / "out", [table], by_class, 26.4, b"png")
    text, markdown, page = (
        (tmp_path / "out" / f"table.{kind}").read_text(encoding="utf-8") for kind in ("txt", "md", "html")
    )
    assert '<span class="own">10.0</span> <span class="paper">(30.0)</span>' in page
    assert "Foreground in the ground truth: 26.4 %" in page and "IoU by class, test: P table 1" in page
    assert "http" not in page.replace("http-equiv", "") and "<script" not in page
    for content in (text, markdown):
        assert "10.0 (30.0)" in content and "Foreground in the ground truth: 26.4 %" in content
    with open(tmp_path / "out" / "table.csv", encoding="utf-8", newline="") as file:
        found = {(line["name"], line["measure"]): (line["published"], line["ours"]) for line in csv.DictReader(file)}
    assert found["a", "miou"] == ("30.0", "10.0") and found["b", "miou_crf"] == ("45.0", "")
    content = json.loads((tmp_path / "out" / "table.json").read_text(encoding="utf-8"))
    assert content["ground_truth_foreground"] == 26.4
    assert [each["ours"] is None for each in content["experiments"]] == [False, True, False]
    assert content["experiments"][0]["published"]["miou"] == 30.0


def test_of_several_trainings_the_tables_show_mean_and_spread(tmp_path: Path) -> None:
    first, second = [[60, 20], [10, 10]], [[80, 0], [10, 10]]
    totals = np.array([[first, first], [second, second]], np.int64)
    items = {"raw/confusion": totals[0, 0], "crf/confusion": totals[0, 1], "repeats/confusion": totals[1:]}
    for name in ("sec", "full"):
        write_arrays(tmp_path / f"{name}.npz", items.items())
    rows = read_published(file_of(tmp_path, [row("sec", None, 50.7), row("full", None, 67.6)])).experiments
    compared = compare(rows, partial(experiment_numbers, [tmp_path]), "full")
    mious = [100 * (60 / 90 + 10 / 40) / 2, 100 * (80 / 90 + 1 / 2) / 2]
    shown = f"{np.mean(mious):.1f} ± {np.std(mious, ddof=1):.1f}"
    cells = table_of(compared).rows[0]
    assert shown in cells and f"{shown} (50.7)" in cells
    assert any(cell.startswith("100.0") for cell in cells)
