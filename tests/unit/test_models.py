"""Networks on disk: what model.json says is what is built again."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from weakseg.errors import UserError
from weakseg.networks import saved
from weakseg.networks.backbones.efficientnet import EfficientNetLite

VGG16 = {"fc_channels": 4096, "relu_after_fc7": False, "deeplab_pool5": True}
DESCRIPTION: dict[str, Any] = {
    "network": "gap_lowres", "backbone": "vgg16", "vgg16": VGG16, "class_names": ["background", "cat", "dog"],
    "input_px": 321, "geometry": "pad",
}  # fmt: skip


def small() -> nn.Module:
    """One layer, and a backbone's normalization."""
    network = nn.Sequential(nn.Linear(2, 2))
    network.backbone = nn.Module()
    network.backbone.normalization = EfficientNetLite().normalization
    return network


def test_a_classifier_is_built_again_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, asked = small(), []
    saved.save_model(tmp_path, network, DESCRIPTION)

    def build(*arguments: Any, **variant: Any) -> nn.Module:
        asked.append((arguments, variant))
        return small()

    monkeypatch.setattr(saved, "build_classifier", build)
    loaded, description = saved.rebuild_classifier(tmp_path)
    assert asked == [(("gap_lowres", "vgg16", 2, 0.0), VGG16)]
    assert torch.equal(loaded[0].weight, network[0].weight) and not loaded.training
    sha256 = hashlib.sha256((tmp_path / "weights.safetensors").read_bytes()).hexdigest()
    assert description == {**DESCRIPTION, "normalization": "efficientnet_lite", "weights_sha256": sha256}


@pytest.mark.parametrize("missing", DESCRIPTION)
def test_a_description_with_something_missing_is_named(tmp_path: Path, missing: str) -> None:
    content = {key: value for key, value in DESCRIPTION.items() if key != missing}
    saved.save_model(tmp_path, small(), content)
    with pytest.raises(UserError, match=rf"model\.json: damaged or from another version .*{missing}"):
        saved.rebuild_classifier(tmp_path)
