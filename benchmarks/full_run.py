"""What a full run of a profile would cost, carried on from a rehearsal of it: by units of work, and by FLOPs.

A unit is a photo, or for trainings one photo of one step. A stage's CPU seconds, less what starting it takes, are divided
by the units of the rehearsal and multiplied by those of the full run.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.workspace import Cost
from weakseg.networks import build_boundaries, build_classifier, build_segmenter
from weakseg.settings import repeat_of
from weakseg.settings.params import Params

PASSES_OF_TRAINING = 3  # forward, and twice as much backward
G1_PASSES = 3  # the photo, and a component or two
BACKPROP = ("vanilla", "guided", "excitation")  # rows of evaluate_seeds


@dataclass(frozen=True)
class Photos:
    """How many there are: to train on, to test on, of the saliency set, and what of it is left after the selection."""

    train: int
    val: int
    saliency: int
    selected: int


VOC = Photos(10_582, 1449, 25_000, 11_041)  # SEC §4.1, GS §6.1

# Photos that a stage goes through, by its script; trainings are counted by steps, all else is done once.
PHOTOS_OF = {
    "prepare": lambda p: p.train + p.val, "pack_masks": lambda p: p.train + p.val,
    "prepare_saliency": lambda p: p.saliency, "select_saliency_photos": lambda p: p.saliency,
    "make_grabcut_masks": lambda p: p.selected, "predict_saliency": lambda p: p.train + p.val,
    "evaluate_saliency": lambda p: p.val, "make_cams": lambda p: p.train, "make_cues": lambda p: p.train,
    "import_cues": lambda p: p.train, "make_seeds": lambda p: p.train, "make_guides": lambda p: p.train,
    "make_g1_guides": lambda p: p.train, "make_oracle_guides": lambda p: p.train,
    "evaluate_supervision": lambda p: p.train, "evaluate_seeds": lambda p: p.val,
    "evaluate_centre_mean": lambda p: p.val, "predict": lambda p: p.val, "postprocess": lambda p: p.val,
    "evaluate": lambda p: p.val, "import_saliency": lambda p: p.train, "import_proposals": lambda p: p.train,
    "predict_boundaries": lambda p: p.train, "refine": lambda p: p.train, "predict_training": lambda p: p.train,
    "label_training": lambda p: p.train, "predict_repeat": lambda p: p.val, "evaluate_repeat": lambda p: p.val,
}  # fmt: skip
ONCE = frozenset({
    "check_params", "check_rows", "make_toy", "write_test_rule", "summarize", "export_voc", "report", "compare_published",
})  # fmt: skip
TRAININGS = ("train_classifier", "train_segmenter", "train_saliency", "train_boundaries", "train_repeat")
SEGMENTERS = ("train_segmenter", "train_repeat", "predict", "predict_training", "predict_repeat")
ROWS_OF_A_STAGE = ("_again", "_imported")  # endings of the ablations' stages that run the script of another


def script_of(stage: str) -> str:
    """The script of `stage@name`; some of the ablations' run the script of another."""
    script = stage.partition("@")[0]
    for ending in ROWS_OF_A_STAGE:
        script = script.removesuffix(ending)
    return script


def not_carried_on(stages: Iterable[str]) -> list[str]:
    """Those of which it is not said here how often they do what."""
    known = {*PHOTOS_OF, *ONCE, *TRAININGS}
    return [stage for stage in stages if script_of(stage) not in known]


def units(stage: str, params: Params, photos: Photos) -> int | None:
    """Photos, or photos times steps; None: the stage does what it does once, or how often is not known here."""
    script, name = script_of(stage), stage.partition("@")[2]
    training: Any = None
    if script in ("train_classifier", "train_boundaries"):
        networks = getattr(params, script)
        training = networks.get(name, next(iter(networks.values()))).training
    elif script in ("train_segmenter", "train_repeat", "train_saliency"):
        training = (params.train_saliency if script == "train_saliency" else params.train_segmenter).training
    if training is not None:
        return int(training.steps * training.batch_size)
    count = PHOTOS_OF.get(script_of(stage))
    return None if count is None else int(count(photos))


# --- FLOPs ------------------------------------------------------------------------------------------------------------------


def forward_flops(network: nn.Module, height: int, width: int) -> int:
    """Of one photo's forward pass, counted without computing anything (a product and its sum are 2)."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.to("meta").eval()(torch.zeros(1, 3, height, width, device="meta"))
    return int(counter.get_total_flops())


def flops(stage: str, params: Params, num_classes: int) -> int | None:
    """Of a unit of the stage in its network; None for a stage without one. Crops count as squares of input_px."""
    script, name = script_of(stage), stage.partition("@")[2]
    if script in ("train_classifier", "make_cams", "evaluate_seeds", "make_g1_guides", "select_saliency_photos"):
        return _classifier_flops(script, name, params, num_classes)
    if script in SEGMENTERS:
        return _segmenter_flops(script, name, params, num_classes)
    if script in ("train_boundaries", "predict_boundaries"):
        return _boundary_flops(script, name, params)
    if script in ("train_saliency", "predict_saliency"):
        network = build_segmenter(params.train_saliency.head, params.train_saliency.backbone, 2, 0.0)
        if script == "predict_saliency":
            return forward_flops(network, params.predict_saliency.max_side_px, params.predict_saliency.max_side_px)
        sides = [round(params.train_saliency.input_px * scale) for scale in params.train_saliency.input_scales]
        return PASSES_OF_TRAINING * sum(forward_flops(network, side, side) for side in sides)
    return None


def _segmenter_flops(script: str, name: str, params: Params, num_classes: int) -> int:
    name = repeat_of(name).experiment if script.endswith("_repeat") else name
    experiment, settings = params.experiments.get(name, params.experiments["guided"]), params.train_segmenter
    is_training = script in TRAININGS
    side = settings.input_px if is_training else experiment.test.input_px or settings.input_px
    network = build_segmenter(
        experiment.train.head, settings.backbone, num_classes, 0.0, experiment.train.average_pool5a
    )
    return forward_flops(network, side, side) * (PASSES_OF_TRAINING if is_training else 1)


def _boundary_flops(script: str, name: str, params: Params) -> int:
    """Training, too, is little more than a forward pass: the backbone is frozen, and what learns is small."""
    settings = params.train_boundaries.get(name, next(iter(params.train_boundaries.values())))
    is_training = script == "train_boundaries"
    side = settings.input_px if is_training else params.predict_boundaries.input_px or settings.input_px
    once = forward_flops(build_boundaries(settings.backbone), side, side)
    return once * (2 if not is_training and params.predict_boundaries.flip else 1)


def _classifier_flops(script: str, name: str, params: Params, num_classes: int) -> int:
    """A row's net is one of the profile's with another layout, which its name says."""
    nets = params.train_classifier
    asked = {
        "evaluate_seeds": params.evaluate_seeds.net,
        "select_saliency_photos": params.select_saliency_photos.classifier,
    }
    settings = nets.get(asked.get(script, name), nets.get("seeder", next(iter(nets.values()))))
    layout = name if name.startswith("gap_") else settings.network
    network = build_classifier(layout, settings.backbone, num_classes - 1, 0.0, **settings.vgg16.model_dump())
    once = forward_flops(network, settings.input_px, settings.input_px)
    if script == "train_classifier":
        return PASSES_OF_TRAINING * once
    if script == "make_g1_guides":
        return once * G1_PASSES
    cams = params.make_cams.get(name) or params.make_cams.get("seeder")
    backward = script in ("make_cams", "evaluate_seeds") and (
        name in BACKPROP or (cams is not None and cams.method != "gap")
    )
    return once * (PASSES_OF_TRAINING if backward else 1)


# --- the table --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Machine:
    """A GPU by its peak in FLOP/s and the share of it that these networks reach, and the CPU cores beside it."""

    name: str
    peak_flops: float
    efficiency: float
    cores: int


H100 = Machine("one H100", 989e12, 0.25, 16)  # dense bf16; convolutions at batches of 10 to 40 reach a quarter or more


@dataclass(frozen=True)
class Estimate:
    """Of one stage: what a unit cost here in CPU seconds, units of the full run, hours here, hours on the GPU machine."""

    stage: str
    cost: Cost
    per_unit: float | None
    units: int | None
    gflops: float | None
    hours_here: float
    hours_there: float


def estimate(
    stage: str, cost: Cost, rehearsed: int | None, full: int | None, per_unit_flops: int | None, start_seconds: float,
    cores: int, machine: Machine = H100,
) -> Estimate:  # fmt: skip
    """Carries a stage's cost on to the full run.

    Here: CPU seconds shared by `cores`. There: a stage with a network by its FLOPs, any other as here by the cores.
    Starting the stage (`start_seconds`) is counted once on both.
    """
    work = max(cost.cpu_seconds - start_seconds, 0.0)
    if not rehearsed or full is None:
        return Estimate(stage, cost, None, None, None, cost.seconds / 3600, cost.seconds / 3600)
    per_unit = work / rehearsed
    here = start_seconds + per_unit * full / cores
    if per_unit_flops is None:
        there = start_seconds + per_unit * full / machine.cores
    else:
        there = start_seconds + per_unit_flops * full / (machine.peak_flops * machine.efficiency)
    gflops = None if per_unit_flops is None else per_unit_flops / 1e9
    return Estimate(stage, cost, per_unit, full, gflops, here / 3600, there / 3600)


def table(estimates: list[Estimate], machine: Machine = H100) -> str:
    """Markdown, with the sums."""
    lines = [
        "| stage | peak memory | CPU s a unit | units of the full run | full run here | GFLOP a unit | "
        f"on {machine.name} |\n|---|---:|---:|---:|---:|---:|---:|"
    ]
    for one in estimates:
        per_unit = "" if one.per_unit is None else f"{one.per_unit:.3g}"
        count, gflops = (
            "" if one.units is None else f"{one.units:,}",
            "" if one.gflops is None else f"{one.gflops:,.0f}",
        )
        lines.append(
            f"| `{one.stage}` | {one.cost.peak_mib:.0f} MiB | {per_unit} | {count} | {_time(one.hours_here)} | {gflops} | "
            f"{_time(one.hours_there)} |"
        )
    here, there = sum(one.hours_here for one in estimates), sum(one.hours_there for one in estimates)
    peak = max(one.cost.peak_mib for one in estimates)
    lines.append(f"| **all** | **{peak:.0f} MiB** | | | **{_time(here)}** | | **{_time(there)}** |")
    return "\n".join(lines)


def _time(hours: float) -> str:
    if hours < 1 / 60:
        return f"{3600 * hours:.0f} s"
    return f"{60 * hours:.0f} min" if hours < 2 else f"{hours:,.0f} h"


def estimates_of(
    costs: Mapping[str, Cost], rehearsed: tuple[Params, Photos], full: tuple[Params, Photos],
    starts: tuple[float, float], cores: int, num_classes: int, machine: Machine = H100,
) -> list[Estimate]:  # fmt: skip
    """`starts`: CPU seconds that a stage's start takes without and with torch."""
    found = []
    for stage, cost in costs.items():
        if script_of(stage) != "make_toy":  # drawings stand in for the data
            per_unit = flops(stage, full[0], num_classes)
            start = starts[per_unit is not None]
            done, wanted = units(stage, *rehearsed), units(stage, *full)
            found.append(estimate(stage, cost, done, wanted, per_unit, start, cores, machine))
    return found
