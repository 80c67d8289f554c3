from .batch_norm import fold_batch_norm as fold_batch_norm, is_batch_norm as is_batch_norm
from .heads import Classifier as Classifier, MultiScale as MultiScale, WithBackground as WithBackground
from .registry import (
    build_boundaries as build_boundaries,
    build_classifier as build_classifier,
    build_segmenter as build_segmenter,
    load_pretrained as load_pretrained,
    normalizing_layer as normalizing_layer,
)
from .saved import (
    WEIGHTS as WEIGHTS,
    classifier_description as classifier_description,
    files_of as files_of,
    rebuild_boundaries as rebuild_boundaries,
    rebuild_classifier as rebuild_classifier,
    rebuild_segmenter as rebuild_segmenter,
    save_model as save_model,
    segmenter_description as segmenter_description,
    start_from as start_from,
)
