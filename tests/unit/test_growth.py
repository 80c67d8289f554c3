"""The growth benchmark: what it derives from its measurements, and which photos it uses."""

from pathlib import Path

import pytest

from benchmarks import growth, workspace
from benchmarks.growth import bottlenecks, fitted, grown, table
from benchmarks.workspace import Cost
from weakseg.errors import UserError

SIZES = (100, 300)
COSTS = [
    {"prepare": Cost(3, 2, 100), "predict@sec": Cost(10, 8, 400), "predict@full": Cost(14, 12, 600)},
    {"prepare": Cost(5, 4, 110), "predict@sec": Cost(30, 24, 400), "predict@full": Cost(34, 28, 600)},
]


def test_variants_of_a_stage_are_averaged() -> None:
    assert grown(COSTS) == {
        "prepare": [Cost(3, 2, 100), Cost(5, 4, 110)],
        "predict": [Cost(12, 10, 500), Cost(32, 26, 500)],
    }


def test_the_line_goes_through_two_points_and_falls_nowhere() -> None:
    assert fitted(SIZES, [12, 32]) == pytest.approx((2, 0.1))
    assert fitted(SIZES, [32, 12]) == pytest.approx((22, 0))
    assert fitted((100, 200, 300), [1.0, 2.0, 3.0]) == pytest.approx((0, 0.01))
    assert fitted((100,), [7.0]) == (7.0, 0.0)


def test_the_table_carries_the_line_on() -> None:
    rows = {line.split("|")[1].strip(): line for line in table(SIZES, grown(COSTS), "seconds").splitlines()[2:]}
    seconds = 2 + 0.1 * 10_582
    assert f"{seconds / 60:.1f} min, 0.5 GiB" in rows["`predict`"]
    assert f"{(2 + 0.1 * 1e6) / 3600:.1f} h, 0.5 GiB" in rows["`predict`"]
    assert "12.0 | 32.0 | 500 | 500" in rows["`predict`"]


def test_the_first_bottlenecks_are_named() -> None:
    longest, memory = bottlenecks(SIZES, grown(COSTS), "cpu_seconds", memory_gib=1)
    assert "`predict`" in longest
    assert f"`prepare`, from {(1024 - 95) / 0.05:,.0f} photos" in memory


def test_too_few_photos_are_told(tmp_path: Path) -> None:
    lists = tmp_path / "voc" / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\nb\nd\n")
    (lists / "val.txt").write_text("c\n")
    with pytest.raises(UserError, match=r"train\.txt: lists 3 photos; 4 are asked for"):
        workspace.use_photos(tmp_path / "first", tmp_path / "voc", 4, 1)
    with pytest.raises(UserError, match=r"val\.txt: lists 1 photos; 2 are asked for"):
        workspace.use_photos(tmp_path / "first", tmp_path / "voc", 2, 2)
    assert workspace.use_photos(tmp_path / "second", tmp_path / "voc", 2, 1)["root"] == "photos"
    names = tmp_path / "second" / "photos" / "ImageSets" / "Segmentation"
    assert [(names / f"{name}.txt").read_text().split() for name in ("train", "val")] == [["a", "b"], ["c"]]


def test_settings_are_complete(tmp_path: Path) -> None:
    params = growth.settings(tmp_path, "small-voc", None, None, 21, 3, 5)
    assert params["make_toy"]["train_images"] == 21
    assert params["make_toy"]["val_images"] == 3
    assert params["train_segmenter"]["training"]["steps"] == 3
    assert params["data"]["root"] == workspace.read_profile("toy")["data"]["root"]


def test_the_saliency_set_is_cut_to_its_first_photos(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train.txt").write_text("a\nb\nc\n")
    assert workspace.use_saliency(tmp_path, tmp_path / "set", "train.txt", 2)["image_list"] == "saliency.txt"
    assert (tmp_path / "data/lists/saliency.txt").read_text().split() == ["a", "b"]
    with pytest.raises(UserError, match="lists 3 photos; 4 are asked for"):
        workspace.use_saliency(tmp_path, tmp_path / "set", "train.txt", 4)
