"""Settings of experiments: the rows of the results."""

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, model_validator

from weakseg.errors import UserError
from weakseg.settings.types import GRID_STRIDE, CrfName, Declared, Fraction, Head, Name, Section, Side

RESERVED_EXPERIMENTS = (  # names that metrics/ and the report have other uses for
    "summary", "supervision", "cues", "guides", "saliency", "prepare", "training", "classifier", "seeders", "report", "none",
)  # fmt: skip


class ExperimentTraining(Section):
    """What supervises (a file below data/), which loss with which CRF, head, geometry and flips.

    `crf` is the dense CRF of the loss's constrain term; none if the loss has no such term.
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
    """A row of the results: what changes the training and, apart from it, what changes the test.

    `beyond_tags` names the supervision beyond tags that went into the training, which every table shows.
    """

    beyond_tags: list[Declared]
    train: ExperimentTraining
    test: ExperimentTest

    @model_validator(mode="after")
    def _warp_has_a_side(self) -> "Experiment":
        side = self.test.input_px
        if self.train.geometry == "warp" and (side is None or (side - 1) % GRID_STRIDE):
            raise ValueError(f"geometry warp needs a test.input_px of {GRID_STRIDE}·k + 1")
        return self


@dataclass(frozen=True)
class Repeat:
    """A further training of an experiment."""

    experiment: str
    random_seed: int

    @property
    def seed(self) -> str:
        """As paths have it."""
        return str(self.random_seed)


def repeat_of(name: str) -> Repeat:
    """Of a stage such as `train_repeat@sec-1`, what stands after its @.

    >>> repeat_of("sec-gwrp-1")
    Repeat(experiment='sec-gwrp', random_seed=1)
    """
    experiment, _, seed = name.rpartition("-")
    if not experiment or not re.fullmatch("0|[1-9][0-9]{0,9}", seed):
        raise UserError(f"{name}: expected an experiment and a random seed, such as sec-1")
    return Repeat(experiment, int(seed))


class Postprocess(Section):
    """How the test-time CRF is computed. `exact` is for a GPU: its time grows with the square of a photo's pixels.

    `sigma_scale` multiplies both σ_xy, which are meant for photos of some 500 px: 1 in the papers.
    """

    backend: Literal["lattice", "exact"]
    sigma_scale: Annotated[float, Field(ge=0.01, le=100)]


class SelfTraining(Section):
    """How an experiment's network labels the training photos, by name of that experiment: data/self/<name>.zip.

    `crf` refines the labels, none for none. Pixels whose label has a lower probability than `min_probability` by the
    network alone, among the photo's own tags and background, are 255; at 0 all are kept.
    """

    crf: CrfName
    min_probability: Fraction
