"""A family of backbones: how its members are built, loaded, and turned into classifiers and segmenters.

Each file of `networks/backbones/` that brings backbones has a `NAMES`, the names that params.yaml uses, and a `FAMILY`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from weakseg.networks.backbone import Backbone
from weakseg.networks.heads import GapClassifier, Segmenter
from weakseg.networks.weights import Imagenet


class Family:
    """The generic way, which a family changes where its papers have networks of their own."""

    classifier_stride = 16  # the widest output stride of a plain classifier

    def build(self, name: str, output_stride: int, dilate: bool) -> Backbone:
        """`output_stride` 8, 16 or 32: below the network's own, later strides are dropped and, with `dilate`, replaced
        by dilation."""
        raise AssertionError("each family has its own")

    def load(self, trunk: nn.Module, name: str, source: Path | Imagenet, fc_from_pretrained: bool) -> None:
        """Load a file or ImageNet's weights. Raises UserError naming the file."""
        raise AssertionError("each family has its own")

    def without_weights(self, trunk: nn.Module) -> None:
        """Prepare a network that starts from random weights."""

    def classifier(
        self, name: str, layout: str, num_foreground: int, dropout: float, options: Mapping[str, Any]
    ) -> nn.Module:
        """A localization network; `options` are settings of this family alone."""
        stride = {"gap_lowres": 16, "classifier": self.classifier_stride}.get(layout, 8)
        backbone = self.build(name, stride, dilate=layout in ("gap_lowres", "gap_deeplab"))
        return GapClassifier(backbone, num_foreground, dropout, windows=layout == "gap_roi")

    def segmenter(self, name: str, head: str, num_classes: int, dropout: float, average_pool5a: bool) -> nn.Module:
        """`average_pool5a` is SEC's extra pool, of VGG-16 alone."""
        return Segmenter(self.build(name, 16, dilate=True), head, num_classes, dropout)
