"""Photos through a network: on a CPU in processes of one thread each, on a GPU in batches of photos of equal size."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, TypeVar

import torch
from torch import nn

from weakseg.arrays import Photo
from weakseg.batch.tasks import BATCH_SIZE, NetworkTask
from weakseg.batch.workers import map_images, read_ahead
from weakseg.files import Record
from weakseg.images import read_record
from weakseg.runtime import pick_device, to_device

Item = TypeVar("Item")
Result = TypeVar("Result")


def through_network(task: NetworkTask[Result], records: Sequence[Record], description: str) -> Iterator[Result]:
    """One result per photo, in order, with a progress bar. On a CPU each photo goes through a single-threaded network
    alone, in WEAKSEG_WORKERS processes: faster than several threads per photo, and independent of their number. On a
    GPU, `records` are whole windows.
    """
    device = pick_device()
    if device.type == "cpu":
        return map_images(partial(_alone, task), records, description)
    network = to_device(task.network(), device)
    photos = read_ahead(read_record, records, description)

    def together(some: list[tuple[Record, Photo]]) -> Sequence[Result]:
        return task.results(network, [record for record, _ in some], [image for _, image in some], device)

    return in_batches(photos, lambda photo: task.size(photo[1]), together, BATCH_SIZE)


def in_batches(
    items: Iterable[Item],
    size: Callable[[Item], Hashable],
    together: Callable[[list[Item]], Sequence[Result]],
    batch_size: int,
) -> Iterator[Result]:
    """The results of `together` for items of equal size, at most `batch_size` at a time, in the items' order. Up to
    four batches' worth of items are held to find partners of equal size.
    """
    rest = iter(items)
    while window := list(islice(rest, 4 * batch_size)):
        by_size: dict[Hashable, list[int]] = {}
        for number, item in enumerate(window):
            by_size.setdefault(size(item), []).append(number)
        found: dict[int, Result] = {}
        for numbers in by_size.values():
            for start in range(0, len(numbers), batch_size):
                batch = numbers[start : start + batch_size]
                found |= zip(batch, together([window[number] for number in batch]), strict=True)
        yield from (found[number] for number in range(len(window)))


_loaded: list[tuple[NetworkTask[Any], nn.Module]] = []  # of this process: the last task's network


def _alone(task: NetworkTask[Result], record: Record) -> Result:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in any worker, also if this is the only process
    try:
        if not _loaded or _loaded[0][0] != task:
            _loaded[:] = [(task, to_device(task.network(), torch.device("cpu")))]
        return task.results(_loaded[0][1], [record], [read_record(record)], torch.device("cpu"))[0]
    finally:
        torch.set_num_threads(threads)
