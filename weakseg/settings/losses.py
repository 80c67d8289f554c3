"""Settings of the segmenters' losses."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from weakseg.settings.types import Fraction, NonNegative, OpenFraction, Section


class ConstrainTerm(Section):
    """SEC's third term (equation 5): its weight (0 = off), and how the experiment's dense CRF is run for it.

    The CRF's widths σ_xy belong to a photo whose side is `crf_image_px` and are scaled to the network's grid.
    """

    constrain_weight: NonNegative
    crf_backend: Literal["lattice", "exact"]
    crf_gradient: Literal["none", "release2016", "exact"]
    crf_image_px: Annotated[int, Field(ge=32, le=100_000)]

    @model_validator(mode="after")
    def _differentiable(self) -> "ConstrainTerm":
        if self.crf_gradient == "exact" and self.crf_backend != "exact":
            raise ValueError("crf_gradient exact needs crf_backend exact: the lattice cannot be differentiated")
        return self


class SecLoss(ConstrainTerm):
    """SEC's loss (SEC §3.1). Decays are given as numbers, or as the share of locations that holds half the weight."""

    kind: Literal["sec"]
    seed_weight: NonNegative
    expand_weight: NonNegative
    background_cues: bool
    pooling_present: Literal["gwrp", "gmp", "gap"]
    present_share: OpenFraction
    background_share: OpenFraction
    decay_present: Fraction | None
    decay_background: Fraction | None

    @model_validator(mode="after")
    def _some_term(self) -> "SecLoss":
        if not any((self.seed_weight, self.expand_weight, self.constrain_weight)):
            raise ValueError("all three weights are 0; give at least one term a weight")
        return self


class CrossEntropyLoss(ConstrainTerm):
    """Cross-entropy over locations that are not 255 (GS §6.1), and "CRF in the loss" of GS tables 4 and 5."""

    kind: Literal["cross_entropy"]


class BalancedLoss(ConstrainTerm):
    """Cross-entropy in which foreground and background count alike, with label smoothing (AMN: Lee et al., CVPR 2022)."""

    kind: Literal["balanced"]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]


Loss = Annotated[SecLoss | CrossEntropyLoss | BalancedLoss, Field(discriminator="kind")]
