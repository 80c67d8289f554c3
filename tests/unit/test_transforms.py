"""Paired transforms: photos whose pixels tell where they come from, so that any shift shows."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings, strategies as st

from weakseg.files.label_masks import IGNORE_INDEX
from weakseg.images.resizing import grid_side, rescale, resize_aligned, resize_nearest, warp_square
from weakseg.images.transforms import (
    crop_area,
    crop_borders,
    fit_square,
    flip,
    jitter_colours,
    pad_constant,
    pad_reflect,
    random_crop,
)

Image = npt.NDArray[np.uint8]
SIDES = st.integers(1, 60)
QUICK = settings(deadline=None, max_examples=60, derandomize=True)


def coordinates(height: int, width: int) -> Image:
    """(H, W, 3): red = row, green = column."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.full_like(rows, 7)], 2).astype(np.uint8)


def target_of(image: Image) -> Image:
    """Class ids that follow from the coordinates in the pixels, never 255."""
    return ((image[..., 0].astype(int) * 31 + image[..., 1]) % 251).astype(np.uint8)


def reflected(length: int, side: int) -> npt.NDArray[np.intp]:
    """Where each of `side` padded pixels comes from: reflection about the last pixel, again and again."""
    if length == 1:
        return np.zeros(side, np.intp)
    place = np.arange(side) % (2 * length - 2)
    return np.minimum(place, 2 * length - 2 - place)


# --- resizing --------------------------------------------------------------------------------------------------


@QUICK
@given(SIDES, SIDES, SIDES, SIDES)
def test_resize_aligned_keeps_corners_and_ramps(height: int, width: int, new_height: int, new_width: int) -> None:
    """OpenCV takes positions to 1/32 px, so a ramp of slope 1 may be off by that much."""
    ramp = coordinates(height, width)[..., :2].astype(np.float32)
    resized = resize_aligned(ramp, new_height, new_width)
    expected = np.stack(
        np.meshgrid(np.linspace(0, height - 1, new_height), np.linspace(0, width - 1, new_width), indexing="ij"), 2
    )
    assert resized.shape == (new_height, new_width, 2)
    np.testing.assert_allclose(resized, expected, atol=1 / 32 + 1e-4)
    np.testing.assert_array_equal(resized[0, 0], ramp[0, 0])
    if new_height > 1 and new_width > 1:
        np.testing.assert_array_equal(resized[-1, -1], ramp[-1, -1])


def test_resize_aligned_takes_maps_without_channels() -> None:
    resized = resize_aligned(np.array([[0.0, 1.0], [2.0, 3.0]], np.float32), 3, 5)
    np.testing.assert_allclose(resized, [[0, 0.25, 0.5, 0.75, 1], [1, 1.25, 1.5, 1.75, 2], [2, 2.25, 2.5, 2.75, 3]])


@QUICK
@given(SIDES, SIDES, SIDES, SIDES)
def test_resize_nearest_takes_the_nearest_aligned_pixel(
    height: int, width: int, new_height: int, new_width: int
) -> None:
    image = coordinates(height, width)
    rows, columns = (resize_nearest(image[..., axis], new_height, new_width) for axis in (0, 1))
    for got, length, side, axis in ((rows, height, new_height, 1), (columns, width, new_width, 0)):
        exact = np.linspace(0, length - 1, side)
        assert got.shape == (new_height, new_width)
        assert (np.ptp(got, axis=axis) == 0).all()
        assert np.abs(got.max(axis) - exact).max() <= 0.5 + 1e-9
        assert got.max(axis)[0] == 0
        assert side == 1 or got.max(axis)[-1] == length - 1


def test_resize_nearest_samples_a_grid_at_pixel_stride_times_i() -> None:
    labels = np.random.default_rng(0).integers(0, 21, (321, 161)).astype(np.uint8)
    np.testing.assert_array_equal(resize_nearest(labels, 41, 21), labels[::8, ::8])


@pytest.mark.parametrize("size", [(40, 60), (9, 100), (21, 30), (7, 5)])
def test_photo_and_labels_stay_aligned_when_rescaled_or_warped(size: tuple[int, int]) -> None:
    """The photo's pixel centres and the labels' aligned corners differ by half of the scale's distance from 1."""
    image = coordinates(*size)
    for pixels in (rescale(image, 1.7), rescale(image, 0.6), warp_square(image, 33)):
        height, width = pixels.shape[:2]
        for axis, (old, new) in enumerate(zip(size, (height, width), strict=True)):
            labels = resize_nearest(np.ascontiguousarray(image[..., axis]), height, width)
            apart = np.abs(pixels[..., axis].astype(float) - labels)
            assert apart.max() <= 0.5 + 0.5 * abs(old / new - 1) + 0.51


@QUICK
@given(SIDES, SIDES, st.floats(0.01, 3))
def test_rescale_keeps_proportions_and_is_never_empty(height: int, width: int, factor: float) -> None:
    scaled = rescale(coordinates(height, width), factor)
    assert scaled.shape[:2] == (max(round(height * factor), 1), max(round(width * factor), 1))


def test_shrinking_averages() -> None:
    """A pattern of single pixels becomes grey; sampled, it would stay black and white."""
    checks = np.zeros((64, 64, 3), np.uint8)
    checks[::2, ::2] = checks[1::2, 1::2] = 255
    for small in (rescale(checks, 0.5), warp_square(checks, 32)):
        assert small.shape == (32, 32, 3)
        np.testing.assert_allclose(small, 127.5, atol=1)


# --- padding and cropping ----------------------------------------------------------------------------------------


@QUICK
@given(SIDES, SIDES, st.integers(1, 150), st.integers(1, 150))
@example(1, 1, 150, 150)
@example(1, 60, 33, 33)
@example(2, 1, 129, 3)
def test_pad_reflect(height: int, width: int, to_height: int, to_width: int) -> None:
    image = coordinates(height, width)
    padded = pad_reflect(image, to_height, to_width)
    rows, columns = max(height, to_height), max(width, to_width)
    np.testing.assert_array_equal(padded, image[reflected(height, rows)][:, reflected(width, columns)])
    np.testing.assert_array_equal(pad_reflect(image[..., 0], to_height, to_width), padded[..., 0])


def test_pad_constant() -> None:
    labels = np.ones((2, 3), np.uint8)
    assert pad_constant(labels, 3, 4, 255).tolist() == [[1, 1, 1, 255], [1, 1, 1, 255], [255] * 4]
    assert pad_constant(labels, 1, 3, 255).tolist() == labels.tolist()


@QUICK
@given(SIDES, SIDES, st.integers(1, 80), st.integers(0, 1000))
@example(1, 1, 80, 0)
def test_random_crop_takes_the_same_window_of_both(height: int, width: int, side: int, random_seed: int) -> None:
    image = coordinates(height, width)
    target = target_of(image)
    crop, labels = random_crop(image, target, side, IGNORE_INDEX, np.random.default_rng(random_seed))
    assert crop.shape == (side, side, 3)
    assert labels.shape == (side, side)
    known = labels != IGNORE_INDEX
    np.testing.assert_array_equal(labels[known], target_of(crop)[known])
    assert known.sum() == min(height, side) * min(width, side)  # nothing but padding is ignored
    assert known[: min(height, side), : min(width, side)].all()


def test_random_crop_reaches_every_window() -> None:
    image, rng = coordinates(5, 6), np.random.default_rng(0)
    corners = {tuple(random_crop(image, target_of(image), 3, IGNORE_INDEX, rng)[0][0, 0, :2]) for _ in range(300)}
    assert corners == {(row, column) for row in range(3) for column in range(4)}


@QUICK
@given(SIDES, SIDES, st.floats(0, 0.499), st.integers(0, 1000))
@example(1, 1, 0.499, 0)
def test_crop_borders_is_never_empty_and_cuts_no_more(height: int, width: int, most: float, random_seed: int) -> None:
    cut = crop_borders(coordinates(height, width), most, np.random.default_rng(random_seed))
    assert cut.size > 0
    for axis, length in ((0, height), (1, width)):
        first, last = int(cut[..., axis].min()), int(cut[..., axis].max())
        assert last - first + 1 == cut.shape[axis]  # one window, nothing skipped
        assert first <= most * length
        assert length - 1 - last <= most * length


def test_crop_borders_cuts_each_border_on_its_own() -> None:
    rng = np.random.default_rng(0)
    cuts = [crop_borders(coordinates(100, 100), 0.1, rng) for _ in range(50)]
    borders = np.array([[c[0, 0, 0], 99 - c[-1, 0, 0], c[0, 0, 1], 99 - c[0, -1, 1]] for c in cuts])
    assert (borders.min(0) <= 1).all()
    assert (borders.max(0) >= 8).all()
    assert np.abs(np.corrcoef(borders.T) - np.eye(4)).max() < 0.5
    np.testing.assert_array_equal(crop_borders(cuts[0], 0, rng), cuts[0])


@QUICK
@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 200))
@example(1, 400, 33)
@example(400, 1, 33)
@example(3, 2, 200)
@example(333, 500, 161)
def test_fit_square_is_always_exact(height: int, width: int, side: int) -> None:
    image = np.full((height, width, 3), 9, np.uint8)
    image[:, :, 0] = 200
    fitted = fit_square(image, side)
    assert fitted.shape == (side, side, 3)
    assert (fitted == [200, 9, 9]).all()


def test_fit_square_keeps_proportions_and_reflects_the_rest() -> None:
    image = coordinates(20, 40)
    fitted = fit_square(image, 40)
    np.testing.assert_array_equal(fitted[:20], image)
    np.testing.assert_array_equal(fitted[20:39], image[18::-1])


# --- mirroring, colours, sides ------------------------------------------------------------------------------------


def test_flip_mirrors_left_and_right() -> None:
    image = coordinates(4, 5)
    assert flip(image)[1, 0].tolist() == image[1, 4].tolist()
    np.testing.assert_array_equal(flip(flip(image)), image)
    np.testing.assert_array_equal(flip(target_of(image)), target_of(flip(image)))


def test_flip_keeps_a_grid_on_its_pixels() -> None:
    """With a side of stride·k + 1, mirroring and point sampling commute."""
    image = coordinates(33, 41)
    np.testing.assert_array_equal(flip(image)[::8, ::8], flip(image[::8, ::8]))


def test_jitter_colours() -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 9, 3)).astype(np.uint8)
    assert jitter_colours(image, 0, np.random.default_rng(0)) is image
    first, again, other = (jitter_colours(image, 0.3, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.dtype == np.uint8
    assert first.shape == image.shape
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    grey = np.full((4, 4, 3), 100, np.uint8)  # without contrast or colour, brightness alone is left
    values = [jitter_colours(grey, 0.2, np.random.default_rng(seed)) for seed in range(40)]
    assert all(np.ptp(value) <= 1 for value in values)
    levels = [int(value.max()) for value in values]
    assert 79 <= min(levels) < 90
    assert 110 < max(levels) <= 120
    white = np.full((4, 4, 3), 255, np.uint8)
    assert all(jitter_colours(white, 0.5, np.random.default_rng(s)).min() >= 126 for s in range(20))


@QUICK
@given(st.integers(1, 5000), st.sampled_from([1, 8, 16, 32]))
def test_grid_side_is_the_next_side_on_the_grid(length: int, stride: int) -> None:
    side = grid_side(length, stride)
    assert (side - 1) % stride == 0
    assert length <= side < length + stride


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 1000))
def test_crop_area_is_inside_and_never_empty(height: int, width: int, random_seed: int) -> None:
    image = np.arange(height * width * 3, dtype=np.int64).reshape(height, width, 3)
    window = crop_area(image, 0.3, 0.6, np.random.default_rng(random_seed))  # type: ignore[arg-type]
    assert window.size > 0
    row, column = divmod(int(window[0, 0, 0]) // 3, width)
    np.testing.assert_array_equal(window, image[row : row + window.shape[0], column : column + window.shape[1]])


def test_crop_area_keeps_to_its_shares_and_proportions() -> None:
    image = np.zeros((300, 400, 3), np.uint8)
    windows = [crop_area(image, 0.3, 0.6, np.random.default_rng(seed)).shape for seed in range(200)]
    shares = np.array([rows * columns / 120000 for rows, columns, _ in windows])
    ratios = np.array([columns / rows for rows, columns, _ in windows])
    assert 0.29 < shares.min() < 0.32 and 0.58 < shares.max() < 0.61
    assert 0.74 < ratios.min() < 0.77 and 1.30 < ratios.max() < 1.35


def test_crop_area_of_a_strip_is_its_centre() -> None:
    strip = np.arange(100, dtype=np.uint8).reshape(1, 100, 1).repeat(3, 2)
    assert crop_area(strip, 0.9, 1.0, np.random.default_rng(0))[0, :, 0].tolist() == [49]
