"""How many worker processes: one rule for all that have some."""

import os

import pytest

from weakseg.errors import UserError
from weakseg.runtime import worker_count


@pytest.mark.parametrize(("text", "count"), [("3", 3), ("1", 1), ("0", 0), ("007", 7), ("1024", 1024)])
def test_the_environment_says_how_many(text: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEAKSEG_WORKERS", text)
    assert worker_count() == count


@pytest.mark.parametrize("text", ["many", "-1", "1.5", "1e1", "1025", "99999", " 2", "²", "0x2", "٣"])
def test_what_is_no_number_of_processes_is_told(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEAKSEG_WORKERS", text)
    with pytest.raises(UserError) as caught:
        worker_count()
    assert str(caught.value) == f"WEAKSEG_WORKERS: {text!r} is no number of worker processes; say 0 to 1024"


@pytest.mark.parametrize("unset", [None, ""])
def test_without_a_word_there_is_one_for_each_cpu_that_this_process_may_use(
    unset: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for each of the machine: a container or a Slurm job has fewer."""
    monkeypatch.delenv("WEAKSEG_WORKERS", raising=False)
    if unset is not None:
        monkeypatch.setenv("WEAKSEG_WORKERS", unset)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(12)))
    monkeypatch.setattr(os, "cpu_count", lambda: 99)
    assert worker_count() == 12


@pytest.mark.parametrize(("processes", "count"), [("1", 12), ("3", 4), ("5", 2), ("50", 1)])
def test_the_processes_of_a_job_on_one_machine_share_its_cpus(
    processes: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WEAKSEG_WORKERS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(12)))
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "job")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    assert worker_count() == count
    monkeypatch.setenv("WEAKSEG_WORKERS", "7")  # of each process
    assert worker_count() == 7
