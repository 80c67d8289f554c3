"""SEC equations 1, 2, 4 and 5 against slow loops straight from the paper, invariants, degenerate inputs."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from weakseg.errors import UserError
from weakseg.losses.balanced import balanced_cross_entropy
from weakseg.losses.crf_target import floor_log_probs, with_2016_gradient
from weakseg.losses.cross_entropy import cross_entropy_loss
from weakseg.losses.eps import eps_saliency_loss
from weakseg.losses.pooling import global_weighted_rank_pool
from weakseg.losses.sec import (
    constrain_loss,
    expand_loss,
    floored_softmax,
    sec_loss_terms,
    seed_loss,
)
from weakseg.training.optimization import weighted_sum

WEIGHTS = {"seed": 1.0, "expand": 1.0, "constrain": 1.0}


class Batch:
    """Random logits, cues, labels and CRF output; double precision, every image with cues and labels."""

    def __init__(self, num_images: int = 3, num_classes: int = 4, side: int = 3, random_seed: int = 0) -> None:
        random = torch.Generator().manual_seed(0)
        shape = (num_images, num_classes, side, side)
        self.logits = 2 * torch.randn(shape, generator=random, dtype=torch.float64)
        self.cues = torch.rand(shape, generator=random) < 0.3
        self.image_labels = torch.rand(num_images, num_classes - 1, generator=random) < 0.5
        crf_scores = 3 * torch.randn(shape, generator=random, dtype=torch.float64)
        self.crf_log_probs = torch.log_softmax(crf_scores, 1)
        self.probs = floored_softmax(self.logits)


def seed_by_loops(probs: Tensor, cues: Tensor, classes: range) -> float:
    total = 0.0
    num_images, _, height, width = probs.shape
    for image in range(num_images):
        log_likelihood, count = 0.0, 0
        for label in classes:
            for row in range(height):
                for column in range(width):
                    if cues[image, label, row, column]:
                        log_likelihood += math.log(probs[image, label, row, column])
                        count += 1
        total += -log_likelihood / count if count else 0.0
    return total / num_images


def pool_by_loops(score_map: Tensor, decay: float) -> float:
    values = sorted((float(value) for value in score_map.flatten()), reverse=True)
    powers = [decay**j for j in range(len(values))]
    return sum(p * v for p, v in zip(powers, values, strict=True)) / sum(powers)


def expand_by_loops(probs: Tensor, image_labels: Tensor, present: float, absent: float, background: float) -> float:
    total = 0.0
    for image_probs, labels in zip(probs, image_labels, strict=True):
        in_image = [c + 1 for c in range(len(labels)) if labels[c]]
        not_in_image = [c + 1 for c in range(len(labels)) if not labels[c]]
        for c in in_image:
            total -= math.log(pool_by_loops(image_probs[c], present)) / len(in_image)
        for c in not_in_image:
            total -= math.log(1 - pool_by_loops(image_probs[c], absent)) / len(not_in_image)
        total -= math.log(pool_by_loops(image_probs[0], background))
    return total / len(probs)


def constrain_by_loops(probs: Tensor, crf_log_probs: Tensor) -> float:
    total = 0.0
    num_images, num_classes, height, width = probs.shape
    for image in range(num_images):
        for row in range(height):
            for column in range(width):
                q = [max(math.exp(value), 1e-4) for value in crf_log_probs[image, :, row, column]]
                for c in range(num_classes):
                    q_c = q[c] / sum(q)
                    total += q_c * math.log(q_c / probs[image, c, row, column])
    return total / (num_images * height * width)


def test_floored_softmax_by_loops() -> None:
    logits = Batch().logits
    for image, row, column in [(0, 0, 0), (2, 1, 2)]:
        exps = [math.exp(value) for value in logits[image, :, row, column]]
        floored = [value / sum(exps) + 1e-4 for value in exps]
        expected = torch.tensor([value / sum(floored) for value in floored], dtype=torch.float64)
        torch.testing.assert_close(floored_softmax(logits)[image, :, row, column], expected)


def test_equation_2_by_loops() -> None:
    batch = Batch()
    assert seed_loss(batch.probs, batch.cues).item() == pytest.approx(seed_by_loops(batch.probs, batch.cues, range(4)))
    foreground_only = seed_loss(batch.probs, batch.cues, include_background=False)
    assert foreground_only.item() == pytest.approx(seed_by_loops(batch.probs, batch.cues, range(1, 4)))


@pytest.mark.parametrize("decays", [(0.996, 0.0, 0.999), (0.7, 0.2, 0.9), (0.0, 0.0, 1.0), (1.0, 1.0, 0.0)])
def test_equation_4_by_loops(decays: tuple[float, float, float]) -> None:
    batch = Batch()
    expected = expand_by_loops(batch.probs, batch.image_labels, *decays)
    assert expand_loss(batch.probs, batch.image_labels, *decays).item() == pytest.approx(expected, rel=1e-9)


def test_equation_5_by_loops() -> None:
    batch = Batch(side=5)
    assert batch.crf_log_probs.exp().min() < 5e-5  # the floor matters
    expected = constrain_by_loops(batch.probs, batch.crf_log_probs)
    assert constrain_loss(batch.probs, batch.crf_log_probs).item() == pytest.approx(expected, rel=1e-6)


def test_equation_1_is_the_weighted_sum_of_its_terms() -> None:
    batch = Batch()
    weights = {"seed": 0.5, "expand": 2.0, "constrain": 3.0}
    terms = sec_loss_terms(
        batch.logits, batch.cues, batch.image_labels, batch.crf_log_probs, weights, decay_present=0.7
    )
    assert list(terms) == ["seed", "expand", "constrain"]
    seed = seed_by_loops(batch.probs, batch.cues, range(4))
    expand = expand_by_loops(batch.probs, batch.image_labels, 0.7, 0.0, 0.999)
    constrain = constrain_by_loops(batch.probs, batch.crf_log_probs)
    total = weighted_sum(terms, weights)
    assert total.item() == pytest.approx(0.5 * seed + 2 * expand + 3 * constrain, rel=1e-6)


def test_terms_of_weight_0_are_not_computed() -> None:
    batch = Batch()
    weights = {"seed": 1.0, "expand": 0.0, "constrain": 0.0}
    terms = sec_loss_terms(batch.logits, batch.cues, batch.image_labels, None, weights)
    assert list(terms) == ["seed"]
    with pytest.raises(ValueError, match="crf_log_probs"):
        sec_loss_terms(batch.logits, batch.cues, batch.image_labels, None, WEIGHTS)


@pytest.mark.parametrize(("weights", "message"), [({"sede": 1.0}, "sede"), ({"seed": 0.0}, "all are 0"), ({}, "all")])
def test_weights_that_name_no_term_are_refused(weights: dict[str, float], message: str) -> None:
    batch = Batch()
    with pytest.raises(UserError, match=message):
        sec_loss_terms(batch.logits, batch.cues, batch.image_labels, batch.crf_log_probs, weights)


def test_hand_computed_values() -> None:
    probs = torch.tensor([[[[0.5, 0.25]], [[0.5, 0.75]]]])
    cues = torch.tensor([[[[False, True]], [[True, False]]]])
    assert seed_loss(probs, cues).item() == pytest.approx((math.log(4) + math.log(2)) / 2)
    background = -math.log(0.375)
    labels = torch.tensor([[True]])
    assert expand_loss(probs, labels, 0.0, 0.0, 1.0).item() == pytest.approx(-math.log(0.75) + background)
    assert expand_loss(probs, ~labels, 0.0, 0.0, 1.0).item() == pytest.approx(-math.log(0.25) + background)
    crf = torch.full_like(probs, math.log(0.5))
    assert constrain_loss(probs, crf).item() == pytest.approx((0.5 * math.log(2) + 0.5 * math.log(2 / 3)) / 2)
    assert constrain_loss(probs, probs.log()).item() == pytest.approx(0, abs=1e-7)


def test_the_mean_of_single_images_is_the_batch() -> None:
    batch = Batch()
    for loss in (
        lambda i: seed_loss(batch.probs[i], batch.cues[i]),
        lambda i: expand_loss(batch.probs[i], batch.image_labels[i]),
        lambda i: constrain_loss(batch.probs[i], batch.crf_log_probs[i]),
    ):
        singles = torch.stack([loss(slice(i, i + 1)) for i in range(3)])
        torch.testing.assert_close(loss(slice(None)), singles.mean())


def test_locations_without_cue_do_not_matter_to_the_seed_loss() -> None:
    batch = Batch()
    changed = torch.where(batch.cues.any(1, keepdim=True), batch.logits, torch.randn_like(batch.logits))
    assert not torch.equal(changed, batch.logits)
    assert torch.equal(seed_loss(floored_softmax(changed), batch.cues), seed_loss(batch.probs, batch.cues))


def test_flooring_twice_changes_nothing() -> None:
    once = floor_log_probs(Batch(num_classes=6, side=8).crf_log_probs)
    assert once.exp().min() < 1e-4  # renormalizing went below the floor
    assert torch.equal(floor_log_probs(once), once)
    torch.testing.assert_close(once.exp().sum(1), torch.ones_like(once[:, 0]))


LOSSES: dict[str, Callable[[Batch, Tensor], Tensor]] = {
    "seed": lambda batch, logits: seed_loss(floored_softmax(logits), batch.cues),
    "expand": lambda batch, logits: expand_loss(floored_softmax(logits), batch.image_labels, 0.7, 0.0, 0.9),
    "expand, absent by rank": lambda batch, logits: expand_loss(
        floored_softmax(logits), batch.image_labels, 1.0, 0.6, 0.0
    ),
    "constrain": lambda batch, logits: constrain_loss(floored_softmax(logits), batch.crf_log_probs),
    "constrain through Q": lambda batch, logits: constrain_loss(batch.probs, torch.log_softmax(3 * logits, 1)),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradcheck(name: str) -> None:
    batch = Batch(num_images=2)
    logits = batch.logits.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda values: LOSSES[name](batch, values), (logits,))


def test_2016_gradient_is_one_minus_q_times_the_gradient_of_log_q() -> None:
    batch = Batch()
    scores = batch.logits.clone().requires_grad_()
    log_q = with_2016_gradient(batch.crf_log_probs, scores)
    torch.testing.assert_close(log_q, floor_log_probs(batch.crf_log_probs))
    constrain_loss(batch.probs, log_q).backward()
    # dL/dlog Q of equation 5, Q free: Q (log(Q / p) + 1) / (B n), as SEC's layers of 2016 computed it.
    q = floor_log_probs(batch.crf_log_probs).exp()
    grad_log_q = q * ((q / batch.probs).log() + 1) / (3 * 9)
    torch.testing.assert_close(scores.grad, (1 - q) * grad_log_q)


def test_2016_gradient_adds_to_the_gradient_of_the_probabilities() -> None:
    batch = Batch()
    through_probs, through_q, both = (batch.logits.clone().requires_grad_() for _ in range(3))
    constrain_loss(floored_softmax(through_probs), batch.crf_log_probs).backward()
    constrain_loss(batch.probs, with_2016_gradient(batch.crf_log_probs, through_q)).backward()
    constrain_loss(floored_softmax(both), with_2016_gradient(batch.crf_log_probs, both)).backward()
    assert through_probs.grad is not None and through_q.grad is not None and both.grad is not None
    torch.testing.assert_close(both.grad, through_probs.grad + through_q.grad)


def assert_finite(logits: Tensor, cues: Tensor, labels: Tensor, crf_log_probs: Tensor) -> dict[str, Tensor]:
    logits = logits.clone().requires_grad_()
    terms = sec_loss_terms(logits, cues, labels, crf_log_probs, WEIGHTS)
    weighted_sum(terms, WEIGHTS).backward()
    assert logits.grad is not None
    assert all(math.isfinite(term.item()) for term in terms.values()), terms
    assert bool(logits.grad.isfinite().all())
    return terms


def test_no_cue_no_class_all_classes() -> None:
    batch = Batch(num_classes=5)
    no_cues = torch.zeros_like(batch.cues)
    for labels in (torch.zeros_like(batch.image_labels), torch.ones_like(batch.image_labels)):
        terms = assert_finite(batch.logits, no_cues, labels, batch.crf_log_probs)
        assert terms["seed"].item() == 0
        expected = expand_by_loops(batch.probs, labels, 0.996, 0.0, 0.999)
        assert terms["expand"].item() == pytest.approx(expected)


def test_an_image_without_cues_contributes_0_but_counts() -> None:
    batch = Batch()
    cues = batch.cues.clone()
    cues[1:] = False
    torch.testing.assert_close(seed_loss(batch.probs, cues), seed_loss(batch.probs[:1], cues[:1]) / 3)


@pytest.mark.parametrize("shape", [(1, 2, 1, 1), (1, 1, 2, 2), (2, 21, 1, 7), (1, 81, 5, 3), (3, 3, 41, 41)])
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
@pytest.mark.parametrize("density", [0.0, 0.5, 1.0])
def test_any_shape_and_any_scores_stay_finite(shape: tuple[int, ...], scale: float, density: float) -> None:
    random = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(shape, generator=random)
    cues = torch.rand(shape, generator=random) < density
    labels = torch.rand(shape[0], shape[1] - 1, generator=random) < density
    assert_finite(logits, cues, labels, torch.log_softmax(-logits, 1))


@pytest.mark.parametrize("shape", [(1, 2, 1, 1), (2, 21, 1, 7), (1, 5, 9, 9)])
@pytest.mark.parametrize("scale", [0.0, 1e4])
@pytest.mark.parametrize("density", [0.0, 1.0])
def test_bf16_logits_of_any_shape_stay_finite_under_autocast(
    shape: tuple[int, ...], scale: float, density: float
) -> None:
    random = torch.Generator().manual_seed(0)
    logits = (scale * torch.randn(shape, generator=random)).bfloat16()
    cues = torch.rand(shape, generator=random) < density
    labels = torch.rand(shape[0], shape[1] - 1, generator=random) < density
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_finite(logits, cues, labels, torch.log_softmax(-logits, 1))


@pytest.mark.parametrize("label", [False, True])
def test_probabilities_of_exactly_0_and_1_stay_finite(label: bool) -> None:
    probs = torch.zeros(1, 3, 2, 2)
    probs[:, 1] = 1  # 1 - G is 0 for class 1, G is 0 for the others
    probs.requires_grad_()
    labels = torch.full((1, 2), label)
    crf_log_probs = torch.tensor([0.0, -torch.inf, -torch.inf]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    losses = (
        seed_loss(probs, torch.ones(1, 3, 2, 2, dtype=torch.bool)),
        expand_loss(probs, labels),
        constrain_loss(probs, crf_log_probs),
    )
    assert all(math.isfinite(loss.item()) for loss in losses)
    torch.stack(losses).sum().backward()
    assert probs.grad is not None and bool(probs.grad.isfinite().all())


def test_minus_infinity_from_the_crf_has_a_finite_gradient() -> None:
    log_q = torch.tensor([0.0, -torch.inf]).view(1, 2, 1, 1).requires_grad_()
    constrain_loss(torch.full((1, 2, 1, 1), 0.5), log_q).backward()
    assert log_q.grad is not None and bool(log_q.grad.isfinite().all())


def test_bf16_autocast_computes_in_float32() -> None:
    batch = Batch(num_classes=21, side=8)
    logits, crf_log_probs = batch.logits.bfloat16(), batch.crf_log_probs.bfloat16()
    expected = sec_loss_terms(logits.double(), batch.cues, batch.image_labels, crf_log_probs.double(), WEIGHTS)
    leaf = logits.clone().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = sec_loss_terms(leaf, batch.cues, batch.image_labels, crf_log_probs, WEIGHTS)
        cross_entropy = cross_entropy_loss(leaf, torch.zeros(3, 8, 8, dtype=torch.uint8))
    for name, term in terms.items():
        assert term.dtype == torch.float32
        assert term.item() == pytest.approx(expected[name].item(), rel=2e-6)
    assert cross_entropy.dtype == torch.float32
    (weighted_sum(terms, WEIGHTS) + cross_entropy).backward()
    assert leaf.grad is not None and leaf.grad.dtype == torch.bfloat16 and bool(leaf.grad.isfinite().all())


def test_cross_entropy_is_the_mean_over_locations_not_ignored() -> None:
    logits = Batch(num_images=2).logits
    target = torch.full((2, 3, 3), 255, dtype=torch.uint8)
    target[0, 1, 2], target[1, 0, 0], target[1, 2, 2] = 3, 0, 1
    expected = 0.0
    for image, row, column in [(0, 1, 2), (1, 0, 0), (1, 2, 2)]:
        scores = logits[image, :, row, column]
        expected += math.log(sum(math.exp(s) for s in scores)) - float(scores[int(target[image, row, column])])
    assert cross_entropy_loss(logits, target).item() == pytest.approx(expected / 3)


def test_cross_entropy_of_nothing_but_ignored_is_0_with_a_gradient() -> None:
    logits = torch.randn(2, 4, 3, 3, requires_grad=True)
    loss = cross_entropy_loss(logits, torch.full((2, 3, 3), 7), ignore_index=7)
    assert loss.item() == 0
    loss.backward()
    assert logits.grad is not None and not logits.grad.any()


# --- shapes that do not go together --------------------------------------------------------------------------------------------

PROBS = torch.full((2, 3, 4, 5), 1 / 3)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: seed_loss(PROBS[0], PROBS[0] > 0), r"probs must be floating point \(B, C, H, W\) with C at least 1, is float32 \(3, 4, 5\)"),
        (lambda: seed_loss(PROBS, PROBS[:, :, :3] > 0), r"cues must have the shape of probs, \(2, 3, 4, 5\), is \(2, 3, 3, 5\)"),
        (lambda: expand_loss(PROBS, torch.ones(2, 3).bool()), r"image_labels must be \(B, C-1\) = \(2, 2\) for probs .* \(2, 3\)"),
        (lambda: constrain_loss(PROBS, PROBS[:1].log()), r"crf_log_probs must have the shape of probs, \(2, 3, 4, 5\)"),
        (lambda: cross_entropy_loss(PROBS, torch.zeros(2, 5, 4).long()), r"target must be class ids \(B, H, W\) = \(2, 4, 5\)"),
        (lambda: cross_entropy_loss(PROBS, torch.zeros(2, 4, 5)), r"target must be class ids .*is float32 \(2, 4, 5\)"),
        (lambda: balanced_cross_entropy(PROBS, torch.zeros(4, 5).long()), r"target must be class ids .*int64 \(4, 5\)"),
        (lambda: eps_saliency_loss(PROBS, PROBS[:, :1], torch.ones(2, 2)), r"saliency must be \(B, h, w\) = \(2, 4, 5\)"),
        (lambda: global_weighted_rank_pool(PROBS[0], 0.5), r"scores must be \(B, C, H, W\) .* is \(3, 4, 5\)"),
    ],
)  # fmt: skip
def test_a_wrong_shape_names_the_argument_and_what_is_wanted(call: Callable[[], object], told: str) -> None:
    with pytest.raises(ValueError, match=f"^{told}"):
        call()
