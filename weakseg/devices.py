"""Which device and how many worker processes: from the machine, or WEAKSEG_DEVICE and WEAKSEG_WORKERS."""

import os

import torch
from torch import nn

from weakseg.errors import UserError


def pick_device() -> torch.device:
    """WEAKSEG_DEVICE if set (`cpu`, `cuda`, `cuda:1`, …), else the GPU where there is one, else the CPU."""
    name = os.environ.get("WEAKSEG_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"WEAKSEG_DEVICE: {name!r} is no device; use cpu or cuda") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError("WEAKSEG_DEVICE: cuda is asked for, but this machine has no usable GPU")
    return device


def to_device(network: nn.Module, device: torch.device) -> nn.Module:
    """The network moved to `device`, its convolutions laid out channels last, which both kinds of device run faster."""
    moved: nn.Module = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return moved


def worker_count() -> int:
    """WEAKSEG_WORKERS if set, else the number of CPUs this process may use."""
    text = os.environ.get("WEAKSEG_WORKERS") or str(len(os.sched_getaffinity(0)))
    if not text.isdigit():
        raise UserError(f"WEAKSEG_WORKERS: {text!r} is not a number of worker processes")
    return int(text)
