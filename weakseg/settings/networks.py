"""Settings of networks and their training."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from weakseg.settings.types import (
    BackboneName,
    Count,
    Fraction,
    GridSide,
    NonNegative,
    OpenFraction,
    Positive,
    Section,
    Side,
)


class Schedule(Section):
    """poly: (1 - step/steps)^power; step: × step_factor every step_every steps."""

    kind: Literal["poly", "step"]
    power: Positive
    step_every: Count
    step_factor: OpenFraction


class Training(Section):
    """How a network is trained. `new_layers_factor` multiplies the rate of layers that start from scratch.

    A checkpoint is written every `checkpoint_every_steps` or `checkpoint_every_minutes`, whichever comes first.
    """

    steps: Count
    batch_size: Count
    optimizer: Literal["sgd", "adamw"]
    learning_rate: Positive
    new_layers_factor: Positive
    momentum: Fraction
    weight_decay: NonNegative
    schedule: Schedule
    checkpoint_every_steps: Count
    checkpoint_every_minutes: Positive


class ClassifierAugmentation(Section):
    """Random changes of a classifier's training photo; null, 0 and false are none.

    `crop_area` is the share of the photo, [smallest, largest], that a random window shows, resized to the input's
    square; its sides are to each other as 3:4 to 4:3. `crop_borders_fraction` is GS's cut of each border.
    """

    crop_area: Annotated[list[Annotated[float, Field(gt=0, le=1)]], Field(min_length=2, max_length=2)] | None
    crop_borders_fraction: Annotated[float, Field(ge=0, lt=0.5)]
    flip: bool
    colour_jitter: Annotated[float, Field(ge=0, lt=1)]

    @model_validator(mode="after")
    def _ordered(self) -> "ClassifierAugmentation":
        if self.crop_area is not None and self.crop_area[0] > self.crop_area[1]:
            raise ValueError("crop_area must be [smallest, largest]")
        return self


class SegmenterAugmentation(Section):
    """Random changes of a segmenter's training photo; [1, 1] and 0 are none. Flips are the experiment's."""

    scales: Annotated[list[Positive], Field(min_length=2, max_length=2)]
    colour_jitter: Annotated[float, Field(ge=0, lt=1)]

    @model_validator(mode="after")
    def _ordered(self) -> "SegmenterAugmentation":
        if self.scales[0] > self.scales[1]:
            raise ValueError("scales must be [smallest, largest]")
        return self


class SaliencyAugmentation(SegmenterAugmentation):
    flip: bool


class Cam(Section):
    """How a classifier's heat maps are made: class maps (`gap`), GS's backprop seeders, or, for SEC's background cues,
    the gradient whose least values are background. `smoothing_px` is the σ of a Gaussian in px of the input, 0 for none.

    `gradient_scales` adds to class maps the finer maps of `cams.activation_gradient` at these scales; [] adds none.
    """

    method: Literal["gap", "vanilla_backprop", "guided_backprop", "excitation_backprop", "background_gradient"]
    input_px: Side
    geometry: Literal["warp", "aspect"]
    scales: Annotated[list[Positive], Field(min_length=1)]
    gradient_scales: list[Positive]
    flip: bool
    smoothing_px: NonNegative

    @model_validator(mode="after")
    def _of_class_maps(self) -> "Cam":
        if self.gradient_scales and self.method != "gap":
            raise ValueError("gradient_scales needs method gap")
        return self


class VGG16Classifier(Section):
    """Where the papers' VGG-16 classifiers differ (SPEC §2); other backbones have no such layers."""

    fc_channels: Literal[1024, 4096]
    relu_after_fc7: bool
    deeplab_pool5: bool


class Classifier(Section):
    """One classifier (SPEC §2) and how its heat maps are made."""

    network: Literal["gap_lowres", "gap_highres", "gap_roi", "gap_deeplab", "classifier"]
    backbone: BackboneName
    vgg16: VGG16Classifier
    pretrained: str
    fc_from_pretrained: bool
    dropout: Annotated[float, Field(ge=0, lt=1)]
    input_px: Side
    geometry: Literal["warp", "pad"]
    augmentation: ClassifierAugmentation
    training: Training
    cam: Cam


class SegmentationNetwork(Section):
    """A segmenter's network and training (SPEC §5, §7)."""

    backbone: BackboneName
    pretrained: str
    fc_from_pretrained: bool
    dropout: Annotated[float, Field(ge=0, lt=1)]
    input_px: GridSide
    training: Training


class SaliencyNetwork(SegmentationNetwork):
    head: Literal["largefov", "smallfov", "aspp"]
    augmentation: SaliencyAugmentation


class Segmenter(SegmentationNetwork):
    augmentation: SegmenterAugmentation
    normalization: Literal["caffe_sec"] | None
    start_from_classifier: bool


class PredictSaliency(Section):
    """Photos are shrunk to `max_side_px` if larger."""

    max_side_px: Side
