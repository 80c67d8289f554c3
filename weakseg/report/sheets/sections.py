"""The contact sheets: training photos with what their tags were turned into, and predictions of an experiment."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from weakseg.arrays import LabelMap, Photo
from weakseg.files import Record, png_bytes, read_class_names, read_manifest, write_bytes
from weakseg.report.pictures import Views, spread
from weakseg.report.sheets.drawing import TILE_PX, Column, Section, contact_sheet
from weakseg.report.sources import ReportSources, guide_rule, views_of


def write_sheets(folder: Path, sources: ReportSources, records: list[Record], class_names: list[str]) -> None:
    """`contact_sheet_training.png` (no prediction) and one `contact_sheet_<experiment>.png` each."""
    views = views_of(sources, TILE_PX)
    train = spread([record for record in records if record.split == "train"], sources.num_sheet_images)
    held_out = [record for split in ("val", "test") for record in records if record.split == split]
    predicted = spread(held_out, sources.num_sheet_images)
    for experiment in (None, *sources.experiments):
        sections = [_prediction_section(views, predicted, class_names, experiment)] if experiment is not None else []
        sections.append(_training_section(views, train, class_names, guide_rule(sources, experiment)))
        sheet = contact_sheet(f"weakseg: {experiment or 'training data'}", sections, class_names)
        write_bytes(folder / f"contact_sheet_{experiment or 'training'}.png", png_bytes(sheet))


def write_first_look(out: Path, sources: ReportSources) -> None:
    """What there is before any segmenter is trained: training photos with their cues and seeds, as one picture."""
    records, class_names = read_manifest(sources.manifest, "train"), read_class_names(sources.classes)
    section = _training_section(
        views_of(sources, TILE_PX), spread(records, sources.num_sheet_images), class_names, guide_rule(sources, None)
    )
    write_bytes(out, png_bytes(contact_sheet("weakseg: first look", [section], class_names)))


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
    return _without_empty_rows(Section("Training photos: what the tags were turned into", titles, columns))


def _prediction_section(views: Views, records: list[Record], class_names: list[str], experiment: str) -> Section:
    columns = [
        _column(record, class_names, views.photo(record), [
            views.mask("ground_truth", record), views.raw(experiment, record), views.crf(experiment, record),
        ])
        for record in records
    ]  # fmt: skip
    titles = ["ground truth", "prediction", "with CRF"]
    return _without_empty_rows(Section(f"Photos not trained on: predictions of {experiment}", titles, columns))


def _without_empty_rows(section: Section) -> Section:
    """Rows in which no photo has anything vanish: without masks there is no ground truth."""
    kept = [
        index for index in range(len(section.row_titles))
        if any(column.layers[index] is not None for column in section.columns)
    ]  # fmt: skip
    columns = [replace(column, layers=[column.layers[index] for index in kept]) for column in section.columns]
    return Section(section.title, [section.row_titles[index] for index in kept], columns)
