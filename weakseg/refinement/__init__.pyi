from .adaptive import pixel_adaptive as pixel_adaptive
from .affinity import affinity_loss as affinity_loss
from .boundaries import (
    BOUNDARY_STRIDE as BOUNDARY_STRIDE,
    AffinityTerms as AffinityTerms,
    BoundaryTask as BoundaryTask,
)
from .coco_masks import ForeignProposals as ForeignProposals
from .foreign_saliency import ForeignSaliency as ForeignSaliency
from .label_crf import confident_labels as confident_labels, smoothed_labels as smoothed_labels
from .methods import method_of as method_of
from .proposals import joined_to_proposals as joined_to_proposals
from .walk import boundary_walk as boundary_walk, walked_labels as walked_labels
