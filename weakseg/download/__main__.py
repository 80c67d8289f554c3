"""`python -m weakseg.download voc12`: the same as `weakseg data voc12`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from weakseg.download.data_sets import NOTES, fetch_data_set
from weakseg.download.sources import SOURCES
from weakseg.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m weakseg.download", description=__doc__)
    parser.add_argument("name", choices=sorted(NOTES))
    parser.add_argument("--sources", type=Path, default=SOURCES, help="YAML of mirrors, sizes and hashes")
    options = parser.parse_args(arguments)
    try:
        print(fetch_data_set(options.name, options.sources))
    except UserError as error:
        print(f"{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; run again to go on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
