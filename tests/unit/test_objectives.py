"""Loss terms of a batch: what they hand to the losses and to the CRF."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from weakseg.crf.dense_crf import mean_field
from weakseg.crf.params import DEEPLAB, SEC, CRFParams, crf_params
from weakseg.losses.crf_target import with_2016_gradient
from weakseg.losses.cross_entropy import cross_entropy_loss
from weakseg.losses.sec import constrain_loss, expand_loss, floored_softmax, seed_loss
from weakseg.settings.losses import CrossEntropyLoss, SecLoss
from weakseg.settings.supervision import CRF
from weakseg.training import objectives
from weakseg.training.classification import classification_terms
from weakseg.training.objectives import CrossEntropyTerms, MultiScaleTerms, Objective, SecTerms, decays_of, objective_of

SIDE, GRID, CLASSES = 65, 9, 4


def sec_loss(**changes: object) -> SecLoss:
    values = {
        "kind": "sec", "seed_weight": 1.0, "expand_weight": 1.0, "constrain_weight": 1.0, "background_cues": True,
        "pooling_present": "gwrp", "present_share": 0.1, "background_share": 0.3, "decay_present": None,
        "decay_background": None, "crf_backend": "lattice", "crf_gradient": "none", "crf_image_px": 108,
    }  # fmt: skip
    return SecLoss.model_validate({**values, **changes})


class Logits(nn.Module):
    """Returns its parameter, whatever the photos."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.logits = nn.Parameter(torch.randn(2, CLASSES, GRID, GRID, generator=generator) * 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.logits


@pytest.fixture
def batch() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.integers(0, 256, (2, 3, 5, 5))).float()
    images = nn.functional.interpolate(coarse, (SIDE, SIDE), mode="nearest").to(torch.uint8)
    targets = torch.from_numpy(rng.choice([0, 1, 3, 255], (2, GRID, GRID)).astype(np.uint8))
    return {
        "images": images,
        "targets": targets,
        "image_labels": torch.tensor([[True, False, True], [False, False, True]]),
        "image_id": ["a", "b"],
    }


def terms_of(batch: dict[str, Any], network: nn.Module | None = None, **changes: object) -> dict[str, Tensor]:
    return objective_of(sec_loss(**changes), SEC, CLASSES, SIDE)(network or Logits(), batch)


def cues_of(targets: Tensor) -> Tensor:
    return torch.stack([targets == label for label in range(CLASSES)], 1)


# 108 px on 9 cells: the widths that are 80 and 3 on the photo are a twelfth of it on the grid
ON_THE_GRID = CRFParams(10, 80 / 12, 13, 3, 3 / 12)
DECAYS = {"decay_present": 0.5 ** (1 / 8.1), "decay_absent": 0.0, "decay_background": 0.5 ** (1 / 24.3)}


def small_images(images: Tensor, order: str) -> Tensor:
    """(B, 9, 9, 3): the photo's pixels at the grid's points."""
    small = images[:, :, 0:SIDE:8, 0:SIDE:8]
    red, green, blue = small.unbind(1)
    return torch.stack({"rgb": (red, green, blue), "bgr": (blue, green, red)}[order], 3)


def expected_terms(batch: dict[str, Any], logits: Tensor, log_q: Tensor) -> dict[str, Tensor]:
    probs = floored_softmax(logits)
    return {
        "seed": seed_loss(probs, cues_of(batch["targets"])),
        "expand": expand_loss(probs, batch["image_labels"], **DECAYS),
        "constrain": constrain_loss(probs, log_q),
    }


@pytest.mark.parametrize(("backend", "order"), [("lattice", "bgr"), ("exact", "rgb")])
def test_sec_terms_are_the_losses(batch: dict[str, Any], backend: str, order: str) -> None:
    """The released lattice layer saw BGR; the exact sum does not mind the order."""
    network = Logits()
    log_q = mean_field(small_images(batch["images"], order), network.logits.detach(), ON_THE_GRID, cast(Any, backend))
    terms, expected = terms_of(batch, network, crf_backend=backend), expected_terms(batch, network.logits, log_q)
    assert list(terms) == ["seed", "expand", "constrain"]
    for name, term in terms.items():
        torch.testing.assert_close(term, expected[name], rtol=1e-6, atol=0)
        ours, theirs = (
            torch.autograd.grad(value, network.logits, retain_graph=True)[0] for value in (term, expected[name])
        )
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-9)
        assert theirs.abs().max() > 0


def test_the_lattice_minds_the_order_of_the_channels(batch: dict[str, Any]) -> None:
    """So that the test above would notice."""
    network = Logits()
    rgb, bgr = (
        mean_field(small_images(batch["images"], order), network.logits.detach(), ON_THE_GRID)
        for order in ("rgb", "bgr")
    )
    assert not torch.allclose(rgb, bgr, atol=1e-4)


def test_gradients_through_the_crf(batch: dict[str, Any]) -> None:
    images = small_images(batch["images"], "rgb")

    def exact(logits: Tensor) -> Tensor:
        return mean_field(images, logits, ON_THE_GRID, "exact", gradient="exact")

    def release2016(logits: Tensor) -> Tensor:
        return with_2016_gradient(mean_field(images, logits.detach(), ON_THE_GRID, "exact"), logits)

    found = {}
    rules: dict[str, Callable[[Tensor], Tensor]] = {"exact": exact, "release2016": release2016}
    for name in ("none", "release2016", "exact"):
        network = Logits()
        terms_of(batch, network, crf_backend="exact", crf_gradient=name)["constrain"].backward()
        found[name] = network.logits.grad
        if name in rules:
            log_q = rules[name](network.logits)
            (expected,) = torch.autograd.grad(expected_terms(batch, network.logits, log_q)["constrain"], network.logits)
            torch.testing.assert_close(found[name], expected, rtol=1e-4, atol=1e-8)
    assert not torch.allclose(found["none"], found["exact"], atol=1e-6)
    assert not torch.allclose(found["none"], found["release2016"], atol=1e-6)


def test_unknown_locations_do_not_count(batch: dict[str, Any]) -> None:
    network, unknown = Logits(), batch["targets"] == 255
    before = terms_of(batch, network)["seed"].item()
    with torch.no_grad():
        network.logits[:, 1].masked_fill_(unknown, 30.0)
    assert terms_of(batch, network)["seed"].item() == pytest.approx(before, rel=1e-6)


def test_background_cues_can_be_left_out(batch: dict[str, Any]) -> None:
    probs = floored_softmax(Logits().logits)
    expected = seed_loss(probs, cues_of(batch["targets"]), include_background=False)
    assert terms_of(batch, background_cues=False)["seed"].item() == pytest.approx(expected.item())
    assert terms_of(batch)["seed"].item() != pytest.approx(expected.item())


@pytest.mark.parametrize("absent", ["seed", "expand", "constrain"])
def test_terms_of_weight_zero_are_absent(batch: dict[str, Any], absent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    original = mean_field
    monkeypatch.setattr(objectives, "mean_field", lambda *args, **kwargs: asked.append(1) or original(*args, **kwargs))
    settings = sec_loss(**{f"{absent}_weight": 0.0, "seed_weight": 0.5} | {f"{absent}_weight": 0.0})
    objective = objective_of(settings, SEC, CLASSES, SIDE)
    assert set(objective(Logits(), batch)) == {"seed", "expand", "constrain"} - {absent}
    assert objective.weights[absent] == 0
    assert len(asked) == (absent != "constrain")  # the CRF is the dear part


def test_weights_are_the_settings() -> None:
    settings = sec_loss(seed_weight=0.5, expand_weight=2.0, constrain_weight=3.0)
    assert objective_of(settings, SEC, CLASSES, SIDE).weights == {"seed": 0.5, "expand": 2.0, "constrain": 3.0}


def test_crf_widths_shrink_with_the_grid() -> None:
    objective = objective_of(sec_loss(crf_image_px=492), SEC, 21, 321)  # 41 cells
    assert isinstance(objective, SecTerms) and objective.crf and objective.crf.params == SEC.scaled(12)


def test_the_crf_is_the_one_that_the_experiment_names(batch: dict[str, Any]) -> None:
    objective = objective_of(sec_loss(), DEEPLAB, CLASSES, SIDE)
    log_q = mean_field(small_images(batch["images"], "bgr"), Logits().logits.detach(), DEEPLAB.scaled(12))
    expected = constrain_loss(floored_softmax(Logits().logits), log_q)
    assert objective(Logits(), batch)["constrain"].item() == pytest.approx(expected.item(), rel=1e-6)
    assert terms_of(batch)["constrain"].item() != pytest.approx(expected.item(), rel=1e-3)


def test_settings_of_a_crf_become_its_parameters() -> None:
    content = {
        "bilateral_weight": 10.0, "bilateral_sigma_xy": 80.0, "bilateral_sigma_rgb": 13.0, "gaussian_weight": 3.0,
        "gaussian_sigma_xy": 3.0, "steps": 10,
    }  # fmt: skip
    assert crf_params(CRF.model_validate(content)) == SEC
    assert crf_params(CRF.model_validate(content | {"steps": 4, "gaussian_weight": 1.0})) == replace(
        SEC, steps=4, gaussian_weight=1
    )


# --- decays ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("locations", [81, 41 * 41])
def test_the_share_of_the_locations_holds_half_of_the_weight(locations: int) -> None:
    decays = decays_of(sec_loss(), locations)
    for name, share in (("decay_present", 0.1), ("decay_background", 0.3)):
        weights = decays[name] ** np.arange(10 * locations)
        assert weights[: round(share * locations)].sum() / weights.sum() == pytest.approx(0.5, abs=0.02)
        assert decays[name] == pytest.approx(0.5 ** (1 / (share * locations)))
    assert decays["decay_absent"] == 0


def test_the_papers_grid_gives_the_papers_decays() -> None:
    decays = decays_of(sec_loss(), 41 * 41)
    assert {name: round(value, 3) for name, value in decays.items()} == {
        "decay_present": 0.996, "decay_absent": 0, "decay_background": 0.999,
    }  # fmt: skip


def test_explicit_decays_and_poolings() -> None:
    explicit = {"decay_present": 0.9, "decay_background": 0.0}
    assert decays_of(sec_loss(**explicit), 81) == {"decay_present": 0.9, "decay_absent": 0, "decay_background": 0.0}
    for pooling, decay in (("gmp", 0.0), ("gap", 1.0)):
        decays = decays_of(sec_loss(pooling_present=pooling, **explicit), 81)
        assert decays == {"decay_present": decay, "decay_absent": 0, "decay_background": 0.0}
        assert decays_of(sec_loss(pooling_present=pooling), 81)["decay_background"] == DECAYS["decay_background"]
    assert decays_of(sec_loss(present_share=0.2), 81)["decay_present"] == pytest.approx(0.5 ** (1 / 16.2))


# --- the other objectives ------------------------------------------------------------------------------------------


def test_classification_terms_by_hand() -> None:
    scores = torch.tensor([[0.0, 2.0], [-1.0, 3.0]])
    labels = torch.tensor([[True, False], [False, True]])

    class Scores(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return scores

    losses_of = [np.log(2) + np.log(1 + np.exp(2)), np.log(1 + np.exp(-1)) + np.log(1 + np.exp(-3))]
    terms = classification_terms(Scores(), {"images": torch.zeros(2, 3, 1, 1), "image_labels": labels})
    assert list(terms) == ["logistic"]
    assert terms["logistic"].item() == pytest.approx(np.mean(losses_of), rel=1e-6)


def test_cross_entropy_terms_by_hand(batch: dict[str, Any]) -> None:
    network = Logits()
    terms = CrossEntropyTerms()(network, batch)
    assert list(terms) == ["cross_entropy"]
    log_probs, total, count = network.logits.log_softmax(1), 0.0, 0
    for image, row, column in (batch["targets"] != 255).nonzero().tolist():
        label = int(batch["targets"][image, row, column])
        total, count = total - log_probs[image, label, row, column].item(), count + 1
    assert terms["cross_entropy"].item() == pytest.approx(total / count, rel=1e-5)


class Pyramid(nn.Module):
    """Logits on grids of 3, 5 and 5 cells a side."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(8)
        self.logits = [torch.randn(2, CLASSES, side, side, generator=generator) for side in (3, 5, 5)]

    def forward(self, images: Tensor) -> list[Tensor]:
        return self.logits


def test_multi_scale_terms_by_hand() -> None:
    """DeepLab-v2: a loss at each scale, on the nearest labels, and one on the maximum."""
    targets = torch.randint(0, CLASSES, (2, 5, 5), generator=torch.Generator().manual_seed(9), dtype=torch.uint8)
    targets[0, 2, 2] = targets[1, 0] = 255
    network, objective = Pyramid(), MultiScaleTerms([0.5, 1.0])
    terms = objective(network, {"images": torch.zeros(2, 3, 33, 33), "targets": targets})
    assert list(terms) == ["cross_entropy_at_0.5", "cross_entropy_at_1", "cross_entropy"]
    assert objective.weights == dict.fromkeys(terms, 1.0)
    for (name, term), logits in zip(terms.items(), network.logits, strict=True):
        step = 2 if logits.shape[2] == 3 else 1
        total, count = 0.0, 0
        for image, row, column in np.ndindex(2, *logits.shape[2:]):
            label = int(targets[image, row * step, column * step])
            if label != 255:
                total, count = total - float(logits.log_softmax(1)[image, label, row, column]), count + 1
        assert term.item() == pytest.approx(total / count, rel=1e-5), name


# --- cross-entropy with a CRF in the loss (GS tables 4 and 5) -------------------------------------------------------------


def cross_entropy_with_crf(crf: CRFParams | None = SEC, **changes: object) -> Objective:
    shared = {name: value for name, value in sec_loss().model_dump().items() if name.startswith(("crf", "constrain"))}
    settings = CrossEntropyLoss.model_validate({"kind": "cross_entropy", **shared, **changes})
    objective = objective_of(settings, crf, CLASSES, SIDE)
    assert isinstance(objective, CrossEntropyTerms)
    return objective


@pytest.mark.parametrize(("backend", "order"), [("lattice", "bgr"), ("exact", "rgb")])
def test_crf_in_the_loss_is_cross_entropy_and_secs_constrain_term(
    batch: dict[str, Any], backend: str, order: str
) -> None:
    network = Logits()
    objective = cross_entropy_with_crf(constrain_weight=0.5, crf_backend=backend)
    terms = objective(network, batch)
    log_q = mean_field(small_images(batch["images"], order), network.logits.detach(), ON_THE_GRID, cast(Any, backend))
    expected = {
        "cross_entropy": cross_entropy_loss(network.logits, batch["targets"]),
        "constrain": constrain_loss(floored_softmax(network.logits), log_q),
    }
    assert list(terms) == list(expected)
    for name, term in terms.items():
        torch.testing.assert_close(term, expected[name], rtol=1e-6, atol=0)
    assert objective.weights == {"cross_entropy": 1.0, "constrain": 0.5}


def test_locations_without_a_label_are_constrained_too(batch: dict[str, Any]) -> None:
    network, unknown = Logits(), batch["targets"] == 255
    assert unknown.any()
    terms = cross_entropy_with_crf()(network, batch)
    (of_labels,) = torch.autograd.grad(terms["cross_entropy"], network.logits, retain_graph=True)
    (of_boundaries,) = torch.autograd.grad(terms["constrain"], network.logits)
    assert of_labels.abs().sum(1)[unknown].max() == 0
    assert of_boundaries.abs().sum(1)[unknown].min() > 0


def test_the_constrain_term_follows_its_settings(batch: dict[str, Any]) -> None:
    """The widths of another CRF, of another photo size, and the gradient through Q."""
    network = Logits()
    compared = [
        cross_entropy_with_crf(), cross_entropy_with_crf(replace(SEC, bilateral_weight=4.0)), cross_entropy_with_crf(crf_image_px=54),
    ]  # fmt: skip
    values = [objective(network, batch)["constrain"].item() for objective in compared]
    assert len({round(value, 5) for value in values}) == len(values)
    found = {}
    for rule in ("none", "exact"):
        term = cross_entropy_with_crf(crf_backend="exact", crf_gradient=rule)(network, batch)["constrain"]
        (found[rule],) = torch.autograd.grad(term, network.logits)
    assert not torch.allclose(found["none"], found["exact"], atol=1e-6)


def test_plain_cross_entropy_runs_no_crf(batch: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objectives, "mean_field", None)
    network = Logits()
    plain = CrossEntropyTerms()
    for objective in (cross_entropy_with_crf(constrain_weight=0.0), cross_entropy_with_crf(None, constrain_weight=0.0)):
        assert objective(network, batch) == plain(network, batch)
        assert objective.weights == plain.weights == {"cross_entropy": 1.0, "constrain": 0.0}
