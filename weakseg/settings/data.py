"""Settings of the data: the built-in pictures, the tagged photos, the saliency photos."""

from typing import Annotated, Literal

from pydantic import Field

from weakseg.settings.types import Count, Name, OpenFraction, Section


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


class PublishedCues(Section):
    """Files of the cues that SEC's authors published; `data/<name>.npz` can then supervise experiments."""

    cues: str
    image_list: str


class SelectSaliencyPhotos(Section):
    """Saliency photos with a class of higher probability than `exclude_scores_above` (after the sigmoid) are left out."""

    exclude_scores_above: OpenFraction | None


class GrabCut(Section):
    """Boxes to masks (GS §6.1)."""

    iterations: Count
    max_side_px: Annotated[int, Field(ge=32)]
    random_seed: int


class ExportVoc(Section):
    """Which experiments' masks of the test photos are packed for VOC's evaluation server."""

    experiments: list[Name]


class Report(Section):
    """How many images the contact sheets and the gallery show, and the experiment that bounds the others."""

    images: Count
    bound: Name
