"""From a batch to named loss terms, for each kind of training."""

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from weakseg.crf import CRFParams, mean_field
from weakseg.files import IGNORE_INDEX
from weakseg.losses import (
    balanced_cross_entropy,
    constrain_loss,
    cross_entropy_loss,
    decay_for_share,
    floored_softmax,
    sec_loss_terms,
    with_2016_gradient,
)
from weakseg.runtime import average, launch
from weakseg.settings import BalancedLoss, ConstrainTerm, Loss, SecLoss
from weakseg.training.sampling import STRIDE, Batch


class Objective(Protocol):
    """From a batch to named loss terms, and what each counts."""

    @property
    def weights(self) -> Mapping[str, float]: ...
    def __call__(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]: ...


def objective_of(loss: Loss, crf: CRFParams | None, num_classes: int, input_px: int) -> Objective:
    """The objective that the settings describe; `crf` is that of the constrain term."""
    boundary = BoundaryCRF(loss, crf, input_px) if crf is not None and loss.constrain_weight else None
    if isinstance(loss, SecLoss):
        return SecTerms(loss, num_classes, input_px, boundary)
    if isinstance(loss, BalancedLoss):
        return BalancedTerms(loss, boundary)
    return CrossEntropyTerms(loss.constrain_weight, boundary)


class BoundaryCRF:
    """The dense CRF of SEC's constrain term (equation 5), on the network's grid."""

    def __init__(self, settings: ConstrainTerm, crf: CRFParams, image_side_px: int) -> None:
        self.settings = settings
        grid = (image_side_px - 1) // STRIDE + 1
        self.params = crf.scaled(settings.crf_image_px / grid)

    def log_probs(self, images: Tensor, logits: Tensor) -> Tensor:
        """log Q (B, C, h, w); the released layer saw BGR, which only matters to the lattice."""
        pixels = images[:, :, ::STRIDE, ::STRIDE].permute(0, 2, 3, 1)
        if self.settings.crf_backend == "lattice":
            pixels = pixels.flip(3)
        exact = self.settings.crf_gradient == "exact"
        log_q = mean_field(
            pixels.contiguous(), logits if exact else logits.detach(), self.params, self.settings.crf_backend,
            gradient="exact" if exact else "none",
        )  # fmt: skip
        return with_2016_gradient(log_q, logits) if self.settings.crf_gradient == "release2016" else log_q


class CrossEntropyTerms:
    """Cross-entropy on label maps, averaged over the counted locations of the whole batch, over all processes' shares
    together; with a CRF, SEC's constrain term beside it (GS tables 4 and 5, "crf-loss").

    Locations that are 255 count in the constrain term, which needs no label.
    """

    def __init__(self, constrain_weight: float = 0.0, crf: BoundaryCRF | None = None) -> None:
        self.weights: Mapping[str, float] = {"cross_entropy": 1.0, "constrain": constrain_weight}
        self.crf = crf

    def __call__(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        logits, targets = network(batch["images"]).float(), batch["targets"]
        known = average((targets != IGNORE_INDEX).sum().float()).clamp(min=1 / launch.processes())
        terms = {"cross_entropy": cross_entropy_loss(logits, targets, IGNORE_INDEX, known)}
        if self.crf is not None:
            terms["constrain"] = constrain_loss(floored_softmax(logits), self.crf.log_probs(batch["images"], logits))
        return terms


class MultiScaleTerms:
    """Cross-entropy of a `MultiScale` network: at each scale, on targets nearest-sampled to its grid, and on the maximum
    over the scales, all of weight 1 (Chen et al. 2016, their released training of DeepLab-v2)."""

    def __init__(self, scales: Sequence[float]) -> None:
        self.names = [*(f"cross_entropy_at_{scale:g}" for scale in scales), "cross_entropy"]
        self.weights: Mapping[str, float] = dict.fromkeys(self.names, 1.0)

    def __call__(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        terms = {}
        for name, logits in zip(self.names, network(batch["images"]), strict=True):
            targets = sampled(batch["targets"], *logits.shape[2:])
            known = average((targets != IGNORE_INDEX).sum().float()).clamp(min=1 / launch.processes())
            terms[name] = cross_entropy_loss(logits.float(), targets, IGNORE_INDEX, known)
        return terms


def sampled(targets: Tensor, height: int, width: int) -> Tensor:
    """(B, h, w) → (B, height, width): the nearest cell's class, corners aligned."""
    rows, columns = (
        torch.linspace(0, own - 1, wanted, dtype=torch.float64).round().long().to(targets.device)
        for own, wanted in zip(targets.shape[1:], (height, width), strict=True)
    )
    return targets[:, rows][:, :, columns]


class BalancedTerms:
    """Balanced cross-entropy with label smoothing (AMN: Lee, Kim & Shim, CVPR 2022, §3.1), and perhaps the constrain term.

    The means over foreground and background are those of the whole batch, all processes' shares of it together.
    """

    def __init__(self, settings: BalancedLoss, crf: BoundaryCRF | None = None) -> None:
        self.weights: Mapping[str, float] = {"balanced": 1.0, "constrain": settings.constrain_weight}
        self.label_smoothing, self.crf = settings.label_smoothing, crf

    def __call__(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        logits, targets = network(batch["images"]).float(), batch["targets"]
        kinds = (targets > 0) & (targets != IGNORE_INDEX), targets == 0
        terms = {"balanced": sum((self._share(logits, targets, kind) for kind in kinds), logits.new_zeros(()))}
        if self.crf is not None:
            terms["constrain"] = constrain_loss(floored_softmax(logits), self.crf.log_probs(batch["images"], logits))
        return terms

    def _share(self, logits: Tensor, targets: Tensor, kind: Tensor) -> Tensor:
        """Half the mean over a kind's locations here, times this process's share of the kind."""
        here = kind.sum().float()
        only = torch.where(kind, targets, IGNORE_INDEX)
        share = here / average(here).clamp(min=1 / launch.processes())
        return share * balanced_cross_entropy(logits, only, IGNORE_INDEX, self.label_smoothing)


class SecTerms:
    """SEC's three terms (equations 1 to 5) for one batch of warped photos and cues."""

    def __init__(self, settings: SecLoss, num_classes: int, image_side_px: int, crf: BoundaryCRF | None) -> None:
        self.settings, self.num_classes, self.crf = settings, num_classes, crf
        grid = (image_side_px - 1) // STRIDE + 1
        self.decays = decays_of(settings, grid * grid)

    def __call__(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        images, targets = batch["images"], batch["targets"]
        logits = network(images).float()
        classes = torch.arange(self.num_classes, device=targets.device, dtype=targets.dtype)
        cues = targets.unsqueeze(1) == classes.view(1, -1, 1, 1)
        crf_log_probs = self.crf.log_probs(images, logits) if self.crf is not None else None
        return sec_loss_terms(
            logits, cues, batch["image_labels"], crf_log_probs, self.weights, **self.decays,
            include_background=self.settings.background_cues,
        )  # fmt: skip

    @property
    def weights(self) -> Mapping[str, float]:
        settings = self.settings
        return {"seed": settings.seed_weight, "expand": settings.expand_weight, "constrain": settings.constrain_weight}


def decays_of(settings: SecLoss, num_locations: int) -> dict[str, float]:
    """The decays of equation 4: the given numbers, else the share rule on this grid."""
    present = {"gmp": 0.0, "gap": 1.0}.get(settings.pooling_present)
    if present is None:
        present = settings.decay_present
    if present is None:
        present = decay_for_share(settings.present_share, num_locations)
    background = settings.decay_background
    if background is None:
        background = decay_for_share(settings.background_share, num_locations)
    assert math.isfinite(present) and math.isfinite(background)
    return {"decay_present": present, "decay_absent": 0.0, "decay_background": background}
