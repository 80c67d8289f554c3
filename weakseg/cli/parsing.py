"""How subcommands declare themselves, so that all of them parse and explain themselves alike."""

import argparse
from collections.abc import Callable
from typing import Any

Commands = Any  # what ArgumentParser.add_subparsers returns, whose type is argparse's own


def add_command(
    commands: Commands, name: str, do: Callable[[argparse.Namespace], None], summary: str, example: str, more: str = ""
) -> argparse.ArgumentParser:
    """The parser of a subcommand, to add arguments to. `do` gets the parsed ones.

    summary: one line for the list of commands; more: what else `--help` says; example: a command line to copy.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.{more and chr(10) + chr(10) + more}",
        epilog=f"example:\n  {example}", formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.set_defaults(do=do)
    return parser


def count(text: str) -> int:
    """A whole number from 1."""
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)
