"""benchmarks/: what `dvc repro` prints is read, and the inputs that are timed are what the tables say."""

from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks import evaluation, expand_optimum, guides, loading, losses_step, training_step
from benchmarks.pipeline import costs
from weakseg.files.label_masks import IGNORE_INDEX
from weakseg.files.maps import read_cues
from weakseg.images import inspect_photo

LOG = """
Running stage 'make_toy':
> python -m stages.make_toy --out data/toy
stages.make_toy: 9 s, CPU 8.4 s, peak memory 201 MiB
Stage 'prepare' didn't change, skipping
Running stage 'train_segmenter@sec':
segmenter/sec: 100%|##########| 240/240 [01:00<00:00]stages.train_segmenter: 61 s, CPU 99.0 s, peak memory 1501 MiB, largest worker 402 MiB
"""


def test_costs_are_those_of_the_stages_that_ran() -> None:
    assert costs(LOG) == [
        ("make_toy", 9, 8.4, "201 MiB"),
        ("train_segmenter@sec", 61, 99.0, "1501 MiB, largest worker 402 MiB"),
    ]


def test_losses_are_timed_on_cues_of_a_quarter_of_the_locations() -> None:
    cues, labels, log_q = losses_step.supervision(2)
    assert cues.shape == log_q.shape == (2, 21, 41, 41) and cues.sum(1).max() == 1
    assert abs(float(cues.any(1).float().mean()) - 0.25) < 0.03
    assert not cues[:, 1:][~labels].any()
    assert bool((log_q.exp().sum(1) - 1).abs().max() < 1e-5)


def test_masks_and_photos_have_vocs_size(tmp_path: Path) -> None:
    mask = evaluation.drawn_mask(np.random.default_rng(0), rim=True)
    assert mask.shape == (375, 500) and IGNORE_INDEX in mask and len(np.unique(mask)) > 2
    (path,) = loading.write_photos(tmp_path, 1, None)
    facts = inspect_photo(path)
    assert (facts.height, facts.width) == (375, 500)
    assert read_cues(loading.write_cues(tmp_path / "cues.npz", 2), "1").shape == (21, 41, 41)


def test_guides_are_timed_where_no_crf_is_needed(tmp_path: Path) -> None:
    """Two salient components above the least area, and in each a seed of one class."""
    records, saliency, seeds = guides.write_inputs(tmp_path, 2, None)
    for record in records:
        _, numbers, stats, _ = cv2.connectedComponentsWithStats((saliency[record.image_id] >= 128).astype(np.uint8))
        large = np.flatnonzero(stats[1:, cv2.CC_STAT_AREA] >= 0.01 * 375 * 500) + 1
        inside = [set(np.unique(seeds[record.image_id][numbers == number])) - {0} for number in large]
        assert sorted(inside, key=min) == [{3}, {4}]


def test_grown_masks_grow_at_the_backgrounds_cost() -> None:
    labels = np.zeros((7, 7), np.uint8)
    labels[3, 2], labels[3, 4] = 1, 2
    larger = expand_optimum.grown(labels, (1, 2), 1)
    assert larger[3].tolist() == [0, 1, 1, 1, 2, 2, 0] and (larger > 0).sum() == 9
    np.testing.assert_array_equal(expand_optimum.grown(labels, (1, 2), 0), labels)
    probs = expand_optimum.probabilities(labels, 3)
    assert probs.argmax(1)[0].tolist() == labels.tolist() and bool((probs.sum(1) - 1).abs().max() < 1e-6)


def test_flops_are_those_of_both_passes_and_of_depthwise_kernels_alone() -> None:
    plain = torch.nn.Conv2d(4, 6, 3, padding=1)
    depthwise = torch.nn.Conv2d(4, 4, 3, padding=1, groups=4)
    x = torch.zeros(2, 4, 5, 7)
    assert training_step.counted_flops(lambda: plain(x)) == 3 * 2 * (2 * 5 * 7) * 6 * 4 * 9
    assert training_step.counted_flops(lambda: depthwise(x)) == 3 * 2 * (2 * 5 * 7) * 4 * 9
