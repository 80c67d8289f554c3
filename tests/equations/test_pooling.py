"""SEC equation 3: global weighted rank pooling, against slow loops straight from the paper."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from weakseg.losses.pooling import decay_for_share, global_weighted_rank_pool


def pool_by_loops(scores: Tensor, decay: Tensor) -> Tensor:
    """(B, C, H, W), (B, C) -> (B, C): equation 3, 0^0 = 1."""
    pooled = torch.zeros(scores.shape[:2], dtype=torch.float64)
    for image in range(scores.shape[0]):
        for label in range(scores.shape[1]):
            values = sorted((float(value) for value in scores[image, label].flatten()), reverse=True)
            powers = [float(decay[image, label]) ** j for j in range(len(values))]
            pooled[image, label] = sum(p * v for p, v in zip(powers, values, strict=True)) / sum(powers)
    return pooled


def random_scores(*shape: int, random_seed: int = 0) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(random_seed))


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.996, 1.0])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 1, 1, 1), (3, 2, 1, 7)])
def test_equation_3_by_loops(decay: float, shape: tuple[int, ...]) -> None:
    scores = random_scores(*shape)
    expected = pool_by_loops(scores, torch.full(shape[:2], decay, dtype=torch.float64))
    torch.testing.assert_close(global_weighted_rank_pool(scores, decay), expected, rtol=1e-12, atol=0)


def test_hand_computed() -> None:
    # sorted 4, 2, 1; weights 1, 1/2, 1/4: (4 + 1 + 1/4) / (7/4) = 3
    assert global_weighted_rank_pool(torch.tensor([[[[1.0, 4.0, 2.0]]]]), 0.5).item() == pytest.approx(3.0)


def test_limits_are_maximum_and_mean() -> None:
    scores = random_scores(2, 3, 5, 5).float()
    assert torch.equal(global_weighted_rank_pool(scores, 0.0), scores.amax((2, 3)))
    torch.testing.assert_close(global_weighted_rank_pool(scores, 1.0), scores.mean((2, 3)))
    torch.testing.assert_close(global_weighted_rank_pool(scores, 1e-9), scores.amax((2, 3)))
    torch.testing.assert_close(global_weighted_rank_pool(scores, 1 - 1e-9), scores.mean((2, 3)))


@pytest.mark.parametrize(
    "decay",
    [torch.tensor([0.0, 0.5, 1.0]), torch.tensor([[0.0], [0.9]]), torch.rand(2, 3), torch.tensor(0.7)],
)
def test_tensor_decays_broadcast_to_images_and_classes(decay: Tensor) -> None:
    scores = random_scores(2, 3, 4, 4)
    pooled = global_weighted_rank_pool(scores, decay)
    torch.testing.assert_close(pooled, pool_by_loops(scores, decay.double().expand(2, 3)), rtol=1e-12, atol=0)


def test_the_order_of_locations_does_not_matter() -> None:
    scores = random_scores(1, 2, 3, 4)
    shuffled = scores.flatten(2)[:, :, torch.randperm(12, generator=torch.Generator().manual_seed(1))].view_as(scores)
    torch.testing.assert_close(global_weighted_rank_pool(scores, 0.8), global_weighted_rank_pool(shuffled, 0.8))


@pytest.mark.parametrize("decay", [0.0, 0.6, 1.0, torch.tensor([0.0, 0.6, 1.0])])
def test_gradcheck(decay: float | Tensor) -> None:
    scores = random_scores(2, 3, 3, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda values: global_weighted_rank_pool(values, decay), (scores,))


@pytest.mark.parametrize("decay", [0.0, 1e-30, 0.5, 0.999, 1.0, torch.tensor([0.0, 0.5, 1.0])])
@pytest.mark.parametrize("value", [0.0, 1.0, -3.0])
def test_constant_maps_pool_to_the_constant_with_a_finite_gradient(decay: float | Tensor, value: float) -> None:
    scores = torch.full((2, 3, 41, 41), value, requires_grad=True)
    pooled = global_weighted_rank_pool(scores, decay)
    torch.testing.assert_close(pooled, torch.full((2, 3), value))
    pooled.sum().backward()
    assert scores.grad is not None
    # The weights of the locations sum to 1, so the gradients do too.
    torch.testing.assert_close(scores.grad.sum((2, 3)), torch.ones(2, 3))


def test_bf16_scores_under_autocast_are_pooled_in_float32() -> None:
    scores = torch.rand(1, 2, 41, 41, generator=torch.Generator().manual_seed(0)).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pooled = global_weighted_rank_pool(scores, 0.996)
    assert pooled.dtype == torch.float32
    expected = pool_by_loops(scores, torch.full((1, 2), 0.996)).float()
    torch.testing.assert_close(pooled, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("decay", [-0.1, 1.1, float("nan"), torch.tensor([0.5, 1.5]), torch.tensor(float("nan"))])
def test_a_decay_out_of_range_is_refused(decay: float | Tensor) -> None:
    with pytest.raises(ValueError, match="decay"):
        global_weighted_rank_pool(torch.zeros(1, 2, 2, 2), decay)


def test_decay_for_share_gives_the_papers_decays() -> None:
    assert round(decay_for_share(0.1, 41 * 41), 3) == 0.996
    assert round(decay_for_share(0.3, 41 * 41), 3) == 0.999


def test_the_share_holds_half_of_the_weight_of_a_long_list() -> None:
    # With n large, the top k = share * n of the weights d^j, j < n, sum to 1/2 of what all j >= 0 sum to.
    decay = decay_for_share(0.1, 10_000)
    weights = decay ** torch.arange(10_000, dtype=torch.float64)
    assert float(weights[:1000].sum() / weights.sum()) == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize(("share", "num_locations"), [(0.0, 10), (1.5, 10), (0.1, 0), (float("nan"), 10)])
def test_decay_for_share_refuses_what_has_no_decay(share: float, num_locations: int) -> None:
    with pytest.raises(ValueError, match="share_of_locations"):
        decay_for_share(share, num_locations)
