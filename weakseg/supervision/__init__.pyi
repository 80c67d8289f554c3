from .cues import (
    background_cues as background_cues,
    chosen_threshold as chosen_threshold,
    foreground_cues as foreground_cues,
    resolve_conflicts as resolve_conflicts,
    threshold_for_coverage as threshold_for_coverage,
)
from .g1_task import G1Task as G1Task
from .grabcut import GrabcutMask as GrabcutMask
from .photo_guides import OracleGuide as OracleGuide, PhotoGuide as PhotoGuide, salient as salient
from .published_cues import check_matches as check_matches, read_published_cues as read_published_cues
from .seeds import PhotoSeeds as PhotoSeeds
