"""IRN's walk, loss and label CRF, ToCo's PAR and 1-stage-wseg's PAMR, recorded from their released code in float32."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.golden.recordings import Arrays, cases, read_case, recorded_part
from weakseg.crf import CRFParams
from weakseg.refinement import affinity_loss, boundary_walk, pixel_adaptive, smoothed_labels

IRN = CRFParams(
    bilateral_weight=10, bilateral_sigma_xy=50, bilateral_sigma_rgb=5, gaussian_weight=3, gaussian_sigma_xy=3
)
each_case = pytest.mark.parametrize(("path", "number"), cases("refine.npz"))


@each_case
def test_boundary_walk(path: Path, number: int) -> None:
    case = read_case(path, number)
    walked = boundary_walk(torch.from_numpy(case["cams"]), torch.from_numpy(case["edge"]), radius=5, power=10)
    np.testing.assert_allclose(walked.numpy(), case["walk"], rtol=0, atol=1e-4)
    assert np.abs(case["walk"] - case["cams"]).max() > 0.1  # the walk does something


@each_case
def test_affinity_loss(path: Path, number: int) -> None:
    case = read_case(path, number)
    edges, labels = (torch.from_numpy(case[name])[None] for name in ("edge", "label"))
    loss = affinity_loss(edges, labels, radius=int(case["radius"]))
    assert loss.item() == pytest.approx(case["affinity_loss"].item(), rel=1e-5)


@each_case
@pytest.mark.parametrize("rule", ["par", "pamr"])
def test_pixel_adaptive(path: Path, number: int, rule: Any) -> None:
    case = read_case(path, number)
    image = torch.from_numpy(case["image"]).permute(2, 0, 1)[None].float()
    refined = pixel_adaptive(image, torch.from_numpy(case["masks"])[None], rule, rounds=10)[0].numpy()
    expected, actual = recorded_part(case, rule, refined)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4)


def label_crf_cases() -> list[tuple[Path, int]]:
    return [case for case in cases("refine.npz") if "noisy" in read_case(*case.values)]


@pytest.mark.parametrize(("path", "number"), label_crf_cases())
def test_label_crf(path: Path, number: int) -> None:
    case: Arrays = read_case(path, number)
    smoothed = smoothed_labels(case["image"], case["noisy"], IRN)
    # Not all: the Gaussian of 3 px is the exact convolution here, on the lattice there.
    assert (smoothed == case["smoothed"]).mean() >= 0.995
    assert (case["noisy"] != case["smoothed"]).mean() > 0.1  # the CRF does something
