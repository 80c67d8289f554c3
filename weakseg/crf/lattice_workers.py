"""The lattice CRF of a batch of images, spread over worker processes.

Plain subprocesses with a pipe each, not multiprocessing: safe beside torch's threads, no re-import of the caller's main
module (which would load torch), no pickle, and they exit when their parent does. They are kept between calls, since
each training step makes one. pydensecrf holds the GIL, so threads would not help.
"""

import functools
import os
import queue
import signal
import struct
import subprocess
import sys
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import astuple
from pathlib import Path
from typing import IO, Any

import numpy as np

from weakseg.arrays import Maps, Photo
from weakseg.crf.lattice import soft
from weakseg.crf.params import MIN_PROB, CRFParams
from weakseg.errors import UserError
from weakseg.runtime import worker_count

_HEADER = struct.Struct("<5did4i")  # CRFParams, min_prob, number of images, classes, height, width


def _send(pipe: IO[bytes], images: Photo, scores: Maps, params: CRFParams, min_prob: float) -> None:
    pipe.write(_HEADER.pack(*astuple(params), min_prob, *scores.shape))
    pipe.write(np.ascontiguousarray(images).data)
    pipe.write(np.ascontiguousarray(scores).data)
    pipe.flush()


def _serve(requests: IO[bytes], replies: IO[bytes]) -> None:
    """A worker's life: answer requests until the parent closes the pipe."""
    while header := requests.read(_HEADER.size):
        *values, min_prob, count, classes, height, width = _HEADER.unpack(header)
        images = np.frombuffer(requests.read(count * height * width * 3), np.uint8)
        scores = np.frombuffer(requests.read(count * classes * height * width * 4), np.float32)
        request = (images.reshape(count, height, width, 3), scores.reshape(count, classes, height, width))
        replies.write(_solve(*request, CRFParams(*values), min_prob).data)
        replies.flush()


def _solve(images: Photo, scores: Maps, params: CRFParams, min_prob: float) -> Maps:
    solved = np.empty(scores.shape, np.float32)
    for index, (image, maps) in enumerate(zip(images, scores, strict=True)):
        solved[index] = soft(image, maps, params, min_prob)
    return solved


class _Worker:
    """One `python -m weakseg.crf.lattice_workers` process, started when first needed, and again if it died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def _start(self) -> subprocess.Popen[bytes]:
        paths = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH")]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, "-m", "weakseg.crf.lattice_workers"]
        # A session of its own: a signal to the job's group (Slurm's, Ctrl-C) lets the training finish its step first.
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, start_new_session=True
        )

    def solve(self, images: Photo, scores: Maps, params: CRFParams, min_prob: float) -> Maps:
        if self._process is not None and self._process.poll() is not None:
            self.close()
        if self._process is None:
            self._process = self._start()
        assert self._process.stdin and self._process.stdout
        try:
            _send(self._process.stdin, images, scores, params, min_prob)
            reply = self._process.stdout.read(scores.nbytes)
        except OSError:  # broken pipe
            reply = b""
        if len(reply) < scores.nbytes:
            raise UserError(
                f"a CRF worker process ended (exit code {self.close()}; -9 usually means out of memory): its "
                "message, if any, is above; set the environment variable WEAKSEG_WORKERS lower and rerun"
            )
        return np.frombuffer(reply, np.float32).reshape(scores.shape)

    def close(self) -> int | None:
        process, self._process = self._process, None
        if process is None:
            return None
        try:
            process.communicate(timeout=5)  # closes its input, which ends it
        except (subprocess.TimeoutExpired, ValueError, OSError):
            process.kill()
        return process.wait()


class _Pool:
    """`workers` processes, each driven by a thread of this one; closed at exit."""

    def __init__(self, workers: int) -> None:
        self._threads = ThreadPoolExecutor(workers, "crf")
        self._idle: queue.Queue[_Worker] = queue.Queue()  # first in, first out: all take turns
        members = [_Worker() for _ in range(workers)]
        for member in members:
            self._idle.put(member)
        weakref.finalize(self, _close_all, members, os.getpid())

    def submit(self, *request: Any) -> "Future[Maps]":
        return self._threads.submit(self._solve, *request)

    def _solve(self, *request: Any) -> Maps:
        worker = self._idle.get()
        try:
            return worker.solve(*request)
        finally:
            self._idle.put(worker)


def _close_all(workers: Sequence[_Worker], owner: int) -> None:
    if os.getpid() == owner:  # a forked child must not end its parent's workers
        for worker in workers:
            worker.close()


@functools.lru_cache(maxsize=1)
def _pool(workers: int, owner: int) -> _Pool:
    """The process's pool; another number of workers, or a fork, gets a new one."""
    return _Pool(workers)


def start_batch(
    images: Photo, scores: Maps, params: CRFParams, min_prob: float = MIN_PROB, workers: int | None = None
) -> Callable[[], Maps]:
    """`soft` of images (B, H, W, 3), scores (B, C, H, W) in worker processes; call the result to wait.

    workers: None for `runtime.worker_count`. With one worker or one image the work is done in this process, before
    returning. Raises UserError (from the returned function) if a worker dies; the next call starts a new one.
    """
    workers = worker_count() if workers is None else workers
    count = min(workers, len(images))
    if count <= 1:
        solved = _solve(images, scores, params, min_prob)
        return lambda: solved
    pool = _pool(workers, os.getpid())
    parts = zip(np.array_split(images, count), np.array_split(scores, count), strict=True)
    futures = [pool.submit(*part, params, min_prob) for part in parts]
    return lambda: np.concatenate([future.result() for future in futures])


def _main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):  # the parent's to handle; its end closes our input
        signal.signal(number, signal.SIG_IGN)
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not mix with the replies
    _serve(sys.stdin.buffer, replies)


if __name__ == "__main__":
    _main()
