"""Seeds with a dense CRF (GS supplement C): what it is given, what it may change, and how its scores are to be read."""

import numpy as np
import numpy.typing as npt
import pytest

from weakseg.cams.label_scores import refined_scores
from weakseg.crf.lattice import soft
from weakseg.crf.params import SEC, CRFParams
from weakseg.images.resizing import upsample_aligned
from weakseg.supervision.seeds import refined_seeds, seeds_from_cams

NO_PAIRS = CRFParams(0, 80, 13, 0, 3, steps=5)
TAU = 0.3


def photo() -> npt.NDArray[np.uint8]:
    """40×60 px: a bright left half and a dark right half, with a little grain."""
    image = np.full((40, 60, 3), 40, np.uint8)
    image[:, :30] = 200
    return image + np.random.default_rng(0).integers(0, 4, image.shape).astype(np.uint8)


def random_cams(labels: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(labels).normal(size=(labels, 6, 9)).astype(np.float32)


@pytest.mark.parametrize("labels", [[7], [3, 1], [2, 9, 4, 15]])
def test_without_pairwise_terms_nothing_changes(labels: list[int]) -> None:
    cams = random_cams(len(labels))
    plain = seeds_from_cams(cams, labels, 40, 60, TAU)
    np.testing.assert_array_equal(refined_seeds(photo(), cams, labels, TAU, NO_PAIRS), plain)
    assert set(np.unique(plain)) == {0, *labels}


def test_the_crf_moves_a_seed_to_the_edge_in_the_photo() -> None:
    """A heat map that falls 8 px short of the bright half's border is brought to it, and not beyond."""
    cam = np.where(np.arange(60) < 22, 1, 0.2)[None, None].repeat(2, 1)
    plain = seeds_from_cams(cam, [5], 40, 60, TAU)
    refined = refined_seeds(photo(), cam, [5], TAU, SEC)
    assert plain[20].tolist() == [5] * 22 + [0] * 38
    assert refined[20].tolist() == [5] * 30 + [0] * 30


def test_scores_are_the_log_odds_against_the_background() -> None:
    image, cams, labels = photo(), random_cams(2), [4, 2]
    classes, scores = refined_scores(image, cams, labels, TAU, SEC)
    assert classes.dtype == np.uint8 and scores.dtype == np.float32
    np.testing.assert_array_equal(np.where(scores >= 0.5, classes, 0), refined_seeds(image, cams, labels, TAU, SEC))
    unary = [np.maximum(one / one.max(), 1e-5) for one in upsample_aligned(cams, 40, 60)]
    log_q = soft(image, np.log(np.stack([*unary, np.full((40, 60), TAU)])), SEC)
    odds = np.exp(log_q[:2].max(0) - log_q[2])
    np.testing.assert_allclose(1e4 ** (2 * scores - 1), odds, rtol=1e-3)
    np.testing.assert_array_equal(classes, np.array(labels)[log_q[:2].argmax(0)])


def test_scores_use_the_whole_range_and_stay_in_it() -> None:
    cam = np.array([[[1.0, 0.0]]])
    _, scores = refined_scores(photo(), cam, [1], TAU, SEC)
    assert 0 <= scores.min() < 0.1 and 0.9 < scores.max() <= 1


@pytest.mark.parametrize("cams", [np.zeros((0, 4, 4)), np.zeros((1, 4, 4))], ids=["no labels", "no evidence"])
def test_without_evidence_all_is_background(cams: npt.NDArray[np.float64]) -> None:
    labels = [3] * len(cams)
    assert not refined_seeds(photo(), cams, labels, TAU, SEC).any()
    classes, scores = refined_scores(photo(), cams, labels, TAU, SEC)
    assert classes.shape == scores.shape == (40, 60)
    assert scores.max() < 0.5
