"""Which experiments differ by more than noise: a bootstrap over photos and trainings (Efron & Tibshirani 1993, §16)."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from weakseg.errors import UserError
from weakseg.evaluation.iou import Confusion, mean_iou, photo_parts, read_confusions
from weakseg.files import ArrayArchive, read_counts

DRAWS = 1000
CONFIDENCE = 0.95
RANDOM_SEED = 0  # of the draws


@dataclass(frozen=True)
class Trainings:
    """An experiment's trainings, S of them, on the same N photos.

    totals: (S, 2, C, C) confusion counts of all photos, without and with CRF. parts: (S, 2, N, 3, C), by photo, what
    `photo_parts` makes of them.
    """

    random_seeds: list[int]
    totals: Confusion
    parts: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.random_seeds)

    @property
    def num_photos(self) -> int:
        return self.parts.shape[2]

    @property
    def better(self) -> npt.NDArray[np.int64]:
        """(S, N, 3, C): without CRF or with it, whichever has the greater mean mIoU."""
        means = [np.mean([mean_iou(total[kind]) for total in self.totals]) for kind in (0, 1)]
        return self.parts[:, int(means[1] > means[0])]

    def drawn_miou(self, photos: npt.NDArray[np.float64], rng: np.random.Generator) -> npt.NDArray[np.float64]:
        """(D,) per cent, one mean over trainings for each draw, whose photos count as often as `photos` (D, N) says.

        A draw takes S - 1 of the S trainings, with replacement: the variance is then that of a mean over S trainings,
        which drawing S of so few would put too low (Rao & Wu 1988). A single training has no spread to draw from.
        """
        each = np.stack([_miou(photos, parts) for parts in self.better])
        chosen = rng.integers(len(self), size=(max(1, len(self) - 1), len(photos)))
        means: npt.NDArray[np.float64] = np.take_along_axis(each, chosen, 0).mean(0)
        return means

    def miou(self) -> float:
        """Per cent, the mean over trainings."""
        return float(np.mean([_miou(np.ones((1, self.num_photos)), parts) for parts in self.better]))


def read_totals(archive: ArrayArchive, num_classes: int | None = None) -> Confusion:
    """(S, 2, C, C) counts of all photos, the first training's before those of its repeats. Raises UserError for what is
    damaged, or of other classes than are given."""
    first = np.stack([read_counts(archive, f"{kind}/confusion", num_classes) for kind in ("raw", "crf")])
    repeats = archive["repeats/confusion"] if "repeats/confusion" in archive else np.zeros((0, *first.shape), np.int64)
    if repeats.dtype != np.int64 or repeats.shape[1:] != first.shape or (repeats < 0).any():
        raise UserError(f"{archive.path}: repeats/confusion does not fit the first training's counts; run `dvc repro`")
    return np.concatenate([first[None], repeats])


def read_trainings(archive: ArrayArchive, num_classes: int) -> Trainings:
    """What stage `evaluate` wrote, photo by photo. Raises UserError for what is damaged or of other classes."""
    totals = read_totals(archive, num_classes)
    random_seeds = archive["random_seeds"].astype(np.int64).ravel().tolist()
    if len(random_seeds) != len(totals):
        raise UserError(f"{archive.path}: has {len(totals)} trainings of {len(random_seeds)} seeds; run `dvc repro`")
    image_ids = [key.removesuffix("/counts") for key in archive.names() if key.endswith("/counts")]
    parts = [photo_parts(read_confusions(archive, image_id, totals.shape)) for image_id in image_ids]
    empty = np.zeros((*totals.shape[:2], 0, 3, num_classes), np.int64)
    return Trainings(random_seeds, totals, np.stack(parts, 2) if parts else empty)


def _miou(photos: npt.NDArray[np.float64], parts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """(D,) mIoU in per cent of the photos (D, N) weighted, from their counts (N, 3, C): over the classes that these
    photos' targets show, so that two experiments are compared on the same classes in every draw."""
    totals = (photos @ parts.reshape(len(parts), -1)).reshape(len(photos), *parts.shape[1:])
    hits, target, prediction = totals[:, 0], totals[:, 1], totals[:, 2]
    iou = np.divide(hits, target + prediction - hits, out=np.zeros(hits.shape), where=target > 0)
    return 100 * np.asarray(iou.sum(1) / np.maximum(1, (target > 0).sum(1)), np.float64)


def compared(trainings: Mapping[str, Trainings]) -> list[dict[str, Any]]:
    """Each pair of experiments: the difference of their mIoUs in points, its 95 % interval, and whether that holds 0.

    Every draw takes as many photos as there are, with replacement, the same ones for both (paired), and some of either's
    trainings. With a single training the interval knows nothing of the noise between trainings: `trainings` says so.
    No photos, no pairs. Raises ValueError where experiments have other numbers of photos.
    """
    numbers = {experiment.num_photos for experiment in trainings.values()}
    if len(numbers) > 1:
        raise ValueError(f"experiments were evaluated on different numbers of photos: {sorted(numbers)}")
    num_photos = max(numbers, default=0)
    if not num_photos:
        return []
    rng = np.random.default_rng(RANDOM_SEED)
    photos = rng.multinomial(num_photos, np.full(num_photos, 1 / num_photos), DRAWS).astype(np.float64)
    drawn = {name: experiment.drawn_miou(photos, rng) for name, experiment in trainings.items()}
    tail = 50 * (1 - CONFIDENCE)
    pairs = []
    for first, second in combinations(trainings, 2):
        low, high = np.percentile(drawn[first] - drawn[second], [tail, 100 - tail])
        pairs.append({
            "experiments": [first, second], "difference": trainings[first].miou() - trainings[second].miou(),
            "low": float(low), "high": float(high), "undecided": bool(low <= 0 <= high),
            "trainings": [len(trainings[first]), len(trainings[second])],
        })  # fmt: skip
    return pairs
