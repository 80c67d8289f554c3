"""The artifacts that a report reads, and how it reads them; each may be missing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from weakseg.errors import UserError
from weakseg.evaluation import read_curve
from weakseg.files import ArrayArchive, ImageArchive, read_json, read_table
from weakseg.published import read_published
from weakseg.report.charts import Curves
from weakseg.report.pictures import Views, open_arrays, open_images

Archive = TypeVar("Archive")

Published = Mapping[str, tuple[float | None, float | None]]  # mIoU on VOC 2012 val, without and with CRF


@dataclass(frozen=True)
class ReportSources:
    """Where the artifacts lie; None or a path that does not exist = that stage did not run.

    cues: `.npz`. seeds, saliency (8-bit grey probabilities), ground_truth: `.zip` by image id. guides: folder of
    `<rule>.zip`. raw_masks and masks: folders of `<experiment>.zip`, without and with CRF. evaluation: folder of
    `<experiment>.npz` with `raw/confusion`, `crf/confusion` (C, C) and `<image_id>/iou` (2,) fractions raw and CRF. metrics: folder of
    `<experiment>.json`, `summary.json`, `cues.json`, `guides.json`, `supervision.json`. training: folder of `<stage>.csv` with the
    columns step, learning_rate, loss and one per loss term. seeders: folder of `<name>.csv`, precision over recall, and
    of `<name>.json` with mP and mAP. published: the papers' numbers (`read_published`). `supervision` says which guide an experiment learnt
    from (`g2` where it names no guide). `num_sheet_images` photos not trained on and as many training photos are on a sheet, up to
    `num_page_images` and `num_train_page_images` on the page. progress: folder of `<experiment>.zip`, masks of a few
    photos by `<step>/<image id>`, made while it was trained.
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
    num_page_images: int = 4000
    num_train_page_images: int = 48
    progress: Path | None = None


def json_of(folder: Path | None, name: str) -> dict[str, Any]:
    path = None if folder is None else folder / f"{name}.json"
    return read_json(path) if path is not None and path.is_file() else {}


def published_of(path: Path | None) -> Published:
    """By experiment: the first number that a paper's row for it gives, without and with CRF."""
    found: dict[str, tuple[float | None, float | None]] = {}
    for row in read_published(path).experiments if path is not None and path.is_file() else []:
        miou, miou_crf = found.get(row.experiment, (None, None))
        found[row.experiment] = (row.miou if miou is None else miou, row.miou_crf if miou_crf is None else miou_crf)
    return found


def seeder_metrics(folder: Path | None) -> dict[str, dict[str, Any]]:
    """By seeder; those that were measured on no photo are left out."""
    found = {path.stem: read_json(path) for path in sorted(folder.glob("*.json"))} if folder is not None else {}
    return {name: content for name, content in found.items() if content.get("images")}


def experiment_metrics(sources: ReportSources) -> dict[str, dict[str, Any]]:
    found = {experiment: json_of(sources.metrics, experiment) for experiment in sources.experiments}
    return {name: values for name, values in found.items() if values and values.get("images_with_ground_truth", 1)}


def seeder_curves(folder: Path | None) -> dict[str, Mapping[str, npt.NDArray[np.float64]]]:
    """By seeder that was measured: precision over recall, in per cent."""
    return {} if folder is None else {name: read_curve(folder / f"{name}.csv") for name in seeder_metrics(folder)}


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
        raise UserError(f"{path}: damaged curve ({error}); train that stage again") from None


def _by_experiment(
    opener: Callable[[Path], Archive | None], folder: Path | None, experiments: tuple[str, ...], suffix: str
) -> dict[str, Archive]:
    found = {name: opener(folder / f"{name}{suffix}") for name in experiments} if folder is not None else {}
    return {name: archive for name, archive in found.items() if archive is not None}


def views_of(sources: ReportSources, side_px: int) -> Views:
    guides = sorted(sources.guides.glob("*.zip")) if sources.guides is not None else []
    return Views(
        side_px,
        {name: open_images(getattr(sources, name)) for name in ("ground_truth", "seeds", "saliency")},
        open_arrays(sources.cues),
        {path.stem: ImageArchive(path) for path in guides},
        _by_experiment(open_images, sources.raw_masks, sources.experiments, ".zip"),
        _by_experiment(open_images, sources.masks, sources.experiments, ".zip"),
    )


def evaluations(sources: ReportSources) -> dict[str, ArrayArchive]:
    return _by_experiment(open_arrays, sources.evaluation, sources.experiments, ".npz")


def image_ious(sources: ReportSources) -> dict[str, dict[str, npt.NDArray[np.floating[Any]]]]:
    """By experiment and image id: (2,) mean IoU without and with CRF."""
    return {
        experiment: {key.removesuffix("/iou"): archive[key] for key in archive.names() if key.endswith("/iou")}
        for experiment, archive in evaluations(sources).items()
    }


def guide_rule(sources: ReportSources, experiment: str | None) -> str:
    """The guide an experiment learnt from; `g2`, the paper's best, for one that learnt from none."""
    rule = sources.supervision.get(experiment or "", "g2")
    known = sources.guides is not None and (sources.guides / f"{rule}.zip").is_file()
    return rule if known else "g2"
