"""Progress where there is no terminal: plain lines, far apart."""

import sys
from collections.abc import Iterator

import pytest

from weakseg.runtime import progress
from weakseg.runtime.progress import with_progress


class Clock:
    """Each look at the time costs 10 seconds."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 10
        return self.now


def test_a_line_every_30_seconds_with_rate_and_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress.time, "monotonic", Clock())
    steps = with_progress(range(100, 108), "segmenter-sec", total=108, unit="step", start=100)
    for step in steps:
        steps.set_postfix({"loss": f"{step}"})
    assert capsys.readouterr().err.splitlines() == [
        "segmenter-sec: 103 of 108 steps, 10.0 s each, 00:50 left, loss 102",
        "segmenter-sec: 106 of 108 steps, 10.0 s each, 00:20 left, loss 105",
    ]


def test_without_a_length_there_is_no_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress.time, "monotonic", Clock())
    numbers: Iterator[int] = iter(range(3))
    assert list(with_progress(numbers, "cams")) == [0, 1, 2]
    assert capsys.readouterr().err == "cams: 3 photos, 10.0 s each\n"


def test_a_short_loop_says_nothing_and_other_processes_never_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert list(with_progress([1, 2], "x")) == [1, 2]
    monkeypatch.setattr(progress, "rank", lambda: 1)
    monkeypatch.setattr(progress.time, "monotonic", Clock())
    assert list(with_progress(range(9), "x")) == [*range(9)]
    assert capsys.readouterr().err == ""


def test_in_a_terminal_there_is_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert list(with_progress([1, 2], "cams")) == [1, 2]
    assert "cams: 100%" in capsys.readouterr().err
