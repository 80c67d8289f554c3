"""SEC's released layers on three images, recorded in float32 (`sec_losses.npz`), reproduced to 1e-5 relative.

Gradients are compared relative to the largest entry of the recorded one, as the entries span 9 decades.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.golden.recordings import Arrays, files, read, recorded_part
from weakseg.losses.sec import constrain_loss, expand_loss, floored_softmax, seed_loss

LOSSES: dict[str, Callable[[Arrays, Tensor], Tensor]] = {
    "seed": lambda recorded, probs: seed_loss(probs, torch.from_numpy(recorded["cues"])),
    "expand": lambda recorded, probs: expand_loss(probs, torch.from_numpy(recorded["image_labels"])),
    "constrain": lambda recorded, probs: constrain_loss(probs, torch.from_numpy(recorded["crf_log_probs"])),
}


@pytest.fixture(scope="module", params=files("sec_losses.npz"))
def recorded(request: Any) -> Arrays:
    return read(request.param)


def test_probabilities(recorded: Arrays) -> None:
    probs = floored_softmax(torch.from_numpy(recorded["logits"])).numpy()
    expected, actual = recorded_part(recorded, "probs", probs)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


# In float64 the recorded rounding itself shows, 4e-6 of the largest entry for expand.
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-5)])
@pytest.mark.parametrize("name", LOSSES)
def test_loss_and_gradient(recorded: Arrays, name: str, dtype: torch.dtype, tolerance: float) -> None:
    logits = torch.from_numpy(recorded["logits"]).to(dtype, copy=True).requires_grad_()
    loss = LOSSES[name](recorded, floored_softmax(logits))
    assert loss.item() == pytest.approx(recorded[f"{name}_loss"].item(), rel=1e-6)
    loss.backward()
    assert logits.grad is not None
    gradient = logits.grad.float().numpy()
    expected, actual = recorded_part(recorded, f"grad_{name}", gradient)
    largest = recorded.get(f"grad_{name}_largest", np.abs(expected).max())
    assert np.abs(gradient).max() == pytest.approx(largest, rel=1e-5)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=tolerance * largest)
