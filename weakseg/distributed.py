"""Several processes at one stage: each takes its share, process 0 writes (`weakseg.launch` starts them).

Without a job every function here does what a single process needs: nothing, or the plain thing.
"""

import atexit
import functools
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from weakseg import artifacts
from weakseg.devices import pick_device
from weakseg.errors import UserError
from weakseg.launch import processes, rank

Item = TypeVar("Item")
MESSAGE_BYTES = 4096
WAIT = timedelta(days=7)  # for the slowest share; a process that dies ends the job at once, whatever this is


@functools.cache
def _cpu_group() -> Any:
    """Join the job (once); the group of CPU connections, for waiting and for agreeing without the GPU."""
    device = pick_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    atexit.register(dist.destroy_process_group)
    return dist.new_group(backend="gloo", timeout=WAIT)


def is_first() -> bool:
    """Whether this is the process that writes."""
    return rank() == 0


def wait() -> None:
    """Until every process has come here."""
    agreed(False)


def agreed(flag: bool) -> bool:
    """Whether `flag` is set in any process; all must call it."""
    if processes() == 1:
        return flag
    value = torch.tensor(int(flag))
    dist.all_reduce(value, dist.ReduceOp.MAX, group=_cpu_group())
    return bool(value)


def average(value: Tensor) -> Tensor:
    """The mean over the processes, without gradient, on the value's device and without waiting for it there."""
    if processes() == 1:
        return value
    _cpu_group()
    total = value.detach().clone()
    dist.all_reduce(total)
    return total / processes()


def first_message(message: str) -> str:
    """The message of the lowest-numbered process that has one; "" if none has."""
    if processes() == 1:
        return message
    encoded = message.encode()[:MESSAGE_BYTES]
    own = torch.zeros(MESSAGE_BYTES, dtype=torch.uint8)
    own[: len(encoded)] = torch.tensor(list(encoded), dtype=torch.uint8)
    messages = [torch.empty_like(own) for _ in range(processes())]
    dist.all_gather(messages, own, group=_cpu_group())
    texts = (bytes(one.tolist()).rstrip(b"\0").decode(errors="replace") for one in messages)
    return next(filter(None, texts), "")


# --- training -------------------------------------------------------------------------------------------------------


def data_parallel(network: nn.Module, device: torch.device) -> nn.Module:
    """The network as one of equal copies whose gradients are averaged over the processes.

    Batch norm that learns takes its statistics from the whole batch, which torch can do on GPUs alone.
    Raises UserError for such a network on CPUs.
    """
    if processes() == 1:
        return network
    _cpu_group()
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules()):
        if device.type != "cuda":
            raise UserError(
                "a network whose batch norm learns needs GPUs for several processes; unset PET_NPROC_PER_NODE"
            )
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    ids = [device] if device.type == "cuda" else None
    # a static graph, since a backbone may have layers that only another head uses
    return DistributedDataParallel(
        network, device_ids=ids, forward_sync_buffers=False, gradient_as_bucket_view=True, static_graph=True
    )


def batch_shares(batch_size: int, steps: int, name: str) -> list[list[int]]:
    """This process's part of each of `steps` batches, as positions counted from the first batch's start.

    Process r of n takes the r-th n-th of every batch, so the batches are those of a single process.
    Raises UserError where the batch does not divide.
    """
    count, number = processes(), rank()
    if batch_size % count:
        fitting = ", ".join(str(n) for n in range(1, batch_size + 1) if batch_size % n == 0)
        raise UserError(
            f"{name}: batch_size {batch_size} cannot be shared evenly by {count} processes; run {fitting} of them "
            "(PET_NPROC_PER_NODE × PET_NNODES) or change batch_size"
        )
    size = batch_size // count
    starts = (step * batch_size + number * size for step in range(steps))
    return [list(range(start, start + size)) for start in starts]


def same_in_all(value: int) -> bool:
    """Whether all processes have the same whole number; all must call it."""
    if processes() == 1:
        return True
    values = torch.tensor([value, -value])
    dist.all_reduce(values, dist.ReduceOp.MAX, group=_cpu_group())
    return int(values[0]) == -int(values[1])


# --- archives -------------------------------------------------------------------------------------------------------


def share(items: Sequence[Item]) -> Sequence[Item]:
    """This process's part: the items in order, cut into as many pieces as there are processes."""
    count, number = processes(), rank()
    return items[len(items) * number // count : len(items) * (number + 1) // count]


def write_arrays(path: Path, items: Iterable[tuple[str, npt.NDArray[Any]]]) -> None:
    """`artifacts.write_arrays` of all processes' items, in the order of `share`; byte for byte what one would write."""
    _write(path, lambda part: artifacts.write_arrays(part, items))


def write_images(path: Path, items: Iterable[tuple[str, Image.Image]]) -> None:
    """`artifacts.write_images` of all processes' items, in the order of `share`; byte for byte what one would write."""
    _write(path, lambda part: artifacts.write_images(part, items))


def _write(path: Path, write: Callable[[Path], None]) -> None:
    """Each process writes its part beside `path`; process 0 joins them, which all wait for."""
    if processes() == 1:
        return write(path)
    parts = [path.with_name(f".{path.name}.part-{number}-of-{processes()}") for number in range(processes())]
    write(parts[rank()])
    wait()
    if is_first():
        artifacts.join_archives(path, parts)
        for part in path.parent.glob(f".{path.name}.part-*"):  # those of an earlier, killed job as well
            part.unlink()
    wait()
