"""Whether a stage's memory depends on the number of photos: its peak at two sizes, which should agree within 10 %.

`python -m benchmarks.memory` draws 200 and 2000 toy pictures; `--photos` and `--saliency` take real ones. Fails if a
stage grows by more than `--most-percent`.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.growth import grown, heading, measure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="toy", help="whose settings (default toy)")
    parser.add_argument("--photos", type=Path, help="VOC-layout folder (default: drawn pictures)")
    parser.add_argument("--saliency", type=Path, help="saliency set in MSRA's layout; needed with --photos")
    parser.add_argument("--sizes", type=int, nargs=2, default=[200, 2000], help="numbers of training photos")
    parser.add_argument("--steps", type=int, default=10, help="training steps (default 10)")
    parser.add_argument("--most-percent", type=float, default=10.0, help="growth that is still called none")
    args = parser.parse_args()
    costs = [measure(args.profile, args.photos, args.saliency, size, args.steps, min(size, 500)) for size in args.sizes]
    print(heading(f"profile {args.profile}, peak resident memory of a stage's largest process"))
    print(f"| stage | {args.sizes[0]} photos: MiB | {args.sizes[1]} photos: MiB | growth |\n|---|---:|---:|---:|")
    growing = []
    for name, (small, large) in grown(costs).items():
        percent = 100 * (large.peak_mib / small.peak_mib - 1)
        print(f"| `{name}` | {small.peak_mib:.0f} | {large.peak_mib:.0f} | {percent:+.1f} % |")
        growing += [name] if percent > args.most_percent else []
    if growing:
        sys.exit(f"more than {args.most_percent:g} % above: {', '.join(growing)}")


if __name__ == "__main__":
    main()
