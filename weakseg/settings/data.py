"""Settings of the data: the built-in pictures, the tagged photos, the saliency photos, published cues."""

from typing import Annotated, Literal

from pydantic import Field

from weakseg.settings.types import Count, Declared, FileBelow, Name, OpenFraction, RandomSeed, Section

Channels = Annotated[list[Annotated[float, Field(ge=-100, le=100)]], Field(min_length=3, max_length=3)]


class MakeToy(Section):
    """Built-in pictures: how many, how large, drawn from which seed."""

    train_images: Annotated[int, Field(ge=1, le=100_000)]
    val_images: Annotated[int, Field(ge=1, le=100_000)]
    saliency_images: Annotated[int, Field(ge=1, le=100_000)]
    image_px: Annotated[int, Field(ge=64, le=1024)]
    random_seed: RandomSeed


class Data(Section):
    """Where the tagged photos are. `train_list`, `val_list` and `test_list` name lists of the VOC layout, or
    COCO's splits (`train2014`).

    Lists and the labels file lie below `root`, or in data/lists: DVC watches these folders. Photos of the test list
    need neither tags nor masks; they are only segmented.
    """

    format: Literal["voc", "folder", "coco"]
    root: Annotated[str, Field(min_length=1)]
    train_list: FileBelow | None
    val_list: FileBelow | None
    test_list: FileBelow | None
    labels_file: FileBelow | None
    classes: list[str] | None


class SaliencyData(Section):
    """Photos with boxes of their main object, in MSRA's text format. The files lie below `root`, or in data/lists."""

    root: Annotated[str, Field(min_length=1)]
    boxes: FileBelow
    image_list: FileBelow | None
    exclude: FileBelow | None


class ImportCues(Section):
    """Files of the cues that SEC's authors published; `data/<name>.npz` can then supervise experiments."""

    cues: Annotated[str, Field(min_length=1)]
    image_list: Annotated[str, Field(min_length=1)]


class Imported(Section):
    """Files of another tool, and what supervision went into them beyond the tags: tables show it."""

    from_: Annotated[str, Field(alias="from", min_length=1)]
    supervision: Declared


class ImportSaliency(Imported):
    """A folder of maps, or an ONNX network that takes RGB / 255, minus `mean`, over `std`, of `input_px` squared."""

    input_px: Count
    mean: Channels
    std: Annotated[list[Annotated[float, Field(gt=0, le=100)]], Field(min_length=3, max_length=3)]


class ImportProposals(Imported):
    """A folder with masks of each photo: `<image_id>.json` of COCO run lengths, or a folder `<image_id>` of PNGs."""


class SelectSaliencyPhotos(Section):
    """Saliency photos with a class of higher probability than `exclude_scores_above` (after the sigmoid) are left out.

    `classifier` is the entry of train_classifier that is asked.
    """

    classifier: Name
    exclude_scores_above: OpenFraction | None


class EvaluateSaliency(Section):
    """Salient pixels have at least `threshold` of the photo's own maximum (GS §6.1)."""

    threshold: OpenFraction


class MakeGrabcutMasks(Section):
    """Boxes to masks (GS §6.1)."""

    iterations: Annotated[int, Field(ge=1, le=1000)]
    max_side_px: Annotated[int, Field(ge=32, le=10_000)]
    random_seed: RandomSeed


class ExportVoc(Section):
    """Which experiments' masks of the test photos are packed for VOC's evaluation server."""

    experiments: list[Name]


class Report(Section):
    """How many images the contact sheets and the gallery show, and the experiment that bounds the others."""

    images: Annotated[int, Field(ge=1, le=1000)]
    bound: Name
