"""The command's entry: its list of subcommands. Each imports what it needs when it runs, so that `--help` is quick."""

import argparse
from collections.abc import Sequence
from functools import partial

from weakseg.cli import data, models, pipeline, settings, verify
from weakseg.runtime import run_command


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `weakseg` with the arguments given, else the command line's."""
    parser = argparse.ArgumentParser(
        prog="weakseg", description="Segment objects in photos when all you have is image-level tags.",
        epilog="`weakseg COMMAND --help` explains a command.",
    )  # fmt: skip
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)
    for part in (settings, data, pipeline, models, verify):
        part.add_to(commands)
    options = parser.parse_args(arguments)
    run_command(partial(options.do, options), f"weakseg {options.command}")


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"weakseg {version('weakseg')}")
        except PackageNotFoundError:
            print("weakseg, run from a clone")
        parser.exit()
