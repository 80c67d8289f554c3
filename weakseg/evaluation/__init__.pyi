from .comparison import (
    Trainings as Trainings,
    compared as compared,
    read_totals as read_totals,
    read_trainings as read_trainings,
)
from .curves import CURVE_COLUMNS as CURVE_COLUMNS, curve_rows as curve_rows, read_curve as read_curve
from .iou import (
    confusion_arrays as confusion_arrays,
    confusion_matrix as confusion_matrix,
    foreground_fraction as foreground_fraction,
    image_iou as image_iou,
    iou_per_class as iou_per_class,
    mean_iou as mean_iou,
    metrics_of as metrics_of,
    photo_parts as photo_parts,
    read_confusions as read_confusions,
)
from .pseudo_masks import (
    MapScores as MapScores,
    best_threshold as best_threshold,
    pseudo_mask_metrics as pseudo_mask_metrics,
)
from .saliency_quality import SaliencyIou as SaliencyIou, saliency_metrics as saliency_metrics
from .seed_quality import (
    PhotoMaps as PhotoMaps,
    mean_masks as mean_masks,
    measurable as measurable,
    measured as measured,
    seeder_metrics as seeder_metrics,
)
from .supervision_quality import supervision_metrics as supervision_metrics
from .trainings import (
    better_kind as better_kind,
    metrics_of_trainings as metrics_of_trainings,
    summary_of as summary_of,
    trainings_numbers as trainings_numbers,
)
from .voc_server import check_submission as check_submission, write_submission as write_submission
