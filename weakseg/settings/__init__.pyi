from .data import (
    Data as Data,
    EvaluateSaliency as EvaluateSaliency,
    ImportCues as ImportCues,
    MakeGrabcutMasks as MakeGrabcutMasks,
    MakeToy as MakeToy,
    Report as Report,
    SaliencyData as SaliencyData,
    SelectSaliencyPhotos as SelectSaliencyPhotos,
)
from .experiments import (
    Experiment as Experiment,
    ExperimentTest as ExperimentTest,
    ExperimentTraining as ExperimentTraining,
    Postprocess as Postprocess,
    Repeat as Repeat,
    SelfTraining as SelfTraining,
    repeat_of as repeat_of,
)
from .losses import (
    ConstrainTerm as ConstrainTerm,
    CrossEntropyLoss as CrossEntropyLoss,
    Loss as Loss,
    SecLoss as SecLoss,
)
from .networks import (
    ClassifierAugmentation as ClassifierAugmentation,
    MakeCams as MakeCams,
    PredictSaliency as PredictSaliency,
    SaliencyAugmentation as SaliencyAugmentation,
    SegmenterAugmentation as SegmenterAugmentation,
    TrainClassifier as TrainClassifier,
    Training as Training,
    TrainSaliency as TrainSaliency,
    TrainSegmenter as TrainSegmenter,
    VGG16Classifier as VGG16Classifier,
)
from .profiles import (
    composed as composed,
    profile_headline as profile_headline,
    profile_names as profile_names,
    profile_text as profile_text,
    write_profile as write_profile,
)
from .reading import check_params as check_params, read_keys as read_keys, read_params as read_params
from .supervision import (
    CRF as CRF,
    EvaluateSeeds as EvaluateSeeds,
    EvaluateSupervision as EvaluateSupervision,
    Fusion as Fusion,
    FusionBySeeds as FusionBySeeds,
    MakeCues as MakeCues,
    MakeG1Guides as MakeG1Guides,
    MakeGuides as MakeGuides,
    MakeOracleGuides as MakeOracleGuides,
    MakeSeeds as MakeSeeds,
    Threshold as Threshold,
)
from .types import Name as Name, Section as Section, Side as Side
