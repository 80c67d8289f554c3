"""The folder `metrics/report/`: tables, curves, contact sheets and one page, from whatever artifacts there are.

Every source may be missing (no saliency, no ground truth, an experiment that did not run): its place then stays
empty. Equal artifacts give equal bytes.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from weakseg.errors import UserError
from weakseg.files import read_class_names, read_counts, read_manifest, write_bytes, write_text
from weakseg.report.charts import confusion_chart, iou_chart, loss_chart
from weakseg.report.page import Page, render_page
from weakseg.report.seed_charts import seeder_chart
from weakseg.report.sheets import write_sheets
from weakseg.report.sources import (
    ReportSources,
    evaluations,
    experiment_metrics,
    guide_rule,
    image_ious,
    json_of,
    published_of,
    read_curves,
    seeder_curves,
    seeder_metrics,
    views_of,
)
from weakseg.report.tables import markdown_table, summary_table, undecided_pairs, write_plot_data
from weakseg.report.validation import validation_curves

SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]*")


def write_report(folder: Path, sources: ReportSources) -> None:
    """Writes contact sheets, charts and their data, `table.txt`, `table.md` and `index.html` into `folder`.

    Raises UserError for a damaged artifact, or an experiment whose name is no file name.
    """
    _check_names(sources.experiments)
    class_names, records = read_class_names(sources.classes), read_manifest(sources.manifest)
    metrics, summary = experiment_metrics(sources), json_of(sources.metrics, "summary")
    curves, confusions = read_curves(sources.training), confusion_counts(sources, class_names)
    validation = validation_curves(
        sources.progress, sources.ground_truth, sources.experiments, records, len(class_names)
    )
    write_sheets(folder, sources, records, class_names)
    charts = {"loss_curves.png": loss_chart(curves), "per_class_iou.png": iou_chart(metrics, class_names)}
    charts |= confusion_charts(confusions, class_names)
    charts["seeders.png"] = seeder_chart(seeder_curves(sources.seeders))
    for name, png in charts.items():
        write_bytes(folder / name, png)
    write_plot_data(folder / "plots", curves, validation, metrics, class_names)
    undecided = undecided_pairs(json_of(sources.metrics, "comparisons"))
    write_text(folder / "table.txt", "\n".join([summary_table(summary), *([undecided] if undecided else [])]) + "\n")
    published = published_of(sources.published)
    write_text(folder / "table.md", markdown_table(summary, metrics, published) + (undecided and f"\n{undecided}\n"))
    page = Page(
        class_names, sources.experiments, {name: guide_rule(sources, name) for name in sources.experiments},
        records, summary, metrics, json_of(sources.metrics, "cues"), json_of(sources.metrics, "guides"),
        curves, validation, confusions, charts["seeders.png"],
        seeder_metrics(sources.seeders), image_ious(sources), sources.num_page_images, sources.num_train_page_images,
        published, undecided, json_of(sources.metrics, "supervision"),
    )  # fmt: skip
    write_text(folder / "index.html", render_page(page, lambda side_px: views_of(sources, side_px)))


def _check_names(experiments: tuple[str, ...]) -> None:
    unsafe = [name for name in experiments if not SAFE_NAME.fullmatch(name) or name == "training"]
    if unsafe:
        raise UserError(
            f"experiments: {', '.join(map(repr, unsafe))} cannot be used; take letters, digits, _ and -, not 'training'"
        )


def confusion_counts(sources: ReportSources, class_names: list[str]) -> dict[str, tuple[str, npt.NDArray[np.int64]]]:
    """By experiment: `crf`, or `raw` where there is none, and the counts; none without a pixel to compare."""
    found: dict[str, tuple[str, npt.NDArray[np.int64]]] = {}
    for experiment, archive in evaluations(sources).items():
        kind = next((kind for kind in ("crf", "raw") if f"{kind}/confusion" in archive), None)
        if kind is not None:
            counts = read_counts(archive, f"{kind}/confusion", len(class_names))
            found |= {experiment: (kind, counts)} if counts.any() else {}
    return found


def confusion_charts(
    confusions: Mapping[str, tuple[str, npt.NDArray[np.int64]]], class_names: list[str]
) -> dict[str, bytes]:
    """PNGs by file name."""
    return {
        f"confusion_{experiment}.png": confusion_chart(
            counts, class_names, f"{experiment}, {'with' if kind == 'crf' else 'without'} CRF"
        )
        for experiment, (kind, counts) in confusions.items()
    }
