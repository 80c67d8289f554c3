"""What a batch stage does to photos with a network. Does not import torch, which other batch stages do without."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from weakseg.arrays import Photo
from weakseg.files import Record

if TYPE_CHECKING:
    import torch
    from torch import nn

BATCH_SIZE = 16
WINDOW = 4 * BATCH_SIZE  # consecutive photos among which partners of equal size are sought
Result = TypeVar("Result")


class NetworkTask(ABC, Generic[Result]):
    """What to do with photos. It is sent to other processes, so it holds folders and settings, not the network. A
    frozen dataclass: tasks with equal contents are equal.
    """

    @abstractmethod
    def network(self) -> "nn.Module":
        """The network, on the CPU."""

    @abstractmethod
    def size(self, image: Photo) -> Hashable:
        """Photos with equal keys may go through the network together."""

    @abstractmethod
    def results(
        self, network: "nn.Module", records: Sequence[Record], images: Sequence[Photo], device: "torch.device"
    ) -> Sequence[Result]:
        """For photos of equal size; each result must depend on its own photo alone."""

    @property
    def device_kind(self) -> str:
        from weakseg.runtime import pick_device

        return pick_device().type


def window_size(task: object) -> int:
    """How many photos must be computed together. On a GPU the size of a batch changes the last digits, so batches are
    cut from fixed windows of the manifest, whatever the number of processes and interruptions."""
    return WINDOW if isinstance(task, NetworkTask) and task.device_kind != "cpu" else 1
