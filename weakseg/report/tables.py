"""The results as plain text and as Markdown."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from weakseg.report.sources import Published


def percent(value: Any) -> str:
    return "–" if value is None or not np.isfinite(value) else f"{float(value):.1f}"


def summary_table(summary: Mapping[str, Mapping[str, Any]]) -> str:
    """Plain text: experiment, mIoU without and with CRF, per cent of the bound; `–` where a number is missing."""
    rows = [["experiment", "mIoU", "mIoU with CRF", "% of full"]]
    rows += [
        [experiment, *(percent(values.get(key)) for key in ("miou", "miou_crf", "percent_of_full"))]
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
    """The summary with pixel accuracy, foreground share and, beside VOC, the published mIoU, for a README."""
    titles = [
        "experiment",
        "mIoU %",
        "with CRF %",
        "% of full",
        "pixel accuracy %",
        "foreground %",
        *(["published %"] if published else []),
    ]
    lines = ["| " + " | ".join(titles) + " |", "|---|" + "---:|" * (len(titles) - 1)]
    for experiment, values in summary.items():
        own = metrics.get(experiment, {})
        numbers = [values.get(key) for key in ("miou", "miou_crf", "percent_of_full")]
        numbers += [own.get(key) for key in ("pixel_accuracy", "foreground_fraction")]
        cells = [
            experiment.replace("|", "\\|"),
            *map(percent, numbers),
            *([" / ".join(map(percent, published.get(experiment, (None, None))))] if published else []),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
