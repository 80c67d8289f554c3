"""Precision and recall of cues, seeds and guides against ground truth (Oh et al., CVPR 2017, §4, table 2).

Counts are added up image by image, so memory depends neither on the number of images nor, for the curves, on the number
of thresholds. Target 255 is left out. Prediction 255 is no prediction: it costs recall, never precision. Precision and
recall are fractions 0..1, NaN where undefined. GS §4.2.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from weakseg.arrays import LabelMap
from weakseg.files import IGNORE_INDEX

Counts = npt.NDArray[np.int64]


Fractions = npt.NDArray[np.float64]


NUM_BINS = 1000  # thresholds 0, 0.001, …, 1: the papers' 0.2 is on the grid


@dataclass(frozen=True)
class LabelCounts:
    """Pixels per class, background first, each (C,): rightly predicted, predicted, in the ground truth."""

    true_positives: Counts
    predicted: Counts
    actual: Counts

    @classmethod
    def zeros(cls, num_classes: int) -> "LabelCounts":
        return cls(*(np.zeros(num_classes, np.int64) for _ in range(3)))

    def __add__(self, other: "LabelCounts") -> "LabelCounts":
        return LabelCounts(
            self.true_positives + other.true_positives,
            self.predicted + other.predicted,
            self.actual + other.actual,
        )

    @property
    def precision(self) -> Fractions:
        """(C,) true positives / predicted; NaN for a class never predicted."""
        return _ratio(self.true_positives, self.predicted)

    @property
    def recall(self) -> Fractions:
        """(C,) true positives / actual; NaN for a class not in the ground truth."""
        return _ratio(self.true_positives, self.actual)


def count_labels(target: LabelMap, prediction: LabelMap, num_classes: int) -> LabelCounts:
    """Counts of one image: target and prediction (H, W) uint8 class ids or 255.

    Raises ValueError if the sizes differ or an id is neither 255 nor below `num_classes`.
    """
    if target.shape != prediction.shape:
        raise ValueError(f"target {target.shape} and prediction {prediction.shape} differ in size")
    pairs = np.bincount(target.ravel().astype(np.intp) * 256 + prediction.ravel(), minlength=256 * 256)
    table = pairs.reshape(256, 256)  # [target, prediction]
    if table[num_classes:IGNORE_INDEX].any() or table[:, num_classes:IGNORE_INDEX].any():
        raise ValueError(f"class ids must be below {num_classes} or 255")
    known = table[:num_classes].astype(np.int64)
    return LabelCounts(known[:, :num_classes].diagonal().copy(), known.sum(axis=0)[:num_classes], known.sum(axis=1))


def mean_precision_and_recall(counts: LabelCounts) -> dict[str, float]:
    """Foreground and background precision and recall (table 2), as fractions.

    Foreground is the mean over the foreground classes that occur in the ground truth; one of them that is
    never predicted has recall 0 and, having no precision, is left out of the precision mean.
    """
    foreground, background = slice(1, None), 0
    present = counts.actual[foreground] > 0
    return {
        "foreground_precision": float(_mean_known(counts.precision[foreground][None, present])[0]),
        "foreground_recall": float(_mean_known(counts.recall[foreground][None, present])[0]),
        "background_precision": float(counts.precision[background]),
        "background_recall": float(counts.recall[background]),
    }


@dataclass(frozen=True)
class PrecisionRecallCurve:
    """One point per threshold, ascending; all (T,), the last four fractions, foreground as in `mean_precision_and_recall`.

    At threshold τ a pixel takes its best class where the score ≥ τ and is background elsewhere. At the last
    point, τ = inf, all is background.
    """

    thresholds: Fractions
    foreground_precision: Fractions
    foreground_recall: Fractions
    background_precision: Fractions
    background_recall: Fractions


class ScoreHistograms:
    """Gathers a precision-recall curve in one pass over the pixels, whatever the number of thresholds.

    Holds (2·C + 1)·(num_bins + 1) + C counts. A score s falls into bin k where k/num_bins ≤ s < (k +
    1)/num_bins, so the curve is exact at thresholds k/num_bins. Scores are clipped to [0, 1]; NaN counts as
    0.
    """

    def __init__(self, num_classes: int, num_bins: int = NUM_BINS) -> None:
        self.num_classes = num_classes
        self.thresholds = np.arange(num_bins + 1) / num_bins
        self._predicted = np.zeros((num_classes, num_bins + 1), np.int64)
        self._correct = np.zeros((num_classes, num_bins + 1), np.int64)
        self._background = np.zeros(num_bins + 1, np.int64)
        self._actual = np.zeros(num_classes, np.int64)

    def update(self, target: LabelMap, classes: LabelMap, scores: npt.NDArray[np.floating]) -> None:
        """Adds one image: target, best classes and their scores as of `seeds.seed_scores`, each (H, W).

        Best class 0 is background at every threshold; 255 is never predicted. Raises ValueError for different sizes or
        invalid ids.
        """
        if scores.shape != target.shape:
            raise ValueError(f"target {target.shape} and scores {scores.shape} differ in size")
        self._actual += count_labels(target, classes, self.num_classes).actual
        known = (target != IGNORE_INDEX) & (classes != IGNORE_INDEX)
        truth, best, bins = target[known], classes[known].astype(np.intp), self._bins(scores[known])
        cells = best * len(self.thresholds) + bins
        self._predicted += self._histogram(cells, self._predicted.shape)
        self._correct += self._histogram(cells[truth == best], self._correct.shape)
        self._background += self._histogram(bins[(truth == 0) & (best > 0)], self._background.shape)

    def merge(self, other: "ScoreHistograms") -> None:
        """Adds what another worker gathered with the same settings."""
        if self._predicted.shape != other._predicted.shape:
            raise ValueError(f"unlike histograms: {self._predicted.shape} and {other._predicted.shape}")
        self._predicted += other._predicted
        self._correct += other._correct
        self._background += other._background
        self._actual += other._actual

    def curve(self) -> PrecisionRecallCurve:
        present = np.flatnonzero(self._actual[1:]) + 1
        predicted, correct = (_at_or_above(counts[present]) for counts in (self._predicted, self._correct))
        precision = _mean_known(_ratio(correct, predicted).T)
        recall = _mean_known(_ratio(correct, self._actual[present][:, None]).T)
        below = _below(self._predicted[1:].sum(axis=0)) + self._predicted[0].sum()
        truly_below = _below(self._background) + self._correct[0].sum()
        return PrecisionRecallCurve(
            np.append(self.thresholds, np.inf),
            precision,
            recall,
            _ratio(truly_below, below),
            _ratio(truly_below, self._actual[0]),
        )

    def _bins(self, scores: npt.NDArray[np.floating]) -> npt.NDArray[np.intp]:
        """Index of the last threshold ≤ score; the product alone is sometimes off (0.29·100 < 29)."""
        last = len(self.thresholds) - 1
        clipped = np.clip(np.nan_to_num(scores.astype(np.float64), nan=0.0), 0.0, 1.0)
        bins = (clipped * last).astype(np.intp)
        bins -= self.thresholds[bins] > clipped
        bins += (bins < last) & (self.thresholds[np.minimum(bins + 1, last)] <= clipped)
        return bins

    @staticmethod
    def _histogram(cells: npt.NDArray[np.intp], shape: tuple[int, ...]) -> Counts:
        return np.bincount(cells, minlength=int(np.prod(shape))).reshape(shape).astype(np.int64)


def mean_precision(
    curve: PrecisionRecallCurve, foreground_recall: float = 0.2, background_recall: float = 0.8
) -> float:
    """mP = ½ (foreground precision at 20 % recall + background precision at 80 % recall), GS §4.2.

    Each is read at the curve's first point above that recall, without interpolation. A fraction; NaN if there is no
    such point.
    """
    foreground = precision_above(curve.foreground_recall, curve.foreground_precision, foreground_recall)
    background = precision_above(curve.background_recall, curve.background_precision, background_recall)
    return (foreground + background) / 2


def precision_above(recall: Fractions, precision: Fractions, above: float) -> float:
    """The precision at the first point above that recall; NaN if there is none."""
    ascending = np.argsort(recall, kind="stable")
    ascending = ascending[recall[ascending] > above]
    return float(precision[ascending[0]]) if ascending.size else float("nan")


def total(counts: Iterable[LabelCounts], num_classes: int) -> LabelCounts:
    """Sum over images, in constant memory."""
    return sum(counts, LabelCounts.zeros(num_classes))


def _at_or_above(histograms: Counts) -> Counts:
    """(C, K) bin counts → (C, K + 1) counts with a score ≥ each threshold, inf included."""
    reversed_sums = np.cumsum(histograms[:, ::-1], axis=1)[:, ::-1]
    return np.pad(reversed_sums, ((0, 0), (0, 1)))


def _below(histogram: Counts) -> Counts:
    """(K,) bin counts → (K + 1,) counts with a score below each threshold, inf included."""
    return np.concatenate([[0], np.cumsum(histogram)]).astype(np.int64)


def _ratio(part: npt.ArrayLike, whole: npt.ArrayLike) -> Fractions:
    """part / whole, NaN where whole is 0."""
    numerator, denominator = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    ratio: Fractions = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=ratio, where=denominator > 0)
    return ratio


def _mean_known(rows: Fractions) -> Fractions:
    """(T, K) → (T,) mean over the values that are not NaN; NaN if there are none."""
    known = ~np.isnan(rows)
    return _ratio(np.where(known, rows, 0).sum(axis=1), known.sum(axis=1))
