"""`index.html`: one page that works offline from a file, with tables, charts and a gallery.

Text from data (class names, image ids, experiment names) is escaped by the templates, or reaches the page as JSON and
then as text nodes. A content security policy forbids every request and every script but the page's own.
"""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from weakseg.files import Record
from weakseg.report.page.assets import environment, script, script_hash, style
from weakseg.report.page.gallery import ImageIous, gallery_cards
from weakseg.report.page.results import class_table, quality_table, results_table, seeder_table
from weakseg.report.pictures import PALETTE, Views
from weakseg.report.sources import Published

PAGE_SIDE_PX = 288

IGNORED = 255


@dataclass(frozen=True)
class Page:
    """What the page shows. Charts are PNG bytes; `cues` and `guides` are the metrics files as they stand."""

    class_names: Sequence[str]
    experiments: Sequence[str]
    guide_of: Mapping[str, str]
    records: list[Record]
    summary: Mapping[str, Mapping[str, Any]]
    metrics: Mapping[str, Mapping[str, Any]]
    cues: Mapping[str, Any]
    guides: Mapping[str, Any]
    loss_charts: Mapping[str, bytes]
    confusion_charts: Mapping[str, bytes]
    seeder_chart: bytes
    seeders: Mapping[str, Mapping[str, Any]]
    image_ious: ImageIous
    num_images: int
    published: Published


def render_page(page: Page, make_views: Callable[[int], Views]) -> str:
    """The whole page as HTML; `make_views(side_px)` opens the artifacts at the gallery's picture size."""
    largest_px = max((max(record.width, record.height) for record in page.records), default=PAGE_SIDE_PX)
    views = make_views(min(PAGE_SIDE_PX, largest_px))
    cards = gallery_cards(page.records, views, page.experiments, page.image_ious, page.num_images)
    colours = [css_colour(label) for label in range(len(page.class_names))]
    template = environment().get_template("page.html.j2")
    return template.render(
        style=style(), script=script(), script_hash=script_hash(), data=_script_data(page, cards),
        num_photos={split: sum(record.split == split for record in page.records) for split in ("train", "val", "test")},
        class_names=page.class_names, classes=list(zip(page.class_names, colours, strict=True)),
        ignored_colour=css_colour(IGNORED), experiments=page.experiments,
        splits=_splits({card["split"] for card in cards}),
        results=results_table(page.summary, page.metrics, page.published),
        iou_by_class=class_table(page.metrics, page.class_names, colours),
        quality=quality_table(page.cues, page.guides), seeders=seeder_table(page.seeders),
        loss_charts=_uris(page.loss_charts), confusion_charts=_uris(page.confusion_charts),
        seeder_chart=png_uri(page.seeder_chart),
    )  # fmt: skip


def _splits(shown: set[str]) -> list[str]:
    """Photos that nothing was trained on come first."""
    return [split for split in ("val", "test", "train") if split in shown]


def css_colour(label: int) -> str:
    red, green, blue = PALETTE[label]
    return f"rgb({red},{green},{blue})"


def png_uri(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}"


def _uris(charts: Mapping[str, bytes]) -> dict[str, str]:
    return {name: png_uri(content) for name, content in charts.items()}


def _script_data(page: Page, cards: list[dict[str, Any]]) -> Markup:
    """JSON that cannot end its script element: `<` is written as an escape."""
    content = {"classes": list(page.class_names), "guideOf": dict(page.guide_of), "images": cards}
    return Markup(json.dumps(content, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"))
