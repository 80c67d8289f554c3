"""A training shared by several processes."""

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from weakseg.errors import UserError
from weakseg.runtime import join_job, processes, rank


def data_parallel(network: nn.Module, device: torch.device) -> nn.Module:
    """The network as one of several copies whose gradients are averaged over the processes. Trainable batch norm takes
    its statistics from the whole batch, which torch can do only on GPUs.
    Raises UserError for such a network on CPUs.
    """
    if processes() == 1:
        return network
    join_job()
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules()):
        if device.type != "cuda":
            raise UserError(
                "a network whose batch norm learns needs GPUs for several processes; unset PET_NPROC_PER_NODE"
            )
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    ids = [device] if device.type == "cuda" else None
    # a static graph, because a backbone may have layers that only other heads use
    return DistributedDataParallel(
        network, device_ids=ids, forward_sync_buffers=False, gradient_as_bucket_view=True, static_graph=True
    )


def batch_shares(batch_size: int, steps: int, name: str) -> list[list[int]]:
    """This process's part of each of `steps` batches, as positions counted from the first batch's start.

    Process r of n takes the r-th of n parts of every batch, so the batches are those of a single process. Raises
    UserError if the batch does not divide.
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
