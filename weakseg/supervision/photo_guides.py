"""Guides of one photo by the settings: what the guide stages do to each photo."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from weakseg.arrays import LabelMap, Mask
from weakseg.crf import CRFParams
from weakseg.files import ImageArchive, Record, read_picture
from weakseg.images import read_record
from weakseg.settings import FusionBySeeds, MakeG1Guides, MakeGuides
from weakseg.supervision.guides import Classify, fuse_g0, fuse_g1, fuse_g2, oracle_saliency


def salient(threshold: float, saliency: ImageArchive, record: Record) -> Mask:
    """Foreground: at least `threshold` of the photo's own maximum, so never empty (GS §6.1)."""
    probability = read_picture(saliency, record).astype(np.float32)
    return np.asarray(probability >= threshold * max(float(probability.max()), 1.0), np.bool_)


@dataclass(frozen=True)
class PhotoGuide:
    """G0 or G2 of a photo from its seeds and saliency."""

    settings: MakeGuides
    crf: CRFParams
    seeds: ImageArchive
    saliency: ImageArchive

    def __call__(self, record: Record) -> LabelMap:
        foreground = salient(self.settings.saliency_threshold, self.saliency, record)
        return RULES[self.settings.rule](self, foreground, record)


def by_chance(guide: PhotoGuide, foreground: Mask, record: Record) -> LabelMap:
    settings = guide.settings
    return fuse_g0(
        record.image_id, record.labels, foreground, random_seed=settings.random_seed,
        unresolved=settings.unresolved, min_saliency_fraction=settings.min_saliency_fraction,
    )  # fmt: skip


def by_seeds(guide: PhotoGuide, foreground: Mask, record: Record) -> LabelMap:
    return guide_g2(guide.settings, guide.crf, guide.seeds, foreground, record)


RULES: Mapping[str, Callable[[PhotoGuide, Mask, Record], LabelMap]] = {"g0": by_chance, "g2": by_seeds}


@dataclass(frozen=True)
class OracleGuide:
    """G2 with the ground truth's foreground in place of saliency (GS table 2)."""

    settings: FusionBySeeds
    crf: CRFParams
    seeds: ImageArchive
    truth: ImageArchive

    def __call__(self, record: Record) -> LabelMap:
        foreground = oracle_saliency(read_picture(self.truth, record))
        return guide_g2(self.settings, self.crf, self.seeds, foreground, record)


def guide_g2(
    settings: FusionBySeeds, crf: CRFParams, seeds: ImageArchive, foreground: Mask, record: Record
) -> LabelMap:
    return fuse_g2(
        read_record(record), read_picture(seeds, record, (0, *record.labels)), foreground,
        settings.unresolved, min_saliency_fraction=settings.min_saliency_fraction, min_seed_px=settings.min_seed_px,
        min_seed_fraction=settings.min_seed_fraction, crf=crf,
        unary_clip=settings.unary_clip, unary_blur_px=settings.unary_blur_px,
    )  # fmt: skip


def guide_g1(
    settings: MakeG1Guides, foreground: Mask, classify: Classify, image: np.ndarray, labels: Sequence[int]
) -> LabelMap:
    return fuse_g1(
        image, labels, foreground, classify, unresolved=settings.unresolved,
        min_saliency_fraction=settings.min_saliency_fraction, require_positive=settings.require_positive,
    )  # fmt: skip
