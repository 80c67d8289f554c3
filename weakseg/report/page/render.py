"""`index.html`: one page that works offline from a file, with tables, charts and a gallery.

Text from data (class names, image ids, experiment names) is escaped by the templates, or reaches the page as JSON and
then as text nodes. A content security policy forbids every request and every script but the page's own.
"""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from weakseg.files import IGNORE_INDEX, Record
from weakseg.report.colours import Palette, class_palette
from weakseg.report.page.assets import environment, script, script_hash, style
from weakseg.report.page.gallery import Gallery, ImageIous, choose_gallery, gallery_cards
from weakseg.report.page.results import class_table, pseudo_mask_table, quality_table, results_table, seeder_table
from weakseg.report.page.series import confusion_series, curve_series, iou_series
from weakseg.report.pictures import Views
from weakseg.report.sources import Published

Curves = Mapping[str, Mapping[str, npt.NDArray[np.float64]]]


@dataclass(frozen=True)
class Page:
    """What the page shows. `cues`, `guides` and `pseudo_masks` are the metrics files as they stand; the chart is PNG bytes.

    curves, validation: by run, columns with `step` among them. confusions: by experiment, `crf` or `raw` and counts.
    """

    class_names: Sequence[str]
    experiments: Sequence[str]
    guide_of: Mapping[str, str]
    records: list[Record]
    summary: Mapping[str, Mapping[str, Any]]
    metrics: Mapping[str, Mapping[str, Any]]
    cues: Mapping[str, Any]
    guides: Mapping[str, Any]
    curves: Curves
    validation: Curves
    confusions: Mapping[str, tuple[str, npt.NDArray[np.int64]]]
    seeder_chart: bytes
    seeders: Mapping[str, Mapping[str, Any]]
    image_ious: ImageIous
    num_held_out: int
    num_train: int
    published: Published
    undecided: str = ""
    pseudo_masks: Mapping[str, Any] = field(default_factory=dict)


def render_page(page: Page, make_views: Callable[[int], Views]) -> str:
    """The whole page as HTML; `make_views(side_px)` opens the artifacts at the gallery's picture size."""
    gallery = choose_gallery(page.records, page.experiments, page.image_ious, page.num_held_out, page.num_train)
    palette = class_palette(page.class_names)
    views, num_classes = make_views(gallery.side_px), len(page.class_names)
    cards = gallery_cards(gallery, views, page.experiments, page.image_ious, palette, num_classes)
    colours = [css_colour(palette, label) for label in range(num_classes)]
    return environment().get_template("page.html.j2").render(
        style=style(), script=script(), script_hash=script_hash(), data=_script_data(page, cards, palette),
        num_photos={split: sum(record.split == split for record in page.records) for split in ("train", "val", "test")},
        num_shown=len(gallery.held_out), num_held_out=gallery.num_held_out, splits=_splits(gallery),
        class_names=page.class_names, classes=list(zip(page.class_names, colours, strict=True)),
        ignored_colour=css_colour(palette, IGNORE_INDEX), experiments=page.experiments,
        results=results_table(page.summary, page.metrics, page.published, page.undecided),
        iou_by_class=class_table(page.metrics, page.class_names, colours),
        quality=quality_table(page.cues, page.guides), pseudo_masks=pseudo_mask_table(page.pseudo_masks), seeders=seeder_table(page.seeders),
        curves=page.curves, validation=page.validation, confusions=page.confusions,
        compared=len(page.metrics) > 1, seeder_chart=png_uri(page.seeder_chart),
    )  # fmt: skip


def _splits(gallery: Gallery) -> list[str]:
    """Photos that nothing was trained on come first."""
    shown = {record.split for record in [*gallery.held_out, *gallery.train]}
    return [split for split in ("val", "test", "train") if split in shown]


def css_colour(palette: Palette, label: int) -> str:
    return "#" + bytes(palette[label].tolist()).hex()


def png_uri(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}"


def _script_data(page: Page, cards: list[dict[str, Any]], palette: Palette) -> Markup:
    """JSON that cannot end its script element: `<` is written as an escape."""
    content = {
        "classes": list(page.class_names),
        "colours": [css_colour(palette, label) for label in range(len(page.class_names))],
        "ignored": css_colour(palette, IGNORE_INDEX),
        "experiments": list(page.experiments),
        "guideOf": dict(page.guide_of),
        "images": cards,
        "ious": iou_series(page.metrics, page.class_names),
        "confusions": confusion_series(page.confusions),
        "curves": curve_series(page.curves),
        "validation": curve_series(page.validation),
    }
    return Markup(json.dumps(content, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"))
