"""Saliency against the ground truth, and which saliency photos the tag classifier leaves out."""

import numpy as np
import pytest

from stages.select_saliency_photos import without_classes
from weakseg.errors import UserError
from weakseg.evaluation.saliency_quality import foreground_iou, saliency_metrics
from weakseg.files.manifest import SaliencyRecord


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
