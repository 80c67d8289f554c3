"""The settings: `params.yaml`, typed and validated as a whole before a stage does anything.

A named experiment is an entry of another file that says what it changes, by dotted key: `params.yaml
ablations/params.yaml:experiments.sec_gmp` are the settings with that entry's `changes` put in their place.
Nothing has a default, so a params file says all there is to say. Units stand in the names. What depends on the
machine (device, worker processes) is no setting: WEAKSEG_DEVICE and WEAKSEG_WORKERS, so that DVC's cache keys do not
depend on it.
"""

import copy
from collections.abc import Sequence
from pathlib import Path
from reprlib import Repr
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from weakseg.errors import UserError

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
OpenFraction = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Side = Annotated[int, Field(ge=33, le=4097)]
GRID_STRIDE = 16  # every network's grids of stride 8 and 16 then end on the last pixel, and flips keep cells in place


def _on_grid(side_px: int) -> int:
    if (side_px - 1) % GRID_STRIDE:
        below = (side_px - 1) // GRID_STRIDE * GRID_STRIDE + 1
        raise ValueError(f"must be {GRID_STRIDE}·k + 1, such as {below} or {below + GRID_STRIDE}")
    return side_px


GridSide = Annotated[int, Field(ge=33, le=4097), AfterValidator(_on_grid)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
CuesName = Annotated[str, Field(pattern=r"^[a-z0-9]+(_[a-z0-9]+)*_cues$")]  # no other stage writes such a file
BackboneName = Literal["efficientnet_lite0", "vgg16", "resnet101"]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Toy(Section):
    """Built-in pictures: how many, how large, drawn from which seed."""

    train_images: Count
    val_images: Count
    saliency_images: Count
    image_px: Annotated[int, Field(ge=64, le=1024)]
    random_seed: int


class Data(Section):
    """Where the tagged photos are. `train_list`, `val_list` and `test_list` name lists of the VOC layout.

    Photos of the test list need neither tags nor masks; they are segmented and nothing else.
    """

    format: Literal["voc", "folder"]
    root: str
    train_list: str | None
    val_list: str | None
    test_list: str | None
    labels_file: str | None
    classes: list[str] | None


class SaliencyData(Section):
    """Photos with boxes of their main object, in MSRA's text format; paths are relative to `root`."""

    root: str
    boxes: str
    image_list: str | None
    exclude: str | None


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


class PublishedCues(Section):
    """Files of the cues that SEC's authors published; `data/<name>.npz` can then supervise experiments."""

    cues: str
    image_list: str


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


class SelectSaliencyPhotos(Section):
    """Saliency photos with a class of higher probability than `exclude_scores_above` (after the sigmoid) are left out."""

    exclude_scores_above: OpenFraction | None


class GrabCut(Section):
    """Boxes to masks (GS §6.1)."""

    iterations: Count
    max_side_px: Annotated[int, Field(ge=32)]
    random_seed: int


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


class Experiment(Section):
    """A row of the results: what supervises (a file below data/), which loss, head, geometry and test-time CRF."""

    supervision: Annotated[str, Field(pattern=r"^(guides/)?[a-z0-9_]+\.(npz|zip)$")]
    loss: Name
    head: Literal["largefov", "smallfov", "aspp"]
    average_pool5a: bool
    geometry: Literal["warp", "crop"]
    flip: bool
    test_input_px: Side | None
    test_crf: Name

    @model_validator(mode="after")
    def _warp_has_a_side(self) -> "Experiment":
        on_grid = self.test_input_px is not None and (self.test_input_px - 1) % GRID_STRIDE == 0
        if self.geometry == "warp" and not on_grid:
            raise ValueError(f"geometry warp needs a test_input_px of {GRID_STRIDE}·k + 1")
        return self


class ExportVoc(Section):
    """Which experiments' masks of the test photos are packed for VOC's evaluation server."""

    experiments: list[Name]


class Report(Section):
    """How many images the contact sheets and the gallery show, and the experiment that bounds the others."""

    images: Count
    bound: Name


class Params(Section):
    """The whole file."""

    random_seed: Annotated[int, Field(ge=0)]
    make_toy: Toy
    data: Data
    saliency: SaliencyData
    classifiers: dict[Name, Classifier]
    make_cues: Cues
    import_cues: dict[CuesName, PublishedCues]
    make_seeds: Seeds
    evaluate_seeds: EvaluateSeeds
    select_saliency_photos: SelectSaliencyPhotos
    make_grabcut_masks: GrabCut
    train_saliency: SaliencyNetwork
    predict_saliency: PredictSaliency
    make_guides: Guides
    segmenter: Segmenter
    losses: dict[Name, Loss]
    crf: dict[Name, InferenceCRF]
    experiments: dict[Name, Experiment]
    export_voc: ExportVoc
    report: Report

    @model_validator(mode="after")
    def _names_exist(self) -> "Params":
        problems = [
            f"classifiers.{name} is missing" for name in ("seeder", "background") if name not in self.classifiers
        ]
        for name, role in (("seeder", "foreground"), ("background", "background")):
            method = self.classifiers[name].cam.method if name in self.classifiers else None
            if method and (method == "background_gradient") != (role == "background"):
                problems.append(f"classifiers.{name}.cam.method: {method} shows no {role}")
        for name, experiment in self.experiments.items():
            if experiment.loss not in self.losses:
                problems.append(f"experiments.{name}.loss: there is no losses.{experiment.loss}")
            if experiment.test_crf not in self.crf:
                problems.append(f"experiments.{name}.test_crf: there is no crf.{experiment.test_crf}")
        for name in self.export_voc.experiments:
            if name not in self.experiments:
                problems.append(f"export_voc.experiments: there is no experiments.{name}")
        if self.export_voc.experiments and self.data.format == "voc" and self.data.test_list is None:
            problems.append("export_voc.experiments: data.test_list is null, so there are no test photos to export")
        if problems:
            raise ValueError("; ".join(problems))
        return self


class _UniqueKeyLoader(yaml.SafeLoader):
    """Refuses a key that is given twice, which YAML would silently overwrite."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        merge = "tag:yaml.org,2002:merge"
        keys = [self.construct_object(key, deep=True) for key, _ in node.value if key.tag != merge]  # type: ignore[no-untyped-call]
        repeated = sorted({str(key) for key in keys if keys.count(key) > 1})
        if repeated:
            raise yaml.constructor.ConstructorError(None, None, f"repeated key {', '.join(repeated)}", node.start_mark)
        return super().construct_mapping(node, deep)


def read_params(files: Sequence[str | Path]) -> Params:
    """The validated settings; one UserError lists everything that is wrong, by dotted key.

    files: the params file, then any number of `FILE:ENTRY`, whose `changes` replace settings that are there, in order.
    """
    first, *entries = map(str, files)
    content = _read_yaml(Path(first))
    for entry in entries:
        _apply(_changes(entry), content, entry, first)
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        source = f"{first} with {', '.join(entries)}" if entries else first
        raise UserError(f"{source}:\n" + "\n".join(_explain(item) for item in error.errors())) from None


def _read_yaml(path: Path) -> Any:
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _UniqueKeyLoader)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; copy one of profiles/ or run in the repository's root") from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:  # ValueError: text, numbers, dates
        raise UserError(f"{path}: cannot be read as YAML: {error}") from None


def _changes(entry: str) -> dict[str, Any]:
    """`FILE:ENTRY` → what stands under `changes` in that entry: values by dotted key."""
    file, colon, key = entry.rpartition(":")
    if not colon:
        raise UserError(f"--params {entry}: say which entry of it: {entry}:experiments.NAME")
    value = _read_yaml(Path(file))
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            raise UserError(f"{file}: there is no {key}")
        value = value[part]
    changes = value.get("changes") if isinstance(value, dict) else None
    if not isinstance(changes, dict):
        raise UserError(f"{file}: {key} has no `changes: {{...}}`; give an empty one for none")
    return changes


def _apply(changes: dict[str, Any], content: Any, entry: str, file: str) -> None:
    """Put each value in the place of the one that is there; a key that is not there is a slip, not a new setting."""
    for key, new in changes.items():
        *sections, last = str(key).split(".")
        inner = content
        for section in sections:
            inner = inner.get(section) if isinstance(inner, dict) else None
        if not isinstance(inner, dict) or last not in inner:
            raise UserError(f"{entry}: changes {key}, which {file} does not have")
        inner[last] = copy.deepcopy(new)


_SHORT = Repr()  # aliases can make a small file stand for gigabytes
_SHORT.maxstring = _SHORT.maxother = 80


def _explain(item: Any) -> str:
    parts = [str(part) for part in item["loc"]]
    if parts[:1] == ["losses"]:
        del parts[2:3]  # pydantic names the variant of the loss here
    key = ".".join(parts) or "(file)"
    hint = ""
    if isinstance(item["input"], str) and item["type"] in ("float_type", "int_type"):
        hint = "; YAML reads 1e-3 as text, write 0.001 or 1.0e-3"
    value = "" if item["type"] in ("missing", "value_error") else f" (is {_SHORT.repr(item['input'])})"
    return f"  {key}: {item['msg']}{value}{hint}"


def read_keys(*keys: str, files: Sequence[str | Path]) -> Any:
    """The validated values of dotted `keys`: exactly those that the stage lists under `params` in dvc.yaml.

    files: see `read_params`; a stage's `--params`.
    """
    params = read_params(files)
    values = tuple(_value(params, key, files[0]) for key in keys)
    return values[0] if len(values) == 1 else values


def _value(value: Any, key: str, file: str | Path) -> Any:
    for part in key.split("."):
        inside = value if isinstance(value, dict) else dict(value) if isinstance(value, Section) else {}
        if part not in inside:
            raise UserError(f"{file}: there is no {key}")
        value = inside[part]
    return value
