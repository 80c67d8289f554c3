"""A dress rehearsal: a profile's every stage and experiment, and a row of each kind, on a few drawings.

`make rehearse`, or `python -m benchmarks.rehearsal --profile papers`: the networks and input sizes are the profile's, the
weights random, steps and photos very few. It prints what each stage took, and what the full run would take on this machine
and, by FLOPs and a stated efficiency, on one H100. WEAKSEG_DEVICE chooses the device; the figures are for a CPU.
"""

import argparse
import os
import platform
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from benchmarks import full_run, workspace
from benchmarks.full_run import H100, VOC, Machine, Photos
from benchmarks.workspace import ROOT, USED, Content, Cost
from weakseg.errors import UserError
from weakseg.files import read_text
from weakseg.settings import read_params

FEW = Photos(train=6, val=4, saliency=4, selected=4)
STEPS, BATCH, PHOTO_PX = 2, 2, 500  # VOC's photos have 500 px
NUM_CLASSES = 21

# A row of each kind: another net and its maps, seeds and guides; loss, head, guide, seeds, CRF in the loss; test-time CRF.
# Where ablations/params.yaml has other names, its first stands in.
ROWS: dict[str, tuple[str, ...]] = {
    "train_classifier": ("gap_roi",), "make_cams": ("gap_roi",), "make_seeds": ("roi",), "make_guides": ("g0",),
    "make_g1_guides": ("g1",), "experiments": ("sec_gmp", "sec_small_fov", "g1", "roi", "seeds_loss_v1"),
    "postprocess": ("seeds_post_v1",), "evaluate_seeds": ("gap_roi", "excitation"),
}  # fmt: skip
# What a stage imports before it does anything.
WITHOUT_TORCH = "from weakseg.files import read_manifest, read_picture; from weakseg.settings import read_keys"
WITH_TORCH = (
    f"{WITHOUT_TORCH}; from weakseg.training import build_optimizer; from weakseg.networks import build_segmenter"
)
STAGES_OF_EXPERIMENT = ("train_segmenter", "predict", "postprocess", "evaluate")
STAGES_OF_POSTPROCESS = ("postprocess_again", "evaluate_again")


def few(params: Content) -> Content:
    """The profile's settings with drawings for photos, random weights and hardly any steps."""
    params["make_toy"] |= {
        "train_images": FEW.train, "val_images": FEW.val, "saliency_images": FEW.saliency, "image_px": PHOTO_PX,
    }  # fmt: skip
    toy = workspace.read_profile("toy")
    params["data"], params["saliency"] = toy["data"], toy["saliency"]
    networks = [
        *params["train_classifier"].values(), *params["train_boundaries"].values(), params["train_saliency"],
        params["train_segmenter"],
    ]  # fmt: skip
    for network in networks:
        network["training"] |= {"steps": STEPS, "batch_size": BATCH}
        if "pretrained" in network:
            network["pretrained"] = "none"
    if params["train_segmenter"]["start_from"].startswith("pretrained/"):
        params["train_segmenter"]["start_from"] = "pretrained/none"
    params["select_saliency_photos"]["exclude_scores_above"] = 0.999  # random weights say nothing
    params["import_cues"] = {}
    return params


def rehearse(folder: Path, params: Content, only: Sequence[str] = (), rows: bool = True) -> dict[str, Cost]:
    """Runs the stages (of `only` these, by name) and rows in `folder`; what each cost, in order."""
    workspace.create(folder, params)
    costs: dict[str, Cost] = {}
    todo = [*workspace.commands(folder), *(row_commands(folder) if rows else ())]
    chosen = [(stage, command) for stage, command in todo if not only or stage in only]
    for number, (stage, command) in enumerate(chosen, start=1):
        cost = run(folder, stage, command)
        costs[stage] = cost
        print(
            f"[{number}/{len(chosen)}] {stage}: {cost.seconds:.0f} s, CPU {cost.cpu_seconds:.0f} s, {cost.peak_mib:.0f} MiB",
            flush=True,
        )
    return costs


def row_commands(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """(stage, command) of a row of each kind, every stage after those that it depends on."""
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / "ablations" / name, folder / "ablations" / name)
    stages = yaml.safe_load(read_text(folder / "ablations" / "dvc.yaml"))["stages"]
    entries = yaml.safe_load(read_text(folder / "ablations" / "params.yaml"))
    for section in (
        "train_classifier",
        "make_cams",
        "make_seeds",
        "make_guides",
        "make_g1_guides",
        "experiments",
        "postprocess",
    ):
        kinds = {"experiments": STAGES_OF_EXPERIMENT, "postprocess": STAGES_OF_POSTPROCESS}.get(section, (section,))
        for name in chosen_rows(section, entries.get(section) or {}):
            yield from ((f"{kind}@{name}", row_command(stages[kind]["do"]["cmd"])) for kind in kinds)
    for name in chosen_rows("evaluate_seeds", entries.get("evaluate_seeds") or {}):
        yield f"evaluate_seeds@{name}", row_command(stages["evaluate_seeds"]["do"]["cmd"])
    yield "compare_published", row_command(stages["compare_published"]["cmd"])


def chosen_rows(section: str, entries: dict[str, Any]) -> list[str]:
    names = [name for name in ROWS[section] if name in entries]
    return names or list(entries)[:1]


def row_command(text: str) -> list[str]:
    """A command of ablations/dvc.yaml, which goes to the root first, as it is to be run there."""
    return [sys.executable, *shlex.split(text.partition("exec ")[2])[1:]]


def run(folder: Path, stage: str, command: list[str]) -> Cost:
    """One stage, with the name that DVC would give it. Raises UserError with the end of its output if it fails."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "DVC_STAGE": stage}
    start = time.monotonic()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, errors="replace")
    seconds = time.monotonic() - start
    used = USED.search(done.stdout + done.stderr)
    if done.returncode or not used:
        raise UserError(f"{stage} failed:\n{(done.stdout + done.stderr)[-3000:]}")
    return Cost(seconds, float(used["cpu"]), max(float(used["own"]), float(used["worker"] or 0)))


def start_seconds(code: str) -> float:
    """CPU seconds of a Python that runs this code and ends; the lesser of two, since the first may read from the disk."""
    found = []
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="papers", help="of profiles/ (papers)")
    parser.add_argument("--efficiency", type=float, default=H100.efficiency, help="share of the H100's peak (0.25)")
    parser.add_argument(
        "--only", nargs="*", default=(), metavar="stage", help="these stages alone, such as predict@sec"
    )
    parser.add_argument("--no-rows", action="store_true", help="the main pipeline alone")
    parser.add_argument("--out", type=Path, help="file for the table, besides printing it")
    args = parser.parse_args()
    machine = Machine(H100.name, H100.peak_flops, args.efficiency, H100.cores)
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as temporary:
        start = time.monotonic()
        folder = Path(temporary)
        costs = rehearse(folder, few(workspace.read_profile(args.profile)), args.only, not args.no_rows)
        text = report(args.profile, folder, costs, time.monotonic() - start, machine)
    print(f"\n{text}")
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text + "\n", encoding="utf-8")


def report(profile: str, folder: Path, costs: dict[str, Cost], seconds: float, machine: Machine) -> str:
    cores, starts = os.cpu_count() or 1, (start_seconds(WITHOUT_TORCH), start_seconds(WITH_TORCH))
    few_params, full_params = read_params([folder / "params.yaml"]), workspace.profile_params(profile)
    estimates = full_run.estimates_of(costs, (few_params, FEW), (full_params, VOC), starts, cores, NUM_CLASSES, machine)
    unknown = ", ".join(f"`{stage}`" for stage in full_run.not_carried_on(costs))
    rest = f"\n\nNot carried on, told as they were: {unknown}." if unknown else ""
    return (
        f"Profile {profile}, rehearsed on {date.today()}, {cores} CPUs, {platform.machine()}: {len(costs)} runs of stages in "
        f"{seconds / 60:.0f} minutes, {FEW.train} + {FEW.val} drawings of {PHOTO_PX} px, {STEPS} steps of {BATCH}, random "
        f"weights.\n\nFull run: {VOC.train:,} photos to train on, {VOC.val:,} to test on, {VOC.saliency:,} saliency photos. A "
        "unit is a photo or, in trainings, one photo of one step. Here: CPU seconds shared by all cores. On "
        f"{machine.name}: stages with a network by FLOPs at {100 * machine.efficiency:.0f} % of "
        f"{machine.peak_flops / 1e12:.0f} TFLOP/s (dense bf16), all others by {machine.cores} cores like these. Memory is "
        f"the largest process's at batches of {BATCH}.\n\n{full_run.table(estimates, machine)}{rest}"
    )


if __name__ == "__main__":
    main()
