"""All figures, or some, written as PNG."""

from collections.abc import Sequence
from pathlib import Path

from weakseg.errors import UserError
from weakseg.figures.artifacts import Artifacts
from weakseg.figures.drawing import TILE_PX, draw
from weakseg.figures.listing import FIGURES
from weakseg.figures.tiles import Wanted
from weakseg.files import png_bytes, write_bytes


def make_figures(
    root: Path, out: Path, names: Sequence[str] = (), count: int = 6, image_ids: Sequence[str] = ()
) -> dict[str, Path | None]:
    """Writes `out/<name>.png` of each figure that anything has run for; by name, where it is, None: nothing has run.

    names: of `FIGURES`, all by default. `count` photos in each, or those of `image_ids`. Raises UserError for an unknown
    name, and where `root` has no manifest.
    """
    if unknown := [name for name in names if name not in FIGURES]:
        raise UserError(f"no such figure: {', '.join(unknown)}; there are {', '.join(FIGURES)}")
    if not (root / "data" / "manifest.csv").is_file():
        raise UserError(f"{root / 'data' / 'manifest.csv'}: no such file; run the pipeline first (make run)")
    artifacts, wanted = Artifacts(root, TILE_PX), Wanted(count, tuple(image_ids))
    class_names = artifacts.class_names()
    written: dict[str, Path | None] = {}
    for name in names or FIGURES:
        figure = FIGURES[name](artifacts, wanted)
        written[name] = None
        if figure is not None and figure.rows:
            write_bytes(out / f"{name}.png", png_bytes(draw(figure, class_names)))
            written[name] = out / f"{name}.png"
    return written
