"""CPU work over images, spread over processes, in order and with bounded memory."""

import multiprocessing
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import forkserver
from typing import TypeVar

from weakseg.errors import UserError
from weakseg.runtime import end_with_parent, resources, with_progress, worker_count

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


Item = TypeVar("Item")


Result = TypeVar("Result")


def map_images(function: Callable[[Item], Result], items: Iterable[Item], description: str) -> Iterator[Result]:
    """`function(item)` for each item, in the items' order, with a progress bar.

    `function` must be importable (a module's function or a `functools.partial` of one) and its result must not depend
    on other items: then nothing depends on WEAKSEG_WORKERS. At most four results per worker are held at a time.
    """
    workers = worker_count()
    results = map(function, items) if workers <= 1 else _in_processes(function, items, workers)
    return iter(with_progress(results, description, _length(items)))


def read_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], description: str
) -> Iterator[tuple[Item, Result]]:
    """(item, `function(item)`) in order, with a progress bar, read by two threads while the caller computes.

    For reading and decoding photos, which releases Python's lock; at most four results are held.
    """
    with ThreadPoolExecutor(2, "read-ahead") as threads:
        results = _in_order(threads, lambda item: (item, function(item)), items, 4)
        yield from with_progress(results, description, _length(items))


def _length(items: Iterable[Item]) -> int | None:
    return len(items) if isinstance(items, Sized) else None


def _in_processes(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    context = multiprocessing.get_context("forkserver")  # a fork of a process with running torch threads can hang
    _start_server(context)
    pool = ProcessPoolExecutor(workers, context, end_with_parent)
    try:
        for result, used in _in_order(pool, partial(_with_usage, function), items, 4 * workers):
            resources.note(used)
            yield result
    except (BrokenProcessPool, EOFError):  # EOFError: of the server that could not start one
        raise UserError(
            "a worker process died or could not be started (out of memory? too many processes, `ulimit -u`?); "
            "lower WEAKSEG_WORKERS and rerun"
        ) from None
    finally:
        _end(pool)


def _end(pool: ProcessPoolExecutor) -> None:
    try:
        pool.shutdown()
    except RuntimeError:  # its own thread could not be started: then nothing else ends its workers
        for worker in multiprocessing.active_children():
            worker.kill()


def _start_server(context: multiprocessing.context.ForkServerContext) -> None:
    """Start the server that workers are forked from, with this process's modules and one thread per library. With
    several threads in each of several processes, matrix products spend most of their time waiting for each other.
    """
    context.set_forkserver_preload([name for name in sys.modules if name.partition(".")[0] == "weakseg"])
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    try:
        forkserver.ensure_running()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _with_usage(function: Callable[[Item], Result], item: Item) -> tuple[Result, resources.Usage]:
    return function(item), resources.own()


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
