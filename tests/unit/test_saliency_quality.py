"""Saliency against the ground truth, and which saliency photos the tag classifier leaves out."""

from pathlib import Path

import numpy as np
import pytest
import torch

from stages import select_saliency_photos
from stages.select_saliency_photos import without_classes
from tests.profile_cases import file_of
from weakseg.errors import UserError
from weakseg.evaluation.saliency_quality import foreground_iou, saliency_metrics
from weakseg.files.manifest import SaliencyRecord, read_saliency_manifest, write_saliency_manifest


def test_iou_by_hand() -> None:
    target = np.array([[1, 2, 0, 255], [7, 0, 0, 255]], np.uint8)
    salient = np.array([[1, 0, 1, 1], [1, 1, 0, 0]], bool)
    assert foreground_iou(target, salient) == 2 / 5  # two hits; one miss, two false alarms; 255 does not count
    assert foreground_iou(target, (target > 0) & (target < 255)) == 1
    assert foreground_iou(target, np.zeros((2, 4), bool)) == 0


def test_iou_is_unknown_without_foreground() -> None:
    for value in (0, 255):
        assert np.isnan(foreground_iou(np.full((2, 2), value, np.uint8), np.ones((2, 2), bool)))


def test_unlike_sizes_are_told() -> None:
    with pytest.raises(ValueError, match="differ in size"):
        foreground_iou(np.zeros((2, 2), np.uint8), np.zeros((2, 3), bool))


def test_quality_is_the_mean_over_photos_and_the_share_above_0_6() -> None:
    assert saliency_metrics([0.5, 0.6, 0.61, float("nan"), 1.0]) == {
        "foreground_iou": pytest.approx(67.75),
        "images_above_60_iou": 50.0,
        "images": 4,
    }
    assert saliency_metrics([float("nan")]) == {"foreground_iou": None, "images_above_60_iou": None, "images": 0}


def records(count: int) -> list[SaliencyRecord]:
    return [SaliencyRecord(f"s{index}", "", "", 9, 9, 0, 0, 9, 9, "") for index in range(count)]


def test_photos_with_a_class_above_the_probability_are_left_out() -> None:
    logit = np.log(0.7 / 0.3)
    best = np.array([-5, logit - 0.01, logit + 0.01, 9, 0], np.float32)
    assert [record.image_id for record in without_classes(records(5), best, 0.7)] == ["s0", "s1", "s4"]
    assert without_classes(records(5), best, 0.99999) == records(5)


def test_leaving_out_all_photos_is_a_users_mistake() -> None:
    with pytest.raises(UserError, match=r"exclude_scores_above: 0\.1 leaves no saliency photo"):
        without_classes(records(2), np.array([3, 4], np.float32), 0.1)


def test_the_selection_says_how_many_photos_it_keeps_beside_the_papers_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """GS §6.1, with and without a classifier to leave some out."""
    write_saliency_manifest(tmp_path / "all.csv", records(4))
    monkeypatch.chdir(tmp_path)
    file_of("toy", tmp_path)
    paths = ["--manifest", "all.csv", "--classifier", "models/{classifier}", "--out", "kept.csv"]
    monkeypatch.setattr("sys.argv", ["select", "--params", "toy.yaml", *paths])
    select_saliency_photos.main()
    assert capsys.readouterr().out == "4 of 4 saliency photos kept; the paper keeps 11 041 of MSRA's 25k\n"
    text = (tmp_path / "toy.yaml").read_text(encoding="utf-8")
    (tmp_path / "toy.yaml").write_text(text.replace("exclude_scores_above: null", "exclude_scores_above: 0.5"))
    asked = torch.nn.Identity(), {"input_px": 65, "geometry": "pad"}
    monkeypatch.setattr(select_saliency_photos, "rebuild_classifier", lambda folder: asked)
    monkeypatch.setattr(select_saliency_photos, "scores", lambda *_: [np.array([[-1.0, 3.0], [-2.0, -3.0]])] * 2)
    select_saliency_photos.main()
    assert "2 of 4 saliency photos kept; the paper keeps 11 041" in capsys.readouterr().out
    assert [record.image_id for record in read_saliency_manifest(tmp_path / "kept.csv")] == ["s1", "s3"]
