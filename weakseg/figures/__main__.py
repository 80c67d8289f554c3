"""`python -m weakseg.figures`: the papers' picture figures from whatever has run, into metrics/figures."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from weakseg.errors import UserError
from weakseg.figures.listing import FIGURES
from weakseg.figures.make import make_figures


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m weakseg.figures", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="figure", help=f"of {', '.join(FIGURES)}; all by default")
    parser.add_argument("--count", type=int, default=6, help="photos in a figure (6)")
    parser.add_argument("--photos", default="", help="ids of the photos to show, separated by commas")
    parser.add_argument("--root", type=Path, default=Path(), help="folder with data/, models/ and ablations/ (here)")
    parser.add_argument("--out", type=Path, default=Path("metrics/figures"), help="folder to write")
    options = parser.parse_args(arguments)
    try:
        image_ids = [one for one in options.photos.split(",") if one]
        written = make_figures(options.root, options.out, options.names, max(1, options.count), image_ids)
    except UserError as error:
        print(f"{error}", file=sys.stderr)
        return 1
    for name, path in written.items():
        print(f"{name}: {path or 'nothing of it has run'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
