"""Settings of the segmenters' losses."""

from typing import Annotated, Literal

from pydantic import Field

from weakseg.settings.supervision import CRF
from weakseg.settings.types import Fraction, NonNegative, OpenFraction, Section


class ConstrainTerm(Section):
    """SEC's third term (SPEC §4, equation 5): its weight (0 = off) and the dense CRF that it pulls the scores towards.

    The widths σ_xy belong to a photo whose side is `crf_image_px` and are scaled to the network's grid.
    """

    constrain_weight: NonNegative
    crf: CRF
    crf_backend: Literal["lattice", "exact"]
    crf_gradient: Literal["none", "release2016", "exact"]
    crf_image_px: Annotated[int, Field(ge=32)]


class SecLoss(ConstrainTerm):
    """SEC's loss (SPEC §4). Decays are given as numbers, or as the share of locations that holds half the weight."""

    kind: Literal["sec"]
    seed_weight: NonNegative
    expand_weight: NonNegative
    background_cues: bool
    pooling_present: Literal["gwrp", "gmp", "gap"]
    present_share: OpenFraction
    background_share: OpenFraction
    decay_present: Fraction | None
    decay_background: Fraction | None


class CrossEntropyLoss(ConstrainTerm):
    """Cross-entropy over locations that are not 255 (SPEC §5), and "CRF in the loss" of GS tables 4 and 5."""

    kind: Literal["cross_entropy"]


Loss = Annotated[SecLoss | CrossEntropyLoss, Field(discriminator="kind")]
