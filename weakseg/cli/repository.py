"""The clone that a command works in, and DVC in it."""

import os
import sys
from pathlib import Path

from weakseg.errors import UserError

MARKS = ("dvc.yaml", "stages/__main__.py", "profiles/papers.yaml")  # what only a clone of this repository has


def enter_repository() -> Path:
    """Make the clone around the working directory the working directory; returns it.

    Raises UserError outside of one.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if all((folder / mark).exists() for mark in MARKS):
            os.chdir(folder)
            _find_this_python_first()
            return folder
    raise UserError(f"{here}: not inside a clone of weakseg's repository; the pipeline and its profiles are there")


def _find_this_python_first() -> None:
    """Stages are `python -m …`: PATH leads to the Python that runs this command."""
    folders = os.environ.get("PATH", "").split(os.pathsep)
    own = str(Path(sys.executable).parent)
    if folders[0] != own:
        os.environ["PATH"] = os.pathsep.join([own, *folders])


def dvc(*arguments: str) -> int:
    """Run DVC in this process; its exit status."""
    os.environ.setdefault("DVC_NO_ANALYTICS", "1")
    try:
        from dvc.cli import main
    except ModuleNotFoundError as error:
        if error.name != "dvc":
            raise
        raise UserError("DVC is not installed; in a clone `make setup` installs what the pipeline needs") from None
    return int(main(list(arguments)) or 0)


def must(status: int) -> None:
    """Exit with DVC's status if it failed; it has reported why."""
    if status:
        sys.exit(status)
