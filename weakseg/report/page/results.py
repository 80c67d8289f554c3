"""The page's tables: what stands in each cell. The templates make HTML of it, and escape what comes from data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from weakseg.report.sources import Published
from weakseg.report.tables import with_sd_keys, with_spread


@dataclass(frozen=True)
class Cell:
    """`kind` is a CSS class; `width_percent` draws a bar behind the text; `colour` a chip before it."""

    text: str
    kind: str = ""
    small: str = ""
    width_percent: float | None = None
    colour: str = ""


@dataclass(frozen=True)
class Table:
    """The first cell of a row is its heading; a text stands for a cell without more."""

    label: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]
    note: str = ""
    kind: str = ""


def number(value: Any, digits: int = 1) -> str:
    """`–` for None, NaN and infinity."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "–" if value is None else str(value)
    return f"{value:.{digits}f}" if np.isfinite(value) else "–"


def published_percent_of_full(published: Published, experiment: str) -> float | None:
    """The paper's better mIoU over the fully supervised network's."""
    best, bound = (max(miou or 0.0 for miou in published.get(name, (None, None))) for name in (experiment, "full"))
    return 100 * best / bound if best and bound else None


def results_table(
    summary: Mapping[str, Mapping[str, Any]], metrics: Mapping[str, Mapping[str, Any]], published: Published,
    undecided: str = "",
) -> Table | None:  # fmt: skip
    """One row an experiment, with the paper's numbers where there are some; None if nothing was measured.

    undecided: what `undecided_pairs` says, for the note below the table.
    """
    if not any(values.get(key) is not None for values in summary.values() for key in ("miou", "miou_crf")):
        return None
    paper = ["paper"] if published else []
    head = ["experiment", "mIoU %", *paper, "with CRF %", *paper, "% of full", *paper, "pixel acc. %", "foreground %"]
    declared = any("beyond_tags" in values for values in summary.values())
    head += ["beyond tags"] if declared else []
    rows = []
    for name, values in summary.items():
        printed = [*published.get(name, (None, None)), published_percent_of_full(published, name)]
        cells: list[Cell | str] = [name]
        for key, beside in zip(("miou", "miou_crf", "percent_of_full"), printed, strict=True):
            cells += [with_spread(values, key), *([Cell(number(beside), "paper")] if published else [])]
        own = with_sd_keys(metrics.get(name, {}))
        cells += [with_spread(own, key) for key in ("pixel_accuracy", "foreground_fraction")]
        rows.append([*cells, *([values.get("beyond_tags") or "–"] if declared else [])])
    note = "% of full: the better of the two mIoUs over the better of the fully supervised bound's."
    if published:
        note += (
            " Paper: on VOC 2012 val, VGG-16 trained on 10\u202f582 photos; the numbers compare directly only where "
            "data and network are the same."
        )
    if any(values.get("trainings") for values in summary.values()):
        note += " Mean ± standard deviation over trainings with different random seeds; the masks are the first's."
    if undecided:
        note += f" {undecided}"
    return Table("Results", head, rows, note)


def class_table(
    metrics: Mapping[str, Mapping[str, Any]], class_names: Sequence[str], colours: Sequence[str]
) -> Table | None:
    """IoU by class (rows) and experiment (columns)."""
    if not metrics:
        return None
    rows = [
        [Cell(name, colour=colour), *(_bar(own, name) for own in metrics.values())]
        for name, colour in zip(class_names, colours, strict=False)
    ]
    note = "Bar and number: with CRF, per cent. Small number: without."
    return Table("IoU by class", ["class", *metrics], rows, note, "bars")


def _bar(metrics: Mapping[str, Any], name: str) -> Cell:
    raw, crf = metrics.get("iou", {}).get(name), metrics.get("iou_crf", {}).get(name)
    shown = raw if crf is None else crf
    width = min(100.0, max(0.0, float(shown))) if shown is not None else 0.0
    sd = metrics.get("sd", {}).get("iou" if crf is None else "iou_crf", {}).get(name)
    return Cell(with_spread({"iou": shown, "iou_sd": sd}, "iou"), "bar", number(raw), width)


def quality_table(cues: Mapping[str, Any], guides: Mapping[str, Any]) -> Table | None:
    """One row for the cues, the seeds and each guide: what they cover, and precision and recall where there are masks."""
    made = {"cues": cues, **guides} if cues else dict(guides)
    if not made:
        return None
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
        rows.append([name, *map(number, [*(measured.get(key) for key in measures), *shares])])
    note = (
        "Per cent, over the training photos. Precision and recall are against the ground truth, "
        "foreground (fg) averaged over the classes."
    )
    return Table("Quality of cues, seeds and guides", *_without_empty_columns(head, rows), note)


def pseudo_mask_table(content: Mapping[str, Any]) -> Table | None:
    """`metrics/supervision.json`: one row for the cues, the seeds, each guide and each refinement."""
    measured, best = content.get("pseudo_masks") or {}, content.get("best_threshold_by_masks") or {}
    if not measured:
        return None
    rows = []
    for name, values in measured.items():
        chosen = best.get(name) or {}
        numbers = [number(values.get(key)) for key in ("miou", "miou_labelled")]
        rows.append([name, *numbers, number(chosen.get("miou")), number(chosen.get("threshold"), 2)])
    head = ["", "mIoU %", "of labelled pixels %", "by masks: best mIoU %", "by masks: threshold"]
    if not any(values.get("images_with_ground_truth") for values in measured.values()):
        return Table("Pseudo-masks", [""], [[row[0]] for row in rows], "No training photo has a mask to compare with.")
    note = (
        "Against the masks of the training photos. Every pixel counts, an unlabelled one as background; then the labelled "
        "pixels alone. By masks, for comparison only: the background threshold on the maps that agrees best with the "
        "masks, as many papers choose theirs; nothing here is made with it."
    )
    return Table("Pseudo-masks", *_without_empty_columns(head, rows), note)


def _without_empty_columns(head: list[str], rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """Columns without a number vanish: without masks there is neither precision nor recall."""
    kept = [index for index in range(len(head)) if index == 0 or any(row[index] != "–" for row in rows)]
    return [head[index] for index in kept], [[row[index] for index in kept] for row in rows]


def seeder_table(seeders: Mapping[str, Mapping[str, Any]]) -> Table | None:
    """The measures of GS §4.2."""
    if not seeders:
        return None
    measures = {
        "mean_precision": "mP %", "foreground_precision_at_20_recall": "fg precision at 20 % recall",
        "background_precision_at_80_recall": "bg precision at 80 %", "map": "mAP %",
    }  # fmt: skip
    rows = [[name.replace("_", " "), *(number(own.get(key)) for key in measures)] for name, own in seeders.items()]
    return Table("Seeders", ["seeder", *measures.values()], rows)
