"""The lattice CRF against the one SEC's authors ran (golden/sec_losses.npz, recorded from their layer)."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from weakseg.crf.dense_crf import mean_field
from weakseg.crf.params import SEC

GOLDEN = Path(__file__).resolve().parents[2] / ".." / "shared" / "golden" / "sec_losses.npz"
pytestmark = pytest.mark.skipif(not GOLDEN.exists(), reason="shared/golden/sec_losses.npz is not beside the repo")


@pytest.fixture(scope="module")
def golden() -> dict[str, npt.NDArray[Any]]:
    with np.load(GOLDEN, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


@pytest.mark.parametrize("workers", [1, 2])
def test_lattice_equals_the_released_layer(golden: dict[str, npt.NDArray[Any]], workers: int) -> None:
    """Raw logits, BGR, floored at 1e-4 and renormalized."""
    bgr = golden["images_rgb41"][..., ::-1]
    actual = mean_field(bgr, torch.from_numpy(golden["logits"]), SEC.scaled(12), workers=workers)
    np.testing.assert_allclose(actual.numpy(), golden["crf_log_probs"], rtol=0, atol=1e-4)


def test_the_order_of_colours_matters(golden: dict[str, npt.NDArray[Any]]) -> None:
    """RGB changes about 2 % of the labels: the reason why training has to say which order it means."""
    actual = mean_field(golden["images_rgb41"], torch.from_numpy(golden["logits"]), SEC.scaled(12), workers=1)
    differing = (actual.numpy().argmax(1) != golden["crf_log_probs"].argmax(1)).mean()
    assert 0.005 < differing < 0.05


def test_exact_agrees_with_the_released_layer(golden: dict[str, npt.NDArray[Any]]) -> None:
    actual = mean_field(golden["images_rgb41"], torch.from_numpy(golden["logits"]), SEC.scaled(12), "exact")
    assert (actual.numpy().argmax(1) == golden["crf_log_probs"].argmax(1)).mean() >= 0.93
