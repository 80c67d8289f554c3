"""`python -m weakseg.download voc12`: fetch a data set and put it where the profiles look for it."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from weakseg.download.sources import SOURCES, Sources, read_sources
from weakseg.errors import UserError


def _makers() -> dict[str, Callable[[Sources], Path]]:
    from weakseg.download.saliency_sets import make_ecssd, make_msra
    from weakseg.download.voc import make_voc12

    return {"voc12": make_voc12, "msra": make_msra, "ecssd": make_ecssd, "coco14": _coco14}


def _coco14(sources: Sources) -> Path:
    from weakseg.download.coco import make_coco14

    return make_coco14(sources)


NOTES = {
    "voc12": "data.root; lists train, trainaug, val. VOC's test photos need an account at host.robots.ox.ac.uk:8080: unpack "
    "them into the same folder and name their list in data.test_list",
    "msra": "saliency.root, with saliency.boxes: UserData/msra.txt",
    "ecssd": "saliency.root, with saliency.boxes: UserData/boxes.txt",
    "coco14": "data.root; `make profile NAME=coco14` has the settings",
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m weakseg.download", description=__doc__)
    parser.add_argument("name", choices=sorted(NOTES))
    parser.add_argument("--sources", type=Path, default=SOURCES, help="YAML of mirrors, sizes and hashes")
    options = parser.parse_args(arguments)
    try:
        sources = read_sources(options.sources)
        folder = Path(getattr(sources, options.name).folder)
        if folder.is_dir() and any(folder.iterdir()):
            print(f"{folder}: is there already; delete it to make it again")
        else:
            print(f"{_makers()[options.name](sources)}: {NOTES[options.name]}")
    except UserError as error:
        print(f"{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; run again to go on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
