"""The dense CRF at test time, by either backend."""

from dataclasses import dataclass
from typing import Literal

from weakseg.arrays import LabelMap, Maps, Photo
from weakseg.crf.params import CRFParams


@dataclass(frozen=True)
class TestTimeCRF:
    """The most probable class of each pixel (H, W), from a photo (H, W, 3) and its log-probabilities (C, H, W)."""

    __test__ = False  # pytest collects classes named Test…

    params: CRFParams
    backend: Literal["lattice", "exact"] = "lattice"

    def __call__(self, image: Photo, log_probs: Maps) -> LabelMap:
        if self.backend == "lattice":
            from weakseg.crf.lattice import lattice_labels  # needs pydensecrf; the other backend does not

            return lattice_labels(image, log_probs, self.params)
        from weakseg.crf.exact import exact_labels
        from weakseg.runtime import pick_device

        return exact_labels(image, log_probs, self.params, device=pick_device())
