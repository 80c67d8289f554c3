from .data import (
    Data as Data,
    EvaluateSaliency as EvaluateSaliency,
    ImportCues as ImportCues,
    ImportProposals as ImportProposals,
    ImportSaliency as ImportSaliency,
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
    BalancedLoss as BalancedLoss,
    ConstrainTerm as ConstrainTerm,
    CrossEntropyLoss as CrossEntropyLoss,
    Loss as Loss,
    SecLoss as SecLoss,
)
from .networks import (
    ClassifierAugmentation as ClassifierAugmentation,
    EpsLoss as EpsLoss,
    MakeCams as MakeCams,
    PredictBoundaries as PredictBoundaries,
    PredictSaliency as PredictSaliency,
    SaliencyAugmentation as SaliencyAugmentation,
    SegmenterAugmentation as SegmenterAugmentation,
    TrainBoundaries as TrainBoundaries,
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
    BoundaryWalk as BoundaryWalk,
    EvaluateSeeds as EvaluateSeeds,
    EvaluateSupervision as EvaluateSupervision,
    Fusion as Fusion,
    FusionBySeeds as FusionBySeeds,
    LabelCRF as LabelCRF,
    MakeCues as MakeCues,
    MakeG1Guides as MakeG1Guides,
    MakeGuides as MakeGuides,
    MakeOracleGuides as MakeOracleGuides,
    MakeSeeds as MakeSeeds,
    PixelAdaptive as PixelAdaptive,
    Proposals as Proposals,
    Refine as Refine,
    Threshold as Threshold,
    Thresholded as Thresholded,
)
from .types import Name as Name, Section as Section, Side as Side
