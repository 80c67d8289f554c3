"""Several trainings of an experiment: mean and standard deviation, and which experiments differ by more than noise."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays

from weakseg.errors import UserError
from weakseg.evaluation.comparison import Trainings, compared, read_totals, read_trainings
from weakseg.evaluation.iou import confusion_arrays, mean_iou, metrics_of, photo_parts, read_confusions
from weakseg.evaluation.trainings import metrics_of_trainings, summary_of, trainings_numbers
from weakseg.files.archives import ArrayArchive, write_arrays

NAMES = ["background", "cat"]


def both(raw: list[list[int]], crf: list[list[int]]) -> np.ndarray:
    return np.array([raw, crf], np.int64)


ONE = both([[60, 20], [10, 10]], [[80, 0], [20, 0]])  # mIoU (6/9 + 1/4) / 2 and (8/10 + 0) / 2
TWO = both([[80, 0], [10, 10]], [[70, 10], [20, 0]])  # (8/9 + 1/2) / 2 and (7/10 + 0) / 2
MIOUS = np.array([[(6 / 9 + 1 / 4) / 2, 0.4], [(8 / 9 + 1 / 2) / 2, 0.35]])


def test_one_training_has_the_metrics_that_it_always_had() -> None:
    assert metrics_of_trainings(ONE[None], NAMES, [7]) == metrics_of(*ONE, NAMES)


def test_several_trainings_have_means_and_standard_deviations() -> None:
    metrics = metrics_of_trainings(np.stack([ONE, TWO]), NAMES, [0, 5])
    assert metrics["random_seeds"] == [0, 5]
    assert metrics["miou"] == pytest.approx(100 * MIOUS[:, 0].mean())
    assert metrics["sd"]["miou"] == pytest.approx(100 * abs(MIOUS[0, 0] - MIOUS[1, 0]) / np.sqrt(2))  # n - 1
    assert metrics["sd"]["miou_crf"] == pytest.approx(100 * 0.05 / np.sqrt(2))
    assert metrics["iou"]["cat"] == pytest.approx(100 * (1 / 4 + 1 / 2) / 2)
    assert metrics["sd"]["iou"]["cat"] == pytest.approx(100 * 0.25 / np.sqrt(2))
    assert metrics["sd"].keys() == metrics_of(*ONE, NAMES).keys()
    numbers = trainings_numbers(np.stack([ONE, TWO]))
    assert (numbers["miou"], numbers["miou_sd"]) == (metrics["miou"], metrics["sd"]["miou"])
    assert numbers["foreground"] == pytest.approx(100 * (30 + 10) / 2 / 100)
    assert not any(name.endswith("_sd") for name in trainings_numbers(ONE[None]))


def test_a_class_that_one_training_lacks_counts_in_the_others() -> None:
    nothing = both([[100, 0], [0, 0]], [[100, 0], [0, 0]])
    metrics = metrics_of_trainings(np.stack([ONE, nothing]), NAMES, [0, 1])
    assert metrics["iou"]["cat"] == pytest.approx(25) and np.isnan(metrics["sd"]["iou"]["cat"])


def test_the_summary_shows_the_bound_beside_what_is_divided_by_it() -> None:
    """So that `dvc metrics diff` tells an experiment that moved from a bound that did."""
    sec = {"miou": 30.0, "miou_crf": 36.0}
    before = summary_of({"sec": sec, "full": {"miou": 60.0, "miou_crf": 50.0}})["sec"]
    after = summary_of({"sec": sec, "full": {"miou": 64.0, "miou_crf": 50.0}})["sec"]
    moved = {key for key in before if before[key] != after[key]}
    assert moved == {"percent_of_full", "bound_miou"}
    assert (before["bound_miou"], after["bound_miou"]) == (60.0, 64.0)


def test_the_summary_of_several_trainings_has_their_spread() -> None:
    sec = {"miou": 30.0, "miou_crf": 36.0, "random_seeds": [0, 1, 2], "sd": {"miou": 1.0, "miou_crf": 0.9}}
    full = {"miou": 60.0, "miou_crf": 50.0, "random_seeds": [0, 1, 2], "sd": {"miou": 3.0, "miou_crf": 9.0}}
    summary = summary_of({"sec": sec, "full": full})
    assert (summary["sec"]["miou_sd"], summary["sec"]["miou_crf_sd"], summary["sec"]["trainings"]) == (1.0, 0.9, 3)
    assert summary["sec"]["percent_of_full_sd"] == pytest.approx(60 * np.hypot(0.9 / 36, 3 / 60))
    assert "percent_of_full_sd" not in summary["full"]  # 100 % by definition


# --- photo by photo --------------------------------------------------------------------------------------------------------


@given(arrays(np.int64, (2, 2, 3, 3), elements=st.integers(0, 2**32 - 1)))
@settings(max_examples=30, deadline=None)
def test_counts_come_back_as_they_were(confusions: np.ndarray) -> None:
    stored = dict(confusion_arrays("a/b", confusions))
    assert len(stored["a/b/counts"]) == np.count_nonzero(confusions)

    class Held(dict[str, np.ndarray]):
        path = Path("held.npz")

    np.testing.assert_array_equal(read_confusions(Held(stored), "a/b", (2, 2, 3, 3)), confusions)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"counts of a/b are not of shape \(2, 3, 3\)"):
        read_confusions(Held(stored), "a/b", (2, 3, 3))  # type: ignore[arg-type]


def test_parts_of_photos_add_up_to_the_iou() -> None:
    hits, target, prediction = photo_parts(TWO[0])
    np.testing.assert_array_equal(hits / (target + prediction - hits), [8 / 9, 1 / 2])


def trainings_of(photos: np.ndarray) -> Trainings:
    """Of (S, N, 2, C, C) counts."""
    return Trainings(list(range(len(photos))), photos.sum(1), np.moveaxis(photo_parts(photos), 1, 2))


def test_what_evaluate_writes_is_read_again(tmp_path: Path) -> None:
    photos = np.stack([np.stack([ONE, TWO, ONE]), np.stack([TWO, TWO, ONE])])  # two trainings, three photos
    totals = photos.sum(1)
    items = [item for number in range(3) for item in confusion_arrays(f"photo{number}", photos[:, number])]
    items += [("raw/confusion", totals[0, 0]), ("crf/confusion", totals[0, 1])]
    items += [("repeats/confusion", totals[1:]), ("random_seeds", np.array([0, 4]))]
    write_arrays(tmp_path / "sec.npz", items)
    found = read_trainings(ArrayArchive(tmp_path / "sec.npz"), 2)
    assert found.random_seeds == [0, 4] and found.num_photos == 3
    np.testing.assert_array_equal(found.totals, totals)
    np.testing.assert_array_equal(found.parts, trainings_of(photos).parts)
    assert found.miou() == pytest.approx(100 * np.mean([mean_iou(total[0]) for total in totals]))  # the better kind
    with pytest.raises(UserError, match="classes"):
        read_totals(ArrayArchive(tmp_path / "sec.npz"), 3)


# --- the bootstrap ---------------------------------------------------------------------------------------------------------


def drawn(accuracy: float, photos: int, seed: int, spread: tuple[float, ...] = (0.0,), pixels: int = 50) -> Trainings:
    """Trainings on photos of 2 x `pixels` pixels, half of either class, of which about `accuracy` are right."""
    rng = np.random.default_rng(seed)
    hardness = rng.normal(0, 0.05, photos)  # of a photo, for every experiment of that seed alike
    rights = np.clip(accuracy + np.array(spread)[:, None] + hardness, 0, 1)
    right = np.random.default_rng([seed, round(1000 * accuracy), len(set(spread))]).binomial(pixels, rights)
    counts = np.stack([np.stack([right, pixels - right], -1), np.stack([pixels - right, right], -1)], -2)
    return trainings_of(np.stack([counts, counts], 2))


def test_an_experiment_is_undecided_against_itself_and_decided_against_a_far_better_one() -> None:
    one, better = drawn(0.6, 40, 1), drawn(0.9, 40, 1)
    same, far = compared({"a": one, "b": one})[0], compared({"a": better, "b": one})[0]
    assert same["undecided"] and (same["low"], same["difference"], same["high"]) == (0, 0, 0)
    assert not far["undecided"] and 0 < far["low"] < far["difference"] < far["high"]
    assert far["experiments"] == ["a", "b"] and far["trainings"] == [1, 1]
    assert compared({"a": one, "b": better})[0]["high"] < 0


def test_the_interval_is_as_wide_as_the_differences_of_new_photos_are() -> None:
    """Against the spread of the differences over 300 sets of photos drawn anew."""
    differences, widths = [], []
    for seed in range(300):
        pair = {"a": drawn(0.70, 60, seed), "b": drawn(0.71, 60, 1000 + seed)}
        differences.append(pair["a"].miou() - pair["b"].miou())
        if seed < 12:
            found = compared(pair)[0]
            widths.append(found["high"] - found["low"])
    assert np.mean(widths) == pytest.approx(2 * 1.96 * np.std(differences), rel=0.2)


def test_photos_are_the_same_for_both_so_their_hardness_cancels() -> None:
    def width(second: int) -> float:
        found = compared({"a": drawn(0.70, 60, 1, pixels=5000), "b": drawn(0.71, 60, second, pixels=5000)})[0]
        return float(found["high"] - found["low"])

    assert width(1) < width(2) / 3  # the same photos, and others


def test_the_spread_of_trainings_counts() -> None:
    """As that of a mean of S: sd / sqrt(S), from S - 1 draws."""
    spread = (-0.04, 0.0, 0.04)
    noisy, steady = drawn(0.7, 2000, 1, spread), drawn(0.7, 2000, 1, (0.0, 0.0, 0.0))
    photos = np.ones((4000, 2000))
    mious = [100 * mean_iou(total[0]) for total in noisy.totals]
    means = noisy.drawn_miou(photos, np.random.default_rng(0))
    assert means.std() == pytest.approx(np.std(mious, ddof=1) / np.sqrt(3), rel=0.05)
    assert compared({"a": noisy, "b": steady})[0]["undecided"]
    better = drawn(0.72, 2000, 1, spread)
    assert compared({"a": better, "b": noisy})[0]["undecided"]  # two points, between means of sd 2.3
    assert not compared({"a": drawn(0.72, 2000, 1), "b": drawn(0.7, 2000, 1)})[0][
        "undecided"
    ]  # unknown to one training


def test_without_photos_nothing_is_compared_and_unlike_photos_are_refused() -> None:
    nothing = Trainings([0], np.zeros((1, 2, 2, 2), np.int64), np.zeros((1, 2, 0, 3, 2), np.int64))
    assert compared({"a": nothing, "b": nothing}) == compared({}) == []
    with pytest.raises(ValueError, match="different numbers of photos"):
        compared({"a": nothing, "b": drawn(0.5, 3, 1)})


def test_equal_counts_give_equal_intervals() -> None:
    pair = {"a": drawn(0.7, 20, 3), "b": drawn(0.71, 20, 4)}
    assert compared(pair) == compared(pair)
