"""`python -m weakseg.export_onnx`: the same as `weakseg export`."""

import sys

from weakseg.cli import main

if __name__ == "__main__":
    main(["export", *sys.argv[1:]])
