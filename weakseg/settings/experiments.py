"""Settings of experiments: the rows of the results."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from weakseg.settings.types import GRID_STRIDE, CrfName, Head, Name, Section, Side

RESERVED_EXPERIMENTS = (  # names that metrics/ and the report have other uses for
    "summary", "supervision", "cues", "guides", "saliency", "prepare", "training", "classifier", "seeders", "report", "none",
)  # fmt: skip


class ExperimentTraining(Section):
    """What supervises (a file below data/), which loss with which CRF, head, geometry and flips.

    `crf` is the dense CRF of the loss's constrain term; none where the loss has no such term.
    """

    supervision: Annotated[str, Field(pattern=r"^([a-z0-9_]+/)?[A-Za-z0-9_-]+\.(npz|zip)$", max_length=128)]
    loss: Name
    crf: CrfName
    head: Head
    average_pool5a: bool
    geometry: Literal["warp", "crop"]
    flip: bool


class ExperimentTest(Section):
    """How the trained network is used: the side that photos are brought to (or padded to), and the dense CRF."""

    input_px: Side | None
    crf: Name


class Experiment(Section):
    """A row of the results: what changes the training and, apart from it, what changes the test."""

    train: ExperimentTraining
    test: ExperimentTest

    @model_validator(mode="after")
    def _warp_has_a_side(self) -> "Experiment":
        side = self.test.input_px
        if self.train.geometry == "warp" and (side is None or (side - 1) % GRID_STRIDE):
            raise ValueError(f"geometry warp needs a test.input_px of {GRID_STRIDE}·k + 1")
        return self


class Postprocess(Section):
    """How the test-time CRF is computed. `exact` is for a GPU: its time grows with the square of a photo's pixels.

    `sigma_scale` multiplies both σ_xy, which are meant for photos of some 500 px: 1 in the papers.
    """

    backend: Literal["lattice", "exact"]
    sigma_scale: Annotated[float, Field(ge=0.01, le=100)]
