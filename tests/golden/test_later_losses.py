"""EPS's saliency loss and AMN's balanced cross-entropy, recorded from their released code, to 1e-5 relative."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.golden.recordings import Arrays, cases, read_case
from weakseg.losses import balanced_cross_entropy, eps_saliency_loss

LOSSES: dict[str, Callable[[Tensor, dict[str, Tensor]], Tensor]] = {
    "eps": lambda logits, case: eps_saliency_loss(logits, case["saliency"], case["image_labels"], 0.4, 0.5),
    "balanced": lambda logits, case: balanced_cross_entropy(logits, case["target"], label_smoothing=0.4),
}


def tensors(case: Arrays) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.asarray(array)) for name, array in case.items()}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(("path", "number"), cases("later_losses.npz"))
def test_loss_and_gradient(path: Path, number: int, name: str) -> None:
    case = tensors(read_case(path, number))
    logits = case["logits"].clone().requires_grad_()
    loss = LOSSES[name](logits, case)
    assert loss.item() == pytest.approx(case[f"{name}_loss"].item(), rel=1e-5)
    loss.backward()  # type: ignore[no-untyped-call]
    expected = case[f"grad_{name}"]
    assert logits.grad is not None and expected.abs().max() > 0
    torch.testing.assert_close(logits.grad, expected, rtol=1e-5, atol=1e-6 * expected.abs().max().item())
