"""`python -m weakseg.profile NAME`: write params.yaml for a profile."""

import argparse
from pathlib import Path

from weakseg.runtime import run
from weakseg.settings import profile_names, write_profile


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m weakseg.profile", description="Write params.yaml for a profile.")
    parser.add_argument("name", metavar="NAME", help=f"one of {', '.join(profile_names())}")
    parser.add_argument("--out", type=Path, default=Path("params.yaml"), metavar="FILE", help="default: params.yaml")
    options = parser.parse_args()
    write_profile(options.name, options.out)
    print(f"{options.out}: profile {options.name}")


if __name__ == "__main__":
    run(main)
