from .heat_maps import HeatMapTask as HeatMapTask
from .label_scores import (
    refined_scores as refined_scores,
    scores_of_labels as scores_of_labels,
    seed_scores as seed_scores,
)
from .thresholds import chosen_threshold as chosen_threshold, threshold_for_coverage as threshold_for_coverage
