"""`python -m weakseg.profile`: the same as `weakseg profile`."""

import sys

from weakseg.cli import main

if __name__ == "__main__":
    main(["profile", *sys.argv[1:]])
