from . import (
    crf as crf,
    cues as cues,
    evaluation as evaluation,
    guides as guides,
    losses as losses,
    pooling as pooling,
)
from .inference import PhotoSegmenter as PhotoSegmenter, load_segmenter as load_segmenter
