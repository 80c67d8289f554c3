from .cues import (
    background_cues as background_cues,
    foreground_cues as foreground_cues,
    resolve_conflicts as resolve_conflicts,
    threshold_for_coverage as threshold_for_coverage,
)
from .grabcut import grabcut_mask as grabcut_mask
from .guides import oracle_saliency as oracle_saliency
from .photo_guides import guide_g0 as guide_g0, guide_g1 as guide_g1, guide_g2 as guide_g2, salient as salient
from .published_cues import check_matches as check_matches, read_published_cues as read_published_cues
from .seeds import refined_seeds as refined_seeds, seeds_from_cams as seeds_from_cams
