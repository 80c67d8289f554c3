"""The training loop: same weights for any number of workers, and through any interruption.

Run as a script, this file trains the tiny network once and can be told where to stand still, to be killed there.
"""

import csv
import multiprocessing
import os
import pickle
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from weakseg.errors import UserError
from weakseg.runtime import identity
from weakseg.runtime.identity import identity_of
from weakseg.settings.networks import Training
from weakseg.training.loop import LossTerms, build_optimizer, learning_rate_factor, train
from weakseg.training.run import Run
from weakseg.training.sampling import ClassBalanced, Positions

REPO = Path(__file__).resolve().parents[2]
STEPS, EVERY = 23, 4
WEIGHTS = {"logistic": 1.0, "size": 0.1}


class TinyNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.dropout = nn.Dropout(0.5)
        self.fc8 = nn.Conv2d(8, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc8(self.dropout(functional.relu(self.conv(images / 255)))).mean((2, 3))

    def last_layers(self) -> list[nn.Module]:
        return [self.fc8]


@dataclass(frozen=True)
class Noise:
    """Seven images with noise on them, drawn anew for each sample."""

    def __len__(self) -> int:
        return 7

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        pixels = 20.0 * index + rng.uniform(0, 99, (3, 9, 9))
        labels = torch.tensor([index % 2, index % 3 == 0])
        return {"images": torch.from_numpy(pixels).float(), "image_labels": labels, "image_id": f"image{index}"}


def loss_terms(network: nn.Module, batch: dict[str, Any]) -> dict[str, Tensor]:
    scores = network(batch["images"])
    logistic = functional.binary_cross_entropy_with_logits(scores, batch["image_labels"].float())
    return {"logistic": logistic, "size": scores.square().mean()}


def settings(**changes: object) -> Training:
    schedule = {"kind": "poly", "power": 0.9, "step_every": 5, "step_factor": 0.1, **changes.pop("schedule", {})}
    values = {
        "steps": STEPS, "sampling": "shuffle", "batch_size": 3, "optimizer": "adamw", "learning_rate": 0.01, "new_layers_factor": 10.0,
        "momentum": 0.9, "weight_decay": 0.01,
    }  # fmt: skip
    return Training.model_validate({**values, **changes, "schedule": schedule})


def run_in(folder: Path, random_seed: int = 0, identity: str = "a" * 64, **changes: object) -> Run:
    return Run("segmenter/tiny", settings(**changes), random_seed, folder / "log.csv", folder / "checkpoints", identity)


def tiny_net() -> TinyNet:
    torch.manual_seed(0)
    return TinyNet()


def trained(run: Run, terms: LossTerms = loss_terms) -> dict[str, bytes]:
    """The weights, byte by byte; the checkpoints are removed, as the stages do."""
    weights = bytes_of(train(tiny_net(), Noise(), terms, WEIGHTS, run).state_dict())
    run.checkpoints.remove()
    return weights


def bytes_of(weights: dict[str, Tensor]) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in weights.items()}


def newest(run: Run) -> Path:
    return run.checkpoints.own()[-1]


def checkpoint(run: Run) -> dict[str, Any]:
    return torch.load(newest(run), weights_only=True)


def saved_steps(run: Run) -> list[int]:
    return [int(path.name.split(".")[-2]) for path in run.checkpoints.own()]


@pytest.fixture(autouse=True)
def _on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEAKSEG_DEVICE", "cpu")
    monkeypatch.setenv("WEAKSEG_WORKERS", "0")
    monkeypatch.setenv("WEAKSEG_CHECKPOINT_STEPS", str(EVERY))
    monkeypatch.setenv("WEAKSEG_CHECKPOINT_MINUTES", "1000000")


def result_of(run: Run) -> tuple[dict[str, bytes], str]:
    """The weights, and the log."""
    return trained(run), run.log_path.read_text()


# --- repeatable --------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize(("optimizer", "schedule"), [("adamw", "poly"), ("sgd", "step")])
def test_workers_do_not_matter(optimizer: str, schedule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_in(tmp_path, optimizer=optimizer, schedule={"kind": schedule})
    alone = result_of(run)
    assert result_of(run) == alone
    for workers in ("1", "2", "3"):
        monkeypatch.setenv("WEAKSEG_WORKERS", workers)
        assert result_of(run) == alone


def test_random_state_from_outside_does_not_matter_but_the_seed_does(tmp_path: Path) -> None:
    def after(noise: int, random_seed: int) -> dict[str, bytes]:
        network = tiny_net()
        torch.manual_seed(noise)
        np.random.seed(noise)
        folder = tmp_path / f"{noise}-{random_seed}"
        return bytes_of(train(network, Noise(), loss_terms, WEIGHTS, run_in(folder, random_seed)).state_dict())

    first = after(1, 0)
    assert first == after(2, 0)
    assert all(value != first[name] for name, value in after(1, 1).items())


def test_the_seed_sets_order_samples_and_dropout_each(tmp_path: Path) -> None:
    first, second = (Positions(Noise(), seed, 0, 70) for seed in (0, 1))
    assert [first[i]["image_id"] for i in range(70)] != [second[i]["image_id"] for i in range(70)]
    same = [(i, j) for i in range(7) for j in range(7) if first[i]["image_id"] == second[j]["image_id"]]
    assert all((first[i]["images"] != second[j]["images"]).any() for i, j in same)

    def losses(random_seed: int) -> list[float]:
        batch, seen = {"images": torch.ones(2, 3, 9, 9), "image_labels": torch.ones(2, 2)}, []

        def on_one_batch(network: nn.Module, _: dict[str, Any]) -> dict[str, Tensor]:
            terms = loss_terms(network, batch)
            seen.append(terms["logistic"].item())
            return {"logistic": 0 * terms["logistic"], "size": 0 * terms["size"]}

        trained(run_in(tmp_path, random_seed, optimizer="sgd", weight_decay=0.0), on_one_batch)
        return seen

    assert len(set(losses(0))) == STEPS  # the network stands still, so all that varies is dropout: each step its own
    assert losses(0) == losses(0)
    assert not set(losses(0)) & set(losses(1))


def test_every_image_once_per_epoch(tmp_path: Path) -> None:
    seen: list[str] = []

    def watched(network: nn.Module, batch: dict[str, Any]) -> dict[str, Tensor]:
        seen.extend(batch["image_id"])
        return loss_terms(network, batch)

    trained(run_in(tmp_path, steps=14), watched)  # 14 · 3 = 6 · 7: batches straddle epochs
    epochs = [tuple(seen[start : start + 7]) for start in range(0, 42, 7)]
    assert all(sorted(epoch) == [f"image{index}" for index in range(7)] for epoch in epochs)
    assert len(set(epochs)) == 6


# --- class-balanced batches ----------------------------------------------------------------------------------------


class Tagged(Noise):
    """Class 1 has one photo, class 2 two, class 3 all but the last, which has no tag."""

    def classes(self, index: int) -> tuple[int, ...]:
        tags = {0: (1, 3), 1: (2, 3), 2: (2, 3), 6: ()}
        return tags.get(index, (3,))


def drawn(start: int = 0, stop: int = 60, random_seed: int = 0) -> list[int]:
    positions = Positions(Tagged(), random_seed, start, stop, "class_balanced")
    return [int(positions[offset]["image_id"].removeprefix("image")) for offset in range(stop - start)]


def test_each_class_has_its_turn_in_every_round_and_shows_each_photo_before_any_again() -> None:
    order = ClassBalanced(Tagged(), 0)
    turns = [order.at(position) for position in range(60)]
    assert turns == drawn()
    assert 6 not in turns  # no tag, no turn
    rounds = [turns[start : start + 3] for start in range(0, 60, 3)]
    assert all(0 in one for one in rounds)  # class 1's only photo
    assert all({1, 2} & {*one} for one in rounds)
    assert len({tuple(sorted(one)) for one in rounds}) > 3 and len({one.index(0) for one in rounds}) == 3
    two = [turns.count(index) for index in range(6)]
    assert two[0] >= 20 and abs(two[1] - two[2]) <= 2 and min(two[3:]) >= 3


def test_class_balanced_draws_depend_on_the_seed_and_the_position_alone() -> None:
    assert drawn(12, 60) == drawn()[12:]  # a restart
    assert drawn(random_seed=1) != drawn()
    order = ClassBalanced(Tagged(), 0)
    assert [order.at(position) for position in reversed(range(60))] == drawn()[::-1]


@pytest.mark.parametrize("sampling", ["shuffle", "class_balanced"])
def test_a_training_draws_as_its_settings_say(sampling: str, tmp_path: Path) -> None:
    seen: list[str] = []

    def watched(network: nn.Module, batch: dict[str, Any]) -> dict[str, Tensor]:
        seen.extend(batch["image_id"])
        return loss_terms(network, batch)

    train(tiny_net(), Tagged(), watched, WEIGHTS, run_in(tmp_path, sampling=sampling))
    numbers = [int(name.removeprefix("image")) for name in seen]
    assert (numbers == drawn(stop=len(numbers))) == (sampling == "class_balanced")


def test_without_any_tag_class_balanced_is_the_users_mistake() -> None:
    class Untagged(Noise):
        def classes(self, index: int) -> tuple[int, ...]:
            return ()

    with pytest.raises(UserError, match="sampling: class_balanced needs photos with tags"):
        Positions(Untagged(), 0, 0, 9, "class_balanced")


def test_a_later_start_sees_the_same_samples() -> None:
    whole, rest = Positions(Noise(), 3, 0, 30), Positions(Noise(), 3, 12, 30)
    assert len(rest) == 18
    for offset in (17, 0, 5):  # in any order
        one, other = whole[12 + offset], rest[offset]
        assert one["image_id"] == other["image_id"]
        assert torch.equal(one["images"], other["images"])


# --- interruption ------------------------------------------------------------------------------------------------


def started(folder: Path, optimizer: str, stop_at: str, workers: int = 0) -> tuple[subprocess.Popen[str], Path]:
    """This file as a process of its own, standing still at `stop_at`: call N of the loss, or 'save' and its number."""
    errors = folder / f"errors-{stop_at}.txt"
    environment = {**os.environ, "PYTHONPATH": str(REPO), "WEAKSEG_WORKERS": str(workers), "WEAKSEG_DEVICE": "cpu"}
    process = subprocess.Popen(
        [sys.executable, __file__, str(folder), optimizer, stop_at],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=errors.open("w"), text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "standing", errors.read_text()
    return process, errors


def killed(folder: Path, optimizer: str, stop_at: str) -> str:
    """What it wrote to stderr before it was killed where it stood."""
    process, errors = started(folder, optimizer, stop_at)
    process.kill()
    assert process.wait(60) == -signal.SIGKILL
    return errors.read_text()


def test_killed_again_and_again_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    run, optimizer = run_in(tmp_path), "adamw"
    assert "resuming" not in killed(tmp_path, optimizer, "2")  # in step 3: no checkpoint yet
    assert saved_steps(run) == []
    assert "resuming" not in killed(tmp_path, optimizer, "9")  # in step 10, of which 8 are saved
    assert checkpoint(run)["step"] == 8
    assert "resuming from step 8" in killed(tmp_path, optimizer, "4")  # right after the checkpoint of step 12
    assert "resuming from step 12" in killed(tmp_path, optimizer, "save-2")  # half of step 20's is written
    assert checkpoint(run)["step"] == 16
    assert "resuming from step 16" in killed(tmp_path, optimizer, "6")  # in the last step
    assert saved_steps(run) == [16, 20]
    for half_written in (tmp_path / "checkpoints").glob(".*.weakseg-tmp"):
        os.utime(half_written, (0, 0))  # which another run would only remove once it is old
    assert result_of(run) == result_of(run_in(tmp_path / "uninterrupted"))
    assert list((tmp_path / "checkpoints").iterdir()) == []  # nor is anything left of the one half written


@pytest.mark.parametrize(
    ("number", "optimizer", "workers", "to_all"),
    [
        (signal.SIGTERM, "sgd", 0, False),
        (signal.SIGTERM, "adamw", 2, True),
        (signal.SIGINT, "adamw", 2, True),
    ],
)
def test_a_signal_saves_first(
    number: signal.Signals, optimizer: str, workers: int, to_all: bool, tmp_path: Path
) -> None:
    """Ctrl-C, `timeout`, systemd and Slurm signal the loader's workers too."""
    process, errors = started(tmp_path, optimizer, "5", workers)
    os.killpg(process.pid, number) if to_all else os.kill(process.pid, number)
    (tmp_path / "go").touch()
    assert process.wait(60) == 1, errors.read_text()
    assert "segmenter/tiny: stopped after step 6, saved" in errors.read_text()
    assert "Traceback" not in errors.read_text()
    run = run_in(tmp_path, optimizer=optimizer)
    assert checkpoint(run)["step"] == 6
    assert result_of(run) == result_of(run_in(tmp_path / "uninterrupted", optimizer=optimizer))


def test_signals_are_handled_as_before_once_training_is_over(tmp_path: Path) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    trained(run_in(tmp_path))
    assert [signal.getsignal(number) for number in numbers] == before


class StopError(Exception):
    """What breaks a run off in the middle."""


def broken_off(run: Run, step: int) -> None:
    """Train, but fail in the loss of `step` (counted from 0)."""
    calls: Iterator[int] = iter(range(10**6))

    def breaking(network: nn.Module, batch: dict[str, Any]) -> dict[str, Tensor]:
        if next(calls) == step:
            raise StopError
        return loss_terms(network, batch)

    with pytest.raises(StopError):
        trained(run, breaking)


def test_another_identity_starts_afresh_and_says_so(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    old = run_in(tmp_path)
    broken_off(old, 10)
    names = [path.name for path in old.checkpoints.own()]
    new = replace(run_in(tmp_path, learning_rate=0.02), identity="b" * 64)
    afresh = trained(replace(run_in(tmp_path / "elsewhere", learning_rate=0.02), identity="b" * 64))
    capfd.readouterr()
    assert trained(new) == afresh
    message = capfd.readouterr().err
    assert "settings, inputs or code changed" in message
    assert names and all(name in message for name in names)
    assert "resuming" not in message
    assert list((tmp_path / "checkpoints").iterdir()) == []  # the old ones went once the new result was there


def test_checkpoints_of_other_runs_are_not_mentioned(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    broken_off(replace(run_in(tmp_path), name="segmenter/tiny-two"), 10)
    trained(run_in(tmp_path))
    assert "not used" not in capfd.readouterr().err


def damaged(content: bytes, how: str) -> bytes:
    return {
        "empty": b"",
        "text": b"no checkpoint",
        "cut short": content[:-100],
        "half": content[: len(content) // 2],
        "a pickle that runs code": pickle.dumps(os.system, 2),
        "zeros": bytes(len(content)),
    }[how]


DAMAGES = ["empty", "text", "a pickle that runs code", "zeros", "cut short", "half"]


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(
    how: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = run_in(tmp_path)
    broken_off(run, 10)
    assert saved_steps(run) == [4, 8]
    spoilt = newest(run)
    spoilt.write_bytes(damaged(spoilt.read_bytes(), how))
    capfd.readouterr()
    assert result_of(run) == result_of(run_in(tmp_path / "uninterrupted"))
    message = capfd.readouterr().err
    assert f"{spoilt.name}: damaged checkpoint" in message and "the one before is tried" in message
    assert "resuming from step 4" in message


@pytest.mark.parametrize("how", DAMAGES)
def test_where_all_checkpoints_are_damaged_each_is_named(how: str, tmp_path: Path) -> None:
    run = run_in(tmp_path)
    broken_off(run, 10)
    for path in run.checkpoints.own():
        path.write_bytes(damaged(path.read_bytes(), how))
    names = [re.escape(path.name) for path in reversed(run.checkpoints.own())]
    with pytest.raises(UserError, match=r"(?s)" + r": damaged checkpoint .*".join(names) + ".*delete"):
        trained(run)


def test_a_checkpoint_of_another_version_is_named(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    broken_off(run, 6)
    whole = checkpoint(run)
    versions = [{name: value for name, value in whole.items() if name != missing} for missing in whole]
    for content in (*versions, torch.zeros(3), ["a list"]):
        torch.save(content, newest(run))
        with pytest.raises(UserError, match=rf"(?s){re.escape(newest(run).name)}: damaged checkpoint .*delete"):
            trained(run)


def test_minutes_make_a_checkpoint_due_and_change_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_steps = result_of(run_in(tmp_path / "by steps"))
    monkeypatch.setenv("WEAKSEG_CHECKPOINT_STEPS", "1000")
    monkeypatch.setenv("WEAKSEG_CHECKPOINT_MINUTES", "0.000000001")
    always = run_in(tmp_path)
    broken_off(always, 10)
    assert saved_steps(always) == [9, 10]  # the last two
    assert checkpoint(always)["step"] == 10
    assert result_of(always) == by_steps
    monkeypatch.setenv("WEAKSEG_CHECKPOINT_MINUTES", "1000")
    never = run_in(tmp_path / "never")
    broken_off(never, 10)
    assert saved_steps(never) == []


def test_without_a_word_in_the_environment_every_ten_minutes_are_due(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WEAKSEG_CHECKPOINT_STEPS")
    monkeypatch.setenv("WEAKSEG_CHECKPOINT_MINUTES", "")
    checkpoints, start = run_in(tmp_path).checkpoints, time.monotonic()
    assert not any(checkpoints.due(step) for step in range(1, 2000))
    monkeypatch.setattr(time, "monotonic", lambda: start + 590)
    assert not checkpoints.due(500)
    monkeypatch.setattr(time, "monotonic", lambda: start + 601)
    assert checkpoints.due(501)


@pytest.mark.parametrize("variable", ["WEAKSEG_CHECKPOINT_STEPS", "WEAKSEG_CHECKPOINT_MINUTES"])
@pytest.mark.parametrize("text", ["often", "-1", "1e3", "nan", "1,5", "9999999999", " 3", "²"])
def test_what_is_no_interval_is_told(variable: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, text)
    with pytest.raises(UserError, match=rf"{variable}: {re.escape(repr(text))} is not a number from 0 to"):
        trained(run_in(tmp_path))


def test_how_often_is_saved_does_not_identify_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints are gone on with at another interval."""

    def identity_now() -> str:
        run = Run.of(Path("m"), settings(), 0, tmp_path / "l", tmp_path, depends_on=[settings().model_dump()], files={})
        return run.identity

    before = identity_now()
    monkeypatch.setenv("WEAKSEG_CHECKPOINT_STEPS", "1")
    monkeypatch.setenv("WEAKSEG_WORKERS", "3")
    assert identity_now() == before


def test_a_run_that_ended_without_its_result_being_written_is_not_trained_again(tmp_path: Path) -> None:
    """Killed, or out of disk, between the last step and the model's files; DVC then removes the log."""
    run = run_in(tmp_path)
    weights = bytes_of(train(tiny_net(), Noise(), loss_terms, WEIGHTS, run).state_dict())
    log = run.log_path.read_text()
    run.log_path.unlink()

    def no_step(network: nn.Module, batch: dict[str, Any]) -> dict[str, Tensor]:
        raise AssertionError("a step that was done already")

    assert trained(run, no_step) == weights
    assert run.log_path.read_text() == log


def test_a_checkpoint_that_finds_no_room_keeps_those_before(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    broken_off(run, 10)
    before = {path: path.read_bytes() for path in run.checkpoints.own()}
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
    try:
        with pytest.raises(UserError, match=r"00000012\.pt: cannot be written .*nothing was changed"):
            trained(run)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, previous)
    assert {path: path.read_bytes() for path in (tmp_path / "checkpoints").iterdir()} == before
    assert result_of(run) == result_of(run_in(tmp_path / "uninterrupted"))


def test_identity_tells_settings_and_files_apart(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"2")
    files = {"manifest": tmp_path / "a", "cues": tmp_path / "b"}
    base = identity_of({"x": 1}, 0, files=files)
    assert len(base) == 64
    assert identity_of({"x": 1}, 0, files=dict(reversed(files.items()))) == base
    others = [
        identity_of({"x": 2}, 0, files=files),
        identity_of({"x": 1}, 1, files=files),
        identity_of({"x": 1}, 0),
        identity_of({"x": 1}, 0, files={"manifest": tmp_path / "b", "cues": tmp_path / "a"}),
        identity_of({"x": 1}, 0, files={"guide": tmp_path / "a", "manifest": tmp_path / "b"}),
    ]
    assert len({base, *others}) == 6


def test_identity_tells_code_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    assert REPO / "weakseg" / "training" / "loop.py" in set(identity.code_in_use())
    before = identity_of(1)
    monkeypatch.setattr(identity, "code_in_use", lambda: iter([REPO / "weakseg" / "training" / "loop.py"]))
    assert identity_of(1) != before


def test_the_code_in_use_is_that_of_whole_rooms() -> None:
    """Also what they may import later, and rooms in rooms; no room that this process does not use."""
    code = (
        "import sys, weakseg.networks, stages.evaluate\nfrom weakseg.runtime import identity\n"
        "weakseg.networks.build_segmenter\nprint(*sorted(set(identity.code_in_use())), sep='\\n')"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    files = {Path(line).relative_to(REPO).as_posix() for line in done.stdout.splitlines()}
    assert {
        "stages/evaluate.py",
        "weakseg/evaluation/iou.py",
        "weakseg/files/archives.py",
        "weakseg/errors.py",
    } <= files
    networks = {path.relative_to(REPO).as_posix() for path in (REPO / "weakseg" / "networks").rglob("*.py")}
    assert networks <= files and "weakseg/networks/backbones/vgg16.py" in networks
    assert not any(file.startswith(("weakseg/report/", "weakseg/toy/", "weakseg/datasets/")) for file in files)
    assert "stages/predict.py" not in files


def test_identity_tells_apart_what_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of another torch, or compiled, rounds otherwise."""
    before = identity_of(1)
    monkeypatch.setenv("WEAKSEG_COMPILE", "inductor")
    compiled = identity_of(1)
    monkeypatch.delenv("WEAKSEG_COMPILE")
    assert identity_of(1) == before
    monkeypatch.setattr(identity, "version", lambda package: "0.0" if package == "torch" else version(package))
    assert len({before, compiled, identity_of(1)}) == 3


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_a_run_on_another_kind_of_device_is_another_run(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def identity_now() -> str:
        return Run.of(Path("m"), settings(), 0, tmp_path / "l", tmp_path, depends_on=[], files={}).identity

    before = identity_now()
    monkeypatch.setattr("weakseg.training.run.pick_device", lambda: torch.device(kind))
    assert identity_now() != before


# --- a loss that is not finite -------------------------------------------------------------------------------------


def failed(run: Run, term: str, value: float, bad_step: int) -> tuple[str, list[str]]:
    """The message when `term` is `value` in step `bad_step` (counted from 1), and that step's images."""
    batches: list[list[str]] = []

    def failing(network: nn.Module, batch: dict[str, Any]) -> dict[str, Tensor]:
        batches.append(batch["image_id"])
        terms = loss_terms(network, batch)
        return {**terms, term: terms[term] * value} if len(batches) == bad_step else terms

    with pytest.raises(UserError) as caught:
        trained(run, failing)
    return str(caught.value), batches[bad_step - 1]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(("term", "bad_step"), [("size", 13), ("logistic", 6), ("size", 23)])
def test_a_loss_that_is_not_finite_stops_the_run(value: float, term: str, bad_step: int, tmp_path: Path) -> None:
    run = run_in(tmp_path)
    message, _ = failed(run, term, value, bad_step)
    assert message.startswith("segmenter/tiny: ")
    assert "is not finite" in message
    assert "The last checkpoint is kept" in message
    saved = checkpoint(run)  # the one before the accident, sound
    assert saved["step"] == (bad_step - 1) // EVERY * EVERY
    assert all(weight.isfinite().all() for weight in saved["network"].values())


@pytest.mark.parametrize("bad_step", [6, 13, 18])
def test_a_loss_that_is_not_finite_is_told_by_term_step_and_images(bad_step: int, tmp_path: Path) -> None:
    message, images = failed(run_in(tmp_path), "size", float("nan"), bad_step)
    assert "the loss term size is not finite" in message
    assert f"step {bad_step} " in message
    assert ", ".join(images) in message


def test_a_stop_does_not_save_weights_that_are_not_finite(tmp_path: Path) -> None:
    calls = iter(range(100))

    def failing(network: nn.Module, batch: dict[str, Any]) -> dict[str, Tensor]:
        terms = loss_terms(network, batch)
        if next(calls) != 5:
            return terms
        os.kill(os.getpid(), signal.SIGTERM)
        return {**terms, "size": terms["size"] * float("nan")}

    run = run_in(tmp_path)
    with pytest.raises(UserError, match="size is not finite at step 6"):
        trained(run, failing)
    assert checkpoint(run)["step"] == 4


# --- photos that cannot be read ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Broken(Noise):
    """A photo that is gone, or one that takes all memory."""

    deadly: bool

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        if index == 5 and self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        if index == 5:
            raise UserError("image5.jpg: no such file")
        return super().sample(index, rng)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_photo_that_cannot_be_read_is_told_without_a_traceback(
    workers: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEAKSEG_WORKERS", workers)
    before = set(multiprocessing.active_children())
    with pytest.raises(UserError) as caught:
        train(tiny_net(), Broken(deadly=False), loss_terms, WEIGHTS, run_in(tmp_path))
    assert str(caught.value) == "image5.jpg: no such file"
    assert set(multiprocessing.active_children()) == before  # while `caught` keeps the loader alive


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_an_error_in_the_loop_leaves_no_worker_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers ignore SIGTERM, so one that is left would keep Python from exiting."""
    monkeypatch.setenv("WEAKSEG_WORKERS", "2")
    before = set(multiprocessing.active_children())

    def fails(network: nn.Module, batch: dict[str, Any]) -> dict[str, Tensor]:
        raise UserError("no loss today")

    with pytest.raises(UserError) as caught:
        train(tiny_net(), Noise(), fails, WEIGHTS, run_in(tmp_path))
    assert str(caught.value) == "no loss today"
    assert set(multiprocessing.active_children()) == before


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_a_loader_process_that_dies_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEAKSEG_WORKERS", "1")
    with pytest.raises(UserError, match=r"worker process .* died .*lower WEAKSEG_WORKERS"):
        train(tiny_net(), Broken(deadly=True), loss_terms, WEIGHTS, run_in(tmp_path))


# --- schedules, groups and the log ---------------------------------------------------------------------------------


def test_schedules() -> None:
    poly = settings(steps=100, schedule={"power": 0.5})
    assert [learning_rate_factor(poly, step) for step in (0, 36, 75, 99)] == pytest.approx([1, 0.8, 0.5, 0.1])
    steps = settings(steps=100, schedule={"kind": "step", "step_every": 30, "step_factor": 0.2})
    factors = [learning_rate_factor(steps, step) for step in (0, 29, 30, 59, 60, 99)]
    assert factors == pytest.approx([1, 1, 0.2, 0.2, 0.04, 0.008])


class Slopes(nn.Module):
    """Four parameters, each with a gradient of 1."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.fc8 = nn.Linear(1, 1).double(), nn.Linear(1, 1).double()
        for parameter in self.parameters():
            nn.init.constant_(parameter, 0.5)

    def last_layers(self) -> list[nn.Module]:
        return [self.fc8]


def slope(network: nn.Module, batch: dict[str, Any]) -> dict[str, Tensor]:
    return {"logistic": torch.stack([parameter.sum() for parameter in network.parameters()]).sum()}


# name: what multiplies the learning rate under SGD and under AdamW, and the weight decay
MULTIPLIERS = {"body.weight": (1, 1, 1), "body.bias": (2, 1, 0), "fc8.weight": (10, 10, 1), "fc8.bias": (20, 10, 0)}


@pytest.mark.parametrize("kind", ["poly", "step"])
@pytest.mark.parametrize("name", MULTIPLIERS)
def test_sgd_follows_schedule_and_multipliers(kind: str, name: str, tmp_path: Path) -> None:
    run = run_in(tmp_path, optimizer="sgd", weight_decay=0.3, schedule={"kind": kind}, steps=12)
    result = train(Slopes(), Noise(), slope, {"logistic": 1.0}, run).state_dict()[name]
    value, velocity, (multiplier, _, decays) = 0.5, 0.0, MULTIPLIERS[name]
    for step in range(12):
        factor = (1 - step / 12) ** 0.9 if kind == "poly" else 0.1 ** (step // 5)
        velocity = 0.9 * velocity + 1 + 0.3 * decays * value
        value -= 0.01 * multiplier * factor * velocity
    assert float(result) == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("name", MULTIPLIERS)
def test_adamw_follows_schedule_and_multipliers(name: str, tmp_path: Path) -> None:
    """With a constant gradient Adam's step is the learning rate; the decay is AdamW's own, beside it."""
    run = run_in(tmp_path, weight_decay=0.3, steps=12)
    result = train(Slopes(), Noise(), slope, {"logistic": 1.0}, run).state_dict()[name]
    value, (_, multiplier, decays) = 0.5, MULTIPLIERS[name]
    for step in range(12):
        rate = 0.01 * multiplier * (1 - step / 12) ** 0.9
        value -= rate * (0.3 * decays * value + 1)
    assert float(result) == pytest.approx(value, rel=1e-6)


def test_groups_of_the_optimizer() -> None:
    groups = {group["name"]: group for group in build_optimizer(tiny_net(), settings(optimizer="sgd")).param_groups}
    assert {name: round(group["lr"] / 0.01, 6) for name, group in groups.items()} == {
        "weights": 1, "biases": 2, "last_weights": 10, "last_biases": 20,
    }  # fmt: skip
    assert {name: group["weight_decay"] for name, group in groups.items()} == {
        "weights": 0.01, "biases": 0, "last_weights": 0.01, "last_biases": 0,
    }  # fmt: skip
    assert all(group["momentum"] == 0.9 for group in groups.values())


def test_the_log_holds_means_rates_and_the_weighted_sum(tmp_path: Path) -> None:
    calls = iter(range(23))

    def counting(network: nn.Module, batch: dict[str, Any]) -> dict[str, Tensor]:
        value = float(next(calls))
        anchor = 0 * network.fc8.bias.sum()
        return {"logistic": anchor + value, "size": anchor + 10 * value}

    run = run_in(tmp_path)
    trained(run, counting)
    with open(run.log_path, newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    assert {tuple(row) for row in rows} == {("step", "learning_rate", "logistic", "size", "loss")}
    stops = [0, *(int(row["step"]) for row in rows)]  # a row at least every ten steps, and at the end
    assert stops[-1] == 23
    assert all(0 < stop - start <= 10 for start, stop in pairwise(stops))
    means = [(start + stop - 1) / 2 for start, stop in pairwise(stops)]
    assert [row["logistic"] for row in rows] == pytest.approx(means)
    assert [row["size"] for row in rows] == pytest.approx([10 * mean for mean in means])
    assert [row["loss"] for row in rows] == pytest.approx([2 * mean for mean in means])
    rates = [0.01 * (1 - (stop - 1) / 23) ** 0.9 for stop in stops[1:]]
    assert [row["learning_rate"] for row in rows] == pytest.approx(rates, rel=1e-5)


def test_the_network_comes_back_ready_to_predict(tmp_path: Path) -> None:
    network = tiny_net()
    result = train(network, Noise(), loss_terms, WEIGHTS, run_in(tmp_path, steps=1))
    assert result is network
    assert not any(module.training for module in result.modules())


# --- as a process of its own -------------------------------------------------------------------------------------


def stand_still(folder: Path) -> None:
    """Until the file `go` is there, or a killer comes; never for ever."""
    print("standing", flush=True)
    deadline = time.monotonic() + 300
    while not (folder / "go").exists() and time.monotonic() < deadline:
        time.sleep(0.01)


def main(folder: Path, optimizer_name: str, stop_at: str) -> None:
    loss_calls, save_calls, save = iter(range(10**6)), iter(range(10**6)), torch.save

    def stopping_terms(network: nn.Module, batch: dict[str, Any]) -> dict[str, Tensor]:
        if str(next(loss_calls)) == stop_at:
            stand_still(folder)
        return loss_terms(network, batch)

    def stopping_save(content: object, file: BinaryIO) -> None:
        save(content, file)
        if f"save-{next(save_calls) + 1}" == stop_at:
            file.truncate(file.tell() // 2)
            file.flush()
            stand_still(folder)

    torch.save = stopping_save
    trained(run_in(folder, optimizer=optimizer_name), stopping_terms)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
