from .grids import (
    PROB_FLOOR as PROB_FLOOR,
    GridScores as GridScores,
    LabelMasks as LabelMasks,
    OwnTagMasks as OwnTagMasks,
    RefinedMasks as RefinedMasks,
    full_size as full_size,
    grid_arrays as grid_arrays,
    label_mask as label_mask,
    own_classes as own_classes,
    read_grid as read_grid,
)
from .onnx import export_onnx as export_onnx
from .photo_confusions import MaskConfusions as MaskConfusions
from .predict import SegmenterTask as SegmenterTask, predict_grids as predict_grids
from .saliency import SaliencyTask as SaliencyTask
from .segment import segment_photos as segment_photos
from .segmenter import PhotoSegmenter as PhotoSegmenter, load_segmenter as load_segmenter
from .test_time_rule import Rule as Rule, read_rule as read_rule, write_rule as write_rule
