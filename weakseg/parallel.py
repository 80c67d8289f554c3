"""CPU work over images, spread over processes, in order and with bounded memory."""

import multiprocessing
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from tqdm import tqdm

from weakseg import launch
from weakseg.devices import worker_count
from weakseg.errors import UserError
from weakseg.guard import end_with_parent

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_images(function: Callable[[Item], Result], items: Iterable[Item], description: str) -> Iterator[Result]:
    """`function(item)` for each item, in the items' order, with a progress bar.

    `function` must be importable (a module's function or a `functools.partial` of one) and its result must not depend
    on other items: then nothing depends on WEAKSEG_WORKERS. At most four results a worker are held at a time.
    """
    workers = worker_count()
    results = map(function, items) if workers <= 1 else _in_processes(function, items, workers)
    return with_progress(results, items, description)


def read_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], description: str
) -> Iterator[tuple[Item, Result]]:
    """(item, `function(item)`) in order, with a progress bar, read by two threads while the caller computes.

    For reading and decoding photos, which leaves Python's lock; four results at most are held.
    """
    with ThreadPoolExecutor(2, "read-ahead") as threads:
        results = _in_order(threads, lambda item: (item, function(item)), items, 4)
        yield from with_progress(results, items, description)


def with_progress(results: Iterable[Result], items: Iterable[Item], description: str) -> Iterator[Result]:
    """The results, one for each of `items`, with a progress bar in the first process of a job."""
    total = len(items) if isinstance(items, Sized) else None
    hidden = None if launch.rank() == 0 else True  # None: where there is no terminal
    return iter(tqdm(results, description, total, unit="image", disable=hidden, mininterval=1))


def _in_processes(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    context = multiprocessing.get_context("forkserver")  # a fork of a process with running torch threads can hang
    # so that what workers need is imported once, and not in each
    context.set_forkserver_preload([name for name in sys.modules if name.partition(".")[0] == "weakseg"])
    with ProcessPoolExecutor(workers, context, end_with_parent) as pool:
        try:
            yield from _in_order(pool, function, items, 4 * workers)
        except BrokenProcessPool:
            raise UserError("a worker process died (out of memory?); lower WEAKSEG_WORKERS and run again") from None


def _in_order(pool: Executor, function: Callable[[Item], Result], items: Iterable[Item], most: int) -> Iterator[Result]:
    pending: deque[Future[Result]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) >= most:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()
