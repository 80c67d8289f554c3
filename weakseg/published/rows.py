"""What `ablations/published.yaml` holds: rows of the papers' tables, in per cent."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import yaml
from pydantic import Field, ValidationError

from weakseg.errors import UserError
from weakseg.files import read_text
from weakseg.settings import Name, Section

Percent = Annotated[float, Field(ge=0, le=100)]


Numbers = Mapping[str, float | None]


class PublishedRow(Section):
    """A row of a paper's table: `measures` are its numbers, in per cent, with their headings.

    `compared_with` is the key of the experiment, seeder or guide that stands beside it.
    """

    title: ClassVar[str]
    compared_with: ClassVar[str]
    measures: ClassVar[dict[str, str]]
    paper: str
    row: str

    @property
    def name(self) -> str | None:
        """Of the experiment, seeder or guide that the row is compared with; None: nothing of ours is that method."""
        name: str | None = getattr(self, self.compared_with)
        return name

    @property
    def label(self) -> str:
        return self.row

    @property
    def numbers(self) -> Numbers:
        return {measure: getattr(self, measure, None) for measure in self.measures}


class ExperimentRow(PublishedRow):
    title: ClassVar[str] = "Experiments"
    compared_with: ClassVar[str] = "experiment"
    measures: ClassVar[dict[str, str]] = {
        "miou": "mIoU %", "miou_crf": "with CRF", "percent_of_full": "% of full", "foreground": "foreground %",
        "foreground_crf": "with CRF",
    }  # fmt: skip
    experiment: Name
    miou: Percent | None
    miou_crf: Percent | None


class GuideRow(PublishedRow):
    title: ClassVar[str] = "Guides"
    compared_with: ClassVar[str] = "guide"
    measures: ClassVar[dict[str, str]] = {
        "foreground_precision": "foreground precision %", "foreground_recall": "recall %",
        "background_precision": "background precision %", "background_recall": "recall %",
    }  # fmt: skip
    guide: Name
    foreground_precision: Percent | None
    foreground_recall: Percent | None
    background_precision: Percent | None
    background_recall: Percent | None


class SeederRow(PublishedRow):
    title: ClassVar[str] = "Seeders"
    compared_with: ClassVar[str] = "seeder"
    measures: ClassVar[dict[str, str]] = {
        "mean_precision": "mP %", "foreground_precision_at_20_recall": "foreground precision at 20 % recall",
        "background_precision_at_80_recall": "background precision at 80 % recall", "map": "mAP %",
    }  # fmt: skip
    seeder: Name
    mean_precision: Percent | None
    map: Percent | None


class MethodRow(PublishedRow):
    """A method in a paper's table of results: mIoU on val and test, and per cent of the fully supervised network's.

    `supervision` is what it learns from beyond ImageNet's weights and VOC's tags, in the paper's words.
    """

    title: ClassVar[str] = "Methods"
    compared_with: ClassVar[str] = "experiment"
    measures: ClassVar[dict[str, str]] = {
        "val": "val mIoU %", "percent_of_full": "% of full", "test": "test mIoU %", "test_percent_of_full": "FS%, test",
    }  # fmt: skip
    supervision: str
    val: Percent | None
    test: Percent | None
    test_percent_of_full: Percent | None = None
    experiment: Name | None = None

    @property
    def label(self) -> str:
        return f"{self.row} ({self.supervision})"


class ClassColumn(Section):
    """A method's column of a table by class, IoU in per cent; a class that is not given is not known."""

    paper: str
    split: Literal["val", "test"]
    method: str
    mean: Percent | None
    classes: dict[str, Percent]
    experiment: Name | None = None


class Published(Section):
    """The whole file. `server`: mIoU that VOC's server gave our experiments on test, by name."""

    experiments: list[ExperimentRow]
    guides: list[GuideRow]
    seeders: list[SeederRow]
    methods: list[MethodRow] = Field(default_factory=list)
    per_class: list[ClassColumn] = Field(default_factory=list)
    server: dict[Name, Percent] = Field(default_factory=dict)


def read_published(path: Path) -> Published:
    """Raises UserError, naming every wrong entry."""
    try:
        content = yaml.safe_load(read_text(path))
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read as YAML: {error}") from None
    try:
        return Published.model_validate(content)
    except ValidationError as error:
        problems = [f"  {'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise UserError(f"{path}:\n" + "\n".join(problems)) from None
