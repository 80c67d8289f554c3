"""The one exception that reports a user's mistake, and a way to collect mistakes and report all of them at once."""

from collections.abc import Iterator
from contextlib import contextmanager

MAX_LISTED = 50


class UserError(Exception):
    """A problem that the user can fix; the message names the file or params key and says what to do."""


class Problems:
    """Problems of a data set, collected and reported in one UserError."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def add(self, problem: str) -> None:
        self.found.append(problem)

    @contextmanager
    def collect(self) -> Iterator[None]:
        """Records a UserError raised in its body as one more problem, and continues."""
        try:
            yield
        except UserError as error:
            self.add(str(error))

    def raise_any(self, subject: str) -> None:
        """Raises one UserError that lists all problems (the first 50 in full), if there are any."""
        count = len(self.found)
        if not count:
            return
        more = [f"... and {count - MAX_LISTED} more"] if count > MAX_LISTED else []
        lines = "".join(f"\n  {line}" for line in self.found[:MAX_LISTED] + more)
        noun = "problem" if count == 1 else "problems"
        raise UserError(f"{subject}: {count} {noun}; nothing was written. Fix them and rerun:{lines}")
