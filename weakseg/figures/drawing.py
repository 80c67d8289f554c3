"""A figure as both papers print theirs: a photo to a row, and what was made of it side by side in columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from weakseg.arrays import LabelMap, Photo
from weakseg.files import IGNORE_INDEX, voc_palette
from weakseg.report import paint

TILE_PX, GAP_PX, MARGIN_PX, LINE_PX = 190, 6, 16, 17
INK, MUTED = (26, 28, 33), (96, 102, 112)
OPACITY = 0.78

Tile = LabelMap | Photo | None  # class ids (H, W), a picture (H, W, 3), or nothing was made


@dataclass(frozen=True)
class Row:
    """One photo: its tags or id in words, itself at display size, and a tile for each further column."""

    caption: str
    photo: Photo | None
    tiles: Sequence[Tile]


@dataclass(frozen=True)
class Figure:
    """`heads` are the columns' titles, the photo's first; `notes` one line below each, such as numbers.

    With `fold` rows stand side by side in so many blocks, as in SEC's figures 4, 5 and 9.
    """

    title: str
    heads: Sequence[str]
    notes: Sequence[str]
    rows: Sequence[Row]
    fold: int = 1


def draw(figure: Figure, class_names: Sequence[str]) -> Image.Image:
    """The figure as a picture, with a legend of the classes that it shows."""
    blocks = [figure.rows[start :: figure.fold] for start in range(figure.fold)]
    blocks = [block for block in blocks if block]
    block_px = len(figure.heads) * (TILE_PX + GAP_PX)
    width = 2 * MARGIN_PX + max(1, len(blocks)) * (block_px + 2 * GAP_PX)
    legend = _legend(figure, class_names, width - 2 * MARGIN_PX)
    heights = _heights(blocks)
    top = MARGIN_PX + 28 + LINE_PX * len(legend) + 8
    height = top + 2 * LINE_PX + 8 + sum(one + LINE_PX + GAP_PX for one in heights) + MARGIN_PX
    sheet = Image.new("RGB", (width, height), (255, 255, 255))
    canvas = ImageDraw.Draw(sheet)
    canvas.text(
        (MARGIN_PX, MARGIN_PX),
        _fitted(figure.title, _font(17, bold=True), width - 2 * MARGIN_PX),
        INK,
        _font(17, bold=True),
    )
    _draw_legend(canvas, legend, MARGIN_PX + 28)
    for index, block in enumerate(blocks):
        _draw_block(sheet, figure, block, heights, MARGIN_PX + index * (block_px + 2 * GAP_PX), top)
    return sheet


def _draw_block(
    sheet: Image.Image, figure: Figure, rows: Sequence[Row], heights: Sequence[int], left: int, top: int
) -> None:
    canvas = ImageDraw.Draw(sheet)
    for column, (head, note) in enumerate(zip(figure.heads, figure.notes, strict=True)):
        middle = left + column * (TILE_PX + GAP_PX) + TILE_PX // 2
        canvas.text((middle, top), _fitted(head, _font(13, bold=True), TILE_PX), INK, _font(13, bold=True), anchor="ma")
        canvas.text((middle, top + LINE_PX), _fitted(note, _font(12), TILE_PX), MUTED, _font(12), anchor="ma")
    top += 2 * LINE_PX + 8
    for row, height in zip(rows, heights, strict=False):
        for column, tile in enumerate([row.photo, *row.tiles]):
            _draw_tile(sheet, tile, row.photo, left + column * (TILE_PX + GAP_PX), top)
        words = _fitted(row.caption, _font(12), len(figure.heads) * (TILE_PX + GAP_PX))
        canvas.text((left, top + height + 1), words, MUTED, _font(12))
        top += height + LINE_PX + GAP_PX


def _draw_tile(sheet: Image.Image, tile: Tile, photo: Photo | None, left: int, top: int) -> None:
    if tile is None:
        ImageDraw.Draw(sheet).text((left + TILE_PX // 2, top + 8), "–", MUTED, _font(13), anchor="ma")
        return
    if tile.ndim == 2:
        picture = paint(tile, photo, OPACITY)
        picture = np.where((tile == IGNORE_INDEX)[..., None], (picture.astype(np.uint16) + 510) // 3, picture).astype(
            np.uint8
        )
    else:
        picture = tile
    sheet.paste(Image.fromarray(picture), (left + (TILE_PX - picture.shape[1]) // 2, top))


def _heights(blocks: Sequence[Sequence[Row]]) -> list[int]:
    """Of each row of pictures: its tallest, over all blocks."""
    heights: list[int] = []
    for block in blocks:
        own = [max((len(tile) for tile in (row.photo, *row.tiles) if tile is not None), default=24) for row in block]
        pairs = zip(own + [0] * (len(heights) - len(own)), heights + [0] * (len(own) - len(heights)), strict=True)
        heights = [max(pair) for pair in pairs]
    return heights


def _legend(figure: Figure, class_names: Sequence[str], width_px: int) -> list[list[tuple[int, int, str]]]:
    """Lines of (x, class id, name) of the classes in the figure's label maps."""
    maps = [tile for row in figure.rows for tile in row.tiles if tile is not None and tile.ndim == 2]
    used = sorted({int(label) for labels in maps for label in np.unique(labels)} - {0, 254})
    canvas, lines, x = ImageDraw.Draw(Image.new("RGB", (1, 1))), [[]], 0  # type: ignore[var-annotated]
    for label in used:
        name = (
            class_names[label] if label < len(class_names) else "ignore" if label == IGNORE_INDEX else f"class {label}"
        )
        wide = 34 + int(canvas.textlength(name, _font(12)))
        if lines[-1] and x + wide > width_px:
            lines, x = [*lines, []], 0
        lines[-1].append((x, label, name))
        x += wide
    return lines if used else []


def _draw_legend(canvas: ImageDraw.ImageDraw, lines: Sequence[Sequence[tuple[int, int, str]]], top: int) -> None:
    colours = voc_palette()
    for line in lines:
        for x, label, name in line:
            colour = (255, 255, 255) if label == IGNORE_INDEX else tuple(map(int, colours[label]))
            canvas.rectangle((MARGIN_PX + x, top + 2, MARGIN_PX + x + 12, top + 14), colour, INK)
            canvas.text((MARGIN_PX + x + 18, top), name, INK, _font(12))
        top += LINE_PX


def _font(size_px: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """The font that comes with matplotlib, so that a figure has the same bytes on every machine."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size_px)


def _fitted(text: str, font: ImageFont.FreeTypeFont, width_px: int) -> str:
    text = " ".join(text.split())[:300]
    if font.getlength(text) <= width_px:
        return text
    while text and font.getlength(f"{text}…") > width_px:
        text = text[:-1]
    return f"{text}…"
