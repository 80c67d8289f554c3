"""What identifies a training run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weakseg.runtime import identity_of, pick_device
from weakseg.settings import Training
from weakseg.training.checkpoints import Checkpoints


@dataclass(frozen=True)
class Run:
    """What identifies a training run, and where its files are."""

    name: str
    settings: Training
    random_seed: int
    log_path: Path
    checkpoint_folder: Path
    identity: str  # hash of everything the result depends on; a checkpoint of another identity is not used

    @classmethod
    def of(
        cls, model: Path, settings: Training, random_seed: int, log: Path, checkpoints: Path, *,
        depends_on: Sequence[Any], files: Mapping[str, Path],
    ) -> "Run":  # fmt: skip
        """Of the model in a folder; depends_on, files: settings and input files that the result depends on."""
        identity = identity_of(pick_device().type, random_seed, *depends_on, files=files)
        return cls(model.as_posix(), settings, random_seed, log, checkpoints, identity)

    @property
    def checkpoints(self) -> Checkpoints:
        return Checkpoints(self.checkpoint_folder, self.name, self.identity)
