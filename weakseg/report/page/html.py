"""Pieces of HTML: tables, numbers, pictures and controls; text from data is escaped."""

import base64
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from weakseg.report.pictures import PALETTE


def table_of(head: Sequence[str], rows: Sequence[Sequence[str]], label: str, kind: str = "") -> str:
    """Cells are HTML already; the first of a row is its heading. Scrolls sideways, by keyboard too."""
    titles = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    lines = "".join(
        f'<tr><th scope="row">{row[0]}</th>{"".join(cell if cell.startswith("<td") else f"<td>{cell}</td>" for cell in row[1:])}</tr>'
        for row in rows
    )
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(label)}"><table class="{kind}">'
        f"<thead><tr>{titles}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def number(value: Any, digits: int = 1) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "–" if value is None else escape(str(value))
    return f"{value:.{digits}f}" if np.isfinite(value) else "–"


def paper_cell(value: float | None) -> str:
    return f'<td class="paper">{number(value)}</td>'


def bar_cell(raw: Any, crf: Any) -> str:
    shown = raw if crf is None else crf
    width = min(100.0, max(0.0, float(shown))) if shown is not None else 0.0
    return f'<td class="bar"><div style="--w:{width:.1f}%">{number(shown)} <small>{number(raw)}</small></div></td>'


def class_chip(label: int, name: str) -> str:
    red, green, blue = PALETTE[label]
    return f'<span class="chip" style="background:rgb({red},{green},{blue})"></span>{escape(name)}'


def picture(content: bytes, alt: str) -> str:
    uri = base64.b64encode(content).decode("ascii")
    return f'<img src="data:image/png;base64,{uri}" alt="{escape(alt)}">'


def _options(items: Sequence[tuple[str, str]]) -> str:
    return "".join(f'<option value="{escape(value)}">{escape(text)}</option>' for value, text in items)


def select(name: str, title: str, items: Sequence[tuple[str, str]]) -> str:
    return f'<label>{title}<select id="{name}">{_options(items)}</select></label>'
