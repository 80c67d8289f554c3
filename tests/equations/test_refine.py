"""The test-time CRF: which classes run, the Gaussian kernel by convolution, and both backends against each other."""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from crf_cases import smooth_case
from pydensecrf import densecrf
from torch import Tensor

from weakseg.crf import lattice
from weakseg.crf.dense_crf import mean_field
from weakseg.crf.exact import exact_labels, exact_mean_field
from weakseg.crf.lattice import lattice_labels
from weakseg.crf.params import DEEPLAB, KEEP_FLOOR, SEC, CRFParams, _divided


def refine_case(
    random_seed: int, classes: int = 21, height: int = 90, width: int = 120
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Three likely classes, two rivals at half their odds, the rest unlikely but together worth a tenth."""
    images, scores = smooth_case(1, classes, height, width, random_seed)
    scores[:, 3:] -= 5
    scores[:, 3:5] += 2
    return images[0], scores[0].log_softmax(0).numpy()


@pytest.mark.parametrize("random_seed", range(4))
def test_refine_without_unsupported_classes_keeps_the_labels(random_seed: int) -> None:
    image, log_probs = refine_case(random_seed)
    every_class = lattice.soft(image, log_probs, SEC).argmax(0)
    pooled = lattice_labels(image, log_probs, SEC)
    assert pooled.dtype == np.uint8
    assert len(_divided(log_probs, KEEP_FLOOR)[0]) < 10  # something was left out
    assert (pooled == every_class).mean() >= 0.998
    assert (lattice_labels(image, log_probs, SEC, keep_floor=0) == every_class).all()


def test_refine_keeps_what_is_highest_anywhere() -> None:
    """Even where no class reaches the floor, the most probable one is a candidate."""
    image, log_probs = refine_case(0)
    flat = torch.from_numpy(log_probs * 0.1).log_softmax(0).numpy()
    assert np.exp(flat.max()) < KEEP_FLOOR
    assert set(np.unique(flat.argmax(0))) <= set(_divided(flat, KEEP_FLOOR)[0])
    every_class = lattice.soft(image, flat, SEC).argmax(0)
    assert (lattice_labels(image, flat, SEC) == every_class).mean() >= 0.998


def test_refine_of_one_supported_class_needs_no_crf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(densecrf, "DenseCRF2D")
    log_probs = np.full((5, 4, 6), math.log(0.01), np.float32)
    log_probs[3] = math.log(0.96)
    assert (lattice_labels(np.zeros((4, 6, 3), np.uint8), log_probs, SEC) == 3).all()


@pytest.mark.parametrize("random_seed", range(2))
def test_exact_refine_agrees_with_the_lattice_and_with_itself_in_blocks(random_seed: int) -> None:
    image, log_probs = refine_case(random_seed, height=45, width=60)  # time grows with the square of the pixels
    exact = exact_labels(image, log_probs, SEC)
    assert exact.dtype == np.uint8
    assert (exact == lattice_labels(image, log_probs, SEC)).mean() >= 0.93
    assert (exact == exact_labels(image, log_probs, SEC, max_bytes=1 << 20)).mean() >= 0.999
    every_class = mean_field(image[None], torch.from_numpy(log_probs)[None], SEC, "exact")[0].argmax(0).numpy()
    assert (exact == every_class).mean() >= 0.998


def test_exact_refine_takes_what_the_lattices_takes() -> None:
    image, log_probs = refine_case(0)
    one_class = np.full((5, *image.shape[:2]), math.log(0.01), np.float32)
    one_class[3] = math.log(0.96)
    assert (exact_labels(image, one_class, SEC) == 3).all()
    with pytest.raises(ValueError, match="uint8"):
        exact_labels(image[:-1], log_probs, SEC)


@pytest.mark.parametrize(("height", "width"), [(23, 31), (1, 40), (40, 1)])
@pytest.mark.parametrize("classes", [2, 4])
def test_the_gaussian_by_convolution_is_its_sum(height: int, width: int, classes: int) -> None:
    images, scores = smooth_case(1, classes, height, width, 3)
    params = CRFParams(0, 80, 13, 3, 3)  # no bilateral kernel
    energy = -scores[0].reshape(classes, -1).numpy()
    exact = mean_field(images, scores, params, "exact")[0].exp().reshape(classes, -1).numpy()
    by_convolution, by_lattice = (
        np.abs(infer(images[0], energy, params) - exact).max() for infer in (lattice._infer_convolved, lattice._infer)
    )
    assert by_convolution < 0.01
    assert by_convolution < by_lattice / 3


@pytest.mark.parametrize("random_seed", range(3))
@pytest.mark.parametrize("params", [SEC, DEEPLAB])
def test_up_to_four_classes_convolved_have_the_lattices_labels(random_seed: int, params: CRFParams) -> None:
    image, log_probs = refine_case(random_seed, classes=4)
    energy, class_weights = -log_probs.reshape(4, -1), np.array([1, 1, 1, 0.1], np.float32)
    for weights in (None, class_weights):
        on_lattice = lattice._infer(image, energy, params, weights).argmax(0)
        convolved = lattice._infer_convolved(image, energy, params, weights).argmax(0)
        assert (convolved == on_lattice).mean() >= 0.998
        assert len(np.unique(convolved)) > 1


def test_refine_leaves_its_inputs_alone() -> None:
    image, log_probs = refine_case(1, classes=4)
    for array in (image, log_probs):
        array.flags.writeable = False
    for keep_floor in (0, 0.2):
        lattice_labels(image, log_probs, SEC, keep_floor)


@pytest.mark.parametrize(
    ("supported", "kept"), [(1, 1), (2, 3), (3, 3), (4, 7), (7, 7), (8, 11), (19, 19), (20, 21), (21, 21)]
)
def test_kept_classes_and_the_pool_fill_the_lattice(supported: int, kept: int) -> None:
    """Multiples of four with the pool, filled up by the likeliest of those without support."""
    probs = np.linspace(0.02, 0.01, 21)[::-1, None, None] * np.ones((1, 1, supported))
    for label in range(supported):
        probs[label, 0, label] = 0.5
    own, pooled = _divided(np.log(probs / probs.sum(0)).astype(np.float32), 0.3)
    assert sorted([*own, *pooled]) == list(range(21))
    assert set(own) == {*range(supported), *range(21 - (kept - supported), 21)}


@pytest.mark.parametrize("infer", ["lattice", "convolved", "exact"])
def test_potts_factors_scale_both_weights_of_their_own_class(infer: str) -> None:
    images, scores = smooth_case(1, 3, 23, 31, 5)

    def probs(maps: Tensor, factors: list[float], params: CRFParams) -> npt.NDArray[np.float32]:
        weights = torch.tensor(factors, dtype=torch.float32)
        if infer == "exact":
            return (
                exact_mean_field(torch.from_numpy(images), maps, params, 1 << 30, weights)[0].exp().flatten(1).numpy()
            )
        function = lattice._infer if infer == "lattice" else lattice._infer_convolved
        return function(images[0], -maps[0].reshape(3, -1).numpy(), params, weights.numpy()).copy()

    plain, halved = CRFParams(2, 10, 13, 1, 2), CRFParams(1, 10, 13, 0.5, 2)
    np.testing.assert_allclose(probs(scores, [0.5] * 3, plain), probs(scores, [1] * 3, halved), atol=1e-4)
    of_the_first, of_the_last = probs(scores, [0.1, 1, 1], plain), probs(scores.flip(1), [1, 1, 0.1], plain)
    np.testing.assert_allclose(of_the_first, of_the_last[::-1], atol=1e-4)
    assert np.abs(of_the_first - probs(scores, [1] * 3, plain)).max() > 0.1


@pytest.mark.parametrize("refine", [lattice_labels, exact_labels])
def test_the_pool_of_classes_without_support_cannot_win(refine: Callable[..., npt.NDArray[np.uint8]]) -> None:
    """Together they are likelier than any class with support, at every pixel."""
    probs = np.full((21, 12, 16), 0.45 / 19, np.float32)
    probs[0], probs[1] = 0.35, 0.2
    probs[:2, :, 8:] = probs[1::-1, :, 8:]
    labels = refine(np.zeros((12, 16, 3), np.uint8), np.log(probs), CRFParams(0.1, 3, 13, 0.1, 3))
    assert labels.tolist() == [[0] * 8 + [1] * 8] * 12
