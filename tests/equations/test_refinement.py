"""IRN's walk and loss, PAR and PAMR against slow loops straight from the papers (and their released code's details)."""

import math
from itertools import product

import numpy as np
import numpy.typing as npt
import pytest
import torch

from weakseg.crf import CRFParams
from weakseg.refinement import (
    affinity_loss,
    boundary_walk,
    confident_labels,
    joined_to_proposals,
    pixel_adaptive,
    smoothed_labels,
    walked_labels,
)
from weakseg.refinement.adaptive import DILATIONS
from weakseg.refinement.affinity import lines

IRN = CRFParams(10, 50, 5, 3, 3)
Array = npt.NDArray[np.float64]


def cells_between(dy: int, dx: int) -> list[tuple[int, int]]:
    box = product(range(min(dy, 0), max(dy, 0) + 1), range(min(dx, 0), max(dx, 0) + 1))
    return [(y, x) for y, x in box if (dy * x - dx * y) ** 2 / (dy * dy + dx * dx) < 1]


def affinity(edges: Array, source: tuple[int, int], target: tuple[int, int]) -> float:
    dy, dx = target[0] - source[0], target[1] - source[1]
    return float(1 - max(edges[source[0] + y, source[1] + x] for y, x in cells_between(dy, dx)))


def offsets(radius: int) -> list[tuple[int, int]]:
    along = [(0, x) for x in range(1, radius)]
    return along + [(y, x) for y in range(1, radius) for x in range(1 - radius, radius) if x * x + y * y < radius**2]


def dense_walk(maps: Array, edges: Array, radius: int, power: int, doublings: int) -> Array:
    """T in full, squared `doublings` times."""
    height, width = edges.shape
    matrix = np.eye(height * width)
    for (y, x), (dy, dx) in product(product(range(height), range(width)), offsets(radius)):
        if 0 <= x + dx < width and y + dy < height:
            value = affinity(edges, (y, x), (y + dy, x + dx)) ** power
            first, second = y * width + x, (y + dy) * width + x + dx
            matrix[first, second] = matrix[second, first] = value
    matrix /= matrix.sum(0)
    for _ in range(doublings):
        matrix = matrix @ matrix
    return ((maps * (1 - edges)).reshape(len(maps), -1) @ matrix).reshape(maps.shape)


def test_the_lines_are_those_of_the_paper() -> None:
    for radius in (2, 3, 5, 10):
        assert [(line.dy, line.dx) for line in lines(radius)] == offsets(radius)
        for line in lines(radius):
            assert sorted(line.cells) == sorted(cells_between(line.dy, line.dx))
            assert {(0, 0), (line.dy, line.dx)} <= set(line.cells)
    assert 2 * len(lines(5)) + 1 == 69  # entries in a row of T


@pytest.mark.parametrize(("radius", "power", "doublings"), [(5, 10, 8), (3, 4, 3), (2, 1, 0), (5, 1, 1), (9, 10, 8)])
def test_walk(radius: int, power: int, doublings: int) -> None:
    rng = np.random.default_rng(radius)
    for height, width, count in ((7, 9, 3), (4, 11, 1), (1, 6, 2), (5, 1, 1)):
        maps, edges = rng.random((count, height, width)), rng.random((height, width)) ** 3
        walked = boundary_walk(torch.from_numpy(maps), torch.from_numpy(edges), radius, power, doublings)
        np.testing.assert_allclose(walked, dense_walk(maps, edges, radius, power, doublings), atol=2e-6)


def test_a_walk_of_a_batch_is_that_of_each_photo_and_padding_changes_nothing() -> None:
    rng = torch.Generator().manual_seed(0)
    maps, edges = torch.rand(3, 2, 8, 10, generator=rng), torch.rand(3, 8, 10, generator=rng)
    alone = torch.stack([boundary_walk(some, wall) for some, wall in zip(maps, edges, strict=True)])
    torch.testing.assert_close(boundary_walk(maps, edges), alone)
    padded = boundary_walk(
        torch.nn.functional.pad(maps[0], (0, 3, 0, 4)), torch.nn.functional.pad(edges[0], (0, 3, 0, 4), value=1.0)
    )
    torch.testing.assert_close(padded[:, :8, :10], alone[0])
    assert not padded[:, 8:].any() and not padded[:, :, 10:].any()


def test_a_long_walk_without_walls_averages_the_heat() -> None:
    """A step replaces each cell by a weighted mean of its neighbours; the limit weighs cells by their number of pairs."""
    maps = torch.zeros(1, 6, 7, dtype=torch.float64)
    maps[0, 2, 2] = 5
    walked = boundary_walk(maps, torch.zeros(6, 7, dtype=torch.float64), radius=3, doublings=12)
    pairs = np.ones((6, 7))
    for (y, x), (dy, dx) in product(product(range(6), range(7)), offsets(3)):
        if 0 <= x + dx < 7 and y + dy < 6:
            pairs[y, x] += 1
            pairs[y + dy, x + dx] += 1
    np.testing.assert_allclose(walked, 5 * pairs[2, 2] / pairs.sum(), atol=2e-6)


def test_walked_labels() -> None:
    walked = torch.zeros(2, 5, 5)
    walked[0, :, :2], walked[1, :, 3:] = 1.0, 0.3
    labels = walked_labels(walked, torch.tensor([4, 9]), 18, 21, background=0.25)
    assert labels.shape == (18, 21) and labels.dtype == torch.uint8
    assert set(labels.flatten().tolist()) == {0, 4, 9} and int(labels[3, 0]) == 4 and int(labels[3, -1]) == 9
    assert set(walked_labels(walked, torch.tensor([4, 9]), 18, 21, background=0.35).flatten().tolist()) == {0, 4}
    assert not walked_labels(torch.zeros(0, 5, 5), torch.zeros(0, dtype=torch.long), 18, 21).any()
    assert not walked_labels(torch.zeros(1, 5, 5), torch.tensor([3]), 18, 21).any()


def slow_affinity_loss(edges: Array, labels: npt.NDArray[np.uint8], radius: int) -> float:
    kinds: dict[str, list[float]] = {"foreground": [], "background": [], "unequal": []}
    for wall, ids in zip(edges, labels, strict=True):
        rows, columns = range(len(wall) - (radius - 1)), range(radius - 1, wall.shape[1] - (radius - 1))
        for (y, x), (dy, dx) in product(product(rows, columns), offsets(radius)):
            first, second = int(ids[y, x]), int(ids[y + dy, x + dx])
            if 255 in (first, second):
                continue
            value = affinity(wall, (y, x), (y + dy, x + dx))
            if first != second:
                kinds["unequal"].append(-math.log(1 + 1e-5 - value))
            else:
                kinds["foreground" if first else "background"].append(-math.log(value + 1e-5))
    means = {kind: sum(costs) / len(costs) if costs else 0.0 for kind, costs in kinds.items()}
    return 0.25 * (means["foreground"] + means["background"]) + 0.5 * means["unequal"]


@pytest.mark.parametrize("radius", [2, 3, 5])
@pytest.mark.parametrize("choice", [(0, 3, 7, 255), (0,), (255,), (2,), (0, 255), (1, 2)])
def test_affinity_loss(radius: int, choice: tuple[int, ...]) -> None:
    rng = np.random.default_rng(radius)
    edges = rng.random((2, 8, 11))
    labels = rng.choice(choice, edges.shape).astype(np.uint8)
    loss = affinity_loss(torch.from_numpy(edges), torch.from_numpy(labels), radius)
    assert float(loss) == pytest.approx(slow_affinity_loss(edges, labels, radius), rel=1e-9, abs=1e-12)


def test_affinity_loss_gradient() -> None:
    rng = torch.Generator().manual_seed(1)
    edges = (0.1 + 0.8 * torch.rand(1, 6, 7, generator=rng, dtype=torch.float64)).requires_grad_()
    labels = torch.randint(0, 3, (1, 6, 7), generator=rng)
    assert torch.autograd.gradcheck(lambda e: affinity_loss(e, labels, 3), edges)


@pytest.mark.parametrize("certain", [0.0, 1.0])
def test_affinity_loss_is_finite_at_the_ends(certain: float) -> None:
    edges = torch.full((1, 6, 7), certain, requires_grad=True)
    labels = torch.randint(0, 2, (1, 6, 7), generator=torch.Generator().manual_seed(0))
    loss = affinity_loss(edges, labels, 3)
    loss.backward()  # type: ignore[no-untyped-call]
    assert edges.grad is not None and torch.isfinite(loss) and torch.isfinite(edges.grad).all()


def slow_adaptive(image: Array, masks: Array, rule: str, rounds: int, dilations: tuple[int, ...]) -> Array:
    """One photo (3, H, W) and masks (C, H, W) of its size, pixel by pixel."""
    height, width = image.shape[1:]
    shifts = [(dy * d, dx * d) for d in dilations for dy, dx in product((-1, 0, 1), repeat=2) if dy or dx]

    def at(array: Array, y: int, x: int) -> Array:
        return array[:, min(max(y, 0), height - 1), min(max(x, 0), width - 1)]

    weights = np.empty((height, width, len(shifts)))
    for y, x in product(range(height), range(width)):
        cells = np.stack([at(image, y + dy, x + dx) for dy, dx in shifts])
        centre = at(image, y, x)
        if rule == "pamr":
            deviation = np.concatenate([cells, np.tile(centre, (len(dilations), 1))]).std(0, ddof=1)
            logits = -(np.abs(cells - centre) / (1e-8 + 0.1 * deviation)).mean(1)
        else:
            logits = -((np.abs(cells - centre) / (cells.std(0, ddof=1) + 1e-8) / 0.3) ** 2).mean(1)
        weights[y, x] = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    if rule == "par":
        apart = np.array([math.hypot(dy, dx) for dy, dx in shifts])
        near = np.exp(-((apart / (apart.std(ddof=1) + 1e-8) / 0.3) ** 2))
        weights += 0.01 * near / near.sum()
    for _ in range(rounds):
        masks = np.stack([
            sum(weights[y, x, n] * at(masks, y + dy, x + dx) for n, (dy, dx) in enumerate(shifts))
            for y, x in product(range(height), range(width))
        ], 1).reshape(masks.shape)  # fmt: skip
    return masks


@pytest.mark.parametrize("rule", ["par", "pamr"])
@pytest.mark.parametrize("dilations", [(1,), (1, 2, 4), DILATIONS])
def test_pixel_adaptive(rule: str, dilations: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    image, masks = rng.integers(0, 256, (3, 6, 5)).astype(float), rng.random((2, 6, 5))
    image[:, :3, :3] = 80  # without contrast: σ is 0 where all neighbours lie in it
    refined = pixel_adaptive(torch.from_numpy(image)[None], torch.from_numpy(masks)[None], rule, 2, dilations)  # type: ignore[arg-type]
    np.testing.assert_allclose(refined[0], slow_adaptive(image, masks, rule, 2, dilations), rtol=1e-9)


def test_pixel_adaptive_brings_masks_to_the_size_of_the_images() -> None:
    masks = torch.arange(4.0).view(1, 1, 2, 2)
    images = torch.zeros(1, 3, 3, 3, dtype=torch.uint8)
    large = pixel_adaptive(images, masks, "par", rounds=0)
    assert large[0, 0].tolist() == [[0, 0.5, 1], [1, 1.5, 2], [2, 2.5, 3]]


def test_pixel_adaptive_on_a_batch_is_that_of_each_image() -> None:
    rng = torch.Generator().manual_seed(0)
    images, masks = torch.rand(2, 3, 9, 7, generator=rng), torch.rand(2, 3, 4, 5, generator=rng)
    for rule in ("par", "pamr"):
        both = pixel_adaptive(images, masks, rule)  # type: ignore[arg-type]
        for index in range(2):
            one = pixel_adaptive(images[index : index + 1], masks[index : index + 1], rule)  # type: ignore[arg-type]
            torch.testing.assert_close(both[index : index + 1], one)


def test_wrong_shapes_are_named() -> None:
    maps, edges = torch.rand(2, 5, 6), torch.rand(5, 6)
    with pytest.raises(ValueError, match=r"edges must be floating point \(5, 6\)"):
        boundary_walk(maps, torch.rand(6, 5))
    with pytest.raises(ValueError, match="maps must be floating point"):
        boundary_walk(maps.int(), edges)
    with pytest.raises(ValueError, match=r"labels must be class ids \(1, 5, 6\)"):
        affinity_loss(edges[None], torch.zeros(1, 6, 5, dtype=torch.uint8))
    with pytest.raises(ValueError, match="radius 10 needs at least 10x19 cells"):
        affinity_loss(edges[None], torch.zeros(1, 5, 6, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"images must be RGB \(B, 3, H, W\)"):
        pixel_adaptive(torch.rand(1, 4, 5, 6), torch.rand(1, 2, 5, 6))
    with pytest.raises(ValueError, match=r"masks must be floating point \(1, C, h, w\)"):
        pixel_adaptive(torch.rand(1, 3, 5, 6), torch.rand(2, 2, 5, 6))
    with pytest.raises(ValueError, match="rule must be par or pamr"):
        pixel_adaptive(torch.rand(1, 3, 5, 6), torch.rand(1, 2, 5, 6), "crf")  # type: ignore[arg-type]


def test_smoothed_labels() -> None:
    image = np.zeros((20, 24, 3), np.uint8)
    image[:, 12:] = 200
    labels = np.zeros((20, 24), np.uint8)
    labels[:, 12:] = 7
    rng = np.random.default_rng(0)
    noisy = np.where(rng.random(labels.shape) < 0.15, 7 - labels, labels).astype(np.uint8)
    noisy[5:8, 5:15] = 255
    np.testing.assert_array_equal(smoothed_labels(image, noisy, IRN), labels)
    for only in (0, 3):
        np.testing.assert_array_equal(smoothed_labels(image, np.full((20, 24), only, np.uint8), IRN), only)
    some = np.full((20, 24), 255, np.uint8)
    np.testing.assert_array_equal(smoothed_labels(image, some, IRN), 255)
    some[3, 4] = 6
    np.testing.assert_array_equal(smoothed_labels(image, some, IRN), 6)


def test_confident_labels() -> None:
    """Sure foreground, sure background, and what lies between the thresholds."""
    image = np.zeros((33, 33, 3), np.uint8)
    image[:, 11:22], image[:, 22:] = 120, 240
    maps = np.zeros((1, 33, 33), np.float32)
    maps[0, :, :11], maps[0, :, 11:22], maps[0, :, 22:] = 1.0, 0.15, 0.01
    labels = confident_labels(image, maps, [9], IRN)
    assert (labels[:, :11] == 9).all() and (labels[:, 11:22] == 255).all() and (labels[:, 22:] == 0).all()
    assert not confident_labels(image, np.zeros((0, 5, 5), np.float32), [], IRN).any()


def test_proposals_join_the_class_that_they_lie_in_or_cover() -> None:
    labels = np.zeros((4, 10), np.uint8)
    labels[:, 2:5], labels[:, 8], labels[0, 0] = 3, 5, 255

    def columns(first: int, last: int) -> npt.NDArray[np.bool_]:
        mask = np.zeros((4, 10), bool)
        mask[:, first:last] = True
        return mask

    inside = joined_to_proposals(labels, [columns(2, 7)])  # 3 of 5 columns lie in class 3
    assert (inside[:, 2:7] == 3).all() and (inside[:, 8] == 5).all() and inside[0, 0] == 255
    assert np.array_equal(joined_to_proposals(labels, [columns(1, 3)]), labels)  # half is not more than half
    covering = joined_to_proposals(labels, [columns(5, 10)])  # all of class 5, though it is a fifth of the proposal
    assert (covering[:, 5:] == 5).all() and (covering[:, 2:5] == 3).all()
    both = joined_to_proposals(labels, [columns(2, 10), columns(2, 5), columns(8, 9)])
    assert (both[:, 2:5] == 3).all() and (both[:, 8] == 5).all()
    shrunk = joined_to_proposals(labels, [columns(3, 5)])
    assert (shrunk[:, 3:5] == 3).all() and (shrunk[1:, 2] == 0).all()
    assert np.array_equal(joined_to_proposals(labels, []), labels)
    assert np.array_equal(joined_to_proposals(labels, [np.zeros((4, 10), bool)]), labels)
