"""Settings of dense CRFs and of what a segmenter learns from: cues, seeds and guides."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from weakseg.settings.types import Count, Fraction, NonNegative, OpenFraction, Positive, Section


class Threshold(Section):
    """Foreground where map > threshold · maximum; or the one threshold at which cues cover `coverage` on average."""

    threshold: Fraction | None
    coverage: OpenFraction | None

    @model_validator(mode="after")
    def _one(self) -> "Threshold":
        if (self.threshold is None) == (self.coverage is None):
            raise ValueError("give either threshold or coverage, and null for the other")
        return self


class Cues(Section):
    """SEC's localization cues (SPEC §3)."""

    foreground: Threshold
    background_fraction: Fraction
    median_size: Annotated[int, Field(ge=1, le=15)]
    grid: Annotated[int, Field(ge=2, le=513)]


class CRF(Section):
    """Dense CRF (SPEC §10): weights, σ_xy in px, σ_rgb in grey levels."""

    bilateral_weight: NonNegative
    bilateral_sigma_xy: Positive
    bilateral_sigma_rgb: Positive
    gaussian_weight: NonNegative
    gaussian_sigma_xy: Positive
    steps: Count


class InferenceCRF(CRF):
    """At test time. `exact` is for a GPU: its time grows with the square of a photo's pixels."""

    backend: Literal["lattice", "exact"]


class Seeds(Section):
    """GS's seeds (SPEC §6), with a dense CRF if `crf` is given (GS tables 4 and 5: "crf-seed")."""

    foreground: Threshold
    crf: CRF | None


class EvaluateSeeds(Section):
    """How seeds are measured (SPEC §6): with `crf`, scores are refined by it, the background's being `background_score`."""

    crf: CRF | None
    background_score: OpenFraction


class Guides(Section):
    """G0, G1, G2 (SPEC §8). Seeds smaller than `min_seed_fraction` of the image, or else `min_seed_px`, are dropped."""

    rules: list[Literal["g0", "g1", "g2"]]
    unresolved: Literal["ignore", "background"]
    saliency_threshold: OpenFraction
    min_saliency_fraction: Fraction
    min_seed_px: Annotated[int, Field(ge=0)]
    min_seed_fraction: Fraction | None
    unary_clip: OpenFraction
    unary_blur_px: Positive
    crf: CRF
    random_seed: int
