"""Where the recorded numbers lie: a part of them in this folder, all of them where ../shared lies beside the repository."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

HERE = Path(__file__).resolve().parent
WHOLE = HERE.parents[1].parent / "shared" / "golden"

Array = npt.NDArray[Any]
Arrays = dict[str, Array]


def files(name: str) -> list[Any]:
    """Parameters for pytest: the file of this folder, and the whole one where it is."""
    whole = WHOLE / name
    both = [pytest.param(HERE / name, id="kept")]
    return [*both, pytest.param(whole, id="whole")] if whole.is_file() else both


def cases(name: str) -> list[Any]:
    """Parameters for pytest: (file, number) of each case; arrays are named `<number>_<what>`."""
    return [
        pytest.param(file.values[0], number, id=f"{file.id}-{number}")
        for file in files(name)
        for number in sorted({int(key.partition("_")[0]) for key in read(file.values[0]) if key[0].isdigit()})
    ]


def read(path: Path) -> Arrays:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def read_case(path: Path, number: int) -> Arrays:
    """The arrays of one case, without its number, and those of all cases."""
    arrays = read(path)
    own = {name.removeprefix(f"{number}_"): array for name, array in arrays.items() if name.startswith(f"{number}_")}
    return {name: array for name, array in arrays.items() if not name[0].isdigit()} | own


def recorded_part(recorded: Arrays, name: str, actual: Array) -> tuple[Array, Array]:
    """What is recorded of the array `name`, all of it or every n-th value, and the same part of `actual`."""
    if name in recorded:
        assert actual.shape == recorded[name].shape
        return recorded[name], actual
    part = actual.ravel()[:: int(recorded["sample_step"])]
    assert part.shape == recorded[f"{name}_sample"].shape
    return recorded[f"{name}_sample"], part
