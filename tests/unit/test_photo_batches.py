"""Photos through a network: the same results in order, whatever the number of workers, alone or in batches."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from weakseg.batch.photo_batches import Photo, in_batches, through_network
from weakseg.errors import UserError
from weakseg.files.manifest import Record

loads: list[Path] = []


@dataclass(frozen=True)
class Means:
    """Each photo's mean colour by a network, and the number of threads that it had."""

    model: Path

    def network(self) -> nn.Module:
        loads.append(self.model)
        return nn.AdaptiveAvgPool2d(1)

    def size(self, image: Photo) -> Hashable:
        return image.shape

    def results(
        self, network: nn.Module, records: Sequence[Record], images: Sequence[Photo], device: torch.device
    ) -> list[tuple[str, list[float], int]]:
        pixels = torch.stack([torch.from_numpy(image).permute(2, 0, 1).float() for image in images])
        means = network(pixels)[:, :, 0, 0].tolist()
        threads = torch.get_num_threads()
        return [(record.image_id, mean, threads) for record, mean in zip(records, means, strict=True)]


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Record]:
    monkeypatch.setenv("WEAKSEG_DEVICE", "cpu")
    rng, found = np.random.default_rng(0), []
    for number in range(11):
        path = tmp_path / f"{number}.png"
        height, width = rng.integers(3, 6, 2)
        Image.fromarray(rng.integers(0, 256, (height, width, 3)).astype(np.uint8)).save(path)
        found.append(Record(path.stem, "train", str(path), "", int(height), int(width), (1,), ""))
    return found


def test_results_are_those_of_each_photo_and_of_one_thread_for_any_number_of_workers(
    records: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [(record.image_id, np.asarray(Image.open(record.image), float).mean((0, 1)), 1) for record in records]
    threads = torch.get_num_threads()
    for workers in ("1", "3"):
        monkeypatch.setenv("WEAKSEG_WORKERS", workers)
        results = list(through_network(Means(Path("a")), records, "means"))
        assert [(name, threads) for name, _, threads in results] == [(name, threads) for name, _, threads in expected]
        np.testing.assert_allclose([mean for _, mean, _ in results], [mean for _, mean, _ in expected], rtol=1e-5)
    assert torch.get_num_threads() == threads  # as it was


def test_a_network_is_loaded_once_for_all_photos_and_again_for_another_task(
    records: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEAKSEG_WORKERS", "1")
    loads.clear()
    for name in ("b", "c"):
        list(through_network(Means(Path(name)), records, "means"))
    assert loads == [Path("b"), Path("c")]


def test_a_photo_that_cannot_be_read_is_named(records: list[Record], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEAKSEG_WORKERS", "2")
    Path(records[5].image).write_bytes(b"")
    with pytest.raises(UserError, match=r"5\.png: is empty"):
        list(through_network(Means(Path("a")), records, "means"))


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_batches_hold_items_of_equal_size_and_results_keep_the_order(batch_size: int) -> None:
    batches: list[list[int]] = []

    def together(items: list[int]) -> list[int]:
        batches.append(items)
        return [item * item for item in items]

    items = list(range(50))
    assert list(in_batches(iter(items), lambda item: item % 3, together, batch_size)) == [item**2 for item in items]
    assert sorted(item for batch in batches for item in batch) == items
    assert all(len({item % 3 for item in batch}) == 1 and len(batch) <= batch_size for batch in batches)
    assert max(map(len, batches)) == min(batch_size, 17)


def test_no_more_than_four_batches_of_items_are_taken_ahead() -> None:
    taken: list[int] = []
    items = (taken.append(number) or number for number in range(100))
    results = in_batches(items, lambda item: 0, lambda some: some, 2)
    assert next(results) == 0 and taken == list(range(8))
    assert list(results) == list(range(1, 100))


def test_no_items_give_no_results() -> None:
    assert list(in_batches([], lambda item: 0, lambda some: some, 4)) == []
