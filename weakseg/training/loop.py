"""One training loop for every network: exact restart, live losses in a CSV, mixed precision on a GPU.

Repeatable bit for bit on a CPU: a sample depends on (random_seed, position) alone, never on the loader's workers, and
dropout's generator is reseeded from (random_seed, step), so a restart from a checkpoint continues as if nothing had
happened. Several processes (`training.parallel`) share each batch: the samples are the same, each process draws its own
dropout, and without dropout the losses agree to rounding.
"""

import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from weakseg.errors import UserError
from weakseg.runtime import (
    agreed,
    compiled,
    is_first,
    launch,
    pick_device,
    same_in_all,
    to_device,
    wait,
    with_progress,
)
from weakseg.settings import Training
from weakseg.training import optimization
from weakseg.training.checkpoints import Checkpoints
from weakseg.training.parallel import data_parallel, loaded
from weakseg.training.run import Progress, Run
from weakseg.training.sampling import Batch, SampleSource
from weakseg.watching import PhotoSample, event_file

LossTerms = Callable[[nn.Module, Batch], dict[str, Tensor]]


LOG_EVERY_STEPS = 10


def train(
    network: nn.Module, source: SampleSource, loss_terms: LossTerms, weights: Mapping[str, float], run: Run,
    sample: PhotoSample | None = None,
) -> nn.Module:  # fmt: skip
    """Train `network` in place and return it in evaluation mode, on the CPU.

    `loss_terms` maps (network, batch on the device) to named scalar losses; their sum, each times its weight, is
    minimized. Every term is logged to `run.log_path`. A non-finite term stops the run, naming term, step and images.
    Checkpoints are kept until `run.checkpoints.remove()`, to be called once the result is written. `sample` looks on.
    """
    settings, device, checkpoints = run.settings, pick_device(), run.checkpoints
    network = to_device(network, device).train()
    optimizer = build_optimizer(network, settings)
    state = _restore(run, checkpoints, network, optimizer, device, sample)
    model = compiled(data_parallel(network, device))
    with _StopSignals() as stop, closing(loaded(source, run, state.step, device)) as batches:
        progress = with_progress(batches, run.name, settings.steps, "step", start=state.step)
        for batch in progress:
            terms = _step(model, optimizer, batch, loss_terms, weights, run, state.step, device)
            state.add(terms, batch["image_id"], float(optimizer.param_groups[0]["lr"]))
            done = state.step == settings.steps
            if state.step % LOG_EVERY_STEPS == 0 or done:
                values = state.flush(run)
                progress.set_postfix({name: f"{value:.3f}" for name, value in values.items()})
            if sample is not None:
                sample.look(network, state.step, device)
            due, stopping = _decided(state.step, run, checkpoints, stop, device)
            if due or done or stopping:
                _save(run, checkpoints, network, optimizer, state, sample)
            if stopping:
                sys.exit(f"{run.name}: stopped after step {state.step}, saved; the next run resumes there")
    return network.cpu().eval()


def _decided(
    step: int, run: Run, checkpoints: Checkpoints, stop: "_StopSignals", device: torch.device
) -> tuple[bool, bool]:
    """Whether to save after this step and whether to stop, the same in all processes.

    Several GPUs communicate about it only when they wait for each other anyway, or when a checkpoint may be due.
    """
    every_steps = checkpoints.every_steps
    quiet = step % LOG_EVERY_STEPS and (not every_steps or step % every_steps)
    if quiet and device.type == "cuda" and launch.processes() > 1:
        return False, False
    due = is_first() and checkpoints.due(step)
    return agreed(due), agreed(stop.requested)


def _step(
    network: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch, loss_terms: LossTerms,
    weights: Mapping[str, float], run: Run, step: int, device: torch.device,
) -> dict[str, Tensor]:  # fmt: skip
    torch.manual_seed(_mix(run.random_seed, step, launch.rank()))
    factor = learning_rate_factor(run.settings, step)
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor
    batch = {name: moved(value, device) for name, value in batch.items()}
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        terms = loss_terms(network, batch)
    total = optimization.weighted_sum(terms, weights)
    optimizer.zero_grad(set_to_none=True)
    total.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return {**{name: term.detach() for name, term in terms.items()}, "loss": total.detach()}


def moved(value: Any, device: torch.device) -> Any:
    return value.to(device, non_blocking=True) if isinstance(value, Tensor) else value


def _mix(random_seed: int, step: int, rank: int) -> int:
    own = (rank,) if rank else ()  # the first process draws what a single one would
    return int(np.random.SeedSequence((random_seed, step, 2, *own)).generate_state(1, np.uint64)[0] >> 1)


def learning_rate_factor(settings: Training, step: int) -> float:
    schedule = settings.schedule
    if schedule.kind == "poly":
        return optimization.poly_schedule(step, settings.steps, schedule.power)
    return optimization.step_schedule(step, schedule.step_every, schedule.step_factor)


def build_optimizer(network: Any, settings: Training) -> torch.optim.Optimizer:
    """SGD with Caffe's parameter groups, or AdamW with the same groups but plain rates for biases."""
    groups = optimization.parameter_groups(
        network, settings.learning_rate, settings.weight_decay, settings.new_layers_factor,
        1.0 if settings.optimizer == "adamw" else 2.0,
    )  # fmt: skip
    for group in groups:
        group["initial_lr"] = group["lr"]
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, fused=True)
    return torch.optim.SGD(groups, momentum=settings.momentum, fused=True)


def _save(
    run: Run, checkpoints: Checkpoints, network: nn.Module, optimizer: torch.optim.Optimizer, state: Progress,
    sample: PhotoSample | None,
) -> None:  # fmt: skip
    state.check(run)  # so that no checkpoint has weights that are not finite
    if is_first():
        content = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), **state.saved()}
        content |= {"sample": sample.masks} if sample is not None else {}
        checkpoints.save(state.step, content)
    wait()  # no process stops before the checkpoint is whole


def _restore(
    run: Run, checkpoints: Checkpoints, network: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device,
    sample: PhotoSample | None,
) -> Progress:  # fmt: skip
    """Resume from this run's newest intact checkpoint, if there is one."""
    state = Progress(event_file(run.name) if is_first() else None)

    def load(content: dict[str, Any]) -> None:
        network.load_state_dict(content["network"])
        optimizer.load_state_dict(content["optimizer"])
        state.restore(content, device)
        if sample is not None:
            sample.masks.update(content.get("sample", {}))

    if checkpoints.restore(load) and is_first():
        print(f"{run.name}: resuming from step {state.step}", file=sys.stderr)
        state.write_log(run)  # DVC removed it
    if not same_in_all(state.step):
        raise UserError(f"{checkpoints.folder}: not the same folder on all machines; put it where they share it")
    return state


class _StopSignals:
    """Ctrl-C and SIGTERM ask the loop to save and stop after the current step."""

    def __init__(self) -> None:
        self.requested = False
        self._previous: list[tuple[int, Any]] = []

    def __enter__(self) -> "_StopSignals":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous.append((number, signal.signal(number, self._request)))
        return self

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous:
            signal.signal(number, handler)
