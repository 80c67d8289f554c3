"""Export a trained segmenter to ONNX: what `weakseg export` does.

Input `images`: RGB, uint8 (B, 3, H, W), any batch and size. Output `log_probs`: float32 (B, C, h, w), cell i at pixel
8·i. The file's metadata hold the class names and the test rule as JSON (`class_names`, `test_rule`), since pads, upsampling
and CRF stay outside (see `weakseg.inference`).
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from weakseg.files import write_bytes
from weakseg.inference.test_time_rule import read_rule
from weakseg.networks import rebuild_segmenter

OPSET = 18


EXAMPLE_SIZE = (2, 3, 129, 161)  # different sides, so the exporter does not confuse them


class LogProbs(nn.Module):
    """The network followed by the softmax over classes, as `weakseg.inference.log_probs` has it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return functional.log_softmax(self.network(images), 1)


def export_onnx(model: Path, out: Path) -> None:
    """Write the segmenter in the folder `model` to the file `out`, and say so."""
    network, description = rebuild_segmenter(model)
    rule = read_rule(model)
    metadata = {"class_names": json.dumps(description["class_names"]), "test_rule": json.dumps(asdict(rule))}
    write_bytes(out, onnx_bytes(network, metadata))
    print(f"{out}: {out.stat().st_size / 2**20:.1f} MiB, {len(description['class_names'])} classes")


def onnx_bytes(network: nn.Module, metadata: Mapping[str, str]) -> bytes:
    """The network in evaluation mode as one ONNX model, weights included."""
    images = torch.zeros(EXAMPLE_SIZE, dtype=torch.uint8)
    program = torch.onnx.export(
        LogProbs(network).eval(), (images,), dynamo=True, opset_version=OPSET, verbose=False,
        input_names=["images"], output_names=["log_probs"],
        dynamic_shapes={"images": {0: "batch", 2: "height", 3: "width"}},
    )  # fmt: skip
    assert program is not None
    model = program.model_proto
    for key, value in sorted(metadata.items()):
        model.metadata_props.add(key=key, value=value)
    return model.SerializeToString(deterministic=True)
