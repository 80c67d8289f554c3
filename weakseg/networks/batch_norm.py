"""Batch norm of any kind, and how it is folded into the convolutions before it."""

from typing import Any, cast

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from weakseg.errors import UserError

PROBE_PX = 65


def is_batch_norm(module: object) -> bool:
    """Whether it is torch's batch norm, or a frozen one of torchvision or timm."""
    return isinstance(module, nn.BatchNorm2d) or type(module).__name__.startswith("FrozenBatchNorm")


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """Write every convolution that a batch norm follows as one convolution with bias, in place, for evaluation.

    Excitation backprop needs it. Raises UserError if layers are left that it has no rule for.
    """
    parents = {child: (parent, name) for parent in network.modules() for name, child in parent.named_children()}
    for conv, norm in _followed(network.eval()):
        fused = fuse_conv_bn_eval(conv, cast(nn.BatchNorm2d, norm))
        setattr(*parents[conv], fused)
        setattr(*parents[norm], getattr(norm, "act", nn.Identity()))
    left = sorted({type(module).__name__ for module in network.modules() if _has_no_rule(module)})
    if left:
        raise UserError(
            f"method: excitation_backprop has no rule for this network's {', '.join(left)}; "
            "choose another method, or a backbone of convolutions and ReLUs"
        )
    return network


def _followed(network: nn.Module) -> list[tuple[nn.Conv2d, nn.Module]]:
    """Convolutions, each with the batch norm that takes its output, found by running a small photo through the
    network."""
    makers: dict[int, nn.Conv2d] = {}  # by the tensor that they returned
    kept: list[Any] = []  # so that no other tensor gets its id
    pairs: list[tuple[nn.Conv2d, nn.Module]] = []

    def made(conv: nn.Module, _: Any, output: Any) -> None:
        makers[id(output)] = cast(nn.Conv2d, conv)
        kept.append(output)

    def takes(norm: nn.Module, inputs: Any) -> None:
        if id(inputs[0]) in makers:
            pairs.append((makers[id(inputs[0])], norm))

    hooks = [module.register_forward_hook(made) for module in network.modules() if isinstance(module, nn.Conv2d)]
    hooks += [module.register_forward_pre_hook(takes) for module in network.modules() if is_batch_norm(module)]
    with torch.no_grad():
        network(torch.zeros(1, 3, PROBE_PX, PROBE_PX, device=next(network.parameters()).device))
    for hook in hooks:
        hook.remove()
    return pairs


def _has_no_rule(module: nn.Module) -> bool:
    """Norms, and activations other than ReLU."""
    if isinstance(module, nn.ReLU):
        return False
    activations = ("torch.nn.modules.activation", "timm.layers.activations")
    return (
        is_batch_norm(module)
        or isinstance(module, nn.LayerNorm | nn.GroupNorm | nn.RMSNorm)
        or type(module).__module__.startswith(activations)
    )
