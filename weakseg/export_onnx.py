"""`python -m weakseg.export_onnx`: export a trained segmenter to ONNX."""

from weakseg.inference import export_onnx
from weakseg.runtime import run

if __name__ == "__main__":
    run(export_onnx, alone=False)
