"""The process that DVC starts for a stage: it has the stage started by the server, and passes signals and status on."""

import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress

from weakseg.runtime import end_with_dvc

STARTER = "WEAKSEG_STARTER"  # path of the server's socket, in the environment of the stages
ANSWERED = ("SIGINT", "SIGTERM")
CHANGED_BY_SHELLS = {"_", "PWD", "OLDPWD", "SHLVL", STARTER}


def start_warm() -> None:
    """For `python -m stages.x`: run it through the server and exit with its status; return where there is none.

    Also returns where this environment is not the server's, whose libraries may have read it.
    """
    path = os.environ.get(STARTER)
    module, arguments = _own_command()
    if not path or not module or "PET_NPROC_PER_NODE" in os.environ or "PET_NNODES" in os.environ:
        return
    request = {"module": module, "arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}
    stage = 0
    connection = socket.socket(socket.AF_UNIX)
    with suppress(OSError):  # no server, or not yet
        connection.connect(path)
        socket.send_fds(connection, [json.dumps(request).encode() + b"\n"], [0, 1, 2])
        answers = connection.makefile("r", encoding="ascii")
        stage = int(answers.readline() or 0)
    if stage:
        _attend(stage, answers.readline)
    connection.close()


def comparable(environment: Mapping[str, str]) -> dict[str, str]:
    """What of an environment must be the same in the server and the stage."""
    return {
        name: value for name, value in environment.items()
        if name not in CHANGED_BY_SHELLS and not name.startswith(("DVC_", "MALLOC_"))
    }  # fmt: skip


def _own_command() -> tuple[str, list[str]]:
    """`python -m stages.x a b` → ("stages.x", ["a", "b"]); ("", []) for Python with further options."""
    words = sys.orig_argv[1:]
    return (words[1], words[2:]) if words[:1] == ["-m"] and len(words) > 1 else ("", [])


def _attend(stage: int, status: Callable[[], str]) -> None:
    """Pass signals on to the stage until it has ended, then end as it did."""

    def pass_on(number: int, _: object) -> None:
        with suppress(ProcessLookupError):
            os.kill(stage, number)

    for name in ANSWERED:
        signal.signal(getattr(signal, name), pass_on)
    end_with_dvc()
    ended = int(status() or 1)
    if ended < 0:
        with suppress(OSError):  # SIGKILL has no handler
            signal.signal(-ended, signal.SIG_DFL)
        os.kill(os.getpid(), -ended)
    os._exit(ended if ended >= 0 else 128 - ended)
