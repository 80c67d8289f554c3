"""SEC's released layers on three images, recorded in float32 (`sec_losses.npz`), reproduced to 1e-5 relative.

Gradients are compared relative to the largest entry of the recorded one, as the entries span 9 decades.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from weakseg.losses.sec import constrain_loss, expand_loss, floored_softmax, seed_loss

RECORDED = Path(__file__).resolve().parents[2].parent / "shared" / "golden" / "sec_losses.npz"
pytestmark = pytest.mark.skipif(not RECORDED.is_file(), reason="shared/golden/sec_losses.npz is not there")

Arrays = Mapping[str, Tensor]
LOSSES: dict[str, Callable[[Arrays, Tensor], Tensor]] = {
    "seed": lambda recorded, probs: seed_loss(probs, recorded["cues"]),
    "expand": lambda recorded, probs: expand_loss(probs, recorded["image_labels"]),
    "constrain": lambda recorded, probs: constrain_loss(probs, recorded["crf_log_probs"]),
}


@pytest.fixture(scope="module")
def recorded() -> Arrays:
    with np.load(RECORDED, allow_pickle=False) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def test_probabilities(recorded: Arrays) -> None:
    torch.testing.assert_close(floored_softmax(recorded["logits"]), recorded["probs"], rtol=1e-5, atol=0)


# In float64 the recorded rounding itself shows, 4e-6 of the largest entry for expand.
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-5)])
@pytest.mark.parametrize("name", LOSSES)
def test_loss_and_gradient(recorded: Arrays, name: str, dtype: torch.dtype, tolerance: float) -> None:
    logits = recorded["logits"].to(dtype, copy=True).requires_grad_()
    loss = LOSSES[name](recorded, floored_softmax(logits))
    assert loss.item() == pytest.approx(recorded[f"{name}_loss"].item(), rel=1e-6)
    loss.backward()
    expected = recorded[f"grad_{name}"]
    assert logits.grad is not None
    largest = expected.abs().max().item()
    torch.testing.assert_close(logits.grad.float(), expected, rtol=1e-5, atol=tolerance * largest)
