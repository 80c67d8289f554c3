"""The contact sheets: training photos with what their tags were turned into, and predictions of an experiment."""

from pathlib import Path

import numpy as np

from weakseg.arrays import LabelMap, Photo
from weakseg.files import Record, png_bytes, write_bytes
from weakseg.report.pictures import Views, spread
from weakseg.report.sheets import TILE_PX, Column, Section, contact_sheet
from weakseg.report.sources import ReportSources, guide_rule, views_of


def write_sheets(folder: Path, sources: ReportSources, records: list[Record], class_names: list[str]) -> None:
    """`contact_sheet_training.png` (no prediction) and one `contact_sheet_<experiment>.png` each."""
    views = views_of(sources, TILE_PX)
    train, val = (
        spread([record for record in records if record.split == split], sources.num_sheet_images)
        for split in ("train", "val")
    )
    for experiment in (None, *sources.experiments):
        sections = [_training_section(views, train, class_names, guide_rule(sources, experiment))]
        if experiment is not None:
            sections.append(_prediction_section(views, val, class_names, experiment))
        sheet = contact_sheet(f"weakseg: {experiment or 'training data'}", sections, class_names)
        write_bytes(folder / f"contact_sheet_{experiment or 'training'}.png", png_bytes(sheet))


def _column(
    record: Record, class_names: list[str], photo: Photo | None, layers: list[LabelMap | Photo | None]
) -> Column:
    tags = ", ".join(class_names[label] if label < len(class_names) else f"class {label}" for label in record.labels)
    return Column(record.image_id, tags, photo, layers)


def _as_grey(values: LabelMap | None) -> Photo | None:
    return None if values is None else np.repeat(values[..., None], 3, axis=2)


def _training_section(views: Views, records: list[Record], class_names: list[str], rule: str) -> Section:
    columns = [
        _column(record, class_names, views.photo(record), [
            views.mask("ground_truth", record), views.cues(record), views.mask("seeds", record),
            _as_grey(views.mask("saliency", record)), views.guide(rule, record),
        ])
        for record in records
    ]  # fmt: skip
    titles = ["ground truth", "cues", "seeds", "saliency", f"guide ({rule})"]
    return Section("Training photos: what the tags were turned into", titles, columns)


def _prediction_section(views: Views, records: list[Record], class_names: list[str], experiment: str) -> Section:
    columns = [
        _column(record, class_names, views.photo(record), [
            views.mask("ground_truth", record), views.raw(experiment, record), views.crf(experiment, record),
        ])
        for record in records
    ]  # fmt: skip
    return Section(
        f"Photos not trained on: predictions of {experiment}",
        ["ground truth", "prediction", "with CRF"],
        columns,
    )
