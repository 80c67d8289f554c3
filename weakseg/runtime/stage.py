"""What every stage script has in common: arguments that are paths, one clear line for a user's mistake, tidy threads."""

import argparse
import errno
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from traceback import walk_tb
from types import FrameType
from typing import Any

from weakseg.errors import UserError
from weakseg.runtime import launch, resources
from weakseg.runtime.lifetime import DVC_STAGE, end_with_dvc
from weakseg.runtime.one_run import only_run

NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"  # of an entry of params.yaml; it becomes part of paths
# glibc returns every large buffer to the system and faults it in again at the next step; raising these thresholds
# saves 12 to 33 % of a training step on a CPU. They must stand in the environment before the process starts.
MALLOC_SETTINGS = {
    "MALLOC_TOP_PAD_": str(1 << 28), "MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
}  # fmt: skip

NO_MORE = (
    "no more processes or threads can be started; raise `ulimit -u` or the container's limit, or lower WEAKSEG_WORKERS"
)

NO_SHARED_MEMORY = (
    "/dev/shm has no room for what worker processes share; give the container more (`docker run --shm-size=1g`), or set "
    "WEAKSEG_WORKERS=0"
)


def start_again_with_memory_settings() -> None:
    """For `python -m package.module`, called by the package before the module with its slow imports is run."""
    if any(name not in os.environ for name in MALLOC_SETTINGS) and sys.platform == "linux":
        os.environ.update(MALLOC_SETTINGS)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


class StageParser(argparse.ArgumentParser):
    """Paths may contain `{name}`, the stage's own name; the stage fills in `{…}` of other settings."""

    named = False

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        options = super().parse_args(args, namespace)
        options.name = options.name or os.environ.get(DVC_STAGE, "").partition("@")[2]
        wanted = self.named or any("{name}" in str(path) for path in vars(options).values() if isinstance(path, Path))
        if (wanted or options.name) and not re.fullmatch(NAME, options.name):
            self.error(f"--name: {options.name!r} is no name; take letters, digits, _ and -")
        return filled(options, name=options.name)


def filled(options: argparse.Namespace, **values: str) -> argparse.Namespace:
    """The options with `{key}` in their paths replaced by the values."""
    for key, path in vars(options).items():
        if isinstance(path, Path):
            text = str(path)
            for name, value in values.items():
                text = text.replace(f"{{{name}}}", value)
            setattr(options, key, Path(text))
    return options


def arguments(
    description: str | None, *, reads_params: bool = True, named: str | None = None, **paths: str
) -> StageParser:
    """A parser with one required path argument for each keyword: `manifest="what it is"` → `--manifest`.

    With `--params` too, if the stage reads any: what `weakseg.settings.read_keys` takes as its files. `named`: the
    stage makes one of several, chosen by `--name`, or by DVC, which sets DVC_STAGE: commands contain no names, so none
    can run as a command.
    """
    parser = StageParser(description=(description or "").strip().splitlines()[0])
    if reads_params:
        parser.add_argument(
            "--params", nargs="+", default=["params.yaml"], metavar=("FILE", "FILE:ENTRY"),
            help="the settings, and entries of other files whose `changes` replace some of them",
        )  # fmt: skip
    parser.named = named is not None
    parser.add_argument(
        "--name", help=f"{named or 'what the braces in paths stand for'}; under DVC the stage's own, after its @"
    )
    for name, text in paths.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=Path, required=True, metavar="PATH", help=text)
    return parser


def run(main: Callable[[], None], distributed: bool = False, alone: bool = True) -> None:
    """Run a stage's main: a UserError becomes one message and exit status 1, without a traceback.

    With `alone`, one run of a stage at a time, and none that outlives the DVC that started it (`one_run`, `lifetime`).
    `distributed`: main is written for several processes, and runs as such if the environment asks for them (`launch`);
    any other stage runs once.
    """
    end_with_dvc()
    with _one_message(_whole_name()):
        with only_run(_module_name(), sys.argv[1:]) if alone else nullcontext():
            start = time.monotonic()
            if distributed and launch.is_wanted():
                return launch.start(_module_name(), sys.argv[1:])
            _meet()
            main()
        sys.stdout.flush()
        if launch.rank() == 0:
            print(f"{_module_name()}: {time.monotonic() - start:.0f} s, {resources.summary()}", file=sys.stderr)


def run_command(main: Callable[[], None], name: str) -> None:
    """Run something that is not a stage, with a user's mistakes reported in the same way."""
    with _one_message(name):
        main()
        sys.stdout.flush()


def end_quietly_until_run() -> None:
    """Let Ctrl-C end the process without a traceback while it imports; from `run` on, it stops the stage in order."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def _one_message(name: str) -> Iterator[None]:
    """Any failure of the body becomes one line that starts with `name`."""
    signal.signal(signal.SIGTERM, _stop)
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    except UserError as error:
        time.sleep(2 if launch.rank() else 0)  # the first process reports what all find, and thereby ends the others
        sys.exit(f"{name}: {error}")
    except RuntimeError as error:
        if "can't start new thread" in str(error):
            sys.exit(f"{name}: {NO_MORE}")
        if not launch.is_process_of_job() or "peer" not in str(error):
            raise
        sys.exit(f"{name}: lost the connection to another process of the job")
    except OSError as error:
        if error.errno == errno.EAGAIN:
            sys.exit(f"{name}: {NO_MORE}")
        if error.errno == errno.ENOSPC and _is_from_semaphores(error):
            sys.exit(f"{name}: {NO_SHARED_MEMORY}")
        if error.errno not in (errno.ENOSPC, errno.EPIPE) or error.filename is not None:
            raise
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still in the buffer has nowhere to go
        sys.exit(f"{name}: standard output cannot be written ({error.strerror})")
    except KeyboardInterrupt:
        sys.exit(f"{name}: stopped")


def _is_from_semaphores(error: OSError) -> bool:
    """Whether multiprocessing found no room for one, which Linux keeps in /dev/shm; the error names no file."""
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    return error.filename is None and frames[-1].f_globals.get("__name__") == "multiprocessing.synchronize"


def _meet() -> None:
    """All processes of a job, before any works: who waits for the slowest share later has no time limit of torch's."""
    if launch.processes() > 1:
        from weakseg.runtime.communication import wait  # imports torch

        wait()


def _whole_name() -> str:
    return _module_name() + (f" (process {launch.rank()})" if launch.is_process_of_job() else "")


def _stop(number: int, frame: FrameType | None) -> None:
    """SIGTERM like Ctrl-C: partially written files are removed on the way out."""
    raise KeyboardInterrupt


def _module_name() -> str:
    spec = sys.modules["__main__"].__spec__
    return spec.name if spec is not None else sys.argv[0]
