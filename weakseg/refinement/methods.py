"""Refinements as the settings ask, one photo or batch at a time: what the stage `refine` does."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from weakseg.arrays import LabelMap, Maps, Photo
from weakseg.batch import NetworkTask
from weakseg.cams import chosen_threshold
from weakseg.crf import CRFParams
from weakseg.files import IGNORE_INDEX, ArrayArchive, Record, open_archive, read_gradient, read_proposals
from weakseg.images import read_record, resized, upsample_aligned
from weakseg.refinement.adaptive import pixel_adaptive
from weakseg.refinement.label_crf import confident_labels, smoothed_labels
from weakseg.refinement.proposals import joined_to_proposals
from weakseg.refinement.sources import Refined, Source, above, agreed, from_labels, grid_of, indicators
from weakseg.refinement.walk import TOLERANCE, boundary_walk
from weakseg.settings import BoundaryWalk, PixelAdaptive, Proposals, Refine, Threshold, Thresholded

Method = Callable[[Record], Refined] | NetworkTask[Refined]


class OnDevice(NetworkTask[Refined]):
    """Methods that are arithmetic on a device, without weights."""

    def network(self) -> nn.Module:
        return nn.Identity()

    def size(self, image: Photo) -> Hashable:
        return image.shape


@dataclass(frozen=True)
class WalkTask(OnDevice):
    """IRN's walk (Ahn et al. 2019, §5.1) on the boundary maps' grid; maps come divided by their common maximum."""

    settings: BoundaryWalk
    source: Source
    boundaries: ArrayArchive

    def results(
        self, network: nn.Module, records: Sequence[Record], images: Sequence[Photo], device: torch.device
    ) -> list[Refined]:
        edges = [read_gradient(self.boundaries, record) for record in records]
        maps = [self.source.maps(record, *edge.shape) for record, edge in zip(records, edges, strict=True)]
        most = max(1, *map(len, maps))
        filled = np.stack([np.pad(some, ((0, most - len(some)), (0, 0), (0, 0))) for some in maps])
        walls = torch.from_numpy(np.stack(edges)).to(device)
        settings = self.settings
        walked = boundary_walk(
            torch.from_numpy(filled).to(device), walls, settings.radius, settings.power, settings.doublings
        )
        walked = walked.clamp(min=0)
        walked = walked / walked.amax((1, 2, 3), keepdim=True).clamp(min=TOLERANCE)  # less is rounding
        found = walked.float().cpu().numpy()
        return [self._labelled(record, one[: len(record.labels)]) for record, one in zip(records, found, strict=True)]

    def _labelled(self, record: Record, maps: Maps) -> Refined:
        scores = upsample_aligned(maps, record.height, record.width)
        return Refined(above(scores, record.labels, self.settings.background), ids_of(record), maps)


@dataclass(frozen=True)
class AdaptiveTask(OnDevice):
    """PAR or PAMR. Heat maps are made probabilities by a softmax over tags and background, the background at
    `foreground` and again at `background`, and a pixel takes what both agree on (ToCo, Ru et al. 2023, §3.3)."""

    settings: PixelAdaptive
    source: Source

    def results(
        self, network: nn.Module, records: Sequence[Record], images: Sequence[Photo], device: torch.device
    ) -> list[Refined]:
        return [self._refined(record, image, device) for record, image in zip(records, images, strict=True)]

    def _refined(self, record: Record, image: Photo, device: torch.device) -> Refined:
        height, width = (max(round(side * self.settings.scale), 2) for side in image.shape[:2])
        pixels = resized(image, height, width).to(device)
        maps = torch.from_numpy(self.source.maps(record, height, width)).to(device)
        if self.source.has_maps:
            passes = [_with_background(maps, score) for score in (self.settings.foreground, self.settings.background)]
        else:
            passes = [torch.cat([self._background(record, height, width).to(device), maps])]
        smooth = [self._smoothed(pixels, masks) for masks in passes]
        labels = [_best(one, record, image.shape[:2]) for one in smooth]
        grid = upsample_aligned(smooth[-1][1:].cpu().numpy(), *grid_of(record))
        return Refined(agreed(*labels) if len(labels) == 2 else labels[0], ids_of(record), grid)

    def _background(self, record: Record, height: int, width: int) -> Tensor:
        return torch.from_numpy(indicators(self.source.labels(record), [0], height, width))

    def _smoothed(self, pixels: Tensor, masks: Tensor) -> Tensor:
        settings = self.settings
        return pixel_adaptive(pixels, masks[None], settings.by, settings.rounds, settings.dilations)[0]


def _with_background(maps: Tensor, score: float) -> Tensor:
    return torch.cat([maps.new_full((1, *maps.shape[1:]), score), maps]).softmax(0)


def _best(masks: Tensor, record: Record, size: tuple[int, ...]) -> LabelMap:
    """(H, W) class ids of masks (1 + L, h, w); 255 where nothing is known of any."""
    large = functional.interpolate(masks[None], (size[0], size[1]), mode="bilinear", align_corners=True)[0]
    best = np.array([0, *record.labels], np.uint8)[large.argmax(0).cpu().numpy()]
    return np.where((large.amax(0) > 0).cpu().numpy(), best, IGNORE_INDEX).astype(np.uint8)


@dataclass(frozen=True)
class SmoothedByCRF:
    """Confident labels of heat maps (IRN §4.1), or label maps smoothed by the same dense CRF."""

    certainty: float
    thresholds: tuple[float, float]
    crf: CRFParams
    source: Source

    def __call__(self, record: Record) -> Refined:
        image = read_record(record)
        if not self.source.has_maps:
            labels = smoothed_labels(image, self.source.labels(record), self.crf, self.certainty)
        else:
            sure, possible = self.thresholds
            labels = confident_labels(
                image, self.source.heat_maps(record), record.labels, self.crf, foreground=sure, background=possible,
                certainty=self.certainty,
            )  # fmt: skip
        return from_labels(labels, record)


@dataclass(frozen=True)
class JoinedToProposals:
    """Pseudo-masks replaced by the proposals that belong to them (SEPL, Chen et al. 2023)."""

    settings: Proposals
    source: Source
    proposals: ArrayArchive

    def __call__(self, record: Record) -> Refined:
        if self.source.has_maps:
            maps = self.source.maps(record, record.height, record.width)
            labels = above(maps, record.labels, self.settings.background)
        else:
            labels = self.source.labels(record)
        masks = read_proposals(self.proposals, record)
        return from_labels(joined_to_proposals(labels, masks, self.settings.inside, self.settings.covering), record)


@dataclass(frozen=True)
class LabelledAbove:
    """Heat maps labelled where they reach a threshold of their own, or of their common, maximum."""

    settings: Thresholded
    source: Source
    threshold: float

    def __call__(self, record: Record) -> Refined:
        maps = normalized(self.source.heat_maps(record), self.settings.maximum)
        scores = upsample_aligned(maps, record.height, record.width)
        return Refined(above(scores, record.labels, self.threshold), ids_of(record), maps)


def normalized(maps: Maps, maximum: str) -> Maps:
    """(L, h, w) in [0, 1]: each map over its own, or all over the common maximum."""
    positive = maps.clip(0)
    axes = (1, 2) if maximum == "own" else (0, 1, 2)
    return positive / positive.max(axes, keepdims=True, initial=1e-30)


def ids_of(record: Record) -> Any:
    return np.array(record.labels, np.uint8)


def _walk(settings: Any, crf: Any, source: Source, using: Path, records: Iterable[Record]) -> Method:
    return WalkTask(settings, source, ArrayArchive(using))


def _adaptive(settings: Any, crf: Any, source: Source, using: Path, records: Iterable[Record]) -> Method:
    return AdaptiveTask(settings, source)


def _crf(settings: Any, crf: Any, source: Source, using: Path, records: Iterable[Record]) -> Method:
    if not source.has_maps:
        return SmoothedByCRF(settings.certainty, (0.0, 0.0), crf, source)
    sure, possible = (_level(level, source, records) for level in (settings.foreground, settings.background))
    return SmoothedByCRF(settings.certainty, (sure, possible), crf, source)


def _proposals(settings: Any, crf: Any, source: Source, using: Path, records: Iterable[Record]) -> Method:
    return JoinedToProposals(settings, source, ArrayArchive(using))


def _threshold(settings: Any, crf: Any, source: Source, using: Path, records: Iterable[Record]) -> Method:
    return LabelledAbove(settings, source, _level(settings.foreground, source, records, settings.maximum))


def _level(level: Threshold, source: Source, records: Iterable[Record], maximum: str = "own") -> float:
    """One pass over all maps where a coverage is wanted."""
    best = (
        normalized(source.heat_maps(record), maximum).max(0, keepdims=True, initial=0) for record in records
    )  # fmt: skip
    return chosen_threshold(level, best, "labels")


METHODS: Mapping[str, Callable[[Any, Any, Source, Path, Iterable[Record]], Method]] = {
    "boundary_walk": _walk, "par": _adaptive, "pamr": _adaptive, "crf": _crf, "proposals": _proposals,
    "threshold": _threshold,
}  # fmt: skip


def method_of(settings: Refine, crf: CRFParams | None, source: Path, using: Path, records: Iterable[Record]) -> Method:
    """What `write_archive` does to each photo: the refinement that the settings describe, of what `source` holds."""
    return METHODS[settings.by](settings, crf, Source(open_archive(source)), using, records)
