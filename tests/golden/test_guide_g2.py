"""G2 against the recorded output of the authors' own code (origin: README.md)."""

import cv2
import numpy as np
import pytest

from tests.golden.recordings import cases, files, read_case
from weakseg.supervision.guides import fuse_g2

CASES = cases("guide_g2.npz")


def components(mask, min_area_px):
    count, numbers, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return [numbers == n for n in range(1, count) if stats[n, cv2.CC_STAT_AREA] >= min_area_px]


def multi_class_pixels(seeds, saliency):
    """Pixels of the components that the CRF divides, by the slow and plain way."""
    own = [(c, part) for c in np.unique(seeds[seeds > 0]) for part in components(seeds == c, 25)]
    divided = np.zeros(seeds.shape, bool)
    for region in components(saliency, saliency.size * 0.01):
        if len({c for c, part in own if (part & region).any()}) > 1:
            divided |= region
    return divided


@pytest.mark.parametrize(("path", "number"), CASES)
def test_recorded_case(path, number):
    case = read_case(path, number)
    guide = fuse_g2(case["image"], case["seeds"], case["saliency"], unresolved="background")
    same = (guide == case["guide"])[2:]  # rows 0 and 1: an indexing slip of the recorded code
    divided = multi_class_pixels(case["seeds"], case["saliency"])[2:]
    assert same[~divided].all()
    if divided.any():
        assert same[divided].mean() >= 0.99


@pytest.mark.parametrize("path", files("guide_g2.npz"))
def test_the_recording_has_components_of_one_class_and_of_several(path):
    numbers = [case.values[1] for case in CASES if case.values[0] == path]
    divided = [multi_class_pixels(case["seeds"], case["saliency"]).any()
               for case in (read_case(path, number) for number in numbers)]  # fmt: skip
    assert sum(divided) >= 2 and not all(divided)


@pytest.mark.parametrize(("path", "number"), CASES)
def test_ignore_differs_from_background_only_where_it_is_255(path, number):
    case = read_case(path, number)
    inputs = case["image"], case["seeds"], case["saliency"]
    ignoring, filled = fuse_g2(*inputs), fuse_g2(*inputs, unresolved="background")
    np.testing.assert_array_equal(np.where(ignoring == 255, 0, ignoring), filled)
    assert (filled < 255).all()
