"""What every stage script has in common: arguments that are paths, one clear line for a user's mistake, tidy threads."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from weakseg.errors import UserError
from weakseg.runtime import launch, resources
from weakseg.runtime.lifetime import end_with_dvc
from weakseg.runtime.one_run import only_run

# glibc returns every large buffer to the system and faults it in again at the next step; raising these thresholds
# saves 12 to 33 % of a training step on a CPU. They must stand in the environment before the process starts.
MALLOC_SETTINGS = {
    "MALLOC_TOP_PAD_": str(1 << 28), "MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
}  # fmt: skip


def start_again_with_memory_settings() -> None:
    """For `python -m package.module`, called by the package before the module with its slow imports is run."""
    if any(name not in os.environ for name in MALLOC_SETTINGS) and sys.platform == "linux":
        os.environ.update(MALLOC_SETTINGS)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def arguments(description: str | None, *, reads_params: bool = True, **paths: str) -> argparse.ArgumentParser:
    """A parser with one required path argument for each keyword: `manifest="what it is"` → `--manifest`.

    With `--params` too, if the stage reads any: what `weakseg.settings.read_keys` takes as its files.
    """
    parser = argparse.ArgumentParser(description=(description or "").strip().splitlines()[0])
    if reads_params:
        parser.add_argument(
            "--params", nargs="+", default=["params.yaml"], metavar=("FILE", "FILE:ENTRY"),
            help="the settings, and entries of other files whose `changes` replace some of them",
        )  # fmt: skip
    for name, text in paths.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=Path, required=True, metavar="PATH", help=text)
    return parser


def run(main: Callable[[], None], distributed: bool = False) -> None:
    """Run a stage's main: a UserError becomes one message and exit status 1, without a traceback.

    One run of a stage at a time, and none that outlives the DVC that started it (`one_run`, `lifetime`). `distributed`: main
    is written for several processes, and is run as such where the environment asks for them (`launch`); any
    other stage runs once.
    """
    signal.signal(signal.SIGTERM, _stop)
    end_with_dvc()
    try:
        with only_run(_module_name(), sys.argv[1:]):
            start = time.monotonic()
            if distributed and launch.is_wanted():
                return launch.start(_module_name(), sys.argv[1:])
            main()
        if launch.rank() == 0:
            print(f"{_module_name()}: {time.monotonic() - start:.0f} s, {resources.summary()}", file=sys.stderr)
    except UserError as error:
        time.sleep(2 if launch.rank() else 0)  # what all processes find, the first tells; it ends the others by that
        sys.exit(f"{_whole_name()}: {error}")
    except RuntimeError as error:
        if not launch.is_process_of_job() or "peer" not in str(error):
            raise
        sys.exit(f"{_whole_name()}: lost the connection to another process of the job")
    except KeyboardInterrupt:
        sys.exit(f"{_whole_name()}: stopped")


def _whole_name() -> str:
    return _module_name() + (f" (process {launch.rank()})" if launch.is_process_of_job() else "")


def _stop(number: int, frame: FrameType | None) -> None:
    """SIGTERM like Ctrl-C: what is half written is removed on the way out."""
    raise KeyboardInterrupt


def _module_name() -> str:
    spec = sys.modules["__main__"].__spec__
    return spec.name if spec is not None else sys.argv[0]
