from .adaptive import pixel_adaptive as pixel_adaptive
from .affinity import affinity_loss as affinity_loss
from .label_crf import confident_labels as confident_labels, smoothed_labels as smoothed_labels
from .proposals import joined_to_proposals as joined_to_proposals
from .walk import boundary_walk as boundary_walk, walked_labels as walked_labels
