"""`weakseg data`: fetch a public data set."""

from argparse import Namespace
from pathlib import Path

from weakseg.cli.parsing import Commands, add_command
from weakseg.cli.repository import enter_repository

DATA_SETS = ("coco14", "ecssd", "msra", "voc12")


def add_to(commands: Commands) -> None:
    parser = add_command(
        commands, "data", fetch, "fetch a public data set and put it where the profiles look for it", "weakseg data voc12",
        "Downloads are checked against known sizes and hashes, and a stopped one is resumed. data/sources.yaml has the\n"
        "addresses; sizes: voc12 3.4 GB with SBD, coco14 20 GB.",
    )  # fmt: skip
    parser.add_argument("name", choices=DATA_SETS, help="which one")
    parser.add_argument("--sources", type=Path, metavar="FILE", help="YAML of mirrors, sizes and hashes")


def fetch(options: Namespace) -> None:
    from weakseg.download import fetch_data_set

    sources = {"sources_file": options.sources.resolve()} if options.sources else {}
    enter_repository()
    print(fetch_data_set(options.name, **sources))
