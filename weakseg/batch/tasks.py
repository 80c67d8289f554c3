"""What a batch stage does to photos with a network. No torch here, which other batch stages do without."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from weakseg.arrays import Photo
from weakseg.files import Record

if TYPE_CHECKING:
    import torch
    from torch import nn

BATCH_SIZE = 16
WINDOW = 4 * BATCH_SIZE  # photos of consecutive places among which partners of equal size are looked for
Result = TypeVar("Result")


class NetworkTask(ABC, Generic[Result]):
    """What to do with photos. It is sent to other processes, so it holds folders and settings, and no network.

    Two tasks are equal where all that they hold is (a frozen dataclass).
    """

    @abstractmethod
    def network(self) -> "nn.Module":
        """The network, on the CPU."""

    @abstractmethod
    def size(self, image: Photo) -> Hashable:
        """Photos that are equal in this may go through the network together."""

    @abstractmethod
    def results(
        self, network: "nn.Module", records: Sequence[Record], images: Sequence[Photo], device: "torch.device"
    ) -> Sequence[Result]:
        """Of photos equal in size; each must depend on its own photo alone."""

    @property
    def device_kind(self) -> str:
        from weakseg.runtime import pick_device

        return pick_device().type


def window_size(task: object) -> int:
    """How many photos must be made together. On a GPU their number in a batch changes last digits, so batches are cut
    from fixed windows of the manifest, whatever the number of processes, and however often a run was interrupted."""
    return WINDOW if isinstance(task, NetworkTask) and task.device_kind != "cpu" else 1
