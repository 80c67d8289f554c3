"""One training loop for every network: exact restart, live losses in a CSV, mixed precision on a GPU.

Repeatable bit for bit on a CPU: a sample depends on (random_seed, position) alone, never on the loader's workers, and
dropout's generator is seeded anew from (random_seed, step), so that a restart from a checkpoint goes on as if nothing
had happened.
"""

import hashlib
import json
import math
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from types import FrameType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from weakseg import artifacts, optimization
from weakseg.devices import pick_device, to_device, worker_count
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
    def checkpoint_path(self) -> Path:
        return self.checkpoint_folder / f"{self.name.replace('/', '-')}-{self.identity[:16]}.pt"


def identity_of(*contents: Any, files: Mapping[str, Path] | None = None) -> str:
    """SHA-256 over settings (anything JSON can hold) and the bytes of input files."""
    digest = hashlib.sha256(json.dumps(contents, sort_keys=True, default=str).encode())
    for name, path in sorted((files or {}).items()):
        digest.update(name.encode())
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def train(
    network: nn.Module, source: SampleSource, loss_terms: LossTerms, weights: Mapping[str, float], run: Run
) -> nn.Module:
    """Train `network` in place and return it in evaluation mode, on the CPU.

    `loss_terms` maps (network, batch on the device) to named scalar losses; their sum, each times its weight, is
    minimized. Every term is logged to `run.log_path`. A non-finite term stops the run, naming term, step and images.
    """
    settings, device = run.settings, pick_device()
    network = to_device(network, device).train()
    optimizer = build_optimizer(network, settings)
    state = _restore(run, network, optimizer)
    with _StopSignals() as stop:
        batches = _loader(source, run, state.step, device)
        progress = tqdm(batches, run.name, settings.steps, initial=state.step, unit="step", disable=None, mininterval=1)
        for batch in progress:
            terms = _step(network, optimizer, batch, loss_terms, weights, run, state.step, device)
            state.add(terms, float(optimizer.param_groups[0]["lr"]))
            due = state.step % settings.checkpoint_every_steps == 0 and state.step < settings.steps
            if due or state.step % LOG_EVERY_STEPS == 0 or state.step == settings.steps:
                values = state.flush(batch, run)  # before a checkpoint, so that none holds non-finite weights
                progress.set_postfix({name: f"{value:.3f}" for name, value in values.items()})
            if due or (stop.requested and state.is_finite()):
                _save(run, network, optimizer, state)
            if stop.requested:
                sys.exit(f"{run.name}: stopped after step {state.step}, saved; the next run goes on from there")
    run.checkpoint_path.unlink(missing_ok=True)
    return network.cpu().eval()


def _loader(source: SampleSource, run: Run, step: int, device: torch.device) -> DataLoader[Batch]:
    batch_size, workers = run.settings.batch_size, min(worker_count(), 8)
    positions = Positions(source, run.random_seed, step * batch_size, run.settings.steps * batch_size)
    return DataLoader(
        positions,
        batch_size,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        prefetch_factor=4 if workers else None,
    )


def _step(
    network: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch, loss_terms: LossTerms,
    weights: Mapping[str, float], run: Run, step: int, device: torch.device,
) -> dict[str, Tensor]:  # fmt: skip
    torch.manual_seed(_mix(run.random_seed, step))
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


def _mix(random_seed: int, step: int) -> int:
    return int(np.random.SeedSequence((random_seed, step, 2)).generate_state(1, np.uint64)[0] >> 1)


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
    """Step count and the log so far; sums stay on the device until they are written, so no step waits for them."""

    def __init__(self) -> None:
        self.step = 0
        self.rows: list[dict[str, float]] = []
        self._sums: dict[str, Tensor] = {}
        self._count, self._rate = 0, 0.0

    def add(self, terms: Mapping[str, Tensor], learning_rate: float) -> None:
        self._sums = {name: term + self._sums[name] if self._count else term for name, term in terms.items()}
        self._count, self._rate, self.step = self._count + 1, learning_rate, self.step + 1

    def is_finite(self) -> bool:
        return all(math.isfinite(float(value)) for value in self._sums.values())

    def flush(self, batch: Batch, run: Run) -> dict[str, float]:
        """Append the means since the last flush to the log; raises UserError where one is not finite."""
        names = list(self._sums)
        means = (torch.stack(list(self._sums.values())) / self._count).tolist()
        values = dict(zip(names, means, strict=True))
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        if bad:
            images = ", ".join(batch.get("image_id", []))
            raise UserError(
                f"{run.name}: the loss term {bad[0]} is not finite within the {self._count} steps up to {self.step} "
                f"(images of the last one: {images}); lower the learning rate. The last checkpoint is kept."
            )
        self.rows.append({"step": self.step, "learning_rate": self._rate, **values})
        self._sums, self._count = {}, 0
        rounded = ({k: v if k == "step" else f"{v:.6g}" for k, v in row.items()} for row in self.rows)
        artifacts.write_table(run.log_path, rounded, list(self.rows[0]))
        return values


def _save(run: Run, network: nn.Module, optimizer: torch.optim.Optimizer, state: _State) -> None:
    content = {
        "identity": run.identity, "step": state.step, "rows": state.rows, "network": network.state_dict(),
        "optimizer": optimizer.state_dict(), "sums": state._sums, "count": state._count,
    }  # fmt: skip
    with artifacts.atomic_path(run.checkpoint_path) as temporary:
        torch.save(content, temporary)


def _restore(run: Run, network: nn.Module, optimizer: torch.optim.Optimizer) -> _State:
    """Go on from this run's checkpoint if there is one; another identity's checkpoint has another name."""
    state = _State()
    for stale in run.checkpoint_folder.glob(f"{run.name.replace('/', '-')}-*.pt"):
        if stale != run.checkpoint_path:
            print(f"{run.name}: settings or inputs changed, {stale.name} is not used; starting afresh", file=sys.stderr)
    if not run.checkpoint_path.exists():
        return state
    try:
        content = torch.load(run.checkpoint_path, map_location="cpu", weights_only=True)
        network.load_state_dict(content["network"])
        optimizer.load_state_dict(content["optimizer"])
    except (RuntimeError, EOFError, UnpicklingError, KeyError, ValueError) as error:
        raise UserError(f"{run.checkpoint_path}: damaged checkpoint ({error}); delete it to start afresh") from None
    state.step, state.rows = content["step"], content["rows"]
    state._sums, state._count = content["sums"], content["count"]
    print(f"{run.name}: going on from step {state.step}", file=sys.stderr)
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
