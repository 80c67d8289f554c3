"""The rules G0, G1 and G2 of Oh et al., CVPR 2017, §5 and supplement E, by cases and by slow loops."""

from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.ndimage import gaussian_filter

from weakseg.crf.params import CRFParams
from weakseg.supervision import guides as guides_module
from weakseg.supervision.guides import fuse_g0, fuse_g1, fuse_g2, oracle_saliency

CAT, DOG, COW = 8, 12, 10
HEIGHT, WIDTH = 40, 50  # 1 % is 20 pixels


def mask(*boxes, shape=(HEIGHT, WIDTH)):
    """True in each [top:bottom, left:right]."""
    out = np.zeros(shape, bool)
    for top, bottom, left, right in boxes:
        out[top:bottom, left:right] = True
    return out


def seed_map(**boxes_of):
    names = {"cat": CAT, "dog": DOG, "cow": COW}
    seeds = np.zeros((HEIGHT, WIDTH), np.uint8)
    for name, boxes in boxes_of.items():
        seeds[mask(*boxes)] = names[name]
    return seeds


def plain_image(shape=(HEIGHT, WIDTH)):
    return np.full((*shape, 3), 90, np.uint8)


# --- components


def test_saliency_component_of_exactly_one_percent_stays_and_smaller_goes():
    kept, dropped = (0, 4, 0, 5), (10, 11, 10, 29)  # 20 px and 19 px
    guide = fuse_g0("a", [CAT], mask(kept, dropped))
    np.testing.assert_array_equal(guide, np.where(mask(kept), CAT, 0))


@pytest.mark.parametrize("side", [30, 57, 58, 290])
def test_one_percent_is_not_lost_to_rounding(side):
    saliency = np.zeros((100, side), bool)
    saliency[0, :side] = True  # exactly 1 % of 100 x side
    assert (fuse_g0("a", [CAT], saliency)[0] == CAT).all()


def test_diagonal_neighbours_are_one_component():
    saliency = np.eye(HEIGHT, WIDTH, dtype=bool)  # 40 px linked by corners only
    np.testing.assert_array_equal(fuse_g0("a", [CAT], saliency), saliency * np.uint8(CAT))


# --- G0


def test_g0_gives_all_foreground_one_of_the_labels():
    saliency = mask((0, 10, 0, 10), (20, 30, 20, 30))
    for number in range(20):
        values = np.unique(fuse_g0(f"image{number}", [CAT, DOG], saliency)[saliency])
        assert values.size == 1 and values[0] in (CAT, DOG)


def test_g0_draws_evenly_by_image_and_random_seed_and_not_by_label_order():
    saliency = mask((0, 10, 0, 10))

    def draws(random_seed, labels=(CAT, DOG, COW)):
        guides = (fuse_g0(f"2007_{n:06d}", labels, saliency, random_seed=random_seed) for n in range(300))
        return [int(guide[0, 0]) for guide in guides]

    first = draws(0)
    assert first == draws(0, labels=np.array([COW, CAT, DOG]))
    assert first != draws(1)
    assert all(70 <= first.count(label) <= 130 for label in (CAT, DOG, COW))


# --- G1


def colour_share(images):
    """A classifier whose class 1, 2, 3 score is the share of red, green, blue in what is not black."""
    sums = images.reshape(len(images), -1, 3).sum(axis=1).astype(float)
    return sums / np.maximum(sums.sum(axis=1, keepdims=True), 1)


def two_coloured_blocks():
    image = np.full((HEIGHT, WIDTH, 3), 5, np.uint8)
    red, green = mask((5, 20, 5, 20)), mask((5, 20, 30, 45))
    image[red], image[green] = (200, 0, 0), (0, 200, 0)
    return image, red, green


def test_g1_names_each_component_by_its_gain():
    image, red, green = two_coloured_blocks()
    guide = fuse_g1(image, [1, 2], red | green, colour_share)
    np.testing.assert_array_equal(guide, red * np.uint8(1) + green * np.uint8(2))


def test_g1_chooses_among_the_image_labels_only():
    image, red, green = two_coloured_blocks()
    image[red] = (200, 0, 50)  # red gains most, but is no label of the image; blue gains, green loses
    guide = fuse_g1(image, [2, 3], red | green, colour_share)
    np.testing.assert_array_equal(guide, red * np.uint8(3) + green * np.uint8(2))


def test_g1_compares_with_the_full_image_and_blacks_out_the_rest():
    image, red, green = two_coloured_blocks()
    seen = []

    def classify(images):
        seen.append(images.copy())
        return np.array([[9.0, 1.0], [8.0, 3.0], [8.0, 0.0]])  # gains: (-1, +2) and (-1, -1)

    guide = fuse_g1(image, [1, 2], red | green, classify)
    (images,) = seen
    np.testing.assert_array_equal(images[0], image)
    np.testing.assert_array_equal(images[1], image * red[..., None])
    np.testing.assert_array_equal(images[2], image * green[..., None])
    assert set(guide[red]) == {2}  # the higher score alone would say 1
    assert set(guide[green]) == {1}  # a tie of negative gains: the lower id
    strict = fuse_g1(image, [1, 2], red | green, classify, require_positive=True)
    none = fuse_g1(image, [1, 2], red, lambda images: np.ones((2, 2)), require_positive=True)
    assert set(none[red]) == {255}  # a gain of 0 is not positive
    assert set(strict[red]) == {2} and set(strict[green]) == {255}


def test_g1_with_one_label_needs_no_classifier():
    image, red, green = two_coloured_blocks()

    def fail(images):
        raise AssertionError("asked for nothing")

    np.testing.assert_array_equal(fuse_g1(image, [7], red | green, fail), (red | green) * np.uint8(7))


# --- G2


def test_untouched_component_is_ignored_or_background():
    region, seeds = mask((5, 20, 5, 20)), seed_map(cat=[(30, 36, 30, 36)])
    expected = np.where(region, 255, seeds)
    np.testing.assert_array_equal(fuse_g2(plain_image(), seeds, region), expected)
    filled = fuse_g2(plain_image(), seeds, region, unresolved="background")
    np.testing.assert_array_equal(filled, seeds)  # the isolated seed stays as it is


def test_component_takes_its_seed_and_the_leak_is_ignored():
    region = mask((5, 20, 5, 20))
    guide = fuse_g2(plain_image(), seed_map(cat=[(10, 15, 15, 30)]), region)
    expected = np.where(region, CAT, 0)
    expected[10:15, 20:30] = 255
    np.testing.assert_array_equal(guide, expected)


def test_seed_beside_a_component_does_not_touch_it():
    region, seeds = mask((5, 20, 5, 20)), seed_map(cat=[(5, 20, 20, 25)])
    np.testing.assert_array_equal(fuse_g2(plain_image(), seeds, region), np.where(region, 255, seeds))


def test_seed_over_several_components_names_all():
    left, right = (5, 20, 5, 20), (5, 20, 30, 45)
    guide = fuse_g2(plain_image(), seed_map(dog=[(10, 14, 15, 35)]), mask(left, right))
    expected = np.where(mask(left, right), DOG, 0)
    expected[10:14, 20:30] = 255
    np.testing.assert_array_equal(guide, expected)


def test_seed_leak_over_a_dropped_component_is_ignored():
    kept, dropped = (5, 20, 5, 20), (10, 13, 24, 28)
    guide = fuse_g2(plain_image(), seed_map(cat=[(10, 15, 15, 30)]), mask(kept, dropped))
    assert (guide[10:15, 20:30] == 255).all()


def test_small_seeds_are_dropped():
    region = mask((5, 20, 5, 20))
    seeds = seed_map(cat=[(6, 12, 6, 10), (30, 34, 30, 36)], dog=[(13, 18, 10, 15)])  # 24, 24 and 25 px
    expected = np.where(region, DOG, 0)
    np.testing.assert_array_equal(fuse_g2(plain_image(), seeds, region), expected)


def test_minimal_seed_area_as_a_share_is_the_papers_variant():
    region, seeds = mask((5, 20, 5, 20)), seed_map(cat=[(6, 10, 6, 11)])  # 20 px: exactly 1 %
    assert (fuse_g2(plain_image(), seeds, region)[region] == 255).all()
    assert (fuse_g2(plain_image(), seeds, region, min_seed_fraction=0.01)[region] == CAT).all()
    assert (fuse_g2(plain_image(), seeds, region, min_seed_fraction=0.011)[region] == 255).all()


def test_two_seeds_of_one_class_need_no_division():
    region = mask((5, 20, 5, 45))
    seeds = seed_map(cat=[(8, 14, 6, 12), (8, 14, 35, 41)])
    np.testing.assert_array_equal(fuse_g2(plain_image(), seeds, region), np.where(region, CAT, 0))


def test_component_of_two_classes_is_divided_along_the_image_edge():
    image = plain_image()
    image[:, :25], image[:, 25:] = (220, 30, 30), (30, 30, 220)
    region = mask((5, 35, 5, 45))
    seeds = seed_map(cat=[(15, 23, 8, 16)], dog=[(15, 23, 34, 42)], cow=[(0, 3, 0, 10)])
    guide = fuse_g2(image, seeds, region)
    assert (guide[5:35, 5:25] == CAT).mean() > 0.98
    assert (guide[5:35, 25:45] == DOG).mean() > 0.98
    assert set(np.unique(guide[region])) == {CAT, DOG}  # nothing but the touching classes
    assert (guide[0:3, 0:10] == COW).all()
    outside = ~region & (seeds == 0)
    assert (guide[outside] == 0).all()


def test_division_is_the_crf_of_blurred_seed_masks(monkeypatch):
    calls = []

    def soft(image, scores, params):
        calls.append((image, scores, params))
        return scores

    monkeypatch.setattr(guides_module, "soft", soft)
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    regions = mask((5, 18, 2, 48), (22, 36, 2, 48))
    seeds = seed_map(dog=[(8, 14, 4, 12), (24, 30, 4, 12)], cat=[(8, 14, 30, 40), (24, 30, 30, 40)], cow=[(0, 1, 0, 3)])
    guide = fuse_g2(image, seeds, regions)
    ((seen, scores, params),) = calls  # both components meet the same classes: one CRF
    np.testing.assert_array_equal(seen, image)
    assert params == CRFParams(4, 121, 5, 3, 3, steps=10)
    energies = [gaussian_filter(np.clip((seeds == c).astype(float), 1e-3, 1 - 1e-3), 10) for c in (CAT, DOG)]
    np.testing.assert_allclose(scores, energies, rtol=1e-4)
    np.testing.assert_array_equal(guide[regions], np.array([CAT, DOG])[np.argmax(energies, axis=0)][regions])


def test_division_leaves_other_components_alone():
    region, other = (5, 20, 5, 25), (25, 38, 5, 45)
    seeds = seed_map(cat=[(8, 14, 6, 12), (26, 34, 30, 40)], dog=[(8, 14, 16, 22)])
    guide = fuse_g2(plain_image(), seeds, mask(region, other))
    assert (guide[mask(other)] == CAT).all()
    assert set(np.unique(guide[mask(region)])) <= {CAT, DOG}


# --- G2 by loops, for cases without division


def slow_components(pixels, min_area):
    left, found = pixels.copy(), []
    for start in zip(*np.nonzero(pixels), strict=True):
        if not left[start]:
            continue
        part, queue = set(), deque([start])
        left[start] = False
        while queue:
            y, x = queue.popleft()
            part.add((int(y), int(x)))
            for dy in (-1, 0, 1):
                for dx in (-1, 0, 1):
                    at = (y + dy, x + dx)
                    if 0 <= at[0] < left.shape[0] and 0 <= at[1] < left.shape[1] and left[at]:
                        left[at] = False
                        queue.append(at)
        if len(part) >= min_area:
            found.append(part)
    return found


def slow_g2(seeds, saliency, min_seed_px):
    """Supplement E sentence by sentence; None where some component meets two classes."""
    regions = slow_components(saliency, saliency.size * 0.01)
    parts = [(int(c), part) for c in np.unique(seeds[seeds > 0]) for part in slow_components(seeds == c, min_seed_px)]
    guide = np.zeros(seeds.shape, np.uint8)
    covered = set().union(*regions) if regions else set()
    for label, part in parts:
        for at in part - covered:
            guide[at] = 255 if part & covered else label
    for region in regions:
        classes = {label for label, part in parts if part & region}
        if len(classes) > 1:
            return None
        label = classes.pop() if classes else 255
        for at in region:
            guide[at] = label
    return guide


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_g2_by_loops(random_seed):
    rng = np.random.default_rng(random_seed)
    seeds, saliency = np.zeros((24, 30), np.uint8), np.zeros((24, 30), bool)
    for _ in range(rng.integers(0, 6)):
        top, left = rng.integers(0, 22), rng.integers(0, 28)
        saliency[top : top + rng.integers(1, 8), left : left + rng.integers(1, 8)] = True
    for _ in range(rng.integers(0, 5)):
        top, left = rng.integers(0, 22), rng.integers(0, 28)
        seeds[top : top + rng.integers(1, 7), left : left + rng.integers(1, 7)] = rng.integers(1, 3)
    expected = slow_g2(seeds, saliency, min_seed_px=9)
    if expected is not None:
        np.testing.assert_array_equal(fuse_g2(plain_image((24, 30)), seeds, saliency, min_seed_px=9), expected)


# --- degenerate input


def test_no_saliency_leaves_the_seeds():
    seeds = seed_map(cat=[(5, 15, 5, 15)], dog=[(20, 30, 20, 30)])
    nothing = np.zeros((HEIGHT, WIDTH), bool)
    np.testing.assert_array_equal(fuse_g2(plain_image(), seeds, nothing), seeds)
    assert not fuse_g0("a", [CAT], nothing).any()
    assert not fuse_g1(plain_image(), [CAT, DOG], nothing, colour_share).any()


def test_without_labels_or_seeds_the_foreground_is_unresolved():
    region = mask((5, 20, 5, 20))
    expected = np.where(region, 255, 0)
    guides = (
        lambda **how: fuse_g0("a", [], region, **how),
        lambda **how: fuse_g1(plain_image(), [], region, colour_share, **how),
        lambda **how: fuse_g2(plain_image(), seed_map(), region, **how),
    )
    for fuse in guides:
        np.testing.assert_array_equal(fuse(), expected)
        assert not fuse(unresolved="background").any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (4, 3)])
def test_image_smaller_than_the_minimal_areas(shape):
    seeds, everything = np.full(shape, CAT, np.uint8), np.ones(shape, bool)
    assert (fuse_g2(plain_image(shape), seeds, everything) == 255).all()  # a seed under 25 px is no seed
    assert (fuse_g2(plain_image(shape), seeds, everything, min_seed_px=1) == CAT).all()


def test_tiny_image_is_divided_without_error():
    seeds = np.array([[CAT, DOG]], np.uint8)
    guide = fuse_g2(plain_image((1, 2)), seeds, np.ones((1, 2), bool), min_seed_px=1)
    assert set(np.unique(guide)) <= {CAT, DOG}


def test_inputs_are_left_as_they_were_and_may_be_strided():
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    seeds = seed_map(cat=[(8, 14, 6, 12)], dog=[(8, 14, 30, 36)])
    saliency = mask((5, 20, 5, 45))
    before = image.copy(), seeds.copy(), saliency.copy()
    guide = fuse_g2(image, seeds, saliency)
    for now, then in zip((image, seeds, saliency), before, strict=True):
        np.testing.assert_array_equal(now, then)
    mirrored = fuse_g2(image[:, ::-1][:, ::-1], np.asfortranarray(seeds), saliency[::-1][::-1])
    np.testing.assert_array_equal(mirrored, guide)


def test_seed_of_255_counts_as_none():
    seeds = np.full((HEIGHT, WIDTH), 255, np.uint8)
    region = mask((5, 20, 5, 20))
    np.testing.assert_array_equal(fuse_g2(plain_image(), seeds, region), np.where(region, 255, 0))


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="differ in size"):
        fuse_g2(plain_image(), seed_map(), np.zeros((HEIGHT, WIDTH + 1), bool))
    with pytest.raises(ValueError, match="unresolved"):
        fuse_g2(plain_image(), seed_map(), mask(), unresolved="keep")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="class ids"):
        fuse_g0("a", [0, 3], mask())
    with pytest.raises(ValueError, match="classify must return"):
        fuse_g1(plain_image(), [1, 2], mask((5, 20, 5, 20)), lambda images: np.zeros((1, 2)))


def test_oracle_saliency_is_the_foreground_without_255():
    target = np.array([[0, 3, 255], [20, 0, 255]], np.uint8)
    np.testing.assert_array_equal(oracle_saliency(target), [[False, True, False], [True, False, False]])
