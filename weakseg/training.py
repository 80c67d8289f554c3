"""One training loop for every network: exact restart, live losses in a CSV, mixed precision on a GPU.

Repeatable bit for bit on a CPU: a sample depends on (random_seed, position) alone, never on the loader's workers, and
dropout's generator is seeded anew from (random_seed, step), so that a restart from a checkpoint goes on as if nothing
had happened. Several processes (`weakseg.distributed`) share each batch: the samples are the same, each has dropout of
its own, and without dropout the losses agree to rounding.
"""

import math
import signal
import sys
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from weakseg import artifacts, distributed, launch, optimization
from weakseg.checkpoints import Checkpoints
from weakseg.devices import compiled, pick_device, to_device, worker_count
from weakseg.errors import UserError
from weakseg.params import Training

Batch = dict[str, Any]
LossTerms = Callable[[nn.Module, Batch], dict[str, Tensor]]
LOG_EVERY_STEPS = 10


class SampleSource(Protocol):
    """A training set: any sample can be drawn again from its number and a generator."""

    def __len__(self) -> int: ...
    def sample(self, index: int, rng: np.random.Generator) -> Batch: ...


class Positions(Dataset[Batch]):
    """Samples by position in the whole run: epoch after epoch, each in its own random order."""

    def __init__(self, source: SampleSource, random_seed: int, start: int, stop: int) -> None:
        self.source, self.random_seed, self.start, self.stop = source, random_seed, start, stop
        self._epoch, self._order = -1, np.empty(0, np.intp)

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, offset: int) -> Batch:
        position = self.start + offset
        rng = np.random.default_rng((self.random_seed, position))
        return self.source.sample(int(self.order(position // len(self.source))[position % len(self.source)]), rng)

    def order(self, epoch: int) -> npt.NDArray[np.intp]:
        if epoch != self._epoch:
            generator = np.random.default_rng((self.random_seed, epoch, 1))
            self._epoch, self._order = epoch, generator.permutation(len(self.source))
        return self._order


@dataclass(frozen=True)
class Run:
    """What identifies a training run and where it keeps its things."""

    name: str
    settings: Training
    random_seed: int
    log_path: Path
    checkpoint_folder: Path
    identity: str  # hash of everything the result depends on; a checkpoint of another identity is not used

    @property
    def checkpoints(self) -> Checkpoints:
        return Checkpoints(self.checkpoint_folder, self.name, self.identity)


def train(
    network: nn.Module, source: SampleSource, loss_terms: LossTerms, weights: Mapping[str, float], run: Run
) -> nn.Module:
    """Train `network` in place and return it in evaluation mode, on the CPU.

    `loss_terms` maps (network, batch on the device) to named scalar losses; their sum, each times its weight, is
    minimized. Every term is logged to `run.log_path`. A non-finite term stops the run, naming term, step and images.
    The checkpoints stay until `run.checkpoints.remove()`, which is for when the result is written.
    """
    settings, device, checkpoints = run.settings, pick_device(), run.checkpoints
    network = to_device(network, device).train()
    optimizer = build_optimizer(network, settings)
    state = _restore(run, checkpoints, network, optimizer, device)
    model = compiled(distributed.data_parallel(network, device))
    hidden = None if distributed.is_first() else True
    with _StopSignals() as stop, closing(_batches(_loader(source, run, state.step, device))) as batches:
        progress = tqdm(
            batches,
            run.name,
            settings.steps,
            initial=state.step,
            unit="step",
            disable=hidden,
            mininterval=1,
        )
        for batch in progress:
            terms = _step(model, optimizer, batch, loss_terms, weights, run, state.step, device)
            state.add(terms, batch["image_id"], float(optimizer.param_groups[0]["lr"]))
            done = state.step == settings.steps
            if state.step % LOG_EVERY_STEPS == 0 or done:
                values = state.flush(run)
                progress.set_postfix({name: f"{value:.3f}" for name, value in values.items()})
            due, stopping = _decided(state.step, run, checkpoints, stop, device)
            if due or done or stopping:
                _save(run, checkpoints, network, optimizer, state)
            if stopping:
                sys.exit(f"{run.name}: stopped after step {state.step}, saved; the next run goes on from there")
    return network.cpu().eval()


def _decided(
    step: int, run: Run, checkpoints: Checkpoints, stop: "_StopSignals", device: torch.device
) -> tuple[bool, bool]:
    """Whether to save after this step and whether to stop, the same in all processes.

    Several GPUs talk about it only where they wait for each other anyway, or where a checkpoint may be due.
    """
    every_steps, every_minutes = run.settings.checkpoint_every_steps, run.settings.checkpoint_every_minutes
    quiet = step % LOG_EVERY_STEPS and step % every_steps
    if quiet and device.type == "cuda" and launch.processes() > 1:
        return False, False
    due = distributed.is_first() and checkpoints.due(step, every_steps, every_minutes)
    return distributed.agreed(due), distributed.agreed(stop.requested)


def _loader(source: SampleSource, run: Run, step: int, device: torch.device) -> DataLoader[Batch]:
    batch_size, workers = run.settings.batch_size, min(worker_count(), 8)
    positions = Positions(source, run.random_seed, step * batch_size, run.settings.steps * batch_size)
    return DataLoader(
        positions,
        batch_sampler=distributed.batch_shares(batch_size, run.settings.steps - step, run.name),
        num_workers=workers,
        pin_memory=device.type == "cuda",
        prefetch_factor=4 if workers else None,
        worker_init_fn=_leave_signals_to_the_loop,
    )


def _batches(loader: Iterable[Batch]) -> Generator[Batch, None, None]:
    """The loader's batches; what a worker complains or dies of is told without the traceback that torch puts around it.

    The workers end with this generator. torch ends them when its iterator is freed, but an error on its way up keeps
    that alive, and at Python's exit nothing else would end processes that ignore SIGTERM.
    """
    iterator = iter(loader)
    try:
        yield from iterator
    except UserError as error:
        raise UserError(str(error).rpartition("UserError: ")[2].strip()) from None
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise UserError(
            "a worker process that reads photos died (out of memory?); lower WEAKSEG_WORKERS and run again: the "
            "training goes on from its last checkpoint"
        ) from None
    finally:
        if hasattr(iterator, "_shutdown_workers"):
            iterator._shutdown_workers()


def _leave_signals_to_the_loop(worker: int) -> None:
    """Ctrl-C and a group's SIGTERM reach loader workers too; they must outlive them for the loop to finish its step."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


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
    total = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
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
    """SGD with Caffe's parameter groups (SPEC §5), or AdamW with the same groups but plain rates for biases."""
    groups = optimization.parameter_groups(
        network, settings.learning_rate, settings.weight_decay, settings.new_layers_factor,
        1.0 if settings.optimizer == "adamw" else 2.0,
    )  # fmt: skip
    for group in groups:
        group["initial_lr"] = group["lr"]
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, fused=True)
    return torch.optim.SGD(groups, momentum=settings.momentum, fused=True)


# --- progress, checkpoints and signals ---------------------------------------------------------------------------


class _State:
    """Step count and the log so far. Losses stay on the device until they are written, so no step waits for them."""

    def __init__(self) -> None:
        self.step = 0
        self.rows: list[dict[str, float]] = []
        self.names: list[str] = []
        self.pending: list[Tensor] = []  # (terms,) of each step since the last row, means over the processes
        self.own: list[Tensor] = []  # the same of this process's share, which `images` made up
        self.images: list[list[str]] = []
        self.learning_rate = 0.0

    def add(self, terms: Mapping[str, Tensor], image_ids: list[str], learning_rate: float) -> None:
        self.names, self.learning_rate, self.step = list(terms), learning_rate, self.step + 1
        self.own.append(torch.stack([term.float() for term in terms.values()]))
        self.pending.append(distributed.average(self.own[-1]))
        self.images.append(image_ids)

    def check(self, run: Run) -> npt.NDArray[np.float64]:
        """The pending losses (steps, terms), if any; raises UserError naming the first that is not finite."""
        if not self.pending:
            return np.empty((0, len(self.names)))
        values = torch.stack(self.pending).cpu().double().numpy()
        for index, row in enumerate(values):
            bad = [name for name, value in zip(self.names, row, strict=True) if not math.isfinite(value)]
            if bad:
                guilty = not bool(self.own[index].isfinite().all())
                images = distributed.first_message(", ".join(self.images[index]) if guilty else "")
                raise UserError(
                    f"{run.name}: the loss term {bad[0]} is not finite at step {self.step - len(values) + index + 1} "
                    f"(images {images}); lower the learning rate or look at these images. "
                    "The last checkpoint is kept."
                )
        return values

    def flush(self, run: Run) -> dict[str, float]:
        """Append the means since the last row to the log."""
        means = dict(zip(self.names, self.check(run).mean(0).tolist(), strict=True))
        self.rows.append({"step": self.step, "learning_rate": self.learning_rate, **means})
        self.pending, self.own, self.images = [], [], []
        self.write_log(run)
        return means

    def write_log(self, run: Run) -> None:
        if not distributed.is_first():
            return
        rounded = ({k: v if k == "step" else f"{v:.6g}" for k, v in row.items()} for row in self.rows)
        artifacts.write_table(run.log_path, rounded, list(self.rows[0]) if self.rows else ["step"])

    def saved(self) -> dict[str, Any]:
        pending = torch.stack(self.pending).cpu() if self.pending else torch.zeros(0, len(self.names))
        return {"step": self.step, "rows": self.rows, "names": self.names, "pending": pending, "images": self.images}

    def restore(self, content: dict[str, Any], device: torch.device) -> None:
        self.step, self.rows, self.names = content["step"], content["rows"], content["names"]
        self.pending, self.images = list(content["pending"].to(device)), content["images"]
        self.own = list(self.pending)


def _save(
    run: Run, checkpoints: Checkpoints, network: nn.Module, optimizer: torch.optim.Optimizer, state: _State
) -> None:
    state.check(run)  # so that no checkpoint holds weights that are not finite
    if distributed.is_first():
        content = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), **state.saved()}
        checkpoints.save(state.step, content)
    distributed.wait()  # a stop ends no process before the checkpoint is whole


def _restore(
    run: Run, checkpoints: Checkpoints, network: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device
) -> _State:
    """Go on from this run's newest sound checkpoint if there is one."""
    state = _State()

    def load(content: dict[str, Any]) -> None:
        network.load_state_dict(content["network"])
        optimizer.load_state_dict(content["optimizer"])
        state.restore(content, device)

    if checkpoints.restore(load) and distributed.is_first():
        print(f"{run.name}: going on from step {state.step}", file=sys.stderr)
        state.write_log(run)  # DVC has removed it
    if not distributed.same_in_all(state.step):
        raise UserError(f"{checkpoints.folder}: not the same on all machines; put it on a folder that they share")
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
