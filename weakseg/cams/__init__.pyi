from .heat_maps import HeatMapTask as HeatMapTask
from .label_scores import refined_scores as refined_scores, seed_scores as seed_scores
