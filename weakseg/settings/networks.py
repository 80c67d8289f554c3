"""Settings of networks and their training."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from weakseg.settings.types import (
    BackboneName,
    Count,
    Dropout,
    FileBelow,
    Fraction,
    GridSide,
    Head,
    LabelsBelow,
    Layout,
    NonNegative,
    OpenFraction,
    Positive,
    SaliencyBelow,
    Section,
    Side,
    StartFrom,
)

Jitter = Annotated[float, Field(ge=0, lt=1)]
Scale = Annotated[float, Field(ge=0.1, le=10)]
Range = Annotated[list[Scale], Field(min_length=2, max_length=2)]


class Schedule(Section):
    """poly: (1 - step/steps)^power; step: × step_factor every step_every steps."""

    kind: Literal["poly", "step"]
    power: Positive
    step_every: Count
    step_factor: OpenFraction


class Training(Section):
    """How a network is trained. `new_layers_factor` multiplies the rate of layers that start from random weights.

    `sampling`: every photo once per epoch, or each class as often as any other (GS's released code has both).
    """

    steps: Count
    sampling: Literal["shuffle", "class_balanced"]
    batch_size: Annotated[int, Field(ge=1, le=100_000)]
    optimizer: Literal["sgd", "adamw"]
    learning_rate: Positive
    new_layers_factor: Positive
    momentum: Fraction
    weight_decay: NonNegative
    schedule: Schedule


class ClassifierAugmentation(Section):
    """Random changes of a classifier's training photo; null, 0 and false are none.

    `crop_area` is the share of the photo, [smallest, largest], that a random window shows, resized to the input's
    square; its sides are to each other as 3:4 to 4:3. `crop_borders_fraction` is GS's cut of each border.
    """

    crop_area: Annotated[list[Annotated[float, Field(gt=0, le=1)]], Field(min_length=2, max_length=2)] | None
    crop_borders_fraction: Annotated[float, Field(ge=0, lt=0.5)]
    flip: bool
    colour_jitter: Jitter

    @model_validator(mode="after")
    def _ordered(self) -> "ClassifierAugmentation":
        if self.crop_area is not None and self.crop_area[0] > self.crop_area[1]:
            raise ValueError("crop_area must be [smallest, largest]")
        return self


class SegmenterAugmentation(Section):
    """Random changes of a segmenter's training photo; [1, 1] and 0 are none. Flips are the experiment's."""

    scales: Range
    colour_jitter: Jitter

    @model_validator(mode="after")
    def _ordered(self) -> "SegmenterAugmentation":
        if self.scales[0] > self.scales[1]:
            raise ValueError("scales must be [smallest, largest]")
        return self


class SaliencyAugmentation(SegmenterAugmentation):
    flip: bool


class VGG16Classifier(Section):
    """Where the papers' VGG-16 classifiers differ (GS table 6); other backbones have no such layers."""

    fc_channels: Literal[1024, 4096]
    relu_after_fc7: bool
    deeplab_pool5: bool


class LogisticLoss(Section):
    """The multi-label logistic loss alone (SEC §6.1, GS §B.2)."""

    kind: Literal["logistic"]
    saliency: Literal["none"]


class EpsLoss(Section):
    """The logistic loss, and `saliency_weight` times EPS' (Lee et al., CVPR 2021) of the maps of `saliency` below data/."""

    kind: Literal["eps"]
    saliency: SaliencyBelow
    saliency_weight: Positive
    threshold: OpenFraction
    foreground_weight: Fraction


ClassifierLoss = Annotated[LogisticLoss | EpsLoss, Field(discriminator="kind")]


class TrainClassifier(Section):
    """One classifier of the tags (SEC §6.1, GS table 6). `pretrained` is imagenet, none, or a file in models/pretrained."""

    loss: ClassifierLoss
    network: Layout
    backbone: BackboneName
    vgg16: VGG16Classifier
    pretrained: FileBelow
    fc_from_pretrained: bool
    dropout: Dropout
    input_px: Side
    geometry: Literal["warp", "pad"]
    augmentation: ClassifierAugmentation
    training: Training


class MakeCams(Section):
    """How a classifier's heat maps are made: class maps (`gap`), GS's backprop seeders, or, for SEC's background cues,
    the gradient whose lowest values are background. `smoothing_px` is the σ of a Gaussian in px of the input, 0 for
    none.

    `excitation_at` is for excitation backprop alone: the photo's pixels (GS §4.2), or the features at stride 8, where
    its own paper stops.
    `gradient_scales` adds to class maps the finer maps of `cams.activation_gradient` at these scales; [] adds none.
    """

    method: Literal["gap", "vanilla_backprop", "guided_backprop", "excitation_backprop", "background_gradient"]
    input_px: Side
    geometry: Literal["warp", "fit", "pad"]
    scales: Annotated[list[Scale], Field(min_length=1)]
    gradient_scales: list[Scale]
    flip: bool
    excitation_at: Literal["image", "stride8"]
    smoothing_px: Annotated[float, Field(ge=0, le=1000)]

    @model_validator(mode="after")
    def _of_class_maps(self) -> "MakeCams":
        if self.gradient_scales and self.method != "gap":
            raise ValueError("gradient_scales needs method gap")
        return self


class SegmentationNetwork(Section):
    """What segmenters and the saliency network have in common."""

    backbone: BackboneName
    fc_from_pretrained: bool
    dropout: Dropout
    input_px: GridSide
    training: Training


class TrainSaliency(SegmentationNetwork):
    """The class-agnostic saliency network (GS §6.1). `pretrained` as a classifier's.

    With `input_scales` beside 1.0, each photo is seen at all of them, with a loss at each and on their maximum.
    """

    head: Head
    pretrained: FileBelow
    input_scales: Annotated[list[Annotated[float, Field(ge=0.1, le=2)]], Field(min_length=1, max_length=10)]
    augmentation: SaliencyAugmentation

    @model_validator(mode="after")
    def _sensible(self) -> "TrainSaliency":
        if 1.0 not in self.input_scales or len({*self.input_scales}) < len(self.input_scales):
            raise ValueError("input_scales must hold 1.0, whose grid the maximum has, and none twice")
        if self.training.sampling == "class_balanced":
            raise ValueError("training.sampling class_balanced needs tags, which saliency photos do not have")
        return self


class TrainSegmenter(SegmentationNetwork):
    """What all experiments' segmenters have in common.

    `start_from` lies below models/: pretrained/imagenet, pretrained/none, pretrained/<file>, or classifier/<name>.
    """

    start_from: StartFrom
    normalization: Literal["caffe_sec"] | None
    augmentation: SegmenterAugmentation


class PredictSaliency(Section):
    """Photos are shrunk to `max_side_px` if larger."""

    max_side_px: Side


class TrainBoundaries(Section):
    """IRN's network of boundaries (Ahn et al., CVPR 2019, §4.2), on a frozen backbone. `pretrained` as a classifier's.

    `labels` are label maps below data/, usually a refinement by `crf` of heat maps; `radius` is in cells of 4 px.
    """

    labels: LabelsBelow
    backbone: BackboneName
    pretrained: FileBelow
    input_px: GridSide
    augmentation: SaliencyAugmentation
    radius: Annotated[int, Field(ge=2, le=64)]
    training: Training

    @model_validator(mode="after")
    def _pairs_fit(self) -> "TrainBoundaries":
        cells = self.input_px // 4 + 1
        if cells < 2 * self.radius - 1:
            raise ValueError(f"radius {self.radius} needs {2 * self.radius - 1} cells of 4 px, input_px gives {cells}")
        return self


class PredictBoundaries(Section):
    """A photo's longer side is brought to `input_px`, null: its own; `flip`: with the mirrored photo."""

    input_px: Side | None
    flip: bool
