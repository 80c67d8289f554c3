from .dense_crf import mean_field as mean_field
from .exact import exact_labels as exact_labels
from .lattice import lattice_labels as lattice_labels, soft as soft
from .params import (
    DEEPLAB as DEEPLAB,
    KEEP_FLOOR as KEEP_FLOOR,
    MIN_PROB as MIN_PROB,
    SEC as SEC,
    CRFParams as CRFParams,
    crf_params as crf_params,
)
from .test_time import TestTimeCRF as TestTimeCRF
