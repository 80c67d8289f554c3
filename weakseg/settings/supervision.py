"""Settings of dense CRFs and of what a segmenter learns from: cues, seeds, guides and their refinements."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from weakseg.settings.types import (
    CrfName,
    Fraction,
    LabelsBelow,
    Name,
    OpenFraction,
    RandomSeed,
    SaliencyBelow,
    Section,
    SourceBelow,
    UsedBelow,
)

Weight = Annotated[float, Field(ge=0, le=1000)]
Sigma = Annotated[float, Field(ge=0.01, le=10_000)]  # the lattice crashes on much narrower ones


class CRF(Section):
    """Dense CRF (Krähenbühl & Koltun 2011): weights, σ_xy in px, σ_rgb in grey levels."""

    bilateral_weight: Weight
    bilateral_sigma_xy: Sigma
    bilateral_sigma_rgb: Sigma
    gaussian_weight: Weight
    gaussian_sigma_xy: Sigma
    steps: Annotated[int, Field(ge=1, le=1000)]


class Threshold(Section):
    """Foreground where map > threshold · maximum; or the one threshold at which cues cover `coverage` on average."""

    threshold: Fraction | None
    coverage: OpenFraction | None

    @model_validator(mode="after")
    def _one(self) -> "Threshold":
        if (self.threshold is None) == (self.coverage is None):
            raise ValueError("give either threshold or coverage, and null for the other")
        return self


class MakeCues(Section):
    """SEC's localization cues (SEC §3.1, §6.1). The two nets are entries of make_cams."""

    foreground_net: Name
    background_net: Name
    foreground: Threshold
    background_fraction: Fraction
    median_size: Annotated[int, Field(ge=1, le=15)]
    grid: Annotated[int, Field(ge=2, le=513)]


class MakeSeeds(Section):
    """GS's seeds (GS §4) from the heat maps of `net`, with a dense CRF if `crf` names one (GS tables 4 and 5: "crf-seed")."""

    net: Name
    foreground: Threshold
    crf: CrfName


class EvaluateSeeds(Section):
    """How seeds are measured (GS §4.2), on the heat maps of `net`.

    With `crf`, scores are refined by it, the background's being `background_score`.
    """

    net: Name
    crf: CrfName
    background_score: OpenFraction


class Fusion(Section):
    """How components of a foreground take a label (GS supplement E)."""

    unresolved: Literal["ignore", "background"]
    min_saliency_fraction: Fraction


class FusionBySeeds(Fusion):
    """G2. Seeds smaller than `min_seed_fraction` of the image, or else `min_seed_px`, are dropped."""

    min_seed_px: Annotated[int, Field(ge=0, le=10**9)]
    min_seed_fraction: Fraction | None
    unary_clip: OpenFraction
    unary_blur_px: Annotated[float, Field(gt=0, le=1000)]
    crf: Name


class MakeGuides(FusionBySeeds):
    """Guides from saliency, by chance (G0, drawn from `random_seed`) or by seeds (G2). Both are files below data/."""

    seeds: LabelsBelow
    saliency: SaliencyBelow
    rule: Literal["g0", "g2"]
    saliency_threshold: OpenFraction
    random_seed: RandomSeed


class MakeG1Guides(Fusion):
    """G1: `classifier` is an entry of train_classifier. `require_positive` leaves components that gain nothing unresolved."""

    saliency_threshold: OpenFraction
    classifier: Name
    require_positive: bool


class MakeOracleGuides(FusionBySeeds):
    """G2 with the masks' foreground in place of saliency."""


class EvaluateSupervision(Section):
    """Which guides, refinements and masks of self-training are compared with the ground truth, beside cues, seeds and the
    oracle; `net` is the seeds'."""

    net: Name
    guides: list[Name]
    refined: list[Name]
    self_trained: list[Name]


class Refinement(Section):
    """What refines what: `from` and `using` are files below data/; `using` is none where the method needs no other file."""

    from_: Annotated[SourceBelow, Field(alias="from")]
    using: UsedBelow
    crf: CrfName


class BoundaryWalk(Refinement):
    """IRN's random walk (Ahn et al. 2019, §5.1) within the boundaries that `using` holds."""

    by: Literal["boundary_walk"]
    radius: Annotated[int, Field(ge=2, le=64)]
    power: Annotated[int, Field(ge=1, le=100)]
    doublings: Annotated[int, Field(ge=0, le=20)]
    background: Fraction


class PixelAdaptive(Refinement):
    """PAR or PAMR on the photo at `scale`. Heat maps are labelled with the background at `foreground` and `background`."""

    by: Literal["par", "pamr"]
    rounds: Annotated[int, Field(ge=0, le=1000)]
    dilations: Annotated[list[Annotated[int, Field(ge=1, le=256)]], Field(min_length=1)]
    scale: Annotated[float, Field(gt=0, le=1)]
    foreground: OpenFraction
    background: OpenFraction


class LabelCRF(Refinement):
    """A dense CRF on label maps; of heat maps, IRN's confident labels (Ahn et al. 2019, §4.1), at two thresholds."""

    by: Literal["crf"]
    certainty: OpenFraction
    foreground: Threshold
    background: Threshold


class Proposals(Refinement):
    """Masks of another tool joined to pseudo-masks (SEPL, Chen et al. 2023). Heat maps are labelled at `background`."""

    by: Literal["proposals"]
    inside: Fraction
    covering: Fraction
    background: Fraction


class Thresholded(Refinement):
    """Heat maps labelled at a threshold of each one's own or of their common maximum, or at that of a wanted coverage."""

    by: Literal["threshold"]
    maximum: Literal["own", "common"]
    foreground: Threshold


Refine = Annotated[BoundaryWalk | PixelAdaptive | LabelCRF | Proposals | Thresholded, Field(discriminator="by")]
