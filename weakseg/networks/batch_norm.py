"""Batch norm of either kind, and how it is folded into the convolutions before it."""

from typing import cast

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def is_batch_norm(module: object) -> bool:
    """Whether it is torch's batch norm, or torchvision's frozen one."""
    return isinstance(module, nn.BatchNorm2d) or type(module).__name__ == "FrozenBatchNorm2d"


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """Write every convolution that a batch norm follows as one convolution with bias, in place, for evaluation."""
    for module in network.modules():
        for conv_name, norm_name in (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"), ("0", "1")):
            conv, norm = getattr(module, conv_name, None), getattr(module, norm_name, None)
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.Module) and is_batch_norm(norm):
                setattr(module, conv_name, fuse_conv_bn_eval(conv.eval(), cast(nn.BatchNorm2d, norm.eval())))
                setattr(module, norm_name, nn.Identity())
    return network
