"""All tables as one page that works offline from a file and loads nothing."""

import base64
from collections.abc import Sequence
from html import escape

from weakseg.published.tables import Table

STYLE = """
body{margin:0 auto;max-width:1280px;padding:1rem clamp(.75rem,3vw,2rem) 3rem;color:#1a1c21;background:#fff;
 font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
h1{font-size:1.6rem;margin:.4rem 0}h2{font-size:1.2rem;margin:2.2rem 0 .5rem}p{max-width:75ch;margin:.4rem 0}
nav{display:flex;flex-wrap:wrap;gap:.3rem 1.1rem}a{color:#0b5fa5}:focus-visible{outline:3px solid #0b5fa5}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .9rem .25rem 0;text-align:left;border-bottom:1px solid #d9dce1;white-space:nowrap;font-weight:400}
thead th{font-weight:600;vertical-align:bottom}.n{text-align:right}.own{font-weight:600}.paper{color:#5b616b}
img{max-width:100%;height:auto}@media print{nav{display:none}}
"""


def tables_page(tables: Sequence[Table], notes: Sequence[str], chart: bytes | None) -> str:
    """HTML of all tables; `chart` is the PNG of the seeders' curves."""
    titles = [table.title for table in tables] + (["Seeders: precision over recall"] if chart else [])
    bodies = [_table(table) for table in tables] + ([_picture(chart)] if chart else [])
    links = "".join(f'<a href="#t{index}">{escape(title)}</a>' for index, title in enumerate(titles))
    sections = "".join(
        f'<section><h2 id="t{index}">{escape(title)}</h2>{body}</section>\n'
        for index, (title, body) in enumerate(zip(titles, bodies, strict=True))
    )
    words = "".join(f"<p>{escape(note)}</p>" for note in notes)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>weakseg: published numbers and ours</title>\n<style>{STYLE}</style></head>\n<body>\n"
        f"<h1>Published numbers and ours</h1>{words}<nav aria-label='Tables'>{links}</nav>\n"
        f"<main>{sections}</main></body></html>\n"
    )


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col"{_side(table, index)}>{escape(cell)}</th>' for index, cell in enumerate(table.head))
    lines = "".join(
        "<tr>" + f'<th scope="row">{escape(row[0])}</th>'
        + "".join(_cell(table, index, cell) for index, cell in enumerate(row) if index) + "</tr>"
        for row in table.rows
    )  # fmt: skip
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(table.title)}"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def _side(table: Table, index: int) -> str:
    return ' class="n"' if index >= table.names else ""


def _cell(table: Table, index: int, cell: str) -> str:
    """Our number stands out from the paper's, which is in brackets."""
    if index < table.names:
        return f"<td>{escape(cell)}</td>"
    own, bracket, printed = cell.partition(" (")
    paper = f' <span class="paper">({escape(printed)}</span>' if bracket else ""
    return f'<td class="n"><span class="own">{escape(own)}</span>{paper}</td>'


def _picture(chart: bytes | None) -> str:
    uri = base64.b64encode(chart or b"").decode("ascii")
    return f'<img src="data:image/png;base64,{uri}" alt="Precision over recall of every seeder">'
