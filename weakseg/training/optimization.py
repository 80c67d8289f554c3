"""Parameter groups and learning-rate schedules of both papers (SEC §4.1, GS §6.1) and of DeepLab."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class NetworkWithLastLayers(Protocol):
    """Any network that knows which of its modules were added for the task."""

    def last_layers(self) -> Iterable[nn.Module]: ...

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]: ...


def parameter_groups(
    network: NetworkWithLastLayers,
    learning_rate: float,
    weight_decay: float,
    last_layer_multiplier: float = 10.0,
    bias_multiplier: float = 2.0,
) -> list[dict[str, Any]]:
    """Optimizer groups: last layer × `last_layer_multiplier`; biases × `bias_multiplier` and without weight decay (Caffe's DeepLab).

    The two multiply: by default the last layer's bias learns at 20 times the base rate. Frozen parameters are left out,
    empty groups too. Every group has `name` (weights, biases, last_weights, last_biases), `params`, `lr`,
    `weight_decay`.
    """
    last = {id(parameter) for layer in network.last_layers() for parameter in layer.parameters()}
    members: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            key = (id(parameter) in last, name.rpartition(".")[2] == "bias")
            members.setdefault(key, []).append(parameter)
    return [
        {
            "name": ("last_" if is_last else "") + ("biases" if is_bias else "weights"),
            "params": members[is_last, is_bias],
            "lr": learning_rate * (last_layer_multiplier if is_last else 1.0) * (bias_multiplier if is_bias else 1.0),
            "weight_decay": 0.0 if is_bias else weight_decay,
        }
        for is_last, is_bias in sorted(members)
    ]


def step_schedule(step: int, every: int, factor: float = 0.1) -> float:
    """What to multiply the base learning rate by: `factor`, once more after every `every` steps.

    >>> [round(step_schedule(step, every=2000), 6) for step in (0, 1999, 2000, 7999)]
    [1.0, 1.0, 0.1, 0.001]
    """
    return float(factor ** (step // every))


def poly_schedule(step: int, total: int, power: float = 0.9) -> float:
    """DeepLab-v2's "poly" factor (1 − step/total)^power; 0 from `total` on (Chen et al. 2016, §4.1).

    >>> [poly_schedule(step, total=100, power=1.0) for step in (0, 50, 100)]
    [1.0, 0.5, 0.0]
    """
    return float(max(0.0, 1.0 - step / total) ** power)


def weighted_sum(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """The sum of weights[name] · terms[name] over the terms (at least one); a scalar.

    >>> float(weighted_sum({"a": torch.tensor(2.0), "b": torch.tensor(1.0)}, {"a": 0.5, "b": 3.0}))
    4.0
    """
    return torch.stack([weights[name] * term for name, term in terms.items()]).sum()
