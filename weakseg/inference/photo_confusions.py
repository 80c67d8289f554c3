"""A photo's masks, without and with CRF, against its ground truth."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from weakseg.crf import TestTimeCRF
from weakseg.evaluation import confusion_matrix
from weakseg.files import ArrayArchive, ImageArchive, Record, read_picture
from weakseg.inference.grids import LabelMasks, RefinedMasks
from weakseg.inference.test_time_rule import Rule


@dataclass(frozen=True)
class MaskConfusions:
    """(2, C, C) pixel counts of a photo, without and with CRF, from its scores and by an experiment's test rule."""

    scores: ArrayArchive
    truth: ImageArchive
    rule: Rule
    num_classes: int

    def __call__(self, record: Record) -> npt.NDArray[np.int64]:
        target = read_picture(self.truth, record, range(self.num_classes))
        geometry, crf = self.rule.geometry, TestTimeCRF(self.rule.crf, self.rule.backend)
        makers = LabelMasks(self.scores, geometry), RefinedMasks(self.scores, geometry, crf)
        return np.stack([confusion_matrix(target, masks(record), self.num_classes) for masks in makers])
