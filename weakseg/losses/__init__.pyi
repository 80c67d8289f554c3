from .balanced import balanced_cross_entropy as balanced_cross_entropy
from .crf_target import with_2016_gradient as with_2016_gradient
from .cross_entropy import cross_entropy_loss as cross_entropy_loss
from .eps import eps_saliency_loss as eps_saliency_loss
from .pooling import decay_for_share as decay_for_share, global_weighted_rank_pool as global_weighted_rank_pool
from .sec import (
    constrain_loss as constrain_loss,
    expand_loss as expand_loss,
    floored_softmax as floored_softmax,
    sec_loss_terms as sec_loss_terms,
    seed_loss as seed_loss,
)
