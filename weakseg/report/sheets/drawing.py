"""Contact sheets: for a few photos, one column each, what every stage made of them, with a legend of the classes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from weakseg.arrays import LabelMap, Photo
from weakseg.report.colours import Palette, class_palette
from weakseg.report.pictures import UNLABELLED, paint

MASK_OPACITY = 0.85  # enough of the grey photo to judge edges, little enough to tell VOC's colours apart


TILE_PX, GAP_PX, ROW_TITLE_PX, MARGIN_PX = 164, 6, 112, 14


CAPTION_PX, LEGEND_PX, TITLE_PX, SECTION_PX = 32, 22, 34, 26


INK, MUTED = (26, 28, 33), (96, 102, 112)


@dataclass(frozen=True)
class Column:
    """One photo: `layers` are label maps (H, W), pictures (H, W, 3), or None where the stage made nothing."""

    caption: str
    tags: str
    photo: Photo | None
    layers: Sequence[LabelMap | Photo | None]


@dataclass(frozen=True)
class Section:
    title: str
    row_titles: Sequence[str]
    columns: Sequence[Column]


def _font(size_px: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """The font that comes with matplotlib, so that a sheet has the same bytes on every machine."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size_px)


def _fit(draw: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont, width_px: int) -> str:
    """The text in one line, cut with an ellipsis where it is wider than `width_px`."""
    text = " ".join(text.split())[:500]
    if draw.textlength(text, font) <= width_px:
        return text
    while text and draw.textlength(f"{text}…", font) > width_px:
        text = text[:-1]
    return f"{text}…"


def _used_classes(sections: Iterable[Section]) -> list[int]:
    layers = (layer for section in sections for column in section.columns for layer in column.layers)
    used = {int(label) for layer in layers if layer is not None and layer.ndim == 2 for label in np.unique(layer)}
    return sorted(used - {UNLABELLED})


def _legend_rows(used: list[int], class_names: Sequence[str], width_px: int) -> list[list[tuple[int, int, str]]]:
    """Rows of (x, class id, name), wrapped at the sheet's width."""
    draw, font = ImageDraw.Draw(Image.new("RGB", (1, 1))), _font(13)
    rows: list[list[tuple[int, int, str]]] = [[]]
    x = 0
    for label in used:
        name = class_names[label] if label < len(class_names) else "ignored" if label == 255 else f"class {label}"
        name = _fit(draw, name, font, 200)
        chip_px = 22 + int(draw.textlength(name, font)) + 18
        if rows[-1] and x + chip_px > width_px:
            rows.append([])
            x = 0
        rows[-1].append((x, label, name))
        x += chip_px
    return rows


def _draw_legend(sheet: Image.Image, rows: list[list[tuple[int, int, str]]], palette: Palette, top: int) -> int:
    draw = ImageDraw.Draw(sheet)
    for row in rows:
        for x, label, name in row:
            left = MARGIN_PX + x
            draw.rectangle((left, top + 3, left + 15, top + 17), tuple(map(int, palette[label])), INK)
            draw.text((left + 22, top + 2), name, INK, _font(13))
        top += LEGEND_PX
    return top


def _heights(section: Section) -> list[int]:
    """Tile height of each row: that of its tallest picture."""
    rows = [[column.photo, *column.layers] for column in section.columns]
    heights = [max((len(tile) for tile in tiles if tile is not None), default=24) for tiles in zip(*rows, strict=True)]
    return [min(height, TILE_PX) for height in heights]


def _draw_tile(
    sheet: Image.Image, tile: LabelMap | Photo | None, photo: Photo | None, palette: Palette, left: int, top: int
) -> None:
    if tile is None:
        ImageDraw.Draw(sheet).text((left + TILE_PX // 2, top + 4), "–", MUTED, _font(13))
        return
    picture = paint(tile, photo, MASK_OPACITY, palette) if tile.ndim == 2 else tile
    sheet.paste(Image.fromarray(picture), (left + (TILE_PX - picture.shape[1]) // 2, top))


def _draw_captions(sheet: Image.Image, section: Section, top: int) -> None:
    draw, bold, plain = ImageDraw.Draw(sheet), _font(12, bold=True), _font(11)
    for index, column in enumerate(section.columns):
        middle = MARGIN_PX + ROW_TITLE_PX + index * (TILE_PX + GAP_PX) + TILE_PX // 2
        draw.text((middle, top), _fit(draw, column.tags, bold, TILE_PX), INK, bold, anchor="ma")
        draw.text((middle, top + 16), _fit(draw, column.caption, plain, TILE_PX), MUTED, plain, anchor="ma")


def _draw_section(sheet: Image.Image, section: Section, palette: Palette, top: int) -> int:
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN_PX, top), section.title, INK, _font(15, bold=True))
    top += SECTION_PX
    _draw_captions(sheet, section, top)
    top += CAPTION_PX
    for row, height in enumerate(_heights(section)):
        title = _fit(draw, ["photo", *section.row_titles][row], _font(13), ROW_TITLE_PX - 8)
        draw.text((MARGIN_PX, top + height // 2), title, INK, _font(13), anchor="lm")
        for index, column in enumerate(section.columns):
            tile = column.photo if row == 0 else column.layers[row - 1]
            left = MARGIN_PX + ROW_TITLE_PX + index * (TILE_PX + GAP_PX)
            _draw_tile(sheet, tile, column.photo, palette, left, top)
        top += height + GAP_PX
    return top


def contact_sheet(title: str, sections: Sequence[Section], class_names: Sequence[str]) -> Image.Image:
    """One picture of all sections: a column per photo (at most `TILE_PX` wide and high), a row per layer."""
    sections = [section for section in sections if section.columns]
    num_columns = max((len(section.columns) for section in sections), default=1)
    width = 2 * MARGIN_PX + ROW_TITLE_PX + num_columns * (TILE_PX + GAP_PX)
    legend = _legend_rows(_used_classes(sections), class_names, width - 2 * MARGIN_PX)
    height = 2 * MARGIN_PX + TITLE_PX + len(legend) * LEGEND_PX
    for section in sections:
        height += SECTION_PX + CAPTION_PX + GAP_PX + sum(px + GAP_PX for px in _heights(section))
    sheet = Image.new("RGB", (width, height), (255, 255, 255))
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN_PX, MARGIN_PX), _fit(draw, title, _font(19, bold=True), width - 2 * MARGIN_PX), INK,
              _font(19, bold=True))  # fmt: skip
    palette = class_palette(class_names)
    top = _draw_legend(sheet, legend, palette, MARGIN_PX + TITLE_PX)
    for section in sections:
        top = _draw_section(sheet, section, palette, top + GAP_PX)
    return sheet
