"""GAP seeds (Oh et al., CVPR 2017, §4): order-1 upsampling, division by the maximum, argmax, threshold."""

import numpy as np
import pytest
from scipy.ndimage import zoom

from weakseg.cams.label_scores import seed_scores
from weakseg.images.resizing import upsample_aligned
from weakseg.supervision.seeds import seeds_from_cams


def slow_upsample(grid, height, width):
    """Bilinear interpolation by loops; grid corner samples lie on corner pixels."""
    h, w = grid.shape
    out = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            gy = y * (h - 1) / (height - 1) if height > 1 else 0.0
            gx = x * (w - 1) / (width - 1) if width > 1 else 0.0
            y0, x0 = int(gy), int(gx)
            y1, x1 = min(y0 + 1, h - 1), min(x0 + 1, w - 1)
            fy, fx = gy - y0, gx - x0
            upper = grid[y0, x0] * (1 - fx) + grid[y0, x1] * fx
            lower = grid[y1, x0] * (1 - fx) + grid[y1, x1] * fx
            out[y, x] = upper * (1 - fy) + lower * fy
    return out


@pytest.mark.parametrize("size", [(3, 4, 9, 14), (5, 2, 7, 3), (1, 1, 6, 5), (4, 6, 1, 1), (6, 5, 3, 4), (3, 3, 3, 3)])
def test_upsampling_by_loops(size):
    h, w, height, width = size
    maps = np.random.default_rng(0).normal(size=(2, h, w))
    expected = np.stack([slow_upsample(grid, height, width) for grid in maps])
    np.testing.assert_allclose(upsample_aligned(maps, height, width), expected, atol=1e-6)


def test_upsampling_is_that_of_the_authors():
    maps = np.random.default_rng(1).normal(size=(3, 41, 41))
    expected = zoom(maps, (1, 375 / 41, 500 / 41), order=1)
    np.testing.assert_allclose(upsample_aligned(maps, 375, 500), expected, atol=1e-5)


def test_grid_cell_i_of_a_stride_s_network_lies_at_pixel_s_times_i():
    stride, grid = 8, np.random.default_rng(2).random((1, 5, 6))
    upsampled = upsample_aligned(grid, 4 * stride + 1, 5 * stride + 1)
    np.testing.assert_allclose(upsampled[:, ::stride, ::stride], grid, atol=1e-6)


def test_seeds_by_loops():
    rng = np.random.default_rng(3)
    cams, labels, threshold = rng.normal(size=(3, 4, 5)), [15, 2, 9], 0.3
    maps = [slow_upsample(grid, 11, 13) for grid in cams]
    seeds = seeds_from_cams(cams, labels, 11, 13, threshold)
    assert seeds.dtype == np.uint8
    for y in range(11):
        for x in range(13):
            scores = [grid[y, x] / grid.max() for grid in maps]
            best = int(np.argmax(scores))
            assert seeds[y, x] == (labels[best] if scores[best] >= threshold else 0)


def test_each_map_is_divided_by_its_own_maximum():
    weak = np.array([[0.0, 0.1]])
    strong = np.array([[100.0, 50.0]])
    classes, scores = seed_scores(np.stack([weak, strong]), [4, 7], 1, 2)
    np.testing.assert_array_equal(classes, [[7, 4]])
    np.testing.assert_allclose(scores, [[1.0, 1.0]])


def test_score_equal_to_the_threshold_is_a_seed():
    cams = np.array([[[1.0, 0.5, 0.25]]])
    np.testing.assert_array_equal(seeds_from_cams(cams, [3], 1, 3, 0.5), [[3, 3, 0]])


def test_ties_go_to_the_first_label():
    cams = np.ones((2, 2, 2))
    assert (seeds_from_cams(cams, [9, 4], 3, 3, 0.2) == 9).all()


def test_without_labels_all_is_background():
    classes, scores = seed_scores(np.zeros((0, 4, 4)), [], 5, 6)
    assert classes.shape == scores.shape == (5, 6)
    assert not classes.any() and not scores.any()


@pytest.mark.parametrize("empty", [np.zeros((1, 3, 3)), -np.ones((1, 3, 3)), np.full((1, 3, 3), np.nan)])
def test_map_without_evidence_gives_background(empty):
    assert not seeds_from_cams(empty, [5], 6, 6, 0.2).any()
    assert not seed_scores(empty, [5], 6, 6)[1].any()
    both = np.concatenate([empty, np.ones((1, 3, 3))])
    assert (seeds_from_cams(both, [5, 6], 6, 6, 0.2) == 6).all()


def test_nan_counts_as_0_where_it_is():
    cams = np.array([[[np.nan, 2.0, 4.0]]])
    np.testing.assert_array_equal(seed_scores(cams, [1], 1, 3)[1], [[0, 0.5, 1]])


def test_half_precision_maps_do_not_overflow():
    cams = np.array([[[60000.0, 30000.0]]], np.float16)
    np.testing.assert_allclose(seed_scores(cams, [1], 1, 2)[1], [[1.0, 0.5]], atol=1e-3)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="pair up"):
        seeds_from_cams(np.ones((2, 3, 3)), [1], 4, 4, 0.2)
    with pytest.raises(ValueError, match="class ids"):
        seeds_from_cams(np.ones((1, 3, 3)), [0], 4, 4, 0.2)
