"""SEC's localization cues, under the name that users import."""

from weakseg.cams.thresholds import threshold_for_coverage
from weakseg.supervision.cues import background_cues, coverage, foreground_cues, resolve_conflicts

__all__ = ["background_cues", "coverage", "foreground_cues", "resolve_conflicts", "threshold_for_coverage"]
