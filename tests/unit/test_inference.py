"""Scores on a grid brought back to the photo: every pixel gets the score of its own place."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from weakseg.files.archives import ArrayArchive, write_arrays
from weakseg.files.manifest import Record
from weakseg.files.maps import map_arrays
from weakseg.inference.grids import PROB_FLOOR, GridScores, full_size, label_mask, read_grid
from weakseg.inference.predict import predict_grids

CPU = torch.device("cpu")
UNIT = 100.0  # px a logit
SPAN = 400.0  # px a probability of 1


class Stub(nn.Module):
    """Two maps in px on the grid of stride 8, from a function of the photos; keeps the photos it was given.

    Both rules interpolate linearly, `crop` between logits, `warp` between probabilities: so that is where the px are.
    """

    def __init__(self, maps: Callable[[Tensor], tuple[Tensor, Tensor]], geometry: str) -> None:
        super().__init__()
        self.maps, self.geometry = maps, geometry
        self.seen = torch.empty(0)

    def forward(self, images: Tensor) -> Tensor:
        self.seen = images
        px = torch.stack([maps.expand(len(images), -1, -1) for maps in self.maps(images[:, :, ::8, ::8])], 1).float()
        if self.geometry == "crop":
            return functional.pad(px / UNIT, (0, 0, 0, 0, 1, 0))
        return torch.cat([1 - px.sum(1, keepdim=True) / SPAN, px / SPAN], 1).clamp(min=1e-30).log()


def places(grid: Tensor) -> tuple[Tensor, Tensor]:
    """Cell i sits at pixel 8·i."""
    rows, columns = (8 * torch.arange(side) for side in grid.shape[2:])
    return rows[:, None].expand(len(rows), len(columns)), columns[None].expand(len(rows), len(columns))


def colours(grid: Tensor) -> tuple[Tensor, Tensor]:
    return grid[:, 0], grid[:, 1]


def coordinates(height: int, width: int) -> npt.NDArray[np.uint8]:
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.zeros_like(rows)], 2).astype(np.uint8)


def decoded(grid: GridScores, height: int, width: int, geometry: str) -> npt.NDArray[np.float32]:
    """(2, H, W): the maps in px, at full size."""
    log_probs = full_size(grid, height, width, 1e-30, geometry)
    return (log_probs[1:] - log_probs[0]) * UNIT if geometry == "crop" else np.exp(log_probs[1:]) * SPAN


@pytest.mark.parametrize("size", [(40, 70), (33, 33), (1, 5), (97, 64)])
@pytest.mark.parametrize("input_px", [None, 65, 100])
def test_crop_gives_every_pixel_its_own_place(size: tuple[int, int], input_px: int | None) -> None:
    network = Stub(places, "crop")
    grid = predict_grids(network, [coordinates(*size)], "crop", input_px, CPU)[0]
    least = [max(side, input_px or 1) for side in size]
    assert all(
        (side - 1) % 16 == 0 and wanted <= side < wanted + 16 for side, wanted in zip(grid.extent, least, strict=True)
    )
    assert grid.extent == tuple(network.seen.shape[2:])
    assert grid.scores.shape == (3, (grid.extent[0] - 1) // 8 + 1, (grid.extent[1] - 1) // 8 + 1)
    expected = coordinates(*size)[..., :2].transpose(2, 0, 1)
    np.testing.assert_allclose(decoded(grid, *size, "crop"), expected, atol=1e-3)


def test_crop_pads_at_the_right_and_bottom_by_reflection() -> None:
    network, image = Stub(colours, "crop"), coordinates(40, 70)
    grid = predict_grids(network, [image], "crop", None, CPU)[0]
    seen = network.seen[0].permute(1, 2, 0).numpy()
    assert network.seen.dtype == torch.uint8
    assert seen.shape == (49, 81, 3)
    np.testing.assert_array_equal(seen[:40, :70], image)
    np.testing.assert_array_equal(seen[40:, 70:], image[38:29:-1, 68:57:-1])
    inside = decoded(grid, 40, 70, "crop")[:, :33, :65]  # cells beyond see the reflection
    np.testing.assert_allclose(inside, image[:33, :65, :2].transpose(2, 0, 1), atol=1e-3)


def test_warp_covers_the_photo_from_corner_to_corner() -> None:
    network = Stub(places, "warp")
    grid = predict_grids(network, [coordinates(50, 90)], "warp", 65, CPU)[0]
    assert network.seen.shape == (1, 3, 65, 65)
    assert grid.extent == (50, 90)
    rows, columns = decoded(grid, 50, 90, "warp")
    np.testing.assert_allclose(rows, np.linspace(0, 64, 50)[:, None].repeat(90, 1), atol=1e-3)
    np.testing.assert_allclose(columns, np.linspace(0, 64, 90)[None].repeat(50, 0), atol=1e-3)


def test_warp_squeezes_the_whole_photo() -> None:
    """What the network reads off the pixels returns to the pixels, to the half pixel by which resizing may differ."""
    grid = predict_grids(Stub(colours, "warp"), [coordinates(50, 90)], "warp", 65, CPU)[0]
    expected = coordinates(50, 90)[..., :2].transpose(2, 0, 1)
    np.testing.assert_allclose(decoded(grid, 50, 90, "warp"), expected, atol=1.01)


def test_grid_scores_are_log_probabilities() -> None:
    logits = torch.randn(1, 4, 5, 5, generator=torch.Generator().manual_seed(0)) * 3

    class Constant(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return logits

    grid = predict_grids(Constant(), [coordinates(33, 33)], "crop", None, CPU)[0]
    np.testing.assert_allclose(grid.scores, logits[0].log_softmax(0).numpy(), atol=1e-6)


@pytest.mark.parametrize("geometry", ["warp", "crop"])
def test_floor_and_renormalization_by_hand(geometry: str) -> None:
    scores = np.log(np.array([0.9, 0.0999, 0.0001], np.float32)).reshape(3, 1, 1).repeat(2, 1).repeat(2, 2)
    probs = np.exp(full_size(GridScores(scores, (5, 5)), 4, 3, 0.01, geometry))
    assert probs.shape == (3, 4, 3)
    np.testing.assert_allclose(probs[:, 3, 2], np.array([0.9, 0.0999, 0.01]) / 1.0099, rtol=1e-5)
    np.testing.assert_allclose(probs.sum(0), 1, rtol=1e-6)


def test_sec_averages_probabilities_and_deeplab_scores() -> None:
    """Half-way between (0.9, 0.1) and (0.5, 0.5): the arithmetic mean, and the normalized geometric one."""
    scores = np.log(np.array([[[0.9, 0.5]], [[0.1, 0.5]]], np.float32)).repeat(2, 1)
    grid = GridScores(scores, (3, 3))
    means = np.sqrt([0.45, 0.05])
    np.testing.assert_allclose(np.exp(full_size(grid, 3, 3, 1e-5, "warp"))[:, 1, 1], [0.7, 0.3], rtol=1e-5)
    np.testing.assert_allclose(np.exp(full_size(grid, 3, 3, 1e-5, "crop"))[:, 1, 1], means / means.sum(), rtol=1e-5)


def test_the_mask_without_crf_follows_the_same_rule() -> None:
    """Between a cell that is sure of class 1 and one that leans to class 0, DeepLab's rule lets the sure one win."""
    scores = np.log(np.array([[[0.001, 0.8]], [[0.999, 0.2]]], np.float32)).repeat(2, 1)
    grid = GridScores(scores, (5, 101))
    for geometry in ("warp", "crop"):
        mask = label_mask(grid, 4, 100, geometry)
        assert mask.dtype == np.uint8
        assert mask.shape == (4, 100)
        np.testing.assert_array_equal(mask, full_size(grid, 4, 100, PROB_FLOOR, geometry).argmax(0))
        assert mask[:, 0].tolist() == [1] * 4
    along = np.linspace(0, 1, 101)[:100]
    assert label_mask(grid, 4, 100, "warp")[0].tolist() == ((0.999 - 0.799 * along) > 0.5).tolist()
    margin = np.log(999) + (np.log(0.25) - np.log(999)) * along
    assert label_mask(grid, 4, 100, "crop")[0].tolist() == (margin > 0).tolist()


@pytest.mark.parametrize("geometry", ["warp", "crop"])
def test_hopeless_scores_stay_finite(geometry: str) -> None:
    scores = np.array([0.0, -1e4], np.float32).reshape(2, 1, 1).repeat(3, 1).repeat(3, 2)
    log_probs = full_size(GridScores(scores, (17, 17)), 17, 17, PROB_FLOOR, geometry)
    assert log_probs.dtype == np.float32
    assert log_probs.flags["C_CONTIGUOUS"]
    np.testing.assert_allclose(log_probs[1], np.log(1e-5 / (1 + 1e-5)), rtol=1e-5)


def test_written_scores_are_read_back(tmp_path: Path) -> None:
    scores = np.array([[[0.5, -1.0]], [[-2.0, 0.25]]], np.float32)
    entries = [*map_arrays("a", np.arange(2), scores), ("a/extent", np.array([97, 113], np.uint16))]
    write_arrays(tmp_path / "scores.npz", entries)
    grid = read_grid(ArrayArchive(tmp_path / "scores.npz"), Record("a", "val", "", "", 113, 97, (), ""))
    assert grid.extent == (97, 113)
    np.testing.assert_array_equal(grid.scores, scores)
