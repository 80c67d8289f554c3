"""A training step never waits for the device: on a CPU, seen as the absence of operations that need a value on the host."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from tests.unit.test_distributed import SIDE_PX, small_params
from tests.unit.test_distributed_training import BATCH, NAMES, Scenes, network_of, objective, run_named
from weakseg.crf.params import CRFParams
from weakseg.losses import pooling as pooling_module
from weakseg.losses.pooling import global_weighted_rank_pool
from weakseg.runtime.devices import to_device
from weakseg.settings.losses import Loss
from weakseg.training.loop import LossTerms, _step, build_optimizer, moved
from weakseg.training.objectives import objective_of
from weakseg.training.optimization import weighted_sum
from weakseg.training.parallel import loaded
from weakseg.training.run import Progress

CPU = torch.device("cpu")
# what makes a GPU's host wait: reading a value, and results whose shape depends on values
WAITING = {
    "_local_scalar_dense",
    "nonzero",
    "is_nonzero",
    "masked_select",
    "equal",
    "_unique2",
    "unique_dim",
    "repeat_interleave",
}


class NoWaiting(TorchDispatchMode):
    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket.__name__
        assert name not in WAITING, f"{name} waits for the device"
        if name in ("index", "index_put", "index_put_"):
            assert all(one is None or one.dtype != torch.bool for one in args[1]), (
                f"{name} by a mask waits for the device"
            )
        return function(*args, **(kwargs or {}))


def step(name: str, optimizer: str, change: Callable[[LossTerms], LossTerms] = lambda terms: terms) -> None:
    terms, weights = objective(name)
    run = run_named(name, Path("unused"))
    settings = run.settings.model_copy(update={"optimizer": optimizer})
    network: nn.Module = to_device(network_of(name), CPU).train()
    optimiser, state = build_optimizer(network, settings), Progress()
    batch = next(loaded(Scenes(), run, 0, CPU))
    assert len(batch["image_id"]) == BATCH
    assert batch["images"].dtype == torch.uint8
    with NoWaiting():
        losses = _step(network, optimiser, batch, change(terms), weights, run, 0, CPU)
        state.add(losses, batch["image_id"], 0.1)


@pytest.fixture(autouse=True)
def _as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEAKSEG_WORKERS", "0")
    monkeypatch.setattr(pooling_module, "_may_look_at", lambda decay: False)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_no_step_waits_for_the_device(name: str, optimizer: str) -> None:
    step(name, optimizer)


def test_a_value_read_in_the_loss_would_be_seen() -> None:
    def reading(terms: LossTerms) -> LossTerms:
        return lambda network, batch: {key: term * float(term.detach()) for key, term in terms(network, batch).items()}

    with pytest.raises(AssertionError, match="_local_scalar_dense waits"):
        step("logistic", "sgd", reading)


# A copy from the device to the host is no operation on a CPU. Tensors on the device "meta" have no values, so that any
# `.cpu()`, `.to("cpu")` or `.numpy()` fails.
META = torch.device("meta")


def lose_without_values(name: str, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """The loss, its gradient and the log of one step on a device that nothing can be read from."""
    monkeypatch.setattr(
        torch, "autocast", lambda *arguments, **options: nullcontext()
    )  # which does not know the device
    settings: Loss | None = None
    if name != "logistic":
        settings = TypeAdapter(Loss).validate_python(small_params()["losses"][name] | changes)
    crf = CRFParams(**small_params()["crf"]["sec"])
    terms: Any = objective_of(settings, crf, 3, SIDE_PX) if settings else objective(name)[0]
    network = network_of(name).to(META).train()
    batch = {
        key: moved(value, META)
        for key, value in next(loaded(Scenes(), run_named(name, Path("unused")), 0, CPU)).items()
    }
    losses: dict[str, Tensor] = terms(network, batch)
    weighted_sum(losses, terms.weights if settings else {"logistic": 1.0}).backward()  # type: ignore[no-untyped-call]
    Progress().add(losses, batch["image_id"], 0.1)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("logistic", {}),
        ("cross_entropy", {}),
        ("cross_entropy", {"constrain_weight": 1.0}),
        ("sec", {}),
        ("sec", {"crf_gradient": "exact"}),
        ("sec", {"crf_gradient": "release2016"}),
    ],
)
def test_no_loss_copies_to_the_host(name: str, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    lose_without_values(name, monkeypatch, **changes)


def test_the_lattice_copies_to_the_host_and_that_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):
        lose_without_values("sec", monkeypatch, crf_backend="lattice")


def test_pooling_gives_the_same_without_choosing_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = torch.randint(0, 5, (2, 4, 6, 5)).double()  # with ties
    decay = torch.tensor([0.0, 0.9, 1.0, 0.5], dtype=torch.float64)
    results = []
    for chooses in (False, True):
        monkeypatch.setattr(pooling_module, "_may_look_at", lambda decay, chooses=chooses: chooses)
        leaf = scores.clone().requires_grad_()
        pooled = global_weighted_rank_pool(leaf, decay)
        pooled.square().sum().backward()  # type: ignore[no-untyped-call]
        results.append((pooled.detach(), leaf.grad))
    torch.testing.assert_close(*results, rtol=0, atol=0)
