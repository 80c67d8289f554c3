"""Time and memory of every stage by number of photos, extrapolated to larger sets.

`python -m benchmarks.growth --photos ../shared/data/voc --saliency ../shared/data/saliency --sizes 100 300 1000 3000`

Training runs for a fixed, small number of steps, so only its start depends on the number of photos: look at its memory.
The saliency set is the same at every size. For all other stages, time = fixed + per photo is fitted to the measured sizes
and extrapolated. `--photos` is a folder in VOC's layout with enough photos in its lists trainaug (else train) and val;
without it the toy set is drawn.
"""

import argparse
import os
import platform
import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np

from benchmarks import workspace
from benchmarks.workspace import Content, Cost

LARGER = (10_582, 1_000_000)  # VOC's trainaug; a web-scale collection
VAL_SHARE = 7  # one val photo per seven to train on, as in VOC
DRAWN_PX = 96
Growth = dict[str, list[Cost]]


def settings(
    folder: Path, profile: str, photos: Path | None, saliency: Path | None, size: int, steps: int, num_saliency: int
) -> Content:
    params = workspace.with_steps(workspace.read_profile(profile), steps)
    params["make_toy"] |= {"train_images": size, "val_images": max(1, size // VAL_SHARE), "image_px": DRAWN_PX}
    params["make_toy"]["saliency_images"] = num_saliency
    if photos is None:
        params["data"], params["saliency"] = (workspace.read_profile("toy")[key] for key in ("data", "saliency"))
        return params
    params["data"] |= workspace.use_photos(folder, photos, size, max(1, size // VAL_SHARE))
    if saliency is not None:
        params["saliency"] |= workspace.use_saliency(folder, saliency, params["saliency"]["image_list"], num_saliency)
    return params


def measure(
    profile: str, photos: Path | None, saliency: Path | None, size: int, steps: int, num_saliency: int
) -> dict[str, Cost]:
    """What each stage of the pipeline costs on `size` training photos, in a temporary folder."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        workspace.create(folder, settings(folder, profile, photos, saliency, size, steps, num_saliency))
        return {stage: workspace.run_stage(folder, stage, command) for stage, command in workspace.commands(folder)}


def grown(costs: Sequence[dict[str, Cost]]) -> Growth:
    """By stage, then by size; a stage's variants (`predict@sec`, `predict@full`, …) as their mean."""
    names = dict.fromkeys(stage.partition("@")[0] for stage in costs[0])
    return {
        name: [_mean([cost for key, cost in one.items() if key.partition("@")[0] == name]) for one in costs]
        for name in names
    }


def _mean(costs: Sequence[Cost]) -> Cost:
    mean = [
        sum(values) / len(costs)
        for values in zip(*((c.seconds, c.cpu_seconds, c.peak_mib) for c in costs), strict=True)
    ]
    return Cost(*mean)


def fitted(sizes: Sequence[int], values: Sequence[float]) -> tuple[float, float]:
    """(fixed, per photo) of the straight line of least squares, neither below 0."""
    if len(sizes) == 1:
        return values[0], 0.0
    slope = max(float(np.polyfit(sizes, values, 1)[0]), 0.0)
    return max(float(np.mean(values) - slope * np.mean(sizes)), 0.0), slope


def table(sizes: Sequence[int], growth: Growth, clock: str) -> str:
    """Markdown: seconds and peak MiB by size, and both for the larger sets if the line holds."""
    heads = [f"{size}: s" for size in sizes] + [f"{size}: MiB" for size in sizes]
    heads += [f"{size:,} photos" for size in LARGER]
    lines = [f"| stage | {' | '.join(heads)} |", "|---|" + "---:|" * len(heads)]
    for name, costs in growth.items():
        seconds, memory = [getattr(cost, clock) for cost in costs], [cost.peak_mib for cost in costs]
        times, sides = fitted(sizes, seconds), fitted(sizes, memory)
        cells = [f"{value:.1f}" for value in seconds] + [f"{value:.0f}" for value in memory]
        cells += [f"{_hours(_at(times, size))}, {_at(sides, size) / 1024:.1f} GiB" for size in LARGER]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def bottlenecks(sizes: Sequence[int], growth: Growth, clock: str, memory_gib: float) -> list[str]:
    """The stage that takes longest at the largest size, and the first whose memory outgrows the machine."""
    size = LARGER[-1]
    times = {name: _at(fitted(sizes, [getattr(c, clock) for c in costs]), size) for name, costs in growth.items()}
    longest = max(times, key=lambda name: times[name])
    told = [f"Longest at {size:,} photos: `{longest}`, {_hours(times[longest])} on this machine."]
    limits = {}
    for name, costs in growth.items():
        fixed, per_photo = fitted(sizes, [cost.peak_mib for cost in costs])
        limits[name] = (1024 * memory_gib - fixed) / per_photo if per_photo > 0 else float("inf")
    first = min(limits, key=lambda name: limits[name])
    return [*told, f"First to need more than {memory_gib:g} GiB: `{first}`, from {limits[first]:,.0f} photos."]


def _at(line: tuple[float, float], size: int) -> float:
    return line[0] + line[1] * size


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"


def heading(note: str) -> str:
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    return f"{date.today()}, {platform.machine()}, {os.cpu_count()} CPUs ({load:.1f} busy processes a core), {note}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="small-voc", help="whose settings (default small-voc)")
    parser.add_argument("--photos", type=Path, help="VOC-layout folder (default: drawn pictures)")
    parser.add_argument("--saliency", type=Path, help="saliency set in MSRA's layout; needed with --photos")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[100, 300, 1000, 3000], help="numbers of training photos"
    )
    parser.add_argument("--steps", type=int, default=10, help="training steps (default 10)")
    parser.add_argument("--saliency-photos", type=int, default=150, help="of the saliency set, at every size (150)")
    parser.add_argument(
        "--clock",
        choices=["seconds", "cpu_seconds"],
        default="cpu_seconds",
        help="default cpu_seconds, which other work disturbs least",
    )
    parser.add_argument("--memory-gib", type=float, default=64.0, help="of the machine to name the limit of")
    args = parser.parse_args()
    costs = [
        measure(args.profile, args.photos, args.saliency, size, args.steps, args.saliency_photos) for size in args.sizes
    ]
    growth = grown(costs)
    print(heading(f"profile {args.profile}, {args.photos.name if args.photos else 'drawn pictures'}, {args.clock}"))
    print(
        table(args.sizes, growth, args.clock),
        "",
        *bottlenecks(args.sizes, growth, args.clock, args.memory_gib),
        sep="\n",
    )


if __name__ == "__main__":
    main()
