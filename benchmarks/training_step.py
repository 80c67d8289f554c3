"""Where the time of a training step goes, and how close it comes to what the machine can do (its roofline).

`python -m benchmarks.training_step --profile small-voc --experiment guided` prints markdown tables: the time of the
network's forward and backward pass, of the loss terms and of the optimizer; their FLOPs; the machine's own FLOP/s, taken
from a large matrix product in the number format that the step uses; and the operations that take longest. Inputs are
drawn, weights are random; WEAKSEG_DEVICE chooses the device as everywhere.
"""

import argparse
import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.workspace import profile_params
from weakseg.crf import crf_params
from weakseg.errors import UserError
from weakseg.networks import build_segmenter
from weakseg.runtime import pick_device, to_device
from weakseg.settings import TrainSegmenter
from weakseg.settings.params import Params
from weakseg.training import STRIDE, Batch, LossTerms, build_optimizer, objective_of, weighted_sum


def drawn_batch(settings: TrainSegmenter, num_classes: int, device: torch.device) -> Batch:
    """Images, and cues on the grid (SEC) or label maps at full size, as `SegmentationSamples` makes them."""
    random, count, side = torch.Generator().manual_seed(0), settings.training.batch_size, settings.input_px
    grid = (side - 1) // STRIDE + 1
    labels = torch.zeros(count, num_classes - 1, dtype=torch.bool)
    labels[:, :2] = True
    batch = {
        "images": torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=random),
        "targets": torch.randint(0, 3, (count, grid, grid), generator=random),
        "image_labels": labels,
    }
    return {name: tensor.to(device) for name, tensor in batch.items()}


class Step:
    """One training step in three parts, as `weakseg.training` runs it."""

    def __init__(
        self, network: nn.Module, optimizer: torch.optim.Optimizer, terms: LossTerms, weights: Mapping[str, float],
        batch: Batch,
    ) -> None:  # fmt: skip
        self.network, self.optimizer, self.batch = network, optimizer, batch
        self.terms, self.weights = terms, weights
        self.device = next(network.parameters()).device

    def logits(self) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            logits: Tensor = self.network(self.batch["images"])
        return logits

    def network_pass(self) -> None:
        self.logits().float().mean().backward()  # type: ignore[no-untyped-call]

    def whole(self) -> None:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            terms = self.terms(self.network, self.batch)
        self.optimizer.zero_grad(set_to_none=True)
        weighted_sum(terms, self.weights).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()

    def update(self) -> None:
        self.optimizer.step()


def finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(work: Callable[[], object], repeats: int, device: torch.device) -> float:
    """The least time of `repeats` runs, after one to warm up."""
    work()
    best = float("inf")
    for _ in range(repeats):
        finish(device)
        start = time.perf_counter()
        work()
        finish(device)
        best = min(best, time.perf_counter() - start)
    return best


def machine_flops(device: torch.device, repeats: int) -> float:
    """FLOP/s of a large matrix product: float32 on a CPU, bfloat16 on a GPU."""
    side = 8192 if device.type == "cuda" else 2048
    matrix = torch.randn(side, side, device=device, dtype=torch.bfloat16 if device.type == "cuda" else torch.float32)
    return 2 * side**3 / seconds(lambda: matrix @ matrix, repeats, device)


def counted_flops(work: Callable[[], object]) -> int:
    """Of a forward pass and its backward pass, which does each convolution's work twice more."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        work()
    return 3 * int(counter.get_total_flops())


def longest(work: Callable[[], object], count: int, device: torch.device) -> list[tuple[str, float]]:
    """(operation, share of the step) of the operations that take longest."""
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device.type == "cuda" else [])
    with profile(activities=activities) as record:
        work()
        finish(device)
    events = record.key_averages()
    own = {
        event.key: float(event.self_device_time_total if device.type == "cuda" else event.self_cpu_time_total)
        for event in events
    }
    total = sum(own.values())
    return [(name, value / total) for name, value in sorted(own.items(), key=lambda item: -item[1])[:count]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="small-voc", help="of profiles/ (default small-voc)")
    parser.add_argument("--experiment", default="guided", help="of the profile's experiments (default guided)")
    parser.add_argument("--batch-size", type=int, help="instead of the profile's")
    parser.add_argument("--classes", type=int, default=21, help="with background (default 21)")
    parser.add_argument("--repeats", type=int, default=5, help="runs, the best of which counts (default 5)")
    parser.add_argument("--operations", type=int, default=8, help="how many to list (default 8)")
    args = parser.parse_args()
    params = profile_params(args.profile)
    if args.experiment not in params.experiments:
        raise UserError(f"profile {args.profile} has no experiment {args.experiment!r}")
    settings = params.train_segmenter
    if args.batch_size:
        training = settings.training.model_copy(update={"batch_size": args.batch_size})
        settings = settings.model_copy(update={"training": training})
    device = pick_device()
    print_tables(step_of(params, args.experiment, settings, args.classes, device), settings, args, device)


def step_of(params: Params, name: str, settings: TrainSegmenter, num_classes: int, device: torch.device) -> Step:
    """A step of that experiment's training, of a network with random weights."""
    experiment = params.experiments[name].train
    crf = params.crf[experiment.crf]
    objective = objective_of(
        params.losses[experiment.loss], crf_params(crf) if crf else None, num_classes, settings.input_px
    )
    network = build_segmenter(
        experiment.head, settings.backbone, num_classes, settings.dropout, experiment.average_pool5a
    )
    network = to_device(network, device).train()
    optimizer = build_optimizer(network, settings.training)
    return Step(network, optimizer, objective, objective.weights, drawn_batch(settings, num_classes, device))


def print_tables(step: Step, settings: TrainSegmenter, args: argparse.Namespace, device: torch.device) -> None:
    count = settings.training.batch_size
    whole = seconds(step.whole, args.repeats, device)
    passes, update = (seconds(work, args.repeats, device) for work in (step.network_pass, step.update))
    flops, peak = counted_flops(step.logits), machine_flops(device, args.repeats)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(
        f"{args.profile}, {args.experiment}: {settings.backbone}, batch {count}, {settings.input_px} px, {name}\n\n"
        "| part of a training step | milliseconds | share |\n|---|---:|---:|"
    )
    for part, value in (
        ("whole", whole), ("network, forward and backward", passes), ("optimizer", update),
        ("loss terms, CRF among them, and the rest", max(whole - passes - update, 0.0)),
    ):  # fmt: skip
        print(f"| {part} | {1000 * value:.1f} | {100 * value / whole:.0f} % |")
    print(
        f"\n{count / whole:.1f} images a second; {settings.training.steps} steps in "
        f"{whole * settings.training.steps / 60:.1f} minutes, where loading keeps up.\n"
        f"Network: {flops / 1e9:.1f} GFLOP a step, {flops / passes / 1e9:.0f} GFLOP/s; a large matrix product reaches "
        f"{peak / 1e9:.0f} GFLOP/s here, so the network's passes run at {100 * flops / passes / peak:.0f} % of that.\n\n"
        "| operation | share of the step |\n|---|---:|"
    )
    for operation, share in longest(step.whole, args.operations, device):
        print(f"| `{operation}` | {100 * share:.0f} % |")


if __name__ == "__main__":
    main()
