"""The one exception that a user's mistake ends in, and mistakes gathered so that a user sees all of them at once."""

from collections.abc import Iterator
from contextlib import contextmanager

MAX_LISTED = 50


class UserError(Exception):
    """Something the user can mend; the message names the file or params key and says what to do."""


class Problems:
    """What is wrong with a data set, gathered to be told in one UserError."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def add(self, problem: str) -> None:
        self.found.append(problem)

    @contextmanager
    def collect(self) -> Iterator[None]:
        """Takes a UserError of its body as one more problem, and goes on."""
        try:
            yield
        except UserError as error:
            self.add(str(error))

    def raise_any(self, subject: str) -> None:
        """Raises one UserError that lists all problems (the first 50 in full); nothing where there are none."""
        count = len(self.found)
        if not count:
            return
        more = [f"... and {count - MAX_LISTED} more"] if count > MAX_LISTED else []
        lines = "".join(f"\n  {line}" for line in self.found[:MAX_LISTED] + more)
        noun = "problem" if count == 1 else "problems"
        raise UserError(f"{subject}: {count} {noun}; nothing was written. Mend them and run again:{lines}")
