from .cues import (
    background_cues as background_cues,
    foreground_cues as foreground_cues,
    resolve_conflicts as resolve_conflicts,
)
from .g1_task import G1Task as G1Task
from .grabcut import GrabcutMask as GrabcutMask
from .photo_guides import OracleGuide as OracleGuide, PhotoGuide as PhotoGuide, salient as salient
from .published_cues import check_matches as check_matches, read_published_cues as read_published_cues
from .seeds import PhotoSeeds as PhotoSeeds
