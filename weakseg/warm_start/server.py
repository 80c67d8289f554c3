"""The process that has the libraries: for each stage it forks, and the fork becomes the stage.

A supervisor, forked first, tells the client how the stage ended, and ends the stage where the client is gone. Nothing of
weakseg stays imported in the stage, so that its code identity (runtime.identity) is that of a stage started anew.
"""

import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from weakseg.runtime import MALLOC_SETTINGS
from weakseg.warm_start.client import STARTER, comparable

LIBRARIES = (  # what stages spend their starting time on; no one of them starts threads or a GPU when it is imported
    "numpy", "torch", "torch.utils.data", "cv2", "PIL.Image", "yaml", "pydantic", "safetensors.torch", "scipy.ndimage",
    "sklearn.metrics", "pydensecrf.densecrf", "multiprocessing.forkserver", "concurrent.futures.process",
)  # fmt: skip
MAX_REQUEST_BYTES = 1 << 20


@contextmanager
def warm_starts(libraries: Sequence[str] = LIBRARIES) -> Iterator[None]:
    """Stages that are started meanwhile by child processes of this one are forks of a server, once it has its libraries.

    It ends with this process, however that ends. Linux only; elsewhere stages start as ever.
    """
    if not hasattr(os, "pidfd_open"):
        yield
        return
    with TemporaryDirectory(prefix="weakseg-") as folder:  # readable by this user alone
        path = str(Path(folder) / "starter")
        command = [sys.executable, "-m", "weakseg.warm_start.server", path, *libraries]
        environment = os.environ | MALLOC_SETTINGS
        # in a session of its own: Ctrl-C reaches DVC and the client, which pass it on once
        server = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, start_new_session=True)
        os.environ[STARTER] = path
        try:
            yield
        finally:
            del os.environ[STARTER]
            assert server.stdin
            server.stdin.close()
            server.terminate()  # it may be importing yet
            server.wait()


def serve(path: str, libraries: Sequence[str]) -> None:
    """Import the libraries, then start stages until standard input, a pipe from `warm_starts`, is closed."""
    given = dict(os.environ)
    for name in libraries:
        with suppress(ImportError):
            importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for supervisors
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        while True:
            ready, _, _ = select.select([listening, sys.stdin], [], [])
            if sys.stdin in ready:
                return
            connection, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                return _supervise(connection, given)
            connection.close()


def _supervise(connection: socket.socket, given: dict[str, str]) -> None:
    """Fork the stage that is asked for, if its environment is what was `given` before libraries added to it; in the supervisor this ends the process, in the stage it returns at its end."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    request, files = _received(connection)
    if comparable(request["environment"]) != comparable(given):
        os._exit(0)  # the client sees the end, and starts the stage itself
    stage = os.fork()
    if stage == 0:
        connection.close()
        added = {name: value for name, value in os.environ.items() if name not in given}
        request["environment"] = added | request["environment"]
        return _become(request, files)
    for file in files:
        os.close(file)
    with suppress(BrokenPipeError):
        connection.sendall(f"{stage}\n".encode())
    watched = select.poll()
    ended = os.pidfd_open(stage)
    for file in (ended, connection.fileno()):
        watched.register(file, select.POLLIN)
    while ended not in dict(watched.poll()):
        watched.unregister(connection.fileno())  # its end: the client is gone
        os.kill(stage, signal.SIGTERM)
    status = os.waitstatus_to_exitcode(os.waitpid(stage, 0)[1])
    with suppress(BrokenPipeError):
        connection.sendall(f"{status}\n".encode())
    os._exit(0)


def _received(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    content, files, _, _ = socket.recv_fds(connection, MAX_REQUEST_BYTES, 3)
    while content and not content.endswith(b"\n"):
        more = connection.recv(MAX_REQUEST_BYTES)
        content += more
        if not more:
            os._exit(0)
    return json.loads(content or b'{"environment": {}}'), files


def _become(request: dict[str, Any], files: list[int]) -> None:
    """This process is the stage from here on."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"] | MALLOC_SETTINGS)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in [name for name in sys.modules if name.partition(".")[0] in ("weakseg", "stages")]:
        del sys.modules[name]
    sys.path[0] = request["folder"]
    sys.argv = [request["module"], *request["arguments"]]
    runpy.run_module(request["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2:])
