from .data import (
    Data as Data,
    GrabCut as GrabCut,
    Report as Report,
    SaliencyData as SaliencyData,
    SelectSaliencyPhotos as SelectSaliencyPhotos,
    Toy as Toy,
)
from .losses import (
    ConstrainTerm as ConstrainTerm,
    CrossEntropyLoss as CrossEntropyLoss,
    Loss as Loss,
    SecLoss as SecLoss,
)
from .networks import (
    Cam as Cam,
    Classifier as Classifier,
    ClassifierAugmentation as ClassifierAugmentation,
    PredictSaliency as PredictSaliency,
    SaliencyAugmentation as SaliencyAugmentation,
    SaliencyNetwork as SaliencyNetwork,
    Segmenter as Segmenter,
    SegmenterAugmentation as SegmenterAugmentation,
    Training as Training,
    VGG16Classifier as VGG16Classifier,
)
from .params import Experiment as Experiment
from .reading import read_keys as read_keys, read_params as read_params
from .supervision import (
    CRF as CRF,
    Cues as Cues,
    EvaluateSeeds as EvaluateSeeds,
    Guides as Guides,
    InferenceCRF as InferenceCRF,
    Seeds as Seeds,
)
from .types import BackboneName as BackboneName, Name as Name, Section as Section, Side as Side
