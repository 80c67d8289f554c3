"""The ONNX file computes what the network computes, at any batch and size."""

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from weakseg.cli import main
from weakseg.crf.params import DEEPLAB
from weakseg.inference.predict import log_probs
from weakseg.inference.test_time_rule import TEST_RULE, Rule, write_rule
from weakseg.networks.registry import build_segmenter
from weakseg.networks.saved import rebuild_segmenter, save_model

NETWORKS = [("efficientnet_lite0", "largefov", False), ("vgg16", "largefov", True), ("resnet101", "aspp", False)]


def spread_scores(network: nn.Module) -> None:
    """Random weights give tiny or huge scores; scale the last layer so that they spread as a trained network's do."""
    with torch.no_grad():
        scores = network.eval()(
            torch.randint(0, 256, (1, 3, 65, 65), generator=torch.Generator().manual_seed(1)).byte()
        )
        for layer in [network.fc8] if hasattr(network, "fc8") else cast(Any, network).last_layers():
            for values in layer.parameters():
                values *= 3 / scores.std()


@pytest.mark.usefixtures("shallow_resnet")  # exporting takes its time by block
@pytest.mark.parametrize(("backbone", "head", "average_pool5a"), NETWORKS)
def test_scores_of_onnxruntime_are_ours(backbone: str, head: str, average_pool5a: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    names = ["background", "cat", "dog"]
    network = build_segmenter(head, backbone, len(names), 0.0, average_pool5a)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):  # as training leaves them: not all ones and zeros
            layer.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    spread_scores(network)
    description = {"backbone": backbone, "head": head, "average_pool5a": average_pool5a, "class_names": names}
    save_model(tmp_path / "model", network, description | {"geometry": "crop", "input_px": 65})
    write_rule(tmp_path / "model" / TEST_RULE, Rule("crop", None, DEEPLAB))
    out = tmp_path / "model.onnx"
    command = ["export", "--model", str(tmp_path / "model"), "--out", str(out)]
    main(command)

    ours, _ = rebuild_segmenter(tmp_path / "model")
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    for size in [(1, 3, 65, 65), (3, 3, 81, 49), (2, 3, 97, 113)]:
        images = np.random.default_rng(size[2]).integers(0, 256, size, dtype=np.uint8)
        (theirs,) = session.run(["log_probs"], {"images": images})
        expected = log_probs(ours, torch.from_numpy(images), torch.device("cpu"))
        assert theirs.shape == (size[0], 3, (size[2] - 1) // 8 + 1, (size[3] - 1) // 8 + 1)
        np.testing.assert_allclose(theirs, expected, atol=1e-4)
        assert expected.std((2, 3)).max() > 0.1
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["class_names"]) == names
    assert json.loads(metadata["test_rule"])["geometry"] == "crop"
    if backbone == "vgg16":  # the quickest
        first = out.read_bytes()
        main(command)
        assert out.read_bytes() == first
