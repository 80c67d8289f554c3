from .adaptive import pixel_adaptive as pixel_adaptive
from .affinity import affinity_loss as affinity_loss
from .walk import boundary_walk as boundary_walk, walked_labels as walked_labels
