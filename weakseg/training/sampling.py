"""Which sample stands at which position of a run."""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset

Batch = dict[str, Any]
STRIDE = 8  # px between the cells of every segmenter's grid


class SampleSource(Protocol):
    """A training set: any sample can be drawn again from its number and a generator."""

    def __len__(self) -> int: ...
    def sample(self, index: int, rng: np.random.Generator) -> Batch: ...


class Positions(Dataset[Batch]):
    """Samples by position in the whole run: epoch after epoch, each in its own random order."""

    def __init__(self, source: SampleSource, random_seed: int, start: int, stop: int) -> None:
        self.source, self.random_seed, self.start, self.stop = source, random_seed, start, stop
        self._epoch, self._order = -1, np.empty(0, np.intp)

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, offset: int) -> Batch:
        position = self.start + offset
        rng = np.random.default_rng((self.random_seed, position))
        return self.source.sample(int(self.order(position // len(self.source))[position % len(self.source)]), rng)

    def order(self, epoch: int) -> npt.NDArray[np.intp]:
        if epoch != self._epoch:
            generator = np.random.default_rng((self.random_seed, epoch, 1))
            self._epoch, self._order = epoch, generator.permutation(len(self.source))
        return self._order
