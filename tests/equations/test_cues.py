"""SEC's localization cues (SEC §4.1, §6.1), by loops and by hand on small maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from weakseg.cams.thresholds import threshold_for_coverage
from weakseg.errors import UserError
from weakseg.supervision.cues import background_cues, coverage, foreground_cues, resolve_conflicts


def test_foreground_is_above_the_fraction_of_each_maps_own_maximum() -> None:
    cams = np.array([[[10.0, 2.0, 2.5]], [[1.0, 0.19, 0.21]]])
    expected = np.array([[[True, False, True]], [[True, False, True]]])  # 2.0 is not above 0.2 * 10
    assert np.array_equal(foreground_cues(cams), expected)
    assert np.array_equal(foreground_cues(cams, threshold=0.22)[1], [[True, False, False]])


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_map_without_a_positive_value_gives_no_cue(value: float) -> None:
    cams = np.full((1, 3, 3), value)
    cams[0, 0] -= 1
    assert not foreground_cues(cams).any()


def test_no_class_gives_no_map() -> None:
    assert foreground_cues(np.zeros((0, 4, 5))).shape == (0, 4, 5)


def median_by_loops(saliency: NDArray[Any]) -> NDArray[Any]:
    """3x3 median; beyond the border the map is reflected, its edge repeated."""
    padded = np.pad(saliency, 1, mode="symmetric")
    height, width = saliency.shape
    rows = [[np.sort(padded[y : y + 3, x : x + 3].ravel())[4] for x in range(width)] for y in range(height)]
    return np.array(rows)


@pytest.mark.parametrize("shape", [(41, 41), (7, 12)])
def test_background_is_strictly_below_the_sorted_value_of_the_median_filtered_map(
    shape: tuple[int, int],
) -> None:
    saliency = np.random.default_rng(0).random(shape)
    smooth = median_by_loops(saliency)
    value = sorted(smooth.ravel())[int(0.1 * smooth.size)]
    assert np.array_equal(background_cues(saliency), smooth < value)


def test_without_ties_and_filter_exactly_168_of_41x41_locations_are_background() -> None:
    saliency = np.random.default_rng(0).permutation(41 * 41).reshape(41, 41)
    cues = background_cues(saliency, median_size=1)
    assert cues.sum() == 168
    assert np.array_equal(cues, saliency < 168)


def test_background_limits() -> None:
    saliency = np.random.default_rng(0).random((4, 5))
    assert not background_cues(saliency, fraction=0.0).any()
    assert background_cues(saliency, fraction=1.0).all()
    assert not background_cues(np.ones((4, 5))).any()
    with pytest.raises(ValueError, match="fraction"):
        background_cues(saliency, fraction=1.1)


def strip(*locations: int) -> NDArray[np.bool_]:
    """A 1x6 map with cues at these columns."""
    return np.isin(np.arange(6), locations)[None]


def test_the_smaller_class_wins_and_foreground_beats_background() -> None:
    foreground = np.stack([strip(0, 1, 2), strip(2, 3)])
    resolved = resolve_conflicts(foreground, [5, 2], strip(3, 4), num_classes=6)
    assert np.array_equal(resolved[5], strip(0, 1))
    assert np.array_equal(resolved[2], strip(2, 3))
    assert np.array_equal(resolved[0], strip(4))
    assert resolved.sum() == 5


def test_foreground_beats_a_smaller_background() -> None:
    resolved = resolve_conflicts(strip(0, 1, 2, 3)[None], [1], strip(3), num_classes=2)
    assert not resolved[0].any()
    assert np.array_equal(resolved[1], strip(0, 1, 2, 3))


def test_area_is_counted_before_conflicts_are_resolved() -> None:
    # Class 3 takes three of class 1's four locations. What is left of class 1 is smaller than class 2, but
    # its area before is not: location 3 is class 2's.
    foreground = np.stack([strip(0, 1, 2, 3), strip(3, 4, 5), strip(0, 1, 2)])
    resolved = resolve_conflicts(foreground, [1, 2, 3], strip(), num_classes=4)
    assert not resolved[1].any()
    assert np.array_equal(resolved[2], strip(3, 4, 5))
    assert np.array_equal(resolved[3], strip(0, 1, 2))


@pytest.mark.parametrize("labels", [[3, 1], [1, 3]])
def test_of_equal_areas_the_lower_class_id_wins_in_any_order(labels: list[int]) -> None:
    maps = {1: strip(0, 1), 3: strip(1, 2)}
    resolved = resolve_conflicts(np.stack([maps[label] for label in labels]), labels, strip(), num_classes=4)
    assert np.array_equal(resolved[1], strip(0, 1))
    assert np.array_equal(resolved[3], strip(2))


def test_no_class_leaves_the_background() -> None:
    resolved = resolve_conflicts(np.zeros((0, 1, 6), dtype=bool), [], strip(1, 2), num_classes=3)
    assert np.array_equal(resolved, np.stack([strip(1, 2), strip(), strip()]))


def test_resolving_by_loops() -> None:
    random = np.random.default_rng(1)
    for _ in range(20):
        foreground, background = random.random((4, 6, 5)) < 0.4, random.random((6, 5)) < 0.3
        labels = random.choice(np.arange(1, 9), 4, replace=False)
        resolved = resolve_conflicts(foreground, labels, background, num_classes=9)
        for y in range(6):
            for x in range(5):
                claims = [(foreground[i].sum(), labels[i]) for i in range(4) if foreground[i, y, x]]
                winner = [min(claims)[1]] if claims else [0] if background[y, x] else []
                assert np.flatnonzero(resolved[:, y, x]).tolist() == winner


@pytest.mark.parametrize("labels", [[1], [1, 1], [0, 1], [1, 4]])
def test_labels_that_do_not_fit_are_refused(labels: list[int]) -> None:
    with pytest.raises(ValueError, match="labels"):
        resolve_conflicts(np.zeros((2, 2, 2), dtype=bool), labels, np.zeros((2, 2), dtype=bool), num_classes=4)


def test_coverage() -> None:
    cues = np.stack([strip(0, 3), strip(3), strip(4, 5)])  # location 3 has both: foreground
    assert coverage(cues) == pytest.approx((3 / 6, 1 / 6, 2 / 6))
    both = coverage(np.stack([cues, np.zeros_like(cues)]))
    assert (both.foreground, both.background, both.unlabelled) == pytest.approx((3 / 12, 1 / 12, 8 / 12))


def mean_foreground_share(cams: list[NDArray[Any]], threshold: float) -> float:
    return float(np.mean([foreground_cues(image, threshold).any(0).mean() for image in cams]))


def random_cams() -> list[NDArray[Any]]:
    """Maps of several grids, scales and numbers of classes, with negative values as real ones have."""
    random = np.random.default_rng(2)
    shapes = [(1 + k % 3, 30 + k % 5, 41) for k in range(40)]
    return [10.0 ** (k % 4) * random.normal(0.1, 1.0, shape) for k, shape in enumerate(shapes)]


@pytest.mark.parametrize("wanted", [0.02, 0.142, 0.3, 0.6])
def test_the_threshold_gives_the_coverage(wanted: float) -> None:
    cams = random_cams()
    threshold = threshold_for_coverage(iter(cams), wanted)
    assert mean_foreground_share(cams, threshold) == pytest.approx(wanted, abs=2e-3)
    assert threshold == threshold_for_coverage(iter(cams), wanted)


def test_the_threshold_of_a_ramp_is_known() -> None:
    ramp = np.arange(1, 10_001, dtype=np.float64).reshape(1, 100, 100)
    assert threshold_for_coverage([ramp, 7 * ramp], 0.25) == pytest.approx(0.75, abs=1e-9)


def test_every_image_weighs_the_same_whatever_its_grid() -> None:
    wide, narrow = np.tile([1.0, 0.5, 0.5, 0.1], (1, 25, 25)), np.array([[[1.0, 1.0, 0.3, 0.3]]])
    # Shares above 0.4: 3/4 of the wide map, 2/4 of the narrow one: 5/8 by image.
    assert 0.3 <= threshold_for_coverage([wide, narrow], 0.625) <= 0.499


def test_images_without_a_positive_map_count_with_a_share_of_0() -> None:
    ramp = np.arange(1, 10_001, dtype=np.float64).reshape(1, 100, 100)
    empty = [np.zeros((0, 5, 5)), -np.ones((2, 5, 5))]
    assert threshold_for_coverage([ramp, *empty, ramp], 0.25) == pytest.approx(0.5, abs=1e-9)


def test_a_coverage_out_of_reach_gives_threshold_0() -> None:
    cams = [np.array([[[1.0, -1.0, -1.0, -1.0]]])]
    assert threshold_for_coverage(cams, 0.5) == 0


@pytest.mark.parametrize("wanted", [0.0, 1.0, -0.1, float("nan")])
def test_an_impossible_coverage_is_refused(wanted: float) -> None:
    with pytest.raises(UserError, match="coverage"):
        threshold_for_coverage([np.ones((1, 2, 2))], wanted)


def test_no_image_is_refused() -> None:
    with pytest.raises(UserError, match="at least one image"):
        threshold_for_coverage([], 0.1)
