"""G0, G1 and G2 of one photo as the settings ask: what every stage that makes guides does with an archive's entries."""

from pathlib import Path

import numpy as np

from weakseg.arrays import LabelMap, Mask
from weakseg.crf import CRFParams
from weakseg.files import ImageArchive, Record
from weakseg.images import read_photo
from weakseg.settings import Guides
from weakseg.supervision import guides
from weakseg.supervision.guides import Classify


def salient(threshold: float, saliency: ImageArchive, image_id: str) -> Mask:
    """Foreground: at least `threshold` of the photo's own maximum, so never empty (SPEC §7)."""
    probability = saliency[image_id].astype(np.float32)
    return np.asarray(probability >= threshold * max(float(probability.max()), 1.0), np.bool_)


def guide_g0(settings: Guides, foreground: Mask, record: Record) -> LabelMap:
    return guides.fuse_g0(
        record.image_id, record.labels, foreground, random_seed=settings.random_seed,
        unresolved=settings.unresolved, min_saliency_fraction=settings.min_saliency_fraction,
    )  # fmt: skip


def guide_g1(settings: Guides, foreground: Mask, classify: Classify, record: Record) -> LabelMap:
    return guides.fuse_g1(
        read_photo(Path(record.image)), record.labels, foreground, classify,
        unresolved=settings.unresolved, min_saliency_fraction=settings.min_saliency_fraction,
    )  # fmt: skip


def guide_g2(settings: Guides, seeds: ImageArchive, foreground: Mask, record: Record) -> LabelMap:
    return guides.fuse_g2(
        read_photo(Path(record.image)), seeds[record.image_id], foreground,
        settings.unresolved, min_saliency_fraction=settings.min_saliency_fraction, min_seed_px=settings.min_seed_px,
        min_seed_fraction=settings.min_seed_fraction, crf=CRFParams(**settings.crf.model_dump()),
        unary_clip=settings.unary_clip, unary_blur_px=settings.unary_blur_px,
    )  # fmt: skip
