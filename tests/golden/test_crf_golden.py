"""The lattice CRF against the one SEC's authors ran (sec_losses.npz, recorded from their layer)."""

from typing import Any

import pytest
import torch

from tests.golden.recordings import Arrays, files, read
from weakseg.crf.dense_crf import mean_field
from weakseg.crf.params import SEC


@pytest.fixture(scope="module", params=files("sec_losses.npz"))
def golden(request: Any) -> Arrays:
    return read(request.param)


@pytest.mark.parametrize("workers", [1, 2])
def test_lattice_equals_the_released_layer(golden: Arrays, workers: int) -> None:
    """Raw logits, BGR, floored at 1e-4 and renormalized."""
    bgr = golden["images_rgb41"][..., ::-1]
    actual = mean_field(bgr, torch.from_numpy(golden["logits"]), SEC.scaled(12), workers=workers)
    torch.testing.assert_close(actual, torch.from_numpy(golden["crf_log_probs"]), rtol=0, atol=1e-4)


def test_the_order_of_colours_matters(golden: Arrays) -> None:
    """RGB changes about 2 % of the labels: the reason why training has to say which order it means."""
    actual = mean_field(golden["images_rgb41"], torch.from_numpy(golden["logits"]), SEC.scaled(12), workers=1)
    differing = (actual.numpy().argmax(1) != golden["crf_log_probs"].argmax(1)).mean()
    assert 0.005 < differing < 0.05


def test_exact_agrees_with_the_released_layer(golden: Arrays) -> None:
    actual = mean_field(golden["images_rgb41"], torch.from_numpy(golden["logits"]), SEC.scaled(12), "exact")
    assert (actual.numpy().argmax(1) == golden["crf_log_probs"].argmax(1)).mean() >= 0.93
