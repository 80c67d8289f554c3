"""The dense CRF of Krähenbühl & Koltun 2011, as both papers use it, computed by slow loops in float64."""

import math
import os
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from crf_cases import smooth_case
from torch import Tensor

from weakseg.crf.dense_crf import Backend, mean_field
from weakseg.crf.exact import _Pairwise
from weakseg.crf.params import DEEPLAB, SEC, CRFParams

TRAIN = SEC.scaled(12)
Array = npt.NDArray[np.float64]


def slow_kernel(features: list[list[float]]) -> Array:
    """D^{−½} K D^{−½} with K_ij = exp(−½‖f_i − f_j‖²), i = j included."""
    count = len(features)
    kernel = np.empty((count, count))
    for i in range(count):
        for j in range(count):
            squared = sum((a - b) ** 2 for a, b in zip(features[i], features[j], strict=True))
            kernel[i, j] = math.exp(-squared / 2)
    sums = kernel.sum(1)
    return np.array([[kernel[i, j] / math.sqrt(sums[i] * sums[j]) for j in range(count)] for i in range(count)])


def slow_softmax(scores: Array) -> Array:
    exponentials = np.exp(scores - scores.max(0))
    probs: Array = exponentials / exponentials.sum(0)
    return probs


def slow_mean_field(image: npt.NDArray[np.uint8], scores: Array, params: CRFParams) -> Array:
    """Probabilities (C, H, W) of one image."""
    height, width = image.shape[:2]
    places = [(x, y) for y in range(height) for x in range(width)]
    gaussian = slow_kernel([[v / params.gaussian_sigma_xy for v in place] for place in places])
    bilateral = slow_kernel([
        [v / params.bilateral_sigma_xy for v in (x, y)]
        + [int(v) / params.bilateral_sigma_rgb for v in image[y, x]]
        for x, y in places
    ])  # fmt: skip
    flat = scores.reshape(len(scores), -1)
    probs = slow_softmax(flat)
    for _ in range(params.steps):
        message = params.bilateral_weight * probs @ bilateral + params.gaussian_weight * probs @ gaussian
        probs = slow_softmax(flat + message)
    return probs.reshape(scores.shape)


@pytest.mark.parametrize("params", [TRAIN, DEEPLAB.scaled(12), CRFParams(2.5, 3, 40, 0, 1, steps=3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_exact_equals_brute_force(params: CRFParams, dtype: torch.dtype) -> None:
    images, scores = smooth_case(2, 4, 9, 14)
    expected = [slow_mean_field(i, s.double().numpy(), params) for i, s in zip(images, scores, strict=True)]
    actual = mean_field(images, scores.to(dtype), params, "exact")
    assert actual.dtype == dtype
    tolerance = 1e-4 if dtype == torch.float32 else 1e-9
    np.testing.assert_allclose(actual.exp().numpy(), np.stack(expected), rtol=0, atol=tolerance)
    np.testing.assert_allclose(actual.numpy(), np.log(np.stack(expected)), rtol=0, atol=10 * tolerance)


def test_float32_holds_on_the_training_grid_and_saturated_colours() -> None:
    """41×41, colours at both ends of the range, the narrow σ_rgb of `deeplab`: where rounding would show."""
    images, scores = smooth_case(2, 21, 41, 41)
    images[:, ::2] = np.where(images[:, ::2] > 128, 255, 0)
    for params in (TRAIN, DEEPLAB.scaled(12)):
        single, double = (mean_field(images, s, params, "exact") for s in (scores, scores.double()))
        assert (single.exp() - double.exp()).abs().max() < 1e-4


@pytest.mark.parametrize("columns", [1, 7, 40])
def test_memory_bound_does_not_change_the_result(columns: int) -> None:
    images, scores = smooth_case(3, 3, 8, 11)
    whole = mean_field(images, scores, TRAIN, "exact")
    bounded = mean_field(images, scores, TRAIN, "exact", max_bytes=columns * 2 * 88 * 4)
    torch.testing.assert_close(bounded, whole, rtol=0, atol=1e-4)


def test_memory_bound_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel block and its position term stay within `max_bytes`, for groups and for parts of images."""
    sizes: list[int] = []
    previous: list[weakref.ref[Tensor]] = []
    build = _Pairwise._kernel

    def recorded(self: _Pairwise, chosen: slice) -> Tensor:
        assert all(reference() is None for reference in previous), "the last block is still alive"
        kernel = build(self, chosen)
        previous[:] = [weakref.ref(kernel)]
        sizes.append(4 * (kernel.numel() + kernel[0].numel()))
        return kernel

    monkeypatch.setattr(_Pairwise, "_kernel", recorded)
    images, scores = smooth_case(5, 3, 8, 11)
    kernel_bytes = 88 * 88 * 4
    for max_bytes, builds in ((6 * kernel_bytes, 1), (3 * kernel_bytes, 3), (kernel_bytes, 5 * 2 * 11)):
        sizes.clear()
        mean_field(images, scores, TRAIN, "exact", max_bytes=max_bytes)
        assert max(sizes) <= max_bytes
        assert len(sizes) == builds  # K once per call where it fits, else once for its sums and once a step


MEASURE_PEAK = """
import dataclasses, torch
from weakseg.crf import SEC, mean_field
torch.set_num_threads(1)
def peak():  # in kB; getrusage's would start at the peak of the process that started this one
    (line,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
    return int(line.split()[1])
def rise(images, side, max_bytes):
    pixels, scores = torch.zeros(images, side, side, 3, dtype=torch.uint8), torch.randn(images, 21, side, side)
    before = peak()
    mean_field(pixels, scores, dataclasses.replace(SEC.scaled(12), steps=2), "exact", max_bytes=max_bytes)
    return 1024 * (peak() - before)
rise(1, 9, 1 << 20)  # loads what torch loads late
print(rise(6, 41, 8 << 20), rise(6, 41, 1 << 30))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of resident memory as Linux counts it")
def test_peak_memory_stays_within_the_stated_bound() -> None:
    """`max_bytes` for the kernel and some ten tensors the size of the scores, measured from outside."""
    at_once = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}  # freed memory goes back
    environment = {**os.environ, **at_once, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", MEASURE_PEAK], env=environment, capture_output=True, text=True, check=True
    )
    bounded, unbounded = map(int, done.stdout.split())
    scores_bytes, slack_bytes = 6 * 21 * 41 * 41 * 4, 4 << 20
    assert bounded < (8 << 20) + 10 * scores_bytes + slack_bytes
    assert unbounded > 6 * 41**4 * 4 - bounded - slack_bytes  # all kernels at once, so this way of measuring tells


def test_lattice_approximates_exact() -> None:
    images, scores = smooth_case(3, 21, 41, 41)
    exact, approximate = (mean_field(images, scores, TRAIN, backend) for backend in ("exact", "lattice"))
    unary = scores.argmax(1)
    assert (exact.argmax(1) == approximate.argmax(1)).float().mean() >= 0.93
    assert (exact.argmax(1) != unary).float().mean() > 0.05  # the CRF has something to do here


@pytest.mark.parametrize("backend", ["lattice", "exact"])
def test_result_is_a_distribution_and_batch_equals_singles(backend: Backend) -> None:
    images, scores = smooth_case(3, 5, 12, 9)
    together = mean_field(images, scores, TRAIN, backend)
    torch.testing.assert_close(together.exp().sum(1), torch.ones(3, 12, 9))
    for index in range(3):
        alone = mean_field(images[index : index + 1], scores[index : index + 1], TRAIN, backend)
        torch.testing.assert_close(together[index : index + 1], alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("backend", ["lattice", "exact"])
def test_logits_and_log_probabilities_give_the_same(backend: Backend) -> None:
    images, scores = smooth_case(1, 4, 7, 8)
    expected = mean_field(images, scores, TRAIN, backend)
    torch.testing.assert_close(mean_field(images, scores.log_softmax(1), TRAIN, backend), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("backend", ["lattice", "exact"])
def test_degenerate_inputs(backend: Backend) -> None:
    images, scores = smooth_case(2, 3, 6, 5)
    one_class = mean_field(images, scores[:, :1], TRAIN, backend)
    assert (one_class == 0).all()
    one_pixel = mean_field(images[:, :1, :1], scores[:, :, :1, :1], TRAIN, backend)
    expected = [
        slow_mean_field(i, s.double().numpy(), TRAIN)
        for i, s in zip(images[:, :1, :1], scores[:, :, :1, :1], strict=True)
    ]
    np.testing.assert_allclose(one_pixel.exp().numpy(), np.stack(expected), atol=0.02)
    flat = mean_field(np.full_like(images, 77), torch.zeros_like(scores), TRAIN, backend)
    torch.testing.assert_close(flat.exp(), torch.full_like(scores, 1 / 3))
    assert mean_field(images[:0], scores[:0], TRAIN, backend).shape == (0, 3, 6, 5)
    extreme = mean_field(images, scores * 1e4, TRAIN, backend)
    assert extreme.isfinite().all()
    assert (extreme.argmax(1) == scores.argmax(1)).all()


def test_no_steps_is_the_softmax() -> None:
    images, scores = smooth_case(1, 3, 5, 5)
    params = CRFParams(10, 5, 13, 3, 1, steps=0)
    torch.testing.assert_close(mean_field(images, scores, params, "exact"), scores.log_softmax(1))
    torch.testing.assert_close(mean_field(images, scores, params, min_prob=0), scores.log_softmax(1))


@pytest.mark.parametrize("backend", ["lattice", "exact"])
def test_min_prob_floors_and_renormalizes(backend: Backend) -> None:
    images, scores = smooth_case(1, 6, 9, 9)
    plain = mean_field(images, scores * 3, TRAIN, backend, min_prob=0).double().exp()
    floored = plain.clamp_min(1e-3)
    expected = floored / floored.sum(1, keepdim=True)
    actual = mean_field(images, scores * 3, TRAIN, backend, min_prob=1e-3)
    torch.testing.assert_close(actual.double(), expected.log(), rtol=0, atol=1e-5)
    assert (plain < 1e-4).any()


@pytest.mark.parametrize("max_bytes", [1 << 30, 30 * 30 * 8 * 2, 30 * 8 * 2 * 4])
def test_exact_gradient(max_bytes: int) -> None:
    """Through the unrolled mean field: K kept, rebuilt for each image, and rebuilt in blocks of columns."""
    images, scores = smooth_case(2, 3, 5, 6)
    params = CRFParams(2, 3, 60, 1, 1.5, steps=4)

    def run(inputs: Tensor) -> Tensor:
        return mean_field(images, inputs, params, "exact", gradient="exact", max_bytes=max_bytes)

    assert torch.autograd.gradcheck(run, scores.double().requires_grad_(), fast_mode=True)


def test_exact_gradient_entry_by_entry() -> None:
    images, scores = smooth_case(1, 3, 2, 2)
    params = CRFParams(2, 3, 60, 1, 1.5, steps=4)

    def run(inputs: Tensor) -> Tensor:
        return mean_field(images, inputs, params, "exact", gradient="exact")

    assert torch.autograd.gradcheck(run, scores.double().requires_grad_())


def test_gradient_none_is_constant() -> None:
    images, scores = smooth_case(1, 3, 5, 6)
    scores.requires_grad_()
    for backend in ("lattice", "exact"):
        assert not mean_field(images, scores, TRAIN, backend).requires_grad


def test_autocast_and_bfloat16_are_computed_in_float32() -> None:
    images, scores = smooth_case(1, 3, 8, 8)
    expected = mean_field(images, scores, TRAIN, "exact")
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(mean_field(images, scores, TRAIN, "exact"), expected)
    rounded = scores.bfloat16()
    for backend in ("lattice", "exact"):
        actual = mean_field(images, rounded, TRAIN, backend)
        assert actual.dtype == torch.float32
        torch.testing.assert_close(actual, mean_field(images, rounded.float(), TRAIN, backend))


def test_accepts_tensors_and_strided_arrays() -> None:
    images, scores = smooth_case(2, 3, 6, 7)
    bgr = images[..., ::-1]
    for backend in ("lattice", "exact"):
        expected = mean_field(np.ascontiguousarray(bgr), scores, TRAIN, backend)
        assert torch.equal(mean_field(torch.from_numpy(bgr.copy()), scores, TRAIN, backend), expected)
        assert torch.equal(mean_field(bgr, scores, TRAIN, backend), expected)
        strided = scores.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
        torch.testing.assert_close(mean_field(bgr, strided, TRAIN, backend), expected)


def test_mistakes_are_refused() -> None:
    images, scores = smooth_case(1, 3, 5, 6)
    with pytest.raises(ValueError, match="lattice cannot be differentiated"):
        mean_field(images, scores, TRAIN, "lattice", gradient="exact")
    with pytest.raises(ValueError, match="backend"):
        mean_field(images, scores, TRAIN, "fast")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"images must be uint8 \(1, 5, 6, 3\)"):
        mean_field(images.transpose(0, 2, 1, 3), scores, TRAIN)
    with pytest.raises(ValueError, match="uint8"):
        mean_field(images.astype(np.float32), scores, TRAIN, "exact")
    with pytest.raises(ValueError, match="widths must be positive"):
        CRFParams(10, 80, 0, 3, 3)


def test_scaled_divides_the_positions_only() -> None:
    assert CRFParams(10, 80, 13, 3, 3, steps=7).scaled(8) == CRFParams(10, 10, 13, 3, 0.375, steps=7)
