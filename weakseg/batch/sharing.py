"""Items shared out over the processes of a job, and their archives joined."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy.typing as npt
from PIL import Image

from weakseg.files import join_archives, write_arrays, write_images
from weakseg.runtime import is_first, processes, rank, wait

Item = TypeVar("Item")


def share(items: Sequence[Item]) -> Sequence[Item]:
    """This process's part: the items in order, cut into as many pieces as there are processes."""
    count, number = processes(), rank()
    return items[len(items) * number // count : len(items) * (number + 1) // count]


def write_shared_arrays(path: Path, items: Iterable[tuple[str, npt.NDArray[Any]]]) -> None:
    """`write_arrays` of all processes' items, in the order of `share`; byte for byte what one would write."""
    _write(path, lambda part: write_arrays(part, items))


def write_shared_images(path: Path, items: Iterable[tuple[str, Image.Image]]) -> None:
    """`write_images` of all processes' items, in the order of `share`; byte for byte what one would write."""
    _write(path, lambda part: write_images(part, items))


def _write(path: Path, write: Callable[[Path], None]) -> None:
    """Each process writes its part beside `path`; process 0 joins them, which all wait for."""
    if processes() == 1:
        return write(path)
    parts = [path.with_name(f".{path.name}.part-{number}-of-{processes()}") for number in range(processes())]
    write(parts[rank()])
    wait()
    if is_first():
        join_archives(path, parts)
        for part in path.parent.glob(f".{path.name}.part-*"):  # those of an earlier, killed job as well
            part.unlink()
    wait()
