"""The report's charts as PNG bytes: loss curves, IoU by class, confusion. Same data, same bytes (no dates, no state)."""

import math
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

Curves = Mapping[str, npt.NDArray[np.float64]]


COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#8c564b",
    "#7f7f7f",
)  # colour-blind safe


MAX_ANNOTATED_CLASSES = 25


MAX_SIDE_IN = 30.0


def chart_png(figure: Figure, dpi: int = 110) -> bytes:
    """Palette PNG without metadata: small, and equal for equal data."""
    rendered = BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(rendered, format="png", dpi=dpi, metadata={"Software": None})
    packed = BytesIO()
    with Image.open(rendered) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(packed, "PNG", optimize=True)
    return packed.getvalue()


def plain(text: str) -> str:
    """Text from data as matplotlib shall print it: `$` starts no formula."""
    return text.replace("$", r"\$")


def moving_mean(values: npt.NDArray[np.float64], window: int) -> npt.NDArray[np.float64]:
    """(N,) mean of the values up to `window // 2` steps away on either side (fewer at the ends), NaN skipped."""
    known = ~np.isnan(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(known, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(known)])
    here = np.arange(len(values))
    starts, ends = np.maximum(0, here - window // 2), np.minimum(len(values), here + window // 2 + 1)
    return ratio(sums[ends] - sums[starts], counts[ends] - counts[starts])


def ratio(part: npt.NDArray[Any], whole: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """part / whole of one shape, NaN where the whole is 0."""
    result = np.full(part.shape, np.nan)
    np.divide(part, whole, out=result, where=whole > 0)
    return result


def _draw_curves(axes: Axes, title: str, curves: Curves) -> None:
    steps = curves["step"]
    terms = [name for name in curves if name not in ("step", "learning_rate", "loss")]
    terms = ["loss", *terms] if len(terms) > 1 else ["loss"]  # `loss` and its only term are one curve
    for index, term in enumerate(terms):
        colour = COLOURS[index % len(COLOURS)]
        axes.plot(steps, curves[term], color=colour, alpha=0.25, linewidth=0.8)
        smooth = moving_mean(curves[term], max(1, len(steps) // 30))
        axes.plot(steps, smooth, color=colour, linewidth=1.8, label=plain(term))
    axes.set_title(plain(title), fontsize=11, loc="left", fontweight="bold")
    axes.set_xlabel("step", fontsize=9)
    axes.set_ylabel("loss", fontsize=9)
    axes.set_ylim(*_limits([curves[term] for term in terms]))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    if terms:
        axes.legend(fontsize=8, frameon=False)


def _limits(values: Sequence[npt.NDArray[np.float64]]) -> tuple[float, float]:
    """From 0 (or below) to a little above the largest, so that no point is clipped."""
    known = np.concatenate([[0.0], *(value[np.isfinite(value)] for value in values)])
    low, high = float(known.min()), float(known.max())
    return low, high + 0.05 * (high - low) if high > low else low + 1


def loss_chart(curves_by_stage: Mapping[str, Curves]) -> bytes:
    """One panel per training stage: each loss term, thin as logged, thick as moving mean."""
    count = len(curves_by_stage)
    columns = max(1, min(3, math.ceil(math.sqrt(count))))
    rows = -(-max(1, count) // columns)
    figure = Figure(figsize=(4.9 * columns, min(MAX_SIDE_IN, 3.2 * rows)), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (stage, curves) in zip(panels, curves_by_stage.items(), strict=False):
        _draw_curves(axes, stage, curves)
    for axes in panels[count:]:
        axes.set_axis_off()
    return chart_png(figure)


def _known(values: Sequence[float | None]) -> npt.NDArray[np.float64]:
    return np.array([np.nan if value is None else float(value) for value in values], np.float64)


def _draw_iou_bars(axes: Axes, label: str, colour: str, top: npt.NDArray[np.float64], height: float,
                   raw: npt.NDArray[np.float64], crf: npt.NDArray[np.float64]) -> None:  # fmt: skip
    shown = np.where(np.isnan(crf), raw, crf)
    axes.barh(top, np.nan_to_num(shown), height * 0.92, align="edge", color=colour, label=plain(label))
    axes.vlines(raw, top, top + height * 0.92, color="black", linewidth=1.3)


def iou_chart(metrics: Mapping[str, Mapping[str, Any]], class_names: Sequence[str]) -> bytes:
    """Bars by class and experiment: mIoU with CRF (without, where there is none); a black tick marks it without."""
    count = max(1, len(metrics))
    figure = Figure(
        figsize=(8.5, min(MAX_SIDE_IN, 1.4 + len(class_names) * (0.16 + 0.13 * count))), layout="constrained"
    )
    axes = figure.subplots()
    height = 0.84 / count
    rows = np.arange(len(class_names), dtype=np.float64)
    for index, (experiment, values) in enumerate(metrics.items()):
        raw, crf = (_known([values.get(key, {}).get(name) for name in class_names]) for key in ("iou", "iou_crf"))
        _draw_iou_bars(axes, experiment, COLOURS[index % len(COLOURS)], rows - 0.42 + index * height, height, raw, crf)
    axes.set_yticks(rows, [plain(name[:30]) for name in class_names], fontsize=9)
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.set_xlim(0, 100)
    axes.set_xlabel("IoU %, with CRF (black tick: without)", fontsize=9)
    axes.grid(axis="x", alpha=0.25)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if metrics:
        figure.legend(loc="outside upper center", ncols=min(6, count), fontsize=9, frameon=False)
    return chart_png(figure)


def row_percent(confusion: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.float64]:
    """(C, C) with each row summing to 100; rows of a class without pixels are NaN."""
    return ratio(100.0 * confusion, np.broadcast_to(confusion.sum(1, keepdims=True), confusion.shape))


def _annotate(axes: Axes, percent: npt.NDArray[np.float64]) -> None:
    for row, column in zip(*np.nonzero(np.nan_to_num(percent) >= 0.5), strict=True):
        value = percent[row, column]
        colour = "white" if value > 55 else "black"
        axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=7, color=colour)


def confusion_chart(confusion: npt.NDArray[np.integer[Any]], class_names: Sequence[str], title: str) -> bytes:
    """Where the pixels of each true class (row) went, in per cent of the row; annotated up to 25 classes."""
    side = min(MAX_SIDE_IN, 2.8 + 0.34 * len(class_names))
    figure = Figure(figsize=(side + 1.0, side - 0.2), layout="constrained")
    axes = figure.subplots()
    percent = row_percent(confusion)
    image = axes.imshow(percent, cmap="Blues", vmin=0, vmax=100)
    names = [plain(name[:20]) for name in class_names]
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_xlabel("predicted", fontsize=9)
    axes.set_ylabel("ground truth", fontsize=9)
    axes.set_title(plain(title), fontsize=10)
    figure.colorbar(image, ax=axes, shrink=0.7, label="% of the true class's pixels")
    if len(names) <= MAX_ANNOTATED_CLASSES:
        _annotate(axes, percent)
    return chart_png(figure)
