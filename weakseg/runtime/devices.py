"""Which device: from the machine, or WEAKSEG_DEVICE."""

import os
from typing import cast

import torch
from torch import nn

from weakseg.errors import UserError
from weakseg.runtime import launch


def pick_device() -> torch.device:
    """WEAKSEG_DEVICE if set (`cpu`, `cuda`, `cuda:1`, …), else the GPU if there is one, else the CPU. Each of several
    processes on a machine takes the GPU of its own number.
    """
    name = os.environ.get("WEAKSEG_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"WEAKSEG_DEVICE: {name!r} cannot be used; say cpu, cuda, or cuda:1 for the second GPU")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError("WEAKSEG_DEVICE: cuda is asked for, but this machine has no usable GPU")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"WEAKSEG_DEVICE: {name!r}, but this machine has {torch.cuda.device_count()} GPUs")
    if device.type == "cuda" and device.index is None and launch.is_process_of_job():
        return _own_gpu()
    return device


def _own_gpu() -> torch.device:
    if launch.local_rank() >= torch.cuda.device_count():
        raise UserError(
            f"PET_NPROC_PER_NODE: {launch.local_processes()} processes, but this machine has {torch.cuda.device_count()} GPUs; "
            "set it to gpu, or WEAKSEG_DEVICE to cpu"
        )
    return torch.device("cuda", launch.local_rank())


def to_device(network: nn.Module, device: torch.device) -> nn.Module:
    """The network moved to `device`, its convolutions laid out channels last, which both kinds of device run faster."""
    moved: nn.Module = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return moved


def compiled(network: nn.Module) -> nn.Module:
    """The network compiled by torch.compile if WEAKSEG_COMPILE names a backend (`inductor`); else unchanged. Compiled
    kernels differ from the plain ones in rounding.
    """
    backend = os.environ.get("WEAKSEG_COMPILE")
    if not backend:
        return network
    if backend not in torch.compiler.list_backends(exclude_tags=()):
        raise UserError(f"WEAKSEG_COMPILE: {backend!r} is no backend of torch.compile; use inductor")
    return cast(nn.Module, torch.compile(network, backend=backend))
