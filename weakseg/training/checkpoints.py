"""Checkpoints of a training run: every 10 minutes or as the environment says, each whole or absent; the last two are
kept.

A file's name is `<run>.<identity>.<step>.pt`. A checkpoint of another identity is never used; it is removed when its
run is finished.
"""

import os
import re
import sys
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from weakseg.errors import UserError
from weakseg.files import atomic_file

KEPT = 2


class Checkpoints:
    """Checkpoints of the run `name` (such as `segmenter/sec`) with one identity (a hash of all that the result depends
    on)."""

    def __init__(self, folder: Path, name: str, identity: str) -> None:
        self.folder, self.name, self.identity = folder, name, identity[:16]
        self._saved_at = time.monotonic()

    def due(self, step: int) -> bool:
        """Whether to save after `step`: if the last save (or the start) is long enough ago, or every so many steps."""
        every_steps = self.every_steps
        return (bool(every_steps) and step % every_steps == 0) or time.monotonic() - self._saved_at >= 60 * self.minutes

    @property
    def every_steps(self) -> int:
        """WEAKSEG_CHECKPOINT_STEPS; 0 for never. How often to save changes no result, so it is not a setting."""
        return int(_number("WEAKSEG_CHECKPOINT_STEPS", "0", 10**9))

    @property
    def minutes(self) -> float:
        return _number("WEAKSEG_CHECKPOINT_MINUTES", "10", 10**6)

    def path(self, step: int) -> Path:
        return self.folder / f"{self._file_name}.{self.identity}.{step:08d}.pt"

    def save(self, step: int, content: dict[str, Any]) -> None:
        """Write a checkpoint, then remove all but the last two. Raises UserError if it cannot be written."""
        with atomic_file(self.path(step)) as file:
            try:
                torch.save(content, file)
            except RuntimeError as error:  # torch's error for a failed write
                raise OSError(f"is the disk full? {error}") from error
        for old in self.own()[:-KEPT]:
            old.unlink(missing_ok=True)
        self._saved_at = time.monotonic()

    def restore(self, load: Callable[[dict[str, Any]], None]) -> bool:
        """Pass the newest intact checkpoint's content to `load`; False if there is none. Anything that `load` raises
        counts as damage, and the previous checkpoint is tried. Raises UserError if all are damaged.
        """
        for stale in self._of_other_identity():
            self._say(f"settings, inputs or code changed, {stale.name} is not used; starting over")
        damaged = []
        for path in reversed(self.own()):
            try:
                load(torch.load(BytesIO(path.read_bytes()), map_location="cpu", weights_only=True))
                return True
            except Exception as error:  # anything that a damaged file makes torch raise
                damaged.append(f"{path}: damaged checkpoint ({type(error).__name__})")
                self._say(f"{damaged[-1]}; the one before is tried, if there is one")
        if damaged:
            raise UserError("\n".join(damaged) + "\ndelete what is damaged to start afresh")
        return False

    def remove(self) -> None:
        """Remove all checkpoints of this run, including those of other identities."""
        for path in (*self.own(), *self._of_other_identity()):
            path.unlink(missing_ok=True)

    def own(self) -> list[Path]:
        """This identity's checkpoints, oldest first."""
        return [path for path in self._of_this_run() if path.name.split(".")[-3] == self.identity]

    @property
    def _file_name(self) -> str:
        return self.name.replace("/", "-")

    def _of_this_run(self) -> list[Path]:
        name = re.compile(rf"{re.escape(self._file_name)}\.[0-9a-z]{{16}}\.\d{{8}}\.pt")
        return sorted(path for path in self.folder.glob("*.pt") if name.fullmatch(path.name))

    def _of_other_identity(self) -> list[Path]:
        return [path for path in self._of_this_run() if path.name.split(".")[-3] != self.identity]

    def _say(self, text: str) -> None:
        print(f"{self.name}: {text}", file=sys.stderr)


def _number(variable: str, default: str, most: int) -> float:
    text = os.environ.get(variable) or default
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) or float(text) > most:
        raise UserError(f"{variable}: {text!r} is not a number from 0 to {most}")
    return float(text)
