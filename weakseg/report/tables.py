"""The results as plain text and as Markdown, and charts as CSV."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from weakseg.files import write_table
from weakseg.report.sources import Published

SCORES = ("miou", "miou_crf", "percent_of_full")  # of an experiment in metrics/summary.json
Curves = Mapping[str, Mapping[str, npt.NDArray[np.float64]]]


def percent(value: Any) -> str:
    return "–" if value is None or not np.isfinite(value) else f"{float(value):.1f}"


def with_spread(values: Mapping[str, Any], key: str) -> str:
    """`61.2`, of several trainings `61.2 ± 0.8`."""
    sd = values.get(f"{key}_sd")
    return percent(values.get(key)) + ("" if sd is None or not np.isfinite(sd) else f" ± {float(sd):.1f}")


def with_sd_keys(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """An experiment's metrics with their standard deviations beside them, as `with_spread` looks for them."""
    return {**metrics, **{f"{key}_sd": sd for key, sd in metrics.get("sd", {}).items()}}


def undecided_pairs(comparisons: Mapping[str, Any]) -> str:
    """One line that names the pairs of experiments whose difference lies within noise; "" where nothing was compared."""
    pairs = comparisons.get("pairs", [])
    if not pairs:
        return ""
    undecided = [" and ".join(pair["experiments"]) for pair in pairs if pair["undecided"]]
    once = min(count for pair in pairs for count in pair["trainings"]) < 2
    noise = "choice of photos" if once else "choice of photos and random seeds"
    named = "; ".join(undecided) or "none"
    return f"Undecided, within the noise of the {noise} (95 % interval of the difference holds 0): {named}."


def beyond_tags(values: Mapping[str, Any]) -> str:
    return str(values.get("beyond_tags") or "–")


def _declared(summary: Mapping[str, Mapping[str, Any]], cell: str) -> list[str]:
    """The cell where a summary says what else than tags its experiments owe something to."""
    return [cell] if any("beyond_tags" in values for values in summary.values()) else []


def _measured(summary: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The experiments that have a number: none where no photo has a mask."""
    return {name: own for name, own in summary.items() if any(percent(own.get(key)) != "–" for key in SCORES)}


def _not_measured(summary: Mapping[str, Mapping[str, Any]]) -> str:
    """One line about the experiments without a number; "" if there is none."""
    measured = _measured(summary)
    if not measured:
        return "Nothing was measured: no validation photo has a mask."
    missing = ", ".join(name for name in summary if name not in measured)
    return missing and f"Not measured: {missing}."


def summary_table(summary: Mapping[str, Mapping[str, Any]]) -> str:
    """Plain text: experiment, mIoU without and with CRF, per cent of the bound, supervision beyond tags; `–` where a
    number is missing. Experiments without any number stand in one line below."""
    measured, missing = _measured(summary), _not_measured(summary)
    if not measured:
        return missing
    rows = [["experiment", "mIoU", "mIoU with CRF", "% of full", *_declared(summary, "beyond tags")]]
    rows += [
        [
            experiment,
            *(with_spread(values, key) for key in SCORES),
            *_declared(summary, beyond_tags(values)),
        ]
        for experiment, values in measured.items()
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(row[i].rjust(widths[i]) for i in (1, 2, 3)), *row[4:]]).rstrip()
        for row in rows
    ]
    ruled = [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]
    return "\n".join([*ruled, *([missing] if missing else [])])


def markdown_table(
    summary: Mapping[str, Mapping[str, Any]], metrics: Mapping[str, Mapping[str, Any]], published: Published
) -> str:
    """The summary with pixel accuracy, foreground share and, beside VOC, the published mIoU, for a README."""
    measured, missing = _measured(summary), _not_measured(summary)
    if not measured:
        return f"{missing}\n"
    titles = [
        "experiment",
        "mIoU %",
        "with CRF %",
        "% of full",
        "pixel accuracy %",
        "foreground %",
        *(["published %"] if published else []),
        *_declared(summary, "beyond tags"),
    ]
    lines = ["| " + " | ".join(titles) + " |", "|---|" + "---:|" * (len(titles) - 1)]
    for experiment, values in measured.items():
        own = with_sd_keys(metrics.get(experiment, {}))
        cells = [
            experiment.replace("|", "\\|"),
            *(with_spread(values, key) for key in SCORES),
            *(with_spread(own, key) for key in ("pixel_accuracy", "foreground_fraction")),
            *([" / ".join(map(percent, published.get(experiment, (None, None))))] if published else []),
            *_declared(summary, beyond_tags(values).replace("|", "\\|")),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, *(["", missing] if missing else [])]) + "\n"


def write_plot_data(
    folder: Path,
    curves: Curves,
    validation: Curves,
    metrics: Mapping[str, Mapping[str, Any]],
    class_names: Sequence[str],
) -> None:
    """`losses.csv`, `validation.csv` and `iou.csv`, one point of one run a row, for `dvc plots`; all but losses in per cent."""
    write_table(folder / "losses.csv", _points(curves, "loss"), ["run", "step", "loss"])
    write_table(folder / "validation.csv", _points(validation, "miou"), ["run", "step", "miou"])
    write_table(folder / "iou.csv", _ious(metrics, class_names), ["run", "class", "iou", "iou_crf"])


def _points(curves: Curves, measure: str) -> Iterator[dict[str, Any]]:
    for run, own in curves.items():
        for step, value in zip(own["step"], own[measure], strict=True):
            yield {"run": run, "step": f"{step:.0f}", measure: _text(value)}


def _ious(metrics: Mapping[str, Mapping[str, Any]], class_names: Sequence[str]) -> Iterator[dict[str, Any]]:
    for run, own in metrics.items():
        for name in class_names:
            raw, crf = (own.get(key, {}).get(name) for key in ("iou", "iou_crf"))
            yield {"run": run, "class": name, "iou": _text(raw), "iou_crf": _text(crf)}


def _text(value: float | None) -> str:
    return "" if value is None or not np.isfinite(value) else f"{float(value):.6g}"
