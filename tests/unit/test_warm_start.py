"""Stages started by a server: they say, do and end as stages that start by themselves."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from weakseg.warm_start import warm_starts
from weakseg.warm_start.client import STARTER

SCRIPT = """
import os, signal, sys, time
from weakseg.runtime import run
from weakseg.errors import UserError

def main():
    print("json" in BEFORE, sys.argv[1:], os.getcwd() == os.environ["PWD"], os.environ.get("DVC_STAGE"), __spec__.name)
    if sys.argv[1:] == ["read"]:
        print(sys.stdin.read())
    if sys.argv[1:] == ["mistake"]:
        raise UserError("yours")
    if sys.argv[1:] == ["bug"]:
        raise RuntimeError("ours")
    if sys.argv[1:] == ["die"]:
        os.kill(os.getpid(), signal.SIGKILL)
    if sys.argv[1:] == ["wait"]:
        try:
            print("waiting", os.getpid(), flush=True)
            time.sleep(60)
        finally:
            open("tidied", "w").close()

BEFORE = set(sys.modules)
if __name__ == "__main__":
    run(main, alone=False)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A clone's code with one stage more; warm starts are on, with a library that is quick to import."""
    root = Path(__file__).resolve().parents[2]
    (tmp_path / "weakseg").symlink_to(root / "weakseg")
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "__init__.py").write_text((root / "stages" / "__init__.py").read_text(encoding="utf-8"))
    (tmp_path / "stages" / "probe.py").write_text(SCRIPT, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for name in ("DVC_STAGE", "PYTEST_CURRENT_TEST"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "library.py").write_text("import json, os\nos.environ['ADDED'] = 'by a library'\n", encoding="utf-8")
    with warm_starts(["library"]):
        wait_for(lambda: Path(os.environ[STARTER]).exists())
        yield tmp_path


def wait_for(what: Callable[[], bool]) -> None:
    for _ in range(600):
        if what():
            return
        time.sleep(0.05)
    raise AssertionError("waited for 30 s")


def environment() -> dict[str, str]:
    """Ours, without what pytest changes from phase to phase."""
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


def call(*arguments: str, given: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stages.probe", *arguments]
    return subprocess.run(command, env=environment() | more, input=given, capture_output=True, text=True)


def parent_of_a_stage() -> str:
    """Command of the parent of a stage that waits; it is ended then."""
    command = [sys.executable, "-m", "stages.probe", "wait"]
    with subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as client:
        assert client.stdout
        client.stdout.readline()
        stage = int(client.stdout.readline().split()[1])
        parent = Path(f"/proc/{stage}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1]
        text = Path(f"/proc/{parent}/cmdline").read_text(encoding="utf-8").replace("\0", " ")
        client.send_signal(signal.SIGTERM)
    return text


@pytest.mark.parametrize(
    ("argument", "status", "words"),
    [
        ("x", 0, "stages.probe: 0 s, CPU"),
        ("read", 0, "stages.probe: 0 s, CPU"),
        ("mistake", 1, "stages.probe: yours\n"),
        ("bug", 1, "RuntimeError: ours\n"),
        ("die", -signal.SIGKILL, ""),
    ],
)
def test_a_stage_says_and_ends_as_one_that_starts_by_itself(
    argument: str, status: int, words: str, folder: Path
) -> None:
    assert "weakseg.warm_start.server" in parent_of_a_stage()
    warm = call(argument, given="hello", DVC_STAGE="probe@a")
    cold = call(argument, given="hello", DVC_STAGE="probe@a", **{STARTER: ""})
    assert (warm.returncode, warm.stdout) == (cold.returncode, cold.stdout) == (status, cold.stdout)
    assert words in warm.stderr and words in cold.stderr
    if status >= 0:
        assert warm.stdout.startswith(f"True ['{argument}'] ") and "probe@a stages.probe" in warm.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_reach_the_stage_and_it_tidies_up(number: int, folder: Path) -> None:
    command = [sys.executable, "-m", "stages.probe", "wait"]
    with subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as client:
        assert client.stdout and client.stderr
        client.stdout.readline()
        assert client.stdout.readline().startswith("waiting ")
        client.send_signal(number)
        assert client.wait() == 1
        assert client.stderr.read() == "stages.probe: stopped\n"
    assert (folder / "tidied").exists()


def test_a_stage_ends_when_the_process_that_asked_for_it_is_killed(folder: Path) -> None:
    command = [sys.executable, "-m", "stages.probe", "wait"]
    with subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as client:
        assert client.stdout
        client.stdout.readline()
        client.stdout.readline()
        client.kill()
    wait_for((folder / "tidied").exists)


def test_another_environment_and_no_server_mean_a_start_of_its_own(folder: Path) -> None:
    for change in ({"OMP_NUM_THREADS": "7"}, {STARTER: str(folder / "nosuch")}):
        done = call("x", **change)
        assert done.returncode == 0 and "stages.probe: 0 s" in done.stderr
    script = (folder / "stages" / "probe.py").read_text(encoding="utf-8")
    (folder / "stages" / "probe.py").write_text(script.replace('"json" in BEFORE', "os.getppid()"), encoding="utf-8")
    assert call("x", OMP_NUM_THREADS="7").stdout.split()[0] == str(os.getpid())
    assert call("x").stdout.split()[0] != str(os.getpid())


def test_the_server_ends_with_its_context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with warm_starts(["json"]):
        path = os.environ[STARTER]
        wait_for(Path(path).exists)
    assert STARTER not in os.environ and not Path(path).parent.exists()
    found = [file for file in Path("/proc").glob("[0-9]*/cmdline") if path.encode() in read(file)]
    assert found == []


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
