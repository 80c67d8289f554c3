from . import objectives as objectives
from .average_precision import multi_label_average_precision as multi_label_average_precision
from .classification import classification_terms as classification_terms, scores as scores
from .loop import LossTerms as LossTerms, build_optimizer as build_optimizer, train as train
from .objectives import (
    CrossEntropyTerms as CrossEntropyTerms,
    SecTerms as SecTerms,
    cross_entropy_terms as cross_entropy_terms,
)
from .optimization import weighted_sum as weighted_sum
from .run import Run as Run
from .samples import (
    ClassificationSamples as ClassificationSamples,
    SaliencySamples as SaliencySamples,
    SegmentationSamples as SegmentationSamples,
    multi_hot as multi_hot,
)
from .sampling import Batch as Batch
