"""How a stage becomes several processes: by torchrun, if torchrun's own environment variables ask for it.

`python -m stages.x` stays the command, so DVC's cache keys do not depend on the number of devices. With
PET_NPROC_PER_NODE or PET_NNODES set, a stage that can be shared out runs itself again under torchrun, which reads
its other options (PET_RDZV_ENDPOINT, …) from the environment too. WEAKSEG_LAUNCH, e.g. `srun --ntasks-per-node=1`,
is a command that runs the stage on every machine. No torch is imported before that.
"""

import logging
import os
import shlex
import signal
import sys

from weakseg.errors import UserError

RENDEZVOUS = ("PET_RDZV_ENDPOINT", "PET_MASTER_ADDR", "PET_MASTER_PORT")


def is_process_of_job() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ


def rank() -> int:
    """This process's number in the job, 0 without a job."""
    return int(os.environ.get("RANK", "0")) if is_process_of_job() else 0


def is_first() -> bool:
    """Whether this is the process that writes."""
    return rank() == 0


def processes() -> int:
    """How many processes the job has, over all machines."""
    return int(os.environ.get("WORLD_SIZE", "1")) if is_process_of_job() else 1


def local_rank() -> int:
    """This process's number on its machine."""
    return int(os.environ.get("LOCAL_RANK", "0")) if is_process_of_job() else 0


def local_processes() -> int:
    """How many of the job's processes share this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if is_process_of_job() else 1


def is_wanted() -> bool:
    """Whether the environment asks for a job that this process is not yet a part of."""
    asked = os.environ.get("PET_NPROC_PER_NODE") or os.environ.get("PET_NNODES")
    return bool(asked) and not is_process_of_job()


def start(module: str, arguments: list[str]) -> None:
    """Run `python -m module arguments` as a torchrun job; returns when all processes have succeeded. Raises UserError
    if a process failed (the others are then stopped) or the variables make no sense.
    """
    prefix = shlex.split(os.environ.pop("WEAKSEG_LAUNCH", ""))
    if prefix:
        _run_on_machines([*prefix, sys.executable, "-m", module, *arguments])
    _set_defaults()
    from torch.distributed import run as torchrun
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # it would bury the processes' own words
    try:
        options = torchrun.parse_args(["--module", module])  # type: ignore[no-untyped-call]
        options.training_script_args = arguments  # its parser would take them for abbreviations of its own
        torchrun.run(options)  # type: ignore[no-untyped-call]
    except ChildFailedError as error:
        number, failure = error.get_first_failure()
        raise UserError(_told(number, failure.exitcode)) from None
    except SignalException as error:
        raise UserError(f"stopped by signal {int(error.sigval)}") from None
    except (ValueError, AssertionError) as error:
        raise UserError(f"environment variables PET_…: torchrun refuses them: {error}") from None


def _run_on_machines(command: list[str]) -> None:
    try:
        os.execvp(command[0], command)
    except OSError as error:
        raise UserError(f"environment variable WEAKSEG_LAUNCH: {command[0]}: {error.strerror}") from None


def _set_defaults() -> None:
    """On one machine any free port does; and the machine's CPUs are shared out between its processes."""
    if os.environ.get("PET_NNODES", "1") == "1" and not any(name in os.environ for name in RENDEZVOUS):
        os.environ.setdefault("PET_STANDALONE", "1")
    text = os.environ.get("PET_NPROC_PER_NODE", "1")
    if text.isdecimal() and int(text) > 0:
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // int(text))))


def _told(number: int, exit_code: int) -> str:
    if exit_code < 0:
        cause = f"was ended by {signal.Signals(-exit_code).name}" + (" (out of memory?)" if exit_code == -9 else "")
    else:
        cause = f"failed (exit code {exit_code}); its message is above"
    return f"process {number} of the job {cause}; the others were stopped. Trainings resume from their last checkpoint"
