from .classification import (
    EpsTerms as EpsTerms,
    classification_terms as classification_terms,
    mean_average_precision as mean_average_precision,
    scores as scores,
    without_classes as without_classes,
)
from .loop import LossTerms as LossTerms, build_optimizer as build_optimizer, train as train
from .objectives import (
    CrossEntropyTerms as CrossEntropyTerms,
    MultiScaleTerms as MultiScaleTerms,
    Objective as Objective,
    SecTerms as SecTerms,
    objective_of as objective_of,
)
from .optimization import weighted_sum as weighted_sum
from .run import Run as Run
from .samples import (
    ClassificationSamples as ClassificationSamples,
    SaliencySamples as SaliencySamples,
    SegmentationSamples as SegmentationSamples,
    multi_hot as multi_hot,
)
from .sampling import STRIDE as STRIDE, Batch as Batch
from .segmentation import (
    fit_segmenter as fit_segmenter,
    read_recipe as read_recipe,
    recipe_of as recipe_of,
    write_recipe as write_recipe,
)
