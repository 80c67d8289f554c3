"""Losses are computed in full precision, whatever the autocast state."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

_Compute = TypeVar("_Compute", bound=Callable[..., Tensor])


def in_full_precision(compute: _Compute) -> _Compute:
    """Run `compute` outside autocast, its floating-point tensors widened to float32 (float64 stays)."""

    @functools.wraps(compute)
    def widened(*args: Any, **kwargs: Any) -> Tensor:
        device = next(value.device for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
        with torch.autocast(device.type, enabled=False):
            return compute(*map(_widen, args), **{name: _widen(value) for name, value in kwargs.items()})

    return cast(_Compute, widened)


def _widen(value: Any) -> Any:
    if isinstance(value, Tensor) and value.is_floating_point():
        return value.to(torch.promote_types(value.dtype, torch.float32))
    return value
