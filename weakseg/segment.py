"""`python -m weakseg.segment`: the same as `weakseg segment`."""

import sys

from weakseg.cli import main

if __name__ == "__main__":
    main(["segment", *sys.argv[1:]])
