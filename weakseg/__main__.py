"""`python -m weakseg`: the `weakseg` command where it is not installed."""

from weakseg.cli import main

if __name__ == "__main__":
    main()
