"""The report from synthetic artifacts: what is written, what it says, and what it does without them."""

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from weakseg.errors import UserError
from weakseg.evaluation import CURVE_COLUMNS
from weakseg.files.archives import write_arrays, write_images
from weakseg.files.class_names import VOC_CLASSES, write_class_names
from weakseg.files.label_masks import label_image
from weakseg.files.manifest import Record, read_manifest, write_manifest
from weakseg.files.maps import cue_arrays
from weakseg.files.tables import write_json, write_table
from weakseg.report.charts import iou_chart, loss_chart, moving_mean, row_percent
from weakseg.report.colours import cielab, class_palette, distinct_palette
from weakseg.report.page.gallery import choose_records
from weakseg.report.page.layers import label_uri, saliency_uri
from weakseg.report.page.results import results_table
from weakseg.report.pictures import UNLABELLED, cue_labels, paint, spread
from weakseg.report.sheets.drawing import MARGIN_PX, MASK_OPACITY, ROW_TITLE_PX, TILE_PX, Column, Section, contact_sheet
from weakseg.report.sources import ReportSources, published_of, read_curves
from weakseg.report.tables import markdown_table, summary_table, undecided_pairs
from weakseg.report.validation import validation_curves
from weakseg.report.write import write_report

NASTY = '</script><img src=x onerror="alert(1)">'
CLASS_NAMES = ["background", "cat & dog", NASTY]
ROOT = Path(__file__).resolve().parents[2]
HEIGHT, WIDTH = 30, 40
METRICS = {
    "miou": 41.25, "miou_crf": 43.0, "pixel_accuracy": 80.0, "foreground_fraction": 33.3,
    "iou": {"background": 77.7, "cat & dog": 20.0, NASTY: None},
    "iou_crf": {"background": 79.9, "cat & dog": 25.0, NASTY: None},
}  # fmt: skip
SUMMARY = {
    "sec": {"miou": 41.25, "miou_crf": 43.0, "percent_of_full": 71.66},
    "full": {"miou": 60.0, "miou_crf": None, "percent_of_full": None},
}


def truth_of(record: Record) -> np.ndarray:
    """Left half the photo's first tag, right half background, an ignored bottom row."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[:, : WIDTH // 2] = record.labels[0]
    mask[-1] = 255
    return mask


def make_records(folder: Path, per_split: int = 4) -> list[Record]:
    records = []
    for index in range(2 * per_split):
        image_id, split = f"photo_{index}", "train" if index < per_split else "val"
        photo = np.full((HEIGHT, WIDTH, 3), 20 * index % 256, np.uint8)
        (folder / "photos").mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo).save(folder / "photos" / f"{image_id}.png")
        path = folder / "photos" / f"{image_id}.png"
        digest = sha256(path.read_bytes()).hexdigest()
        records.append(Record(image_id, split, str(path), "", WIDTH, HEIGHT, (1 + index % 2,), digest))
    return records


@pytest.fixture
def sources(tmp_path: Path) -> ReportSources:
    records = make_records(tmp_path)
    train, val = records[:4], records[4:]
    write_manifest(tmp_path / "manifest.csv", records)
    write_class_names(tmp_path / "classes.txt", CLASS_NAMES)
    cues = np.zeros((3, 5, 5), bool)
    cues[1, :, 0] = cues[0, :, 4] = True
    write_arrays(tmp_path / "cues.npz", (item for record in train for item in cue_arrays(record.image_id, cues)))
    write_images(tmp_path / "truth.zip", ((record.image_id, label_image(truth_of(record))) for record in records))
    grey = Image.fromarray(np.full((HEIGHT, WIDTH), 200, np.uint8))
    write_images(tmp_path / "saliency.zip", ((record.image_id, grey) for record in train))
    for name in ("seeds.zip", "guides/g2.zip", "guides/g0.zip"):
        write_images(tmp_path / name, ((record.image_id, label_image(truth_of(record))) for record in train))
    for name in ("raw/sec.zip", "masks/sec.zip"):
        write_images(tmp_path / name, ((record.image_id, label_image(truth_of(record) % 255)) for record in val))
    ious = [(f"{record.image_id}/iou", np.float32([0.1 * i, 0.2 * i])) for i, record in enumerate(val)]
    confusion = np.diag([5, 3, 0])
    write_arrays(tmp_path / "evaluation/sec.npz", [("raw/confusion", confusion), ("crf/confusion", confusion), *ious])
    write_json(tmp_path / "metrics/sec.json", METRICS)
    write_json(tmp_path / "metrics/summary.json", SUMMARY)
    write_json(tmp_path / "metrics/cues.json", {"coverage": {"foreground": 12.34}})
    write_json(
        tmp_path / "metrics/guides.json", {"g2": {"against_ground_truth": {"foreground_precision": 65.43}}, "g0": {}}
    )
    write_json(tmp_path / "metrics/seeders/seeder.json", {"mean_precision": 76.54, "map": 88.1, "images": 4})
    write_json(tmp_path / "metrics/seeders/unmeasured.json", {"mean_precision": None, "images": 0})
    curve = [{**dict.fromkeys(CURVE_COLUMNS, "50.000"), "threshold": f"{number / 10:.3f}"} for number in range(11)]
    write_table(tmp_path / "metrics/seeders/seeder.csv", curve, list(CURVE_COLUMNS))
    rows = [
        {"step": step, "learning_rate": 0.1, "seed": 1.0, "expand": 0.5, "loss": 3 / (step + 1)} for step in range(9)
    ]
    write_table(tmp_path / "metrics/training/segmenter-sec.csv", rows, list(rows[0]))
    return ReportSources(
        tmp_path / "manifest.csv", tmp_path / "classes.txt", ("sec", "full"), {"sec": "cues", "full": "g0"},
        tmp_path / "cues.npz", tmp_path / "seeds.zip", tmp_path / "saliency.zip", tmp_path / "guides",
        tmp_path / "truth.zip", tmp_path / "raw", tmp_path / "masks", tmp_path / "evaluation", tmp_path / "metrics",
        tmp_path / "metrics/training", tmp_path / "metrics/seeders",
        ROOT / "ablations" / "published.yaml",
    )  # fmt: skip


@pytest.fixture
def page(sources: ReportSources, tmp_path: Path) -> str:
    write_report(tmp_path / "report", sources)
    return (tmp_path / "report" / "index.html").read_text()


def page_data(page: str) -> dict:
    return json.loads(re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[0])


def decoded(uri: str) -> Image.Image:
    return Image.open(BytesIO(base64.b64decode(uri.split(",", 1)[1])))


# --- the folder -----------------------------------------------------------------------------------------------------


def test_writes_a_sheet_per_experiment_and_the_charts_twice_the_same(sources: ReportSources, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_report(tmp_path / name, sources)
    expected = {
        "confusion_sec.png", "contact_sheet_full.png", "contact_sheet_sec.png", "contact_sheet_training.png",
        "index.html", "loss_curves.png", "per_class_iou.png", "seeders.png", "table.md", "table.txt",
    }  # fmt: skip
    expected |= {f"plots/{name}.csv" for name in ("iou", "losses", "validation")}
    written = (path for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert {path.relative_to(tmp_path / "one").as_posix() for path in written} == expected
    for name in expected:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_with_nothing_but_a_manifest_there_is_still_a_report(sources: ReportSources, tmp_path: Path) -> None:
    bare = ReportSources(sources.manifest, sources.classes, ("sec",), metrics=tmp_path / "nowhere")
    write_report(tmp_path / "bare", bare)
    page = (tmp_path / "bare" / "index.html").read_text()
    assert "No experiment was evaluated" in page
    assert "IoU by class" not in page and "Training curves" not in page
    card = page_data(page)["images"][0]
    assert card["photo"] and card["truth"] is None and card["raw"] == {} and card["iou"] == {}


def test_a_photo_that_is_gone_leaves_its_place_empty(sources: ReportSources, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "photos")
    write_report(tmp_path / "report", sources)
    card = page_data((tmp_path / "report" / "index.html").read_text())["images"][0]
    assert card["photo"] is None and card["truth"]


def test_a_damaged_archive_is_named(sources: ReportSources, tmp_path: Path) -> None:
    (tmp_path / "cues.npz").write_bytes(b"no zip")
    with pytest.raises(UserError, match=r"cues\.npz"):
        write_report(tmp_path / "report", sources)


@pytest.mark.parametrize("content", ["threshold\n0.1\n", f"{','.join(CURVE_COLUMNS)}\n0.1,a,b,c,d\n", "\0", None])
def test_a_damaged_or_missing_curve_of_a_seeder_is_named(
    content: str | None, sources: ReportSources, tmp_path: Path
) -> None:
    path = tmp_path / "metrics/seeders/seeder.csv"
    path.unlink()
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=r"seeder\.csv"):
        write_report(tmp_path / "report", sources)


def test_the_curves_of_all_measured_seeders_are_drawn(sources: ReportSources, tmp_path: Path) -> None:
    write_report(tmp_path / "one", sources)
    folder = tmp_path / "metrics/seeders"
    shutil.copy(folder / "seeder.csv", folder / "centre_mean.csv")
    write_report(tmp_path / "same", sources)  # a curve without its measures is none
    write_json(folder / "centre_mean.json", {"mean_precision": 50.0, "map": None, "images": 4})
    write_report(tmp_path / "two", sources)
    pictures = [(tmp_path / name / "seeders.png").read_bytes() for name in ("one", "same", "two")]
    assert pictures[0] == pictures[1] != pictures[2]


@pytest.mark.parametrize("name", ["../sec", "a/b", "", ".hidden", "training"])
def test_an_experiment_that_is_no_file_name_is_refused(sources: ReportSources, tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="experiments"):
        write_report(tmp_path / "report", ReportSources(sources.manifest, sources.classes, (name,)))
    assert not (tmp_path / "report").exists()


# --- tables ---------------------------------------------------------------------------------------------------------


def test_summary_table_is_aligned_and_marks_missing_numbers() -> None:
    assert summary_table(SUMMARY).splitlines() == [
        "experiment  mIoU  mIoU with CRF  % of full",
        "----------  ----  -------------  ---------",
        "sec         41.2           43.0       71.7",
        "full        60.0              –          –",
    ]


SEVERAL = {
    "sec": {
        "miou": 41.25,
        "miou_crf": 43.0,
        "percent_of_full": 71.66,
        "miou_sd": 0.52,
        "miou_crf_sd": 0.4,
        "trainings": 3,
    }
}
PAIRS: dict[str, list[Any]] = {"pairs": [
    {"experiments": ["sec", "guided"], "undecided": True, "trainings": [3, 3]},
    {"experiments": ["sec", "full"], "undecided": False, "trainings": [3, 3]},
]}  # fmt: skip


def test_several_trainings_are_shown_with_their_spread() -> None:
    assert summary_table(SEVERAL).splitlines()[-1].split() == ["sec", "41.2", "±", "0.5", "43.0", "±", "0.4", "71.7"]
    metrics = {"sec": {"pixel_accuracy": 80.0, "sd": {"pixel_accuracy": 1.26}}}
    assert "| sec | 41.2 ± 0.5 | 43.0 ± 0.4 | 71.7 | 80.0 ± 1.3 | – |" in markdown_table(SEVERAL, metrics, {})
    table = results_table(SEVERAL, metrics, {}, undecided_pairs(PAIRS))
    assert table is not None and list(table.rows[0][1:5]) == ["41.2 ± 0.5", "43.0 ± 0.4", "71.7", "80.0 ± 1.3"]
    assert "different random seeds" in table.note and table.note.endswith(": sec and guided.")
    once = results_table(SUMMARY, {}, {})
    assert once is not None and "random seeds" not in once.note


def test_undecided_pairs_say_which_noise_is_known() -> None:
    assert undecided_pairs(PAIRS).endswith(": sec and guided.") and "random seeds" in undecided_pairs(PAIRS)
    once: dict[str, Any] = {"pairs": [{**PAIRS["pairs"][1], "trainings": [1, 1]}]}
    assert undecided_pairs(once).endswith(": none.") and "random seeds" not in undecided_pairs(once)
    assert undecided_pairs({"pairs": []}) == undecided_pairs({}) == ""


def test_markdown_table_puts_published_numbers_beside_ours() -> None:
    lines = markdown_table(
        {**SUMMARY, "my|own": {"miou": 1.0}}, {"sec": METRICS}, {"sec": (None, 50.7), "full": (None, 67.6)}
    ).splitlines()
    assert lines[2] == "| sec | 41.2 | 43.0 | 71.7 | 80.0 | 33.3 | – / 50.7 |"
    assert lines[3] == "| full | 60.0 | – | – | – | – | – / 67.6 |"
    assert lines[4].startswith("| my\\|own | 1.0 | – |")


def test_experiments_without_a_number_stand_in_one_line_instead_of_rows_of_dashes() -> None:
    nothing: dict[str, Any] = {"miou": None, "miou_crf": float("nan"), "percent_of_full": None, "beyond_tags": ""}
    for made in (summary_table, lambda summary: markdown_table(summary, {}, {}).rstrip("\n")):
        assert made({"sec": nothing, "full": nothing}) == "Nothing was measured: no validation photo has a mask."
        lines = made({**SUMMARY, "own": nothing}).splitlines()
        assert lines[-1] == "Not measured: own." and not any(line.startswith(("own", "| own")) for line in lines)


def test_curves_keep_gaps_and_name_a_damaged_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("step,loss,seed\n1,2.5,\n2,1.5,0.25\n")
    (tmp_path / "empty.csv").write_text("step,loss\n")
    curves = read_curves(tmp_path)
    assert list(curves) == ["a"]
    np.testing.assert_array_equal(curves["a"]["seed"], [np.nan, 0.25])
    np.testing.assert_array_equal(curves["a"]["loss"], [2.5, 1.5])
    (tmp_path / "b.csv").write_text("step,loss\n1,oops\n")
    with pytest.raises(UserError, match=r"b\.csv"):
        read_curves(tmp_path)
    assert read_curves(None) == {}


# --- the page -------------------------------------------------------------------------------------------------------


class Balance(HTMLParser):
    """Collects open elements, ids and references to other resources."""

    VOID = frozenset({"meta", "img", "input", "br", "link"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.resources: list[str] = []
        self.images_without_alt = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.open += [] if tag in self.VOID else [tag]
        self.ids += [values["id"] or ""] if "id" in values else []
        self.resources += [values[key] or "" for key in ("src", "href") if key in values]
        self.images_without_alt += tag == "img" and not values.get("alt")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_sound_html_that_loads_nothing(page: str) -> None:
    parser = Balance()
    parser.feed(page)
    assert parser.open == []
    assert len(parser.ids) == len(set(parser.ids))
    assert all(link.startswith(("data:image/", "#")) for link in parser.resources)
    assert {link[1:] for link in parser.resources if link.startswith("#")} <= set(parser.ids)
    assert parser.images_without_alt == 0
    assert "http:" not in page and "https:" not in page


def test_the_content_security_policy_admits_the_pages_script_alone(page: str) -> None:
    script = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert len(script) == 1
    digest = base64.b64encode(sha256(script[0].encode()).digest()).decode()
    assert f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in page


def test_text_from_data_cannot_become_markup(page: str) -> None:
    assert NASTY not in page
    assert re.search("onerror=&(quot|#34);", page)  # the class name in a table, escaped
    assert "cat &amp; dog" in page
    assert page_data(page)["classes"] == CLASS_NAMES


def test_the_page_shows_our_numbers_and_the_published_ones(page: str) -> None:
    row = re.findall(r'<tr><th scope="row">sec</th>(.*?)</tr>', page, re.DOTALL)[0]
    assert re.findall(r"<td.*?>(.*?)</td>", row) == ["41.2", "–", "43.0", "50.7", "71.7", "75.0", "80.0", "33.3"]
    assert "--w:79.9%" in page and "<small>77.7</small>" in page  # the bar of background: with CRF, without
    assert "76.5" in page and "Precision and recall of seeders" in page and "unmeasured" not in page
    assert "12.3" in page and "65.4" in page  # cues.json, guides.json


def test_a_card_holds_every_layer_of_its_photo(page: str) -> None:
    data = page_data(page)
    cards = {card["id"]: card for card in data["images"]}
    train, val = cards["photo_1"], cards["photo_6"]
    assert set(train["made"]) == {"cues", "seeds"} and set(train["guides"]) == {"g0", "g2"} and train["saliency"]
    assert set(val["raw"]) == set(val["crf"]) == {"sec"} and val["iou"] == {"sec": [20.0, 40.0]}
    assert data["guideOf"] == {"sec": "g2", "full": "g0"}
    assert val["tags"] == [1] and val["split"] == "val"


def test_a_mask_on_the_page_is_the_mask_of_the_archive(page: str) -> None:
    card = next(card for card in page_data(page)["images"] if card["id"] == "photo_4")
    colours = np.asarray(decoded(card["truth"]).convert("RGBA"))
    assert colours.shape[:2] == (HEIGHT, WIDTH)  # small photos are not enlarged
    assert tuple(colours[0, 0]) == (*class_palette(CLASS_NAMES)[1], 255)
    assert colours[0, -1, 3] == 0  # background shows the photo
    assert tuple(colours[-1, 0]) == (224, 224, 192, 255)


def test_background_is_transparent_but_shaded_where_some_pixels_are_unlabelled() -> None:
    palette = distinct_palette()
    among_cues = np.asarray(
        decoded(label_uri(np.array([[0, UNLABELLED], [20, 255]], np.uint8), palette)).convert("RGBA")
    )
    np.testing.assert_array_equal(among_cues[..., 3], [[158, 0], [255, 255]])
    assert tuple(among_cues[1, 0, :3]) == tuple(palette[20])
    mask = np.asarray(decoded(label_uri(np.array([[0, 20]], np.uint8), palette)).convert("RGBA"))
    np.testing.assert_array_equal(mask[..., 3], [[0, 255]])


def test_saliency_is_the_more_opaque_the_more_salient() -> None:
    picture = np.asarray(decoded(saliency_uri(np.array([[0, 119, 255]], np.uint8))).convert("RGBA"))
    np.testing.assert_array_equal(picture[0, :, 3], [0, 119, 255])


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed: the script's syntax is not checked")
def test_the_script_parses(page: str, tmp_path: Path) -> None:
    (tmp_path / "page.js").write_text(re.findall(r"<script>(.*?)</script>", page, re.DOTALL)[0])
    subprocess.run(["node", "--check", str(tmp_path / "page.js")], check=True, capture_output=True)


# --- which photos ---------------------------------------------------------------------------------------------------


def test_spread_takes_both_ends_and_even_steps() -> None:
    assert spread(list(range(100)), 4) == [0, 33, 66, 99]
    assert spread([1, 2], 8) == [1, 2]
    assert spread([], 8) == []


def test_chosen_photos_hold_the_extremes_and_every_class_in_order() -> None:
    records = [Record(f"{i:03}", "val", "", "", 4, 4, (1 if i != 57 else 9,), "") for i in range(100)]
    ious = {"sec": {f"{i:03}": np.float32([0, 0.9 if i == 41 else 0.01 if i == 83 else 0.5]) for i in range(100)}}
    chosen = [record.image_id for record in choose_records(records, ious, 12)]
    assert len(chosen) == 12 and chosen == sorted(chosen)
    assert {"041", "083", "057", "000"} <= set(chosen)
    assert choose_records(records, {}, 200) == records


# --- colours --------------------------------------------------------------------------------------------------------


def test_lab_by_the_standards_own_values() -> None:
    found = cielab(np.array([[255, 255, 255], [255, 0, 0], [0, 0, 255], [0, 0, 0]], np.float64))
    expected = [[100, 0, 0], [53.24, 80.09, 67.2], [32.3, 79.19, -107.86], [0, 0, 0]]
    np.testing.assert_allclose(found, expected, atol=0.05)


def test_voc_keeps_its_colours_and_others_differ() -> None:
    voc = class_palette(["background", *VOC_CLASSES])
    assert tuple(voc[1]) == (128, 0, 0) and tuple(voc[8]) == (64, 0, 0)
    toy = class_palette(["background", "fish", "starfish"])
    assert len(np.unique(toy, axis=0)) == 256 and tuple(toy[255]) == (224, 224, 192) and not toy[0].any()
    for num_classes, least in ((9, 50), (21, 30)):
        lab = cielab(toy[[*range(num_classes), 255]].astype(np.float64))
        apart = np.linalg.norm(lab[:, None] - lab[None], axis=2) + 999 * np.eye(len(lab))
        assert apart.min() > least  # VOC's: 9


# --- pictures -------------------------------------------------------------------------------------------------------


def test_paint_covers_by_kind() -> None:
    photo = np.full((1, 4, 3), 200, np.uint8)
    base = 64 + 0.75 * 200
    painted = paint(np.array([[1, 0, 255, UNLABELLED]], np.uint8), photo, 0.75)
    np.testing.assert_array_equal(painted[0, 0], np.rint(np.array([0.75 * 128, 0, 0]) + 0.25 * base))
    np.testing.assert_array_equal(painted[0, 1], np.rint(0.38 * base))
    np.testing.assert_array_equal(painted[0, 2], np.rint(0.75 * np.array([224, 224, 192]) + 0.25 * base))
    np.testing.assert_array_equal(painted[0, 3], base)


def test_cues_become_one_label_a_cell() -> None:
    cues = np.zeros((3, 1, 3), bool)
    cues[0, 0, 0] = cues[2, 0, 1] = True
    np.testing.assert_array_equal(cue_labels(cues), [[0, 2, UNLABELLED]])


def test_a_contact_sheet_shows_each_layer_in_its_row() -> None:
    photo = np.full((40, TILE_PX, 3), (10, 200, 30), np.uint8)
    grey = np.full((40, TILE_PX, 3), 90, np.uint8)
    column = Column("id", "cat", photo, [np.full((40, TILE_PX), 1, np.uint8), grey, None])
    sheet = np.asarray(
        contact_sheet("title", [Section("section", ["truth", "saliency", "cues"], [column])], ["background", "cat"])
    )
    middle = sheet[:, MARGIN_PX + ROW_TITLE_PX + TILE_PX // 2]
    palette = class_palette(["background", "cat"])
    mask_colour = paint(np.ones((1, 1), np.uint8), photo[:1, :1], MASK_OPACITY, palette)[0, 0]
    rows_with = [np.flatnonzero((middle == colour).all(1)) for colour in (photo[0, 0], mask_colour, grey[0, 0])]
    assert [len(rows) for rows in rows_with] == [40, 40, 40]
    assert rows_with[0].max() < rows_with[1].min() < rows_with[1].max() < rows_with[2].min()
    legend_chip = (sheet[:, : MARGIN_PX + 30] == palette[1]).all(2)
    assert legend_chip.sum() > 100


def test_a_sheet_of_no_photos_is_only_a_title() -> None:
    assert contact_sheet("title", [Section("section", ["truth"], [])], []).height < 120


@pytest.mark.parametrize(("window", "expected"), [(1, [1, 2, np.nan, 6]), (3, [1.5, 1.5, 4, 6]), (99, [3, 3, 3, 3])])
def test_moving_mean_by_hand(window: int, expected: list[float]) -> None:
    np.testing.assert_allclose(moving_mean(np.array([1, 2, np.nan, 6]), window), expected)


def test_row_percent_by_hand() -> None:
    np.testing.assert_allclose(row_percent(np.array([[3, 1], [0, 0]])), [[75, 25], [np.nan, np.nan]])


def chart_size(png: bytes) -> tuple[int, int]:
    with Image.open(BytesIO(png)) as image:
        assert image.info.keys() <= {"dpi", "transparency"}  # no software, no date
        return image.size


@pytest.mark.parametrize(
    ("draw", "few", "many"),
    [
        (loss_chart, "loss", "losses"),
        (lambda metrics: iou_chart(metrics, CLASS_NAMES), "iou", "ious"),
    ],
)
def test_charts_grow_with_their_data_and_take_any_text(draw: Callable[..., bytes], few: str, many: str) -> None:
    steps = {"step": np.arange(5.0), "loss": np.array([3, 2, np.nan, 1, 1.0])}
    content = {"loss": {"$a": steps}, "losses": {"$a": steps, NASTY: steps}, "iou": {"$a": METRICS},
               "ious": {"$a": METRICS, NASTY: METRICS}}  # fmt: skip
    small, large = chart_size(draw(content[few])), chart_size(draw(content[many]))
    assert large[0] * large[1] > small[0] * small[1]
    assert draw({})


def test_published_numbers_are_the_first_that_a_paper_gives(sources: ReportSources) -> None:
    """guided stands in GS's tables 2, 3 and, with a little less, in 5."""
    found = published_of(sources.published)
    expected = {"sec": (None, 50.7), "guided": (51.2, 55.7), "seeds": (38.7, 39.8), "full": (None, 67.6)}
    assert {name: found[name] for name in expected} == expected
    assert published_of(None) == {}


# --- data for dvc plots, and validation while training --------------------------------------------------------------


def rows_of(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_charts_lie_beside_the_page_as_data(sources: ReportSources, tmp_path: Path) -> None:
    look = label_image(truth_of(read_manifest(sources.manifest)[4]) % 255)
    write_images(tmp_path / "progress/sec.zip", [("00000004/photo_4", look)])
    write_report(tmp_path / "report", replace(sources, progress=tmp_path / "progress"))
    plots = tmp_path / "report" / "plots"
    ious = ["run,class,iou,iou_crf", "sec,background,77.7,79.9", "sec,cat & dog,20,25"]
    assert rows_of(plots / "iou.csv")[:3] == ious
    assert rows_of(plots / "losses.csv")[:3] == ["run,step,loss", "segmenter-sec,0,3", "segmenter-sec,1,1.5"]
    assert rows_of(plots / "validation.csv") == ["run,step,miou", "sec,4,100"]


def test_validation_miou_by_hand(sources: ReportSources, tmp_path: Path) -> None:
    """Of two photos of class 1: all background after step 2, all right after step 10."""
    records = read_manifest(sources.manifest)
    looks = [(step, records[index]) for step in (2, 10) for index in (4, 6)]
    write_images(
        tmp_path / "progress/sec.zip",
        (
            (f"{step:08d}/{record.image_id}", label_image(truth_of(record) % 255 * np.uint8(step == 10)))
            for step, record in looks
        ),
    )
    found = validation_curves(tmp_path / "progress", sources.ground_truth, ("sec", "full"), records, 3)
    assert list(found) == ["sec"]
    np.testing.assert_array_equal(found["sec"]["step"], [2, 10])
    np.testing.assert_allclose(found["sec"]["miou"], [25, 100])  # background 1/2 and the class 0, each over its union
    write_images(tmp_path / "truth.zip", [])
    assert validation_curves(tmp_path / "progress", sources.ground_truth, ("sec",), records, 3) == {}


@pytest.mark.parametrize(("name", "height"), [("x/photo_4", HEIGHT), ("2/photo_4", HEIGHT + 1)])
def test_progress_that_fits_no_photo_is_named(sources: ReportSources, tmp_path: Path, name: str, height: int) -> None:
    write_images(tmp_path / "progress/sec.zip", [(name, label_image(np.zeros((height, WIDTH), np.uint8)))])
    with pytest.raises(UserError, match=r"progress/sec\.zip"):
        validation_curves(tmp_path / "progress", sources.ground_truth, ("sec",), read_manifest(sources.manifest), 3)
