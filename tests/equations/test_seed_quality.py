"""Seeders' curves, mP and the centre-mean baseline (GS §4.2) against seeds made anew at every threshold."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from weakseg.crf.params import SEC, CRFParams
from weakseg.evaluation import seed_quality
from weakseg.evaluation.curves import CURVE_COLUMNS, curve_rows, read_curve
from weakseg.evaluation.precision_recall import LabelCounts, count_labels, mean_precision_and_recall
from weakseg.files.archives import ImageArchive, write_images
from weakseg.files.label_masks import label_image
from weakseg.files.manifest import Record
from weakseg.files.tables import write_table
from weakseg.report import seed_charts
from weakseg.supervision.seeds import refined_seeds, seeds_from_cams

HEIGHT, WIDTH, NUM_CLASSES = 24, 30, 5
LABELS = {"a": (1, 3), "b": (4,), "c": (), "d": (2, 3, 4)}


@pytest.fixture
def photos(tmp_path: Path) -> list[seed_quality.PhotoMaps]:
    rng, found = np.random.default_rng(0), []
    for image_id, labels in LABELS.items():
        path = tmp_path / f"{image_id}.png"
        Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)).save(path)
        record = Record(image_id, "val", str(path), "", WIDTH, HEIGHT, labels, "")
        maps = rng.normal(size=(len(labels), 4, 5)).astype(np.float32)
        found.append((record, np.array(labels, np.intp), maps))
    return found


@pytest.fixture
def truth(tmp_path: Path) -> ImageArchive:
    """Blocks of the photo's own classes and background, with a border of 255."""
    rng, masks = np.random.default_rng(1), []
    for image_id, labels in LABELS.items():
        blocks = rng.choice([0, *labels], (4, 5)).astype(np.uint8)
        mask = np.kron(blocks, np.ones((6, 6), np.uint8))
        mask[:2] = 255
        masks.append((image_id, label_image(mask)))
    write_images(tmp_path / "truth.zip", masks)
    return ImageArchive(tmp_path / "truth.zip")


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEAKSEG_WORKERS", "1")


def counted(
    photos: list[seed_quality.PhotoMaps], truth: ImageArchive, threshold: float, crf: CRFParams | None
) -> dict[str, float]:
    """What table 2 measures, of seeds made at one threshold."""
    counts = LabelCounts.zeros(NUM_CLASSES)
    for record, labels, maps in photos:
        if crf is None:
            seeds = seeds_from_cams(maps, labels, HEIGHT, WIDTH, threshold)
        else:
            seeds = refined_seeds(np.asarray(Image.open(record.image)), maps, labels, threshold, crf)
        counts += count_labels(truth[record.image_id], seeds, NUM_CLASSES)
    return mean_precision_and_recall(counts)


@pytest.mark.parametrize("threshold", [0.05, 0.2, 0.5, 0.9])
def test_a_point_of_the_curve_is_the_seeds_at_its_threshold(
    photos: list[seed_quality.PhotoMaps], truth: ImageArchive, threshold: float
) -> None:
    curve = seed_quality.measured(iter(photos), truth, NUM_CLASSES, None, 0.2).curve()
    index = round(threshold * 1000)
    assert curve.thresholds[index] == threshold
    for name, value in counted(photos, truth, threshold, None).items():
        assert getattr(curve, name)[index] == pytest.approx(value)


def test_with_a_crf_the_middle_of_the_curve_is_the_refined_seeds(
    photos: list[seed_quality.PhotoMaps], truth: ImageArchive
) -> None:
    crf = replace(SEC, bilateral_sigma_xy=6.0)
    curve = seed_quality.measured(photos, truth, NUM_CLASSES, crf, 0.3).curve()
    for name, value in counted(photos, truth, 0.3, crf).items():
        assert getattr(curve, name)[500] == pytest.approx(value)
    plain = seed_quality.measured(photos, truth, NUM_CLASSES, None, 0.3).curve()
    assert not np.array_equal(curve.background_precision, plain.background_precision, equal_nan=True)


def test_workers_change_nothing(
    photos: list[seed_quality.PhotoMaps], truth: ImageArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = list(curve_rows(seed_quality.measured(photos, truth, NUM_CLASSES, None, 0.2).curve()))
    monkeypatch.setenv("WEAKSEG_WORKERS", "2")
    assert list(curve_rows(seed_quality.measured(photos, truth, NUM_CLASSES, None, 0.2).curve())) == alone


def test_quality_is_mean_precision_and_its_parts(photos: list[seed_quality.PhotoMaps], truth: ImageArchive) -> None:
    curve = seed_quality.measured(photos, truth, NUM_CLASSES, None, 0.2).curve()
    quality = seed_quality.seeder_metrics(curve, 4, 87.2)
    above = [index for index, recall in enumerate(curve.foreground_recall) if recall > 0.2]
    foreground = curve.foreground_precision[max(above)]  # the highest threshold has the least recall
    above = [index for index, recall in enumerate(curve.background_recall) if recall > 0.8]
    background = curve.background_precision[min(above)]
    assert quality == {
        "mean_precision": pytest.approx(50 * (foreground + background)),
        "foreground_precision_at_20_recall": pytest.approx(100 * foreground),
        "background_precision_at_80_recall": pytest.approx(100 * background),
        "map": 87.2,
        "images": 4,
    }


def test_without_photos_nothing_is_known(truth: ImageArchive) -> None:
    curve = seed_quality.measured([], truth, NUM_CLASSES, None, 0.2).curve()
    quality = seed_quality.seeder_metrics(curve, 0, None)
    assert np.isnan(quality["mean_precision"]) and quality["images"] == 0
    assert all(row["foreground_recall"] == "" for row in curve_rows(curve))


def test_curves_survive_the_file(photos: list[seed_quality.PhotoMaps], truth: ImageArchive, tmp_path: Path) -> None:
    curve = seed_quality.measured(photos, truth, NUM_CLASSES, None, 0.2).curve()
    write_table(tmp_path / "curve.csv", curve_rows(curve), list(CURVE_COLUMNS))
    read = read_curve(tmp_path / "curve.csv")
    np.testing.assert_allclose(read["threshold"], np.arange(1001) / 1000)
    for name in CURVE_COLUMNS[1:]:
        np.testing.assert_allclose(read[name], 100 * getattr(curve, name)[:-1], atol=1e-3)
    assert np.isnan(read["foreground_precision"]).any() or read["foreground_precision"].min() >= 0


# --- the baseline -------------------------------------------------------------------------------------------------------------


def test_mean_masks_by_hand(tmp_path: Path) -> None:
    side = seed_quality.MEAN_MASK_SIDE
    columns = np.arange(side)[None].repeat(side, 0)
    masks: dict[str, npt.NDArray[np.uint8]] = {
        "a": np.where(columns < 20, 2, 0).astype(np.uint8),
        "b": np.where(columns < 40, 2, np.where(columns < 50, 255, 1)).astype(np.uint8),
    }
    masks["c"] = np.kron(masks["a"], np.ones((2, 2), np.uint8))  # another size
    write_images(tmp_path / "truth.zip", ((name, label_image(mask)) for name, mask in masks.items()))
    records = [Record(name, "train", "", "", *reversed(mask.shape), (2,), "") for name, mask in masks.items()]
    means = seed_quality.mean_masks(records[:2], ImageArchive(tmp_path / "truth.zip"), 4)
    assert means.shape == (3, side, side)
    np.testing.assert_allclose(means[1][0], np.where(columns[0] < 20, 1, np.where(columns[0] < 40, 0.5, 0)), atol=1e-6)
    np.testing.assert_allclose(means[0][0], columns[0] >= 50)  # of the one photo that shows it; 255 is not the class
    assert not means[2].any()  # shown nowhere
    third = seed_quality.mean_masks(records[2:], ImageArchive(tmp_path / "truth.zip"), 4)[1]
    np.testing.assert_allclose(third[:, :19], 1, atol=1e-6)
    np.testing.assert_allclose(third[:, 21:], 0, atol=1e-6)


# --- the chart ------------------------------------------------------------------------------------------------------------------


def test_the_chart_shows_each_curve_and_is_reproducible(
    photos: list[seed_quality.PhotoMaps], truth: ImageArchive, tmp_path: Path
) -> None:
    curve = seed_quality.measured(photos, truth, NUM_CLASSES, None, 0.2).curve()
    write_table(tmp_path / "curve.csv", curve_rows(curve), list(CURVE_COLUMNS))
    read = read_curve(tmp_path / "curve.csv")
    lower = {name: values * 0.8 for name, values in read.items()}
    one, both = seed_charts.seeder_chart({"x": read}), seed_charts.seeder_chart({"x": read, "y": lower})
    assert both == seed_charts.seeder_chart({"x": read, "y": lower})
    assert len({one, both, seed_charts.seeder_chart({}), seed_charts.seeder_chart({"x": lower})}) == 4
