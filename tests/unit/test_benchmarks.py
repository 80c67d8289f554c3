"""benchmarks/pipeline.py reads what `dvc repro` prints."""

from benchmarks.pipeline import costs

LOG = """
Running stage 'make_toy':
> python -m stages.make_toy --out data/toy
stages.make_toy: 9 s, peak memory 0.2 GiB
Stage 'prepare' didn't change, skipping
Running stage 'train_segmenter@sec':
segmenter/sec: 100%|##########| 240/240 [01:00<00:00]stages.train_segmenter: 61 s, peak memory 1.5 GiB, largest worker 0.4 GiB
"""


def test_costs_are_those_of_the_stages_that_ran() -> None:
    assert costs(LOG) == [
        ("make_toy", 9, "0.2 GiB"),
        ("train_segmenter@sec", 61, "1.5 GiB, largest worker 0.4 GiB"),
    ]
