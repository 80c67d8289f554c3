"""How far a long loop has come: a bar in a terminal, elsewhere (a log, a pipe, a batch job) a plain line now and then."""

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import Generic, Protocol, TypeVar

from tqdm import tqdm

from weakseg.runtime.launch import rank

EVERY_SECONDS = 30

Item = TypeVar("Item", covariant=True)


class Progress(Protocol[Item]):
    """What is iterated over, and what is shown beside the count."""

    def __iter__(self) -> Iterator[Item]: ...
    def set_postfix(self, values: dict[str, str], /) -> None: ...


def with_progress(
    items: Iterable[Item], description: str, total: int | None = None, unit: str = "photo", start: int = 0
) -> Progress[Item]:
    """The items, with progress on standard error in the first process of a job.

    total: how many there are, if `items` has no length; start: how many were done before the first item.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    if rank() == 0 and not sys.stderr.isatty():
        return _Lines(items, description, total, unit, start)
    bar: Progress[Item] = tqdm(
        items, description, total, initial=start, unit=unit, mininterval=1, disable=rank() != 0
    )  # fmt: skip
    return bar


class _Lines(Generic[Item]):
    """A line every 30 seconds with the count, the rate and the time left; none for a loop that is done by then."""

    def __init__(
        self, items: Iterable[Item], description: str, total: int | None, unit: str, start: int
    ) -> None:  # fmt: skip
        self.items, self.description, self.total, self.unit, self.start = items, description, total, unit, start
        self.postfix: dict[str, str] = {}

    def set_postfix(self, values: dict[str, str], /) -> None:
        self.postfix = values

    def __iter__(self) -> Iterator[Item]:
        began = told = time.monotonic()
        done = self.start
        for item in self.items:
            yield item
            done += 1
            now = time.monotonic()
            if now - told >= EVERY_SECONDS:
                told = now
                print(self.line(done, now - began), file=sys.stderr, flush=True)

    def line(self, done: int, seconds: float) -> str:
        """E.g. `cams: 120 of 240 photos, 4.1/s, 0:29 left, loss 1.23`."""
        rate = (done - self.start) / seconds
        parts = [f"{done} of {self.total} {self.unit}s" if self.total else f"{done} {self.unit}s"]
        parts.append(f"{rate:.1f}/s" if rate >= 1 else f"{1 / rate:.1f} s each")
        if self.total:
            parts.append(f"{tqdm.format_interval((self.total - done) / rate)} left")
        parts += [f"{name} {value}" for name, value in self.postfix.items()]
        return f"{self.description}: {', '.join(parts)}"
