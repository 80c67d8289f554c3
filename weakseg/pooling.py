"""Global weighted rank pooling, under the name that users import."""

from weakseg.losses.pooling import decay_for_share, global_weighted_rank_pool

__all__ = ["decay_for_share", "global_weighted_rank_pool"]
