"""What identifies a training run."""

from dataclasses import dataclass
from pathlib import Path

from weakseg.settings import Training
from weakseg.training.checkpoints import Checkpoints


@dataclass(frozen=True)
class Run:
    """What identifies a training run and where it keeps its things."""

    name: str
    settings: Training
    random_seed: int
    log_path: Path
    checkpoint_folder: Path
    identity: str  # hash of everything the result depends on; a checkpoint of another identity is not used

    @property
    def checkpoints(self) -> Checkpoints:
        return Checkpoints(self.checkpoint_folder, self.name, self.identity)
