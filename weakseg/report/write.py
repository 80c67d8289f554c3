"""The folder `metrics/report/`: tables, curves, contact sheets and one page, from whatever artifacts there are.

Every source may be missing (no saliency, no ground truth, an experiment that did not run): its place then stays
empty. Equal artifacts give equal bytes.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from weakseg.arrays import LabelMap, Photo
from weakseg.errors import UserError
from weakseg.files import (
    ArrayArchive,
    ImageArchive,
    Record,
    png_bytes,
    read_class_names,
    read_json,
    read_manifest,
    read_table,
    write_bytes,
    write_text,
)
from weakseg.report.charts import Curves, confusion_chart, iou_chart, loss_chart
from weakseg.report.page import Page, Published, render_page
from weakseg.report.pictures import Views, open_arrays, open_images, spread
from weakseg.report.published import read_published
from weakseg.report.sheets import TILE_PX, Column, Section, contact_sheet

Archive = TypeVar("Archive")


SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]*")


@dataclass(frozen=True)
class ReportSources:
    """Where the artifacts lie; None or a path that does not exist = that stage did not run.

    cues: `.npz`. seeds, saliency (8-bit grey probabilities), ground_truth: `.zip` by image id. guides: folder of
    `<rule>.zip`. raw_masks and masks: folders of `<experiment>.zip`, without and with CRF. evaluation: folder of
    `<experiment>.npz` with `raw/confusion`, `crf/confusion` (C, C) and `<image_id>/iou` (2,) fractions raw and CRF. metrics: folder of
    `<experiment>.json`, `summary.json`, `cues.json`, `guides.json`. training: folder of `<stage>.csv` with the
    columns step, learning_rate, loss and one per loss term. seeders: folder of `seeder.png`, precision over recall, and
    of `<name>.json` with mP and mAP. published: the papers' numbers (`report.published`). `supervision` says which guide an experiment learnt
    from (`g2` where it names no guide). `num_sheet_images` photos of each split are on a sheet, up to
    `num_page_images` of the val split and a third as many of the train split on the page.
    """

    manifest: Path
    classes: Path
    experiments: tuple[str, ...] = ()
    supervision: Mapping[str, str] = field(default_factory=dict)
    cues: Path | None = None
    seeds: Path | None = None
    saliency: Path | None = None
    guides: Path | None = None
    ground_truth: Path | None = None
    raw_masks: Path | None = None
    masks: Path | None = None
    evaluation: Path | None = None
    metrics: Path | None = None
    training: Path | None = None
    seeders: Path | None = None
    published: Path | None = None
    num_sheet_images: int = 8
    num_page_images: int = 48


def write_report(folder: Path, sources: ReportSources) -> None:
    """Writes contact sheets, charts, `table.txt`, `table.md` and `index.html` into `folder`.

    Raises UserError for a damaged artifact, or an experiment whose name is no file name.
    """
    _check_names(sources.experiments)
    class_names, records = read_class_names(sources.classes), read_manifest(sources.manifest)
    metrics, summary = _experiment_metrics(sources), _json(sources.metrics, "summary")
    curves = read_curves(sources.training)
    confusions = _confusion_charts(sources, class_names)
    _write_sheets(folder, sources, records, class_names)
    charts = {"loss_curves.png": loss_chart(curves), "per_class_iou.png": iou_chart(metrics, class_names)}
    charts |= {f"confusion_{experiment}.png": png for experiment, png in confusions.items()}
    for name, png in charts.items():
        write_bytes(folder / name, png)
    write_text(folder / "table.txt", summary_table(summary) + "\n")
    published = _published(sources.published)
    write_text(folder / "table.md", markdown_table(summary, metrics, published))
    page = Page(
        class_names, sources.experiments, {name: _guide_rule(sources, name) for name in sources.experiments},
        records, summary, metrics, _json(sources.metrics, "cues"), _json(sources.metrics, "guides"),
        {stage: loss_chart({stage: values}) for stage, values in curves.items()}, confusions,
        _seeder_chart(sources.seeders), _seeder_metrics(sources.seeders), _image_ious(sources), sources.num_page_images, published,
    )  # fmt: skip
    write_text(folder / "index.html", render_page(page, lambda side_px: _views(sources, side_px)))


def _check_names(experiments: tuple[str, ...]) -> None:
    unsafe = [name for name in experiments if not SAFE_NAME.fullmatch(name) or name == "training"]
    if unsafe:
        raise UserError(
            f"experiments: {', '.join(map(repr, unsafe))} cannot be used; take letters, digits, _ and -, not 'training'"
        )


def _percent(value: Any) -> str:
    return "–" if value is None or not np.isfinite(value) else f"{float(value):.1f}"


def summary_table(summary: Mapping[str, Mapping[str, Any]]) -> str:
    """Plain text: experiment, mIoU without and with CRF, per cent of the bound; `–` where a number is missing."""
    rows = [["experiment", "mIoU", "mIoU with CRF", "% of full"]]
    rows += [
        [experiment, *(_percent(values.get(key)) for key in ("miou", "miou_crf", "percent_of_full"))]
        for experiment, values in summary.items()
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(row[i].rjust(widths[i]) for i in (1, 2, 3))]).rstrip() for row in rows
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def markdown_table(
    summary: Mapping[str, Mapping[str, Any]], metrics: Mapping[str, Mapping[str, Any]], published: Published
) -> str:
    """The summary with pixel accuracy, foreground share and the published mIoU, for a README."""
    titles = [
        "experiment",
        "mIoU %",
        "with CRF %",
        "% of full",
        "pixel accuracy %",
        "foreground %",
        "published %",
    ]
    lines = ["| " + " | ".join(titles) + " |", "|---|" + "---:|" * (len(titles) - 1)]
    for experiment, values in summary.items():
        own = metrics.get(experiment, {})
        numbers = [values.get(key) for key in ("miou", "miou_crf", "percent_of_full")]
        numbers += [own.get(key) for key in ("pixel_accuracy", "foreground_fraction")]
        cells = [
            experiment.replace("|", "\\|"),
            *map(_percent, numbers),
            " / ".join(map(_percent, published.get(experiment, (None, None)))),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _json(folder: Path | None, name: str) -> dict[str, Any]:
    path = None if folder is None else folder / f"{name}.json"
    return read_json(path) if path is not None and path.is_file() else {}


def _published(path: Path | None) -> Published:
    """By experiment: the first number that a paper's row for it gives, without and with CRF."""
    found: dict[str, tuple[float | None, float | None]] = {}
    for row in read_published(path).experiments if path is not None and path.is_file() else []:
        miou, miou_crf = found.get(row.experiment, (None, None))
        found[row.experiment] = (row.miou if miou is None else miou, row.miou_crf if miou_crf is None else miou_crf)
    return found


def _seeder_chart(folder: Path | None) -> bytes | None:
    path = None if folder is None else folder / "seeder.png"
    return path.read_bytes() if path is not None and path.is_file() else None


def _seeder_metrics(folder: Path | None) -> dict[str, dict[str, Any]]:
    """By seeder; those that were measured on no photo are left out."""
    found = {path.stem: read_json(path) for path in sorted(folder.glob("*.json"))} if folder is not None else {}
    return {name: content for name, content in found.items() if content.get("images")}


def _experiment_metrics(sources: ReportSources) -> dict[str, dict[str, Any]]:
    found = {experiment: _json(sources.metrics, experiment) for experiment in sources.experiments}
    return {name: values for name, values in found.items() if values and values.get("images_with_ground_truth", 1)}


def read_curves(folder: Path | None) -> dict[str, Curves]:
    """By stage (file name), in alphabetical order: each column as (steps,) floats, NaN for an empty field."""
    paths = [] if folder is None else sorted(folder.glob("*.csv"))
    return {path.stem: curves for path in paths if len((curves := _read_curve(path))["step"])}


def _read_curve(path: Path) -> Curves:
    rows = read_table(path, ["step", "loss"])
    names = list(rows[0]) if rows else ["step"]
    try:
        return {
            name: np.array([float(row[name]) if row[name] else np.nan for row in rows], np.float64) for name in names
        }
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: damaged loss curve ({error}); train that stage again") from None


def _by_experiment(
    opener: Callable[[Path], Archive | None], folder: Path | None, experiments: tuple[str, ...], suffix: str
) -> dict[str, Archive]:
    found = {name: opener(folder / f"{name}{suffix}") for name in experiments} if folder is not None else {}
    return {name: archive for name, archive in found.items() if archive is not None}


def _views(sources: ReportSources, side_px: int) -> Views:
    guides = sorted(sources.guides.glob("*.zip")) if sources.guides is not None else []
    return Views(
        side_px,
        {name: open_images(getattr(sources, name)) for name in ("ground_truth", "seeds", "saliency")},
        open_arrays(sources.cues),
        {path.stem: ImageArchive(path) for path in guides},
        _by_experiment(open_images, sources.raw_masks, sources.experiments, ".zip"),
        _by_experiment(open_images, sources.masks, sources.experiments, ".zip"),
    )


def _evaluations(sources: ReportSources) -> dict[str, ArrayArchive]:
    return _by_experiment(open_arrays, sources.evaluation, sources.experiments, ".npz")


def _confusion_charts(sources: ReportSources, class_names: list[str]) -> dict[str, bytes]:
    """By experiment, of the prediction with CRF, or without where there is none."""
    charts = {}
    for experiment, archive in _evaluations(sources).items():
        kind = next((kind for kind in ("crf", "raw") if f"{kind}/confusion" in archive), None)
        if kind is not None:
            title = f"{experiment}, {'with' if kind == 'crf' else 'without'} CRF"
            charts[experiment] = confusion_chart(archive[f"{kind}/confusion"], class_names, title)
    return charts


def _image_ious(sources: ReportSources) -> dict[str, dict[str, npt.NDArray[np.floating[Any]]]]:
    """By experiment and image id: (2,) mean IoU without and with CRF."""
    return {
        experiment: {key.removesuffix("/iou"): archive[key] for key in archive.names() if key.endswith("/iou")}
        for experiment, archive in _evaluations(sources).items()
    }


def _guide_rule(sources: ReportSources, experiment: str | None) -> str:
    """The guide an experiment learnt from; `g2`, the paper's best, for one that learnt from none."""
    rule = sources.supervision.get(experiment or "", "g2")
    known = sources.guides is not None and (sources.guides / f"{rule}.zip").is_file()
    return rule if known else "g2"


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


def _write_sheets(folder: Path, sources: ReportSources, records: list[Record], class_names: list[str]) -> None:
    """`contact_sheet_training.png` (no prediction) and one `contact_sheet_<experiment>.png` each."""
    views = _views(sources, TILE_PX)
    train, val = (
        spread([record for record in records if record.split == split], sources.num_sheet_images)
        for split in ("train", "val")
    )
    for experiment in (None, *sources.experiments):
        sections = [_training_section(views, train, class_names, _guide_rule(sources, experiment))]
        if experiment is not None:
            sections.append(_prediction_section(views, val, class_names, experiment))
        sheet = contact_sheet(f"weakseg: {experiment or 'training data'}", sections, class_names)
        write_bytes(folder / f"contact_sheet_{experiment or 'training'}.png", png_bytes(sheet))
