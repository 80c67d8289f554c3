"""Which sample is at which position of a run."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from weakseg.errors import UserError

Batch = dict[str, Any]
STRIDE = 8  # px between the cells of every segmenter's grid


class SampleSource(Protocol):
    """A training set: any sample can be drawn again from its number and a generator."""

    def __len__(self) -> int: ...
    def sample(self, index: int, rng: np.random.Generator) -> Batch: ...
    def classes(self, index: int) -> Sequence[int]:
        """Class ids of a sample's tags; none if the set has no tags."""


class Positions(Dataset[Batch]):
    """Samples by position in the whole run: `shuffle`, epoch after epoch, each in its own random order, or
    `class_balanced`, each class as often as any other. The order depends on the seed alone.
    """

    def __init__(
        self, source: SampleSource, random_seed: int, start: int, stop: int, sampling: str = "shuffle"
    ) -> None:
        self.source, self.random_seed, self.start, self.stop = source, random_seed, start, stop
        order = ClassBalanced if sampling == "class_balanced" else Shuffled
        self._order: Order = order(source, random_seed)

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, offset: int) -> Batch:
        position = self.start + offset
        rng = np.random.default_rng((self.random_seed, position))
        return self.source.sample(self._order.at(position), rng)


class Order(Protocol):
    def at(self, position: int) -> int:
        """The number of the sample at a position of the run."""


class Shuffled:
    """Every sample once per epoch."""

    def __init__(self, source: SampleSource, random_seed: int) -> None:
        self.count, self.random_seed = len(source), random_seed
        self._permutations = Permutations()

    def at(self, position: int) -> int:
        epoch, place = divmod(position, self.count)
        return int(self._permutations.of(self.count, "epoch", self.random_seed, epoch, 1)[place])


class ClassBalanced:
    """The classes take turns, each once in as many positions as there are classes, in a random order of its own; a
    class's turns show its samples, each once before any comes again. Samples without tags have no turn.

    Raises UserError if no sample has a tag.
    """

    def __init__(self, source: SampleSource, random_seed: int) -> None:
        members: dict[int, list[int]] = {}
        for index in range(len(source)):
            for label in source.classes(index):
                members.setdefault(label, []).append(index)
        if not members:
            raise UserError("training.sampling: class_balanced needs photos with tags, and there are none; use shuffle")
        self.members, self.random_seed = [members[label] for label in sorted(members)], random_seed
        self._permutations = Permutations()

    def at(self, position: int) -> int:
        turn, place = divmod(position, len(self.members))
        label = int(self._permutations.of(len(self.members), "turn", self.random_seed, turn, 3)[place])
        own = self.members[label]
        again, place = divmod(turn, len(own))
        return own[int(self._permutations.of(len(own), f"class {label}", self.random_seed, again, label, 4)[place])]


class Permutations:
    """Random orders, of which the last of each `name` is kept."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[tuple[int, ...], npt.NDArray[np.intp]]] = {}

    def of(self, count: int, name: str, *seed: int) -> npt.NDArray[np.intp]:
        """0 to count - 1 in an order that depends on `seed` alone."""
        if name not in self._kept or self._kept[name][0] != seed:
            self._kept[name] = seed, np.random.default_rng(seed).permutation(count)
        return self._kept[name][1]


def stacked(samples: Sequence[Batch]) -> dict[str, Any]:
    """The samples as one batch of arrays and lists, which reach the training through a pipe. Tensors would go through
    /dev/shm, of which a container has 64 MB.
    """
    return {name: _stacked([sample[name] for sample in samples]) for name in samples[0]}


def _stacked(values: Sequence[Any]) -> Any:
    return np.stack([value.numpy() for value in values]) if isinstance(values[0], Tensor) else list(values)


def as_tensors(arrays: dict[str, Any], pinned: bool) -> Batch:
    """What `stacked` made as tensors on the CPU, for a GPU in memory from which it copies while the host goes on."""
    tensors = {name: torch.from_numpy(value) for name, value in arrays.items() if isinstance(value, np.ndarray)}
    return {**arrays, **({name: value.pin_memory() for name, value in tensors.items()} if pinned else tensors)}
