"""`index.html`: one page that works offline from a file, with tables, charts and a gallery.

All text from data (class names, image ids, experiment names) is escaped, or reaches the page as JSON and then as text
nodes. A content security policy forbids every request and every script but the page's own.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from weakseg.files import Record
from weakseg.report.page.assets import SCRIPT, STYLE
from weakseg.report.page.gallery import ImageIous, gallery_cards
from weakseg.report.page.html import bar_cell, class_chip, number, paper_cell, picture, select, table_of
from weakseg.report.pictures import Views
from weakseg.report.sources import Published

PAGE_SIDE_PX = 288


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


def published_percent_of_full(published: Published, experiment: str) -> float | None:
    """The paper's better mIoU over the fully supervised network's."""
    best, bound = (max(miou or 0.0 for miou in published.get(name, (None, None))) for name in (experiment, "full"))
    return 100 * best / bound if best and bound else None


def render_page(page: Page, make_views: Callable[[int], Views]) -> str:
    """The whole page as HTML; `make_views(side_px)` opens the artifacts at the gallery's picture size."""
    largest_px = max((max(record.width, record.height) for record in page.records), default=PAGE_SIDE_PX)
    views = make_views(min(PAGE_SIDE_PX, largest_px))
    cards = gallery_cards(page.records, views, page.experiments, page.image_ious, page.num_images)
    sections = [
        ("results", "Results", _results(page)),
        ("classes", "IoU by class", _class_bars(page)),
        ("training", "Training curves", _charts(page.loss_charts)),
        ("supervision", "Quality of cues, seeds and guides", _quality(page)),
        ("seeders", "Precision and recall of seeders", _seeders(page)),
        ("confusion", "Confusion", _confusions(page.confusion_charts)),
        ("gallery", "Gallery", _gallery(page, {card["split"] for card in cards})),
    ]  # fmt: skip
    sections = [section for section in sections if section[2]]
    links = "".join(f'<a href="#{anchor}">{title}</a>' for anchor, title, _ in sections)
    body = "".join(
        f'<section aria-labelledby="{anchor}"><h2 id="{anchor}">{title}</h2>{content}</section>\n'
        for anchor, title, content in sections
    )
    return _document(f"{_header(page)}<nav aria-label='Sections'>{links}</nav><main>{body}</main>{_DIALOG}",
                     _script_data(page, cards))  # fmt: skip


def _document(body: str, data: str) -> str:
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode("ascii")
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>weakseg report</title>\n<style>{STYLE}</style></head>\n<body>\n"
        f'<a class="skip" href="#gallery">Skip to the gallery</a>\n{body}\n'
        f'<script type="application/json" id="data">{data}</script>\n<script>{SCRIPT}</script>\n</body></html>\n'
    )


def _script_data(page: Page, cards: list[dict[str, Any]]) -> str:
    """JSON that cannot end its script element: `<` is written as an escape."""
    content = {"classes": list(page.class_names), "guideOf": dict(page.guide_of), "images": cards}
    return json.dumps(content, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _header(page: Page) -> str:
    counts = {split: sum(record.split == split for record in page.records) for split in ("train", "val")}
    return (
        "<header><h1>weakseg report</h1>"
        f'<p class="muted">{counts["train"]} training and {counts["val"]} validation photos, '
        f"{len(page.class_names)} classes with background.</p></header>"
    )


def _results(page: Page) -> str:
    if not any(value is not None for values in page.summary.values() for value in values.values()):
        return "<p>No experiment was evaluated: there is no ground truth, or the stage <code>evaluate</code> has not run.</p>"
    head = ["experiment", "mIoU %", "paper", "with CRF", "paper", "% of full", "paper", "pixel acc. %", "foreground %"]
    rows = []
    for experiment, values in page.summary.items():
        own, (miou, miou_crf) = page.metrics.get(experiment, {}), page.published.get(experiment, (None, None))
        rows.append([
            escape(experiment), number(values.get("miou")), paper_cell(miou), number(values.get("miou_crf")),
            paper_cell(miou_crf), number(values.get("percent_of_full")), paper_cell(published_percent_of_full(page.published, experiment)),
            number(own.get("pixel_accuracy")), number(own.get("foreground_fraction")),
        ])  # fmt: skip
    note = (
        '<p class="muted"><small>% of full: the better of the two mIoUs over the better of the fully supervised '
        "bound's. Paper: on VOC 2012 val, VGG-16 trained on 10&#8239;582 photos; the numbers compare directly only "
        "where data and network are the same.</small></p>"
    )
    return table_of(head, rows, "Results") + note


def _class_bars(page: Page) -> str:
    if not page.metrics:
        return ""
    rows = [
        [class_chip(label, name)]
        + [bar_cell(own.get("iou", {}).get(name), own.get("iou_crf", {}).get(name)) for own in page.metrics.values()]
        for label, name in enumerate(page.class_names)
    ]
    note = '<p class="muted"><small>Bar and number: with CRF, per cent. Small number: without.</small></p>'
    return table_of(["class", *map(escape, page.metrics)], rows, "IoU by class", "bars") + note


def _charts(charts: Mapping[str, bytes]) -> str:
    images = "".join(picture(content, f"Loss curves of {stage}") for stage, content in charts.items())
    return f'<div class="charts">{images}</div>' if images else ""


def _confusions(charts: Mapping[str, bytes]) -> str:
    return "".join(
        f"<details{' open' if index == 0 else ''}><summary>{escape(experiment)}</summary>"
        f'<div class="scroll" role="region" tabindex="0" aria-label="Confusion matrix of {escape(experiment)}">'
        f"{picture(content, f'Confusion matrix of {experiment}')}</div></details>"
        for index, (experiment, content) in enumerate(charts.items())
    )


def _quality(page: Page) -> str:
    """One row for the cues, the seeds and each guide: what they cover, and precision and recall where there are masks."""
    made = {"cues": page.cues, **page.guides} if page.cues else dict(page.guides)
    if not made:
        return ""
    measures = [f"{part}_{kind}" for part in ("foreground", "background") for kind in ("precision", "recall")]
    head = [
        "",
        "fg precision",
        "fg recall",
        "bg precision",
        "bg recall",
        "foreground %",
        "background %",
        "unlabelled %",
    ]
    rows = []
    for name, content in made.items():
        coverage, measured = content.get("coverage") or {}, content.get("against_ground_truth") or {}
        shares = [coverage.get(key) for key in ("foreground", "background", "unlabelled")]
        rows.append([escape(name), *map(number, [*(measured.get(key) for key in measures), *shares])])
    note = (
        '<p class="muted"><small>Per cent, over the training photos. Precision and recall are against the ground truth, '
        "foreground (fg) averaged over the classes.</small></p>"
    )
    return table_of(head, rows, "Quality of cues, seeds and guides") + note


def _seeders(page: Page) -> str:
    """GS's figure 3 and its two measures."""
    if not page.seeders:
        return ""
    measures = {
        "mean_precision": "mP %", "foreground_precision_at_20_recall": "fg precision at 20 % recall",
        "background_precision_at_80_recall": "bg precision at 80 %", "map": "mAP %",
    }  # fmt: skip
    rows = [
        [escape(name.replace("_", " ")), *(number(own.get(key)) for key in measures)]
        for name, own in page.seeders.items()
    ]
    table = table_of(["seeder", *measures.values()], rows, "Seeders")
    alt = "Precision over recall of the seeder and of the mean mask"
    return table + f'<div class="chart">{picture(page.seeder_chart, alt)}</div>'


def _gallery(page: Page, splits: set[str]) -> str:
    classes = [(str(label), name) for label, name in enumerate(page.class_names) if label]
    orders = [
        ("given", "as listed"),
        ("best", "best IoU first"),
        ("worst", "worst IoU first"),
        ("random", "random"),
    ]
    controls = [
        select("experiment", "Experiment", [(name, name) for name in page.experiments] or [("", "none")]),
        select("split", "Photos", [*((name, name) for name in sorted(splits, reverse=True)), ("", "all")]),
        select("class", "Tagged", [("", "any class"), *classes]),
        select("order", "Order", orders),
        '<label>Photo ↔ mask<input id="blend" type="range" min="0" max="100" value="70"></label>',
    ]
    legend = "".join(f"<li>{class_chip(label, name)}</li>" for label, name in enumerate(page.class_names))
    return (
        "<noscript><p>The gallery needs JavaScript; nothing else on this page does.</p></noscript>"
        f'<div class="controls">{"".join(controls)}</div>'
        f'<details open><summary>Colours</summary><ul class="legend">{legend}<li>{class_chip(255, "ignored")}</li></ul></details>'
        '<p id="count" class="muted" role="status"></p><div id="cards"></div>'
        '<p class="more"><button class="plain" id="more" type="button">Show more</button></p>'
    )


_DIALOG = (
    '<dialog id="large" aria-labelledby="large-title"><div class="row"><h3 id="large-title"></h3>'
    '<button class="plain" id="close" type="button">Close</button></div><div class="tile" id="large-tile"></div>'
    '<div class="row"><button class="plain" id="previous" type="button">← Previous</button>'
    '<label>Photo ↔ mask <input id="blend-large" type="range" min="0" max="100" value="70"></label>'
    '<button class="plain" id="next" type="button">Next →</button></div></dialog>'
)
