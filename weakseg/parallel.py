"""CPU work over images, spread over processes, in order and with bounded memory."""

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from tqdm import tqdm

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
    total = len(items) if isinstance(items, Sized) else None
    progress = tqdm(desc=description, total=total, unit="image", disable=None, mininterval=1)
    workers = worker_count()
    results = map(function, items) if workers <= 1 else _in_processes(function, items, workers)
    with progress:
        for result in results:
            progress.update()
            yield result


def _in_processes(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    context = multiprocessing.get_context("forkserver")  # a fork of a process with running torch threads can hang
    pending: deque[Future[Result]] = deque()
    with ProcessPoolExecutor(workers, context, end_with_parent) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) >= 4 * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        except BrokenProcessPool:
            raise UserError("a worker process died (out of memory?); lower WEAKSEG_WORKERS and run again") from None
        finally:
            for future in pending:
                future.cancel()
