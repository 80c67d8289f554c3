"""The processes of a training: several that share it, and workers that read its photos."""

import ctypes
import multiprocessing
import signal
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from weakseg.errors import UserError
from weakseg.runtime import join_job, processes, rank, worker_count
from weakseg.training.run import Run
from weakseg.training.sampling import Batch, Positions, SampleSource, as_tensors, stacked

PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>


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


def loaded(source: SampleSource, run: Run, step: int, device: torch.device) -> Generator[Batch, None, None]:
    """This process's part of the batches from `step` on, read by workers.

    A worker's error or death is reported without the traceback that torch adds. The workers end with this generator:
    torch ends them when its iterator is freed, but a propagating error keeps that alive, and at Python's exit nothing
    else would end processes that ignore SIGTERM.
    """
    with _all_or_none():
        iterator = iter(_loader(source, run, step))
    try:
        for arrays in iterator:
            yield as_tensors(arrays, pinned=device.type == "cuda")
    except UserError as error:
        raise UserError(str(error).rpartition("UserError: ")[2].strip()) from None
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise UserError(
            "a worker process that reads photos died (out of memory?); lower WEAKSEG_WORKERS and rerun: the "
            "training goes on from its last checkpoint"
        ) from None
    finally:
        if hasattr(iterator, "_shutdown_workers"):
            iterator._shutdown_workers()


def _loader(source: SampleSource, run: Run, step: int) -> DataLoader[Batch]:
    batch_size, workers = run.settings.batch_size, min(worker_count(), 8)
    positions = Positions(
        source, run.random_seed, step * batch_size, run.settings.steps * batch_size, run.settings.sampling
    )
    if workers:
        multiprocessing.Lock()  # raises where /dev/shm is full; torch's half-made iterator would add a traceback
    return DataLoader(
        positions,
        batch_sampler=batch_shares(batch_size, run.settings.steps - step, run.name),
        num_workers=workers,
        collate_fn=stacked,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_live_as_long_as_the_loop,
    )


@contextmanager
def _all_or_none() -> Iterator[None]:
    """Where the system lets only some of the workers start, end these: Python's exit would wait for them for ever."""
    try:
        yield
    except (OSError, RuntimeError):
        for worker in multiprocessing.active_children():
            worker.kill()
        raise


def _live_as_long_as_the_loop(worker: int) -> None:
    """Ctrl-C and a group's SIGTERM reach loader workers too; they must outlive them for the loop to finish its step.
    Where the loop itself is killed, Linux ends them: nobody would read what they still send."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
