"""The folder `metrics/report/`: tables, curves, contact sheets and one page, from whatever artifacts there are.

Every source may be missing (no saliency, no ground truth, an experiment that did not run): its place then stays
empty. Equal artifacts give equal bytes.
"""

import re
from pathlib import Path

from weakseg.errors import UserError
from weakseg.files import read_class_names, read_counts, read_manifest, write_bytes, write_text
from weakseg.report.charts import confusion_chart, iou_chart, loss_chart
from weakseg.report.contact_sheets import write_sheets
from weakseg.report.page import Page, render_page
from weakseg.report.seed_charts import seeder_chart
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
from weakseg.report.tables import markdown_table, summary_table

SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]*")


def write_report(folder: Path, sources: ReportSources) -> None:
    """Writes contact sheets, charts, `table.txt`, `table.md` and `index.html` into `folder`.

    Raises UserError for a damaged artifact, or an experiment whose name is no file name.
    """
    _check_names(sources.experiments)
    class_names, records = read_class_names(sources.classes), read_manifest(sources.manifest)
    metrics, summary = experiment_metrics(sources), json_of(sources.metrics, "summary")
    curves = read_curves(sources.training)
    confusions = confusion_charts(sources, class_names)
    write_sheets(folder, sources, records, class_names)
    charts = {"loss_curves.png": loss_chart(curves), "per_class_iou.png": iou_chart(metrics, class_names)}
    charts |= {f"confusion_{experiment}.png": png for experiment, png in confusions.items()}
    charts["seeders.png"] = seeder_chart(seeder_curves(sources.seeders))
    for name, png in charts.items():
        write_bytes(folder / name, png)
    write_text(folder / "table.txt", summary_table(summary) + "\n")
    published = published_of(sources.published)
    write_text(folder / "table.md", markdown_table(summary, metrics, published))
    page = Page(
        class_names, sources.experiments, {name: guide_rule(sources, name) for name in sources.experiments},
        records, summary, metrics, json_of(sources.metrics, "cues"), json_of(sources.metrics, "guides"),
        {stage: loss_chart({stage: values}) for stage, values in curves.items()}, confusions,
        charts["seeders.png"], seeder_metrics(sources.seeders), image_ious(sources), sources.num_page_images, published,
    )  # fmt: skip
    write_text(folder / "index.html", render_page(page, lambda side_px: views_of(sources, side_px)))


def _check_names(experiments: tuple[str, ...]) -> None:
    unsafe = [name for name in experiments if not SAFE_NAME.fullmatch(name) or name == "training"]
    if unsafe:
        raise UserError(
            f"experiments: {', '.join(map(repr, unsafe))} cannot be used; take letters, digits, _ and -, not 'training'"
        )


def confusion_charts(sources: ReportSources, class_names: list[str]) -> dict[str, bytes]:
    """By experiment, of the prediction with CRF, or without where there is none."""
    charts = {}
    for experiment, archive in evaluations(sources).items():
        kind = next((kind for kind in ("crf", "raw") if f"{kind}/confusion" in archive), None)
        if kind is not None:
            title = f"{experiment}, {'with' if kind == 'crf' else 'without'} CRF"
            charts[experiment] = confusion_chart(
                read_counts(archive, f"{kind}/confusion", len(class_names)), class_names, title
            )
    return charts
