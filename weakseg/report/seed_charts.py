"""Precision over recall of seeders, as in GS's figure 3: foreground and background side by side."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from weakseg.report.charts import COLOURS, chart_png, plain

Curve = Mapping[str, npt.NDArray[np.float64]]


MARKED_RECALL = {"foreground": 20, "background": 80}  # per cent: where mP reads the precision


def seeder_chart(curves: Mapping[str, Curve]) -> bytes:
    """PNG of the curves by name; columns in per cent, as `read_curve` gives them."""
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    for axes, side in zip(figure.subplots(1, 2), MARKED_RECALL, strict=True):
        _draw(axes, side, curves)
    if curves:
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=9, frameon=False)
    return chart_png(figure)


def _draw(axes: Axes, side: str, curves: Mapping[str, Curve]) -> None:
    for index, (name, curve) in enumerate(curves.items()):
        recall, precision = curve[f"{side}_recall"], curve[f"{side}_precision"]
        style = "--" if index >= len(COLOURS) else "-"
        axes.plot(recall, precision, style, color=COLOURS[index % len(COLOURS)], linewidth=1.8, label=plain(name))
    axes.axvline(MARKED_RECALL[side], color="black", linewidth=0.8, linestyle=":")
    axes.set_title(side, fontsize=11, loc="left", fontweight="bold")
    axes.set_xlabel("recall %", fontsize=9)
    axes.set_ylabel("precision %", fontsize=9)
    axes.set_xlim(0, 100)
    axes.set_ylim(0 if side == "foreground" else 40, 100)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
