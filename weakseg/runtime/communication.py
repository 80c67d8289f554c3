"""What the processes of a torchrun job tell each other. A single process gets the plain answer."""

import atexit
import functools
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed as dist

from weakseg.runtime.devices import pick_device
from weakseg.runtime.launch import processes

MESSAGE_BYTES = 4096


WAIT = timedelta(days=7)  # for the slowest share; a process that dies ends the job at once, whatever this is


@functools.cache
def join_job() -> Any:
    """Join the job (once); the group of CPU connections, for waiting and for agreeing without the GPU."""
    device = pick_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    atexit.register(dist.destroy_process_group)
    return dist.new_group(backend="gloo", timeout=WAIT)


def wait() -> None:
    """Wait until every process is here."""
    agreed(False)


def agreed(flag: bool) -> bool:
    """Whether `flag` is set in any process; all must call it."""
    if processes() == 1:
        return flag
    value = torch.tensor(int(flag))
    dist.all_reduce(value, dist.ReduceOp.MAX, group=join_job())
    return bool(value)


def average(value: Tensor) -> Tensor:
    """The mean over the processes, without gradient, on the value's device and without waiting for it there."""
    if processes() == 1:
        return value
    join_job()
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
    dist.all_gather(messages, own, group=join_job())
    texts = (bytes(one.tolist()).rstrip(b"\0").decode(errors="replace") for one in messages)
    return next(filter(None, texts), "")


def same_in_all(value: int) -> bool:
    """Whether all processes have the same whole number; all must call it."""
    if processes() == 1:
        return True
    values = torch.tensor([value, -value])
    dist.all_reduce(values, dist.ReduceOp.MAX, group=join_job())
    return int(values[0]) == -int(values[1])
