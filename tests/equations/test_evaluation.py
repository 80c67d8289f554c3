"""Confusion, IoU, accuracy and average precision against slow loops and hand-computed cases."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays

from weakseg.evaluation.iou import (
    confusion_matrix,
    foreground_fraction,
    image_iou,
    iou_per_class,
    mean_iou,
    metrics_of,
    pixel_accuracy,
)
from weakseg.evaluation.trainings import summary_of
from weakseg.training.classification import multi_label_average_precision

#                 predicted: background, class 1, class 2, class 3
HAND = np.array([[6, 2, 0, 0], [1, 3, 0, 0], [0, 4, 0, 0], [0, 0, 0, 0]])


def slow_confusion(target: np.ndarray, prediction: np.ndarray, num_classes: int) -> np.ndarray:
    counts = np.zeros((num_classes, num_classes), int)
    for true, predicted in zip(target.ravel(), prediction.ravel(), strict=True):
        if true != 255:
            counts[true, predicted] += 1
    return counts


@settings(max_examples=25, deadline=None)
@given(
    arrays(np.uint8, (5, 7), elements=st.sampled_from([0, 1, 2, 3, 255])),
    arrays(np.uint8, (5, 7), elements=st.integers(0, 3)),
)
def test_confusion_counts_as_the_slow_loop_does(target: np.ndarray, prediction: np.ndarray) -> None:
    confusion = confusion_matrix(target, prediction, 4)
    assert confusion.dtype == np.int64
    np.testing.assert_array_equal(confusion, slow_confusion(target, prediction, 4))


def test_rows_are_the_target_and_columns_the_prediction() -> None:
    confusion = confusion_matrix(np.array([[1, 1, 0]], np.uint8), np.array([[2, 2, 1]], np.uint8), 3)
    np.testing.assert_array_equal(confusion, [[0, 1, 0], [0, 0, 2], [0, 0, 0]])


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64])
def test_a_prediction_of_no_class_is_an_error_only_where_the_target_counts(dtype: type) -> None:
    wrong = 255 if dtype is np.uint8 else -1
    prediction = np.array([[0, wrong]], dtype)
    ignored = confusion_matrix(np.array([[1, 255]], dtype), prediction, 2)
    np.testing.assert_array_equal(ignored, [[0, 0], [1, 0]])
    with pytest.raises(ValueError, match=r"prediction holds a class outside 0\.\.1"):
        confusion_matrix(np.array([[1, 1]], dtype), prediction, 2)


@pytest.mark.parametrize("wrong", [2, 254, 300, -1])
def test_a_target_of_no_class_is_an_error(wrong: int) -> None:
    with pytest.raises(ValueError, match="target holds a class outside"):
        confusion_matrix(np.array([[wrong, 0]]), np.array([[0, 0]]), 2)


def test_a_wide_prediction_does_not_wrap_around_to_a_class() -> None:
    with pytest.raises(ValueError, match="prediction"):
        confusion_matrix(np.array([[0]]), np.array([[257]]), 2)


@pytest.mark.parametrize(
    ("target", "prediction", "num_classes"),
    [
        (np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8), 2),
        (np.zeros((2, 3)), np.zeros((2, 3), np.uint8), 2),
        (np.zeros((2, 3), np.uint8), np.zeros((2, 3)), 2),
        (np.zeros((2, 3), np.uint8), np.zeros((2, 3), np.uint8), 256),
        (np.zeros((2, 3), np.uint8), np.zeros((2, 3), np.uint8), 0),
    ],
)
def test_other_shapes_types_and_class_counts_are_refused(
    target: np.ndarray, prediction: np.ndarray, num_classes: int
) -> None:
    with pytest.raises(ValueError):
        confusion_matrix(target, prediction, num_classes)


def test_all_255_classes_of_a_byte_can_be_told_apart() -> None:
    labels = np.arange(255, dtype=np.uint8)
    np.testing.assert_array_equal(confusion_matrix(labels, labels, 255), np.eye(255))


def test_iou_by_hand() -> None:
    # class 0: 6 / (8 + 7 - 6); class 1: 3 / (4 + 9 - 3); class 2: never predicted; class 3: nowhere
    np.testing.assert_allclose(iou_per_class(HAND), [6 / 9, 3 / 10, 0.0, np.nan])
    assert mean_iou(HAND) == pytest.approx((6 / 9 + 3 / 10) / 3)


def test_a_class_that_is_only_predicted_counts_in_the_data_set_but_not_in_the_image() -> None:
    confusion = np.array([[2, 2], [0, 0]])
    np.testing.assert_allclose(iou_per_class(confusion), [0.5, 0.0])
    assert mean_iou(confusion) == 0.25
    assert image_iou(confusion) == 0.5


def test_accuracy_and_foreground_fraction_by_hand() -> None:
    assert pixel_accuracy(HAND) == pytest.approx(9 / 16)
    assert foreground_fraction(HAND) == pytest.approx(9 / 16)
    assert foreground_fraction(HAND.T) == pytest.approx(8 / 16)


def test_without_counted_pixels_all_is_nan_and_nothing_warns() -> None:
    empty = np.zeros((3, 3), np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = [mean_iou(empty), image_iou(empty), pixel_accuracy(empty), foreground_fraction(empty)]
    assert np.isnan(values).all()


def test_metrics_are_in_per_cent_and_by_class_name() -> None:
    metrics = metrics_of(HAND, 2 * np.eye(4, dtype=np.int64), ["background", "cat", "dog", "cow"])
    assert metrics["miou"] == pytest.approx(100 * (6 / 9 + 3 / 10) / 3)
    assert metrics["miou_crf"] == 100
    assert metrics["pixel_accuracy"] == pytest.approx(56.25)
    assert metrics["foreground_fraction"] == pytest.approx(56.25)
    assert metrics["iou"]["cat"] == pytest.approx(30)
    assert np.isnan(metrics["iou"]["cow"])
    assert metrics["iou_crf"] == {"background": 100, "cat": 100, "dog": 100, "cow": 100}
    with pytest.raises(ValueError):
        metrics_of(HAND, HAND, ["background", "cat"])


def test_per_cent_of_full_takes_the_better_of_each_two() -> None:
    metrics = {
        "sec": {"miou": 30.0, "miou_crf": 36.0},
        "guided": {"miou": 45.0, "miou_crf": 40.0},
        "full": {"miou": 60.0, "miou_crf": 50.0},
    }
    summary = summary_of(metrics)
    assert list(summary) == ["sec", "guided", "full"]
    assert summary["sec"] == {"miou": 30.0, "miou_crf": 36.0, "percent_of_full": pytest.approx(60), "bound_miou": 60.0}
    assert summary["guided"]["percent_of_full"] == pytest.approx(75)
    assert summary["full"]["percent_of_full"] == pytest.approx(100)
    assert summary_of(metrics, bound="guided")["sec"]["percent_of_full"] == pytest.approx(80)


def test_without_the_bound_or_a_number_there_is_no_per_cent() -> None:
    assert summary_of({"sec": {"miou": 30.0, "miou_crf": 36.0}})["sec"]["percent_of_full"] is None
    nothing = summary_of({"sec": {"miou": None, "miou_crf": None}, "full": {"miou": 60.0, "miou_crf": None}})
    assert nothing["sec"] == {"miou": None, "miou_crf": None, "percent_of_full": None, "bound_miou": 60.0}
    assert summary_of({"sec": {"miou": 5.0}, "full": {"miou": 0.0}})["sec"]["percent_of_full"] is None


def test_average_precision_by_hand() -> None:
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    labels = np.array([[True, False], [False, False], [True, False], [False, False]])
    precision = multi_label_average_precision(scores, labels)
    # ranked: hit, miss, hit, miss → precision 1/1 at the first hit, 2/3 at the second
    assert precision[0] == pytest.approx((1 + 2 / 3) / 2)
    assert np.isnan(precision[1])
    with pytest.raises(ValueError):
        multi_label_average_precision(scores, labels[:, :1])
