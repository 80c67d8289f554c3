"""Precision and recall (Oh et al., CVPR 2017, §4 and table 2) against slow loops over pixels."""

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from weakseg.evaluation.precision_recall import (
    LabelCounts,
    PrecisionRecallCurve,
    ScoreHistograms,
    count_labels,
    mean_precision,
    mean_precision_and_recall,
    total,
)

NUM_CLASSES = 4


def random_labels(rng, shape=(9, 11), ignore=0.1):
    labels = rng.integers(0, NUM_CLASSES, shape).astype(np.uint8)
    labels[rng.random(shape) < ignore] = 255
    return labels


def slow_counts(pairs):
    """(true positives, predicted, actual) per class over all pixels of all (target, prediction) pairs."""
    counts = np.zeros((3, NUM_CLASSES), int)
    for target, prediction in pairs:
        for t, p in zip(target.ravel(), prediction.ravel(), strict=True):
            if t == 255:
                continue
            counts[2, t] += 1
            if p != 255:
                counts[1, p] += 1
                counts[0, p] += t == p
    return counts


def slow_summary(pairs):
    hit, predicted, actual = slow_counts(pairs)
    present = [c for c in range(1, NUM_CLASSES) if actual[c]]
    precisions = [hit[c] / predicted[c] for c in present if predicted[c]]
    recalls = [hit[c] / actual[c] for c in present]
    return {
        "foreground_precision": np.mean(precisions) if precisions else math.nan,
        "foreground_recall": np.mean(recalls) if recalls else math.nan,
        "background_precision": hit[0] / predicted[0] if predicted[0] else math.nan,
        "background_recall": hit[0] / actual[0] if actual[0] else math.nan,
    }


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3))
def test_counts_and_summary_by_loops(random_seed, images):
    rng = np.random.default_rng(random_seed)
    pairs = [(random_labels(rng), random_labels(rng, ignore=0.3)) for _ in range(images)]
    counts = total((count_labels(*pair, NUM_CLASSES) for pair in pairs), NUM_CLASSES)
    np.testing.assert_array_equal([counts.true_positives, counts.predicted, counts.actual], slow_counts(pairs))
    assert mean_precision_and_recall(counts) == pytest.approx(slow_summary(pairs), nan_ok=True)


def test_by_hand():
    target = np.array([[1, 1, 1, 1], [0, 0, 2, 255]], np.uint8)
    prediction = np.array([[1, 1, 255, 0], [0, 1, 1, 1]], np.uint8)
    counts = count_labels(target, prediction, NUM_CLASSES)
    np.testing.assert_allclose(counts.precision, [1 / 2, 2 / 4, np.nan, np.nan])
    np.testing.assert_allclose(counts.recall, [1 / 2, 2 / 4, 0, np.nan])
    assert mean_precision_and_recall(counts) == pytest.approx(
        {
            "foreground_precision": 1 / 2,  # class 2 is never predicted: it has no precision
            "foreground_recall": 1 / 4,  # but recall 0; class 3 is not there at all
            "background_precision": 1 / 2,
            "background_recall": 1 / 2,
        }
    )


def test_classes_not_in_the_ground_truth_do_not_count():
    target, prediction = np.array([[1, 1, 0]], np.uint8), np.array([[1, 3, 3]], np.uint8)
    summary = mean_precision_and_recall(count_labels(target, prediction, NUM_CLASSES))
    assert (summary["foreground_precision"], summary["foreground_recall"]) == (1, 0.5)
    histograms = ScoreHistograms(NUM_CLASSES, 4)
    histograms.update(target, prediction, np.ones(target.shape))
    curve = histograms.curve()
    assert (curve.foreground_precision[0], curve.foreground_recall[0]) == (1, 0.5)


def test_nothing_counted_is_nan_not_an_error():
    assert all(math.isnan(value) for value in mean_precision_and_recall(LabelCounts.zeros(NUM_CLASSES)).values())


def test_ids_and_sizes_are_checked():
    good, bad = np.zeros((2, 2), np.uint8), np.full((2, 2), NUM_CLASSES, np.uint8)
    for target, prediction in ((good, bad), (bad, good)):
        with pytest.raises(ValueError, match="class ids"):
            count_labels(target, prediction, NUM_CLASSES)
    with pytest.raises(ValueError, match="differ in size"):
        count_labels(good, np.zeros((2, 3), np.uint8), NUM_CLASSES)


def random_scored_image(rng):
    classes = random_labels(rng, ignore=0.05)
    scores = rng.random(classes.shape).astype(np.float32)
    on_grid = rng.random(classes.shape) < 0.3
    return random_labels(rng), classes, np.where(on_grid, rng.integers(0, 21, classes.shape) / 20, scores)


def thresholded(classes, scores, threshold):
    return np.where((classes != 255) & (scores < threshold), 0, classes).astype(np.uint8)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_curve_is_the_summary_at_each_threshold(random_seed):
    rng = np.random.default_rng(random_seed)
    images = [random_scored_image(rng) for _ in range(3)]
    histograms = ScoreHistograms(NUM_CLASSES, num_bins=20)
    for image in images:
        histograms.update(*image)
    curve = histograms.curve()
    np.testing.assert_allclose(curve.thresholds, [*(k / 20 for k in range(21)), np.inf])
    for point, threshold in enumerate(curve.thresholds):
        pairs = [(target, thresholded(classes, scores, threshold)) for target, classes, scores in images]
        for name, expected in slow_summary(pairs).items():
            assert getattr(curve, name)[point] == pytest.approx(expected, nan_ok=True), (name, threshold)


def test_workers_add_up_to_one_pass():
    rng = np.random.default_rng(0)
    images = [random_scored_image(rng) for _ in range(4)]
    whole, parts = ScoreHistograms(NUM_CLASSES, 50), [ScoreHistograms(NUM_CLASSES, 50) for _ in range(2)]
    for number, image in enumerate(images):
        whole.update(*image)
        parts[number % 2].update(*image)
    parts[0].merge(parts[1])
    for name in PrecisionRecallCurve.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(parts[0].curve(), name), getattr(whole.curve(), name))
    with pytest.raises(ValueError, match="unlike"):
        whole.merge(ScoreHistograms(NUM_CLASSES, 51))


def test_scores_on_a_threshold_count_as_reaching_it():
    for num_bins in (7, 100, 1000):  # 0.29 * 100 is a little less than 29
        grid = (np.arange(num_bins + 1) / num_bins)[None]
        histograms = ScoreHistograms(2, num_bins)
        histograms.update(np.ones(grid.shape, np.uint8), np.ones(grid.shape, np.uint8), grid)
        reached = np.arange(num_bins + 1, -1, -1) / (num_bins + 1)
        np.testing.assert_allclose(histograms.curve().foreground_recall, reached)
        just_below = ScoreHistograms(2, num_bins)
        just_below.update(*np.ones((2, *grid.shape), np.uint8), np.nextafter(grid, -1))
        np.testing.assert_allclose(just_below.curve().foreground_recall[1:], reached[2:].tolist() + [0])


def test_scores_outside_0_to_1_and_nan_are_clipped():
    scores = np.array([[-3.0, np.nan, 7.0]])
    ones = np.ones(scores.shape, np.uint8)
    histograms = ScoreHistograms(2, 10)
    histograms.update(ones, ones, scores)
    np.testing.assert_allclose(histograms.curve().foreground_recall, [1, *[1 / 3] * 10, 0])


def curve_of(foreground, background):
    fields = [np.array([point[k] for point in points]) for points in (foreground, background) for k in (1, 0)]
    return PrecisionRecallCurve(np.arange(len(foreground)) / 10, *fields)


def test_mean_precision_takes_the_first_point_above_the_recall():
    # Points (recall, precision) with the threshold rising.
    foreground = [(0.9, 0.3), (0.5, 0.6), (0.21, 0.8), (0.2, 0.9), (0.0, math.nan)]
    background = [(0.0, math.nan), (0.7, 0.99), (0.8, 0.95), (0.85, 0.9), (1.0, 0.7)]
    assert mean_precision(curve_of(foreground, background)) == pytest.approx((0.8 + 0.9) / 2)


def test_mean_precision_of_a_curve_that_never_gets_there_is_nan():
    foreground, background = [(0.1, 0.9), (0.0, math.nan)], [(0.5, 0.9), (1.0, 0.7)]
    assert math.isnan(mean_precision(curve_of(foreground, background)))
