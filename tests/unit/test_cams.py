"""Heat maps: sizes on the grid, the gradient by hand, mirrored photos, averages over views."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings, strategies as st
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from weakseg.cams import backprop
from weakseg.cams.heat_maps import HeatMapTask, activation_gradient, gradient_saliency, heat_maps
from weakseg.files.manifest import Record
from weakseg.images.resizing import input_size
from weakseg.images.transforms import pad_reflect
from weakseg.settings.networks import MakeCams
from weakseg.training import classification

CPU = torch.device("cpu")


class Stub(nn.Module):
    """Stride-8 features by one convolution, tanh, class scores by another; nothing symmetric about it."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.extract = torch.randn(4, 3, 3, 3, generator=generator) / 20
        self.classify = torch.randn(5, 4, 1, 1, generator=generator)

    def stride8(self, images: Tensor) -> Tensor:
        return functional.conv2d(images.to(self.extract.dtype) / 255, self.extract, stride=8, padding=1)

    def maps_from_stride8(self, low: Tensor) -> Tensor:
        return functional.conv2d(torch.tanh(low), self.classify.to(low.dtype))

    def class_maps(self, images: Tensor) -> Tensor:
        return self.maps_from_stride8(self.stride8(images))

    def scores_from_stride8(self, low: Tensor) -> Tensor:
        return self.maps_from_stride8(low).mean((2, 3))

    def forward(self, images: Tensor) -> Tensor:
        return self.scores_from_stride8(self.stride8(images))


def photo(height: int, width: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3)).astype(np.uint8)


def cam(**changes: object) -> MakeCams:
    settings = {
        "method": "gap",
        "input_px": 65,
        "geometry": "fit",
        "scales": [1.0],
        "gradient_scales": [],
        "flip": False,
        "excitation_at": "stride8",
        "smoothing_px": 0.0,
    }
    return MakeCams.model_validate({**settings, **changes})


def maps_of(image: npt.NDArray[np.uint8], **changes: object) -> npt.NDArray[np.float32]:
    return maps_by(Stub(), image, [2, 0], cam(**changes))


def maps_by(
    network: nn.Module, image: npt.NDArray[np.uint8], labels: list[int], settings_: MakeCams
) -> npt.NDArray[np.float32]:
    (maps,) = heat_maps(network, [image], [np.array(labels, np.intp)], settings_, CPU)
    return maps


# --- sizes -----------------------------------------------------------------------------------------------------


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 3000), st.integers(1, 3000), st.floats(33, 700), st.sampled_from(["warp", "fit"]))
def test_input_sides_are_on_the_grid(height: int, width: int, side_px: float, geometry: str) -> None:
    sides = input_size(height, width, side_px, geometry)
    assert all((side - 1) % 16 == 0 and side >= 33 for side in sides)
    if geometry == "warp":
        assert sides[0] == sides[1]
    else:
        assert abs(max(sides) - side_px) <= 8
        ratio = min(height, width) / max(height, width)
        assert min(sides) == 33 or abs(min(sides) - ratio * side_px) <= 8


def test_input_size_by_hand() -> None:
    assert input_size(375, 500, 321, "fit") == (241, 321)
    assert input_size(500, 375, 321, "fit") == (321, 241)
    assert input_size(375, 500, 321, "warp") == (321, 321)
    assert input_size(375, 500, 160.5, "warp") == (161, 161)
    assert input_size(20, 500, 321, "fit") == (33, 321)


# --- the gradient ------------------------------------------------------------------------------------------------


def test_gradient_saliency_by_hand_and_by_finite_differences() -> None:
    network = Stub().double()
    network.extract = network.extract.double()
    images = torch.from_numpy(photo(33, 41)).permute(2, 0, 1)[None]
    low = network.stride8(images)
    weights = network.classify.double().sum(0)[None, :, 0, 0, None, None]
    by_hand = (weights * (1 - torch.tanh(low) ** 2) / low[0, 0].numel()).abs().amax(1, keepdim=True)
    saliency = gradient_saliency(network, images)
    assert saliency.shape == (1, 1, 5, 6)
    torch.testing.assert_close(saliency, by_hand, rtol=1e-9, atol=0)

    steps = torch.eye(low.numel(), dtype=torch.float64).view(-1, *low.shape[1:]) * 1e-5
    ahead, behind = (network.scores_from_stride8(low + sign * steps).sum(1) for sign in (1, -1))
    numeric = ((ahead - behind) / 2e-5).view(low.shape[1:]).abs().amax(0)
    torch.testing.assert_close(saliency[0, 0], numeric, rtol=1e-6, atol=1e-12)


def test_gradient_saliency_keeps_photos_apart_and_leaves_the_network_alone() -> None:
    network = Stub()
    network.classify = nn.Parameter(network.classify)
    images = torch.from_numpy(np.stack([photo(33, 33), photo(33, 33)[::-1]])).permute(0, 3, 1, 2)
    both = gradient_saliency(network, images)
    for index in range(2):
        torch.testing.assert_close(both[index], gradient_saliency(network, images[index : index + 1])[0])
    assert network.classify.grad is None


# --- heat maps -------------------------------------------------------------------------------------------------


def test_class_maps_of_the_labels_only() -> None:
    image = photo(65, 49)
    maps = maps_of(image)
    expected = Stub().class_maps(torch.from_numpy(image).permute(2, 0, 1)[None])[0, [2, 0]]
    assert maps.dtype == np.float32
    assert maps.shape == (2, 9, 7)
    np.testing.assert_allclose(maps, expected, atol=1e-6)


@pytest.mark.parametrize("method", ["gap", "background_gradient"])
def test_averages_over_flips_are_mirror_consistent(method: str) -> None:
    image = photo(65, 49)
    plain, averaged = maps_of(image, method=method), maps_of(image, method=method, flip=True)
    mirrored = maps_of(image[:, ::-1], method=method, flip=True)
    np.testing.assert_allclose(mirrored[..., ::-1], averaged, atol=1e-7)
    assert np.abs(maps_of(image[:, ::-1], method=method)[..., ::-1] - plain).max() > 1e-3  # not so without
    np.testing.assert_allclose(averaged, (plain + maps_of(image[:, ::-1], method=method)[..., ::-1]) / 2, atol=1e-7)


BACKPROP = ("vanilla_backprop", "guided_backprop", "excitation_backprop")
GRIDS = {
    "vanilla_backprop": (2, 65, 49),
    "guided_backprop": (2, 65, 49),
    "excitation_backprop": (2, 9, 7),
    "gap": (2, 9, 7),
}


@pytest.mark.parametrize("method", BACKPROP)
def test_backprop_seeders_give_a_map_per_label(method: str) -> None:
    image = photo(65, 49)
    plain, averaged = maps_of(image, method=method), maps_of(image, method=method, flip=True)
    assert plain.shape == GRIDS[method] and (plain > 0).mean() > 0.1 and plain.dtype == np.float32
    assert np.abs(plain[0] - plain[1]).max() > 0.01 * plain.max()
    mirrored = maps_of(image[:, ::-1], method=method)[..., ::-1]
    np.testing.assert_allclose(averaged, (plain + mirrored) / 2, atol=1e-6 * plain.max())


@pytest.mark.parametrize("method", [*BACKPROP, "gap"])
def test_a_photo_without_labels_has_no_maps(method: str) -> None:
    assert maps_by(Stub(), photo(65, 49), [], cam(method=method)).shape == (0, *GRIDS[method][1:])


def test_pixel_maps_have_a_value_at_every_pixel() -> None:
    """GS §4.2: the maximal absolute gradient value among the RGB channels on each pixel."""
    image = photo(65, 49)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    gradients = backprop.image_gradients(Stub(), pixels, [2, 0], guided=False)
    np.testing.assert_allclose(maps_of(image, method="vanilla_backprop"), gradients[0], rtol=1e-5)


@pytest.mark.parametrize("method", ["vanilla_backprop", "excitation_backprop", "gap"])
def test_smoothing_is_in_px_of_the_input(method: str) -> None:
    """The same share of the photo, whatever the method's own resolution and the scale."""
    image = np.zeros((129, 129, 3), np.uint8)
    image[64, 64] = 255
    network = Bump()
    for scale in (1.0, 2.0):
        settings_ = cam(method=method, input_px=129, geometry="warp", scales=[scale], smoothing_px=16.0)
        maps = maps_by(network, image, [0], settings_)[0]
        row = maps[len(maps) // 2, :: 1 if len(maps) == 17 else 8]
        np.testing.assert_allclose(row / row.max(), np.exp(-0.5 * ((np.arange(17) - 8) / 2) ** 2), atol=0.03)


class Bump(nn.Module):
    """Whatever the method, its map is a spike in the middle: all evidence comes from there."""

    def stride8(self, images: Tensor) -> Tensor:
        middle = torch.zeros(images.shape[2:])
        middle[images.shape[2] // 2, images.shape[3] // 2] = 1
        return (images.float() * middle)[..., ::8, ::8] + 0 * images.float().mean()

    def class_maps(self, images: Tensor) -> Tensor:
        low = torch.zeros_like(self.stride8(images))[:, :1]
        low[..., low.shape[2] // 2, low.shape[3] // 2] = 1
        return low

    def scores_from_stride8(self, low: Tensor) -> Tensor:
        return functional.conv2d(low, torch.ones(1, low.shape[1], 1, 1)).mean((2, 3))

    def forward(self, images: Tensor) -> Tensor:
        return self.scores_from_stride8(self.stride8(images))


def test_averages_over_scales_come_on_the_first_scales_grid() -> None:
    image = photo(65, 49)
    larger = torch.from_numpy(maps_of(image, input_px=129))[None]
    assert larger.shape == (1, 2, 17, 13)
    larger = functional.interpolate(larger, (9, 7), mode="bilinear", align_corners=True)
    averaged = maps_of(image, scales=[1.0, 2.0])
    np.testing.assert_allclose(averaged, (maps_of(image) + larger[0].numpy()) / 2, atol=1e-5)


def test_activation_gradient_by_hand() -> None:
    network = Stub().double()
    network.extract, network.classify = network.extract.double(), network.classify.double()
    images = torch.from_numpy(photo(33, 41)).permute(2, 0, 1)[None]
    low = network.stride8(images)
    gradient = network.classify[[2, 0]] * (1 - torch.tanh(low) ** 2) / low[0, 0].numel()  # (2, K, h, w)
    product = (low * gradient).clamp(min=0).sum(1)[None]
    padded = functional.pad(product, (1, 1, 1, 1), value=float("nan"))
    by_hand = functional.unfold(padded.flatten(0, 1)[:, None], 3).nanmean(1).view(1, 2, 5, 6)
    maps = activation_gradient(network, images, torch.tensor([[2, 0]]))
    torch.testing.assert_close(maps.double(), by_hand, rtol=1e-5, atol=0)


def test_finer_maps_are_added_each_over_its_maximum() -> None:
    image = photo(65, 49)
    coarse = np.maximum(maps_of(image), 0)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    finer = activation_gradient(Stub(), pixels, torch.tensor([[2, 0]]))[0].numpy()
    expected = coarse / coarse.max((1, 2), keepdims=True) + finer / finer.max((1, 2), keepdims=True)
    np.testing.assert_allclose(maps_of(image, gradient_scales=[1.0]), expected, atol=1e-5)


@pytest.mark.parametrize(("geometry", "grid"), [("warp", (9, 9)), ("fit", (9, 7))])
def test_grids_of_both_geometries(geometry: str, grid: tuple[int, int]) -> None:
    assert maps_of(photo(200, 150), geometry=geometry).shape == (2, *grid)
    assert maps_of(photo(200, 150), geometry=geometry, method="background_gradient").shape == (1, *grid)


# --- read as GS's nets are trained: padded to a square, the padding cut off -------------------------------------------------


@pytest.mark.parametrize("method", ["gap", "background_gradient", "vanilla_backprop", "guided_backprop"])
@pytest.mark.parametrize(("height", "width"), [(65, 49), (33, 65)])
def test_padding_is_shown_to_the_network_and_cut_off_its_map(method: str, height: int, width: int) -> None:
    image = photo(height, width)
    square = pad_reflect(image, 65, 65)
    cell = 1 if "backprop" in method else 8
    padded = maps_of(square, method=method, geometry="fit")[:, : (height - 1) // cell + 1, : (width - 1) // cell + 1]
    np.testing.assert_allclose(maps_of(image, method=method, geometry="pad"), padded, atol=1e-6 * padded.max())
    plain = maps_of(image, method=method, geometry="fit")
    assert plain.shape == padded.shape and np.abs(plain - padded).max() > 1e-3 * padded.max()  # the padding was seen


def test_a_square_photo_has_no_padding() -> None:
    image = photo(90, 90)
    np.testing.assert_array_equal(maps_of(image, geometry="pad"), maps_of(image, geometry="fit"))


@pytest.mark.parametrize("method", ["gap", "vanilla_backprop"])
def test_the_mirrored_photo_is_padded_on_the_same_side_as_in_training(method: str) -> None:
    image = photo(65, 49)
    plain, averaged = (maps_of(image, method=method, geometry="pad", flip=flip) for flip in (False, True))
    mirrored = maps_of(np.ascontiguousarray(image[:, ::-1]), method=method, geometry="pad")[..., ::-1]
    np.testing.assert_allclose(averaged, (plain + mirrored) / 2, atol=1e-6 * plain.max())


class Coarse(nn.Module):
    """A map of stride 32 that rises by 1 a cell to the right and, ten times as fast, downwards."""

    def class_maps(self, images: Tensor) -> Tensor:
        rows, columns = ((side - 1) // 32 + 1 for side in images.shape[2:])
        return (10 * torch.arange(rows)[:, None] + torch.arange(columns)).float()[None, None]


def test_padding_that_ends_between_two_cells_is_cut_where_it_ends() -> None:
    maps = maps_by(Coarse(), photo(129, 81), [0], cam(input_px=129, geometry="pad"))[0]
    assert maps.shape == (17, 11)  # 81 px are 2.5 cells of the map's
    np.testing.assert_allclose(maps, 10 * np.arange(17)[:, None] / 4 + np.arange(11) / 4, atol=1e-5)


def test_all_scales_are_padded() -> None:
    image = photo(65, 49)
    larger = torch.from_numpy(maps_of(image, input_px=129, geometry="pad"))[None]
    larger = functional.interpolate(larger, (9, 7), mode="bilinear", align_corners=True)
    averaged = maps_of(image, scales=[1.0, 2.0], geometry="pad")
    np.testing.assert_allclose(averaged, (maps_of(image, geometry="pad") + larger[0].numpy()) / 2, atol=1e-5)


def test_a_map_covers_the_photo_from_corner_to_corner() -> None:
    """One bright corner of the photo lights up the map's corner, in every corner."""
    network = Stub()
    network.extract, network.classify = torch.ones(4, 3, 3, 3), torch.ones(5, 4, 1, 1)
    for row in (0, -1):
        for column in (0, -1):
            image = np.zeros((130, 97, 3), np.uint8)
            image[row, column] = 255
            maps = maps_by(network, image, [0], cam(input_px=129, flip=True, geometry="warp"))[0]
            assert maps[row, column] == maps.max() > 0
            assert (maps > 0).sum() == 1


def record(path: Path, labels: tuple[int, ...]) -> Record:
    return Record(path.stem, "train", str(path), "", 49, 65, labels, "")


def test_photo_maps_name_their_classes(tmp_path: Path) -> None:
    image, one = photo(65, 49), record(tmp_path / "a.png", (1, 3))
    ((labels, maps),) = HeatMapTask(tmp_path, cam()).results(Stub(), [one], [image], CPU)
    assert labels.tolist() == [1, 3]
    np.testing.assert_array_equal(maps, maps_of(image)[::-1])  # class ids 1 and 3 are scores 0 and 2
    background = cam(method="background_gradient")
    ((labels, maps),) = HeatMapTask(tmp_path, background).results(Stub(), [one], [image], CPU)
    assert labels.tolist() == [0]
    assert maps.shape == (1, 9, 7)


@pytest.mark.parametrize(
    ("method", "gradient_scales"),
    [*((method, []) for method in BACKPROP), ("background_gradient", []), ("gap", []), ("gap", [1.0])],
)
def test_photos_in_a_batch_have_the_maps_of_each_alone(
    method: str, gradient_scales: list[float], tmp_path: Path
) -> None:
    """With one, two and no labels, and two that are brought to the same size from different ones."""
    images = [photo(65, 49), photo(66, 49), photo(67, 50), photo(130, 98)]
    records = [record(tmp_path / f"{index}.png", labels) for index, labels in enumerate([(1,), (), (3, 5), (2,)])]
    settings_ = cam(method=method, scales=[1.0, 2.0], gradient_scales=gradient_scales, flip=True, smoothing_px=8.0)
    task = HeatMapTask(tmp_path, settings_)
    assert len({task.size(image) for image in images}) == 1
    together = task.results(Stub(), records, images, CPU)
    for index, (labels, maps) in enumerate(together):
        ((labels_alone, maps_alone),) = task.results(Stub(), records[index : index + 1], images[index : index + 1], CPU)
        np.testing.assert_array_equal(labels, labels_alone)
        grid = (9, 7) if method == "background_gradient" else GRIDS[method][1:]
        assert maps.shape == maps_alone.shape == (len(labels), *grid)
        np.testing.assert_allclose(maps, maps_alone, rtol=1e-4, atol=1e-5)


def test_photos_that_any_scale_brings_to_different_sizes_do_not_go_together(tmp_path: Path) -> None:
    one_scale, two_scales = (HeatMapTask(tmp_path, cam(scales=scales)) for scales in ([1.0], [1.0, 2.0]))
    near = photo(65, 49), photo(65, 43)
    assert one_scale.size(near[0]) == one_scale.size(near[1])
    assert two_scales.size(near[0]) != two_scales.size(near[1])


def test_scores_come_in_batches_and_in_order(tmp_path: Path) -> None:
    records = []
    for index in range(5):
        Image.fromarray(photo(40 + index, 60)).save(tmp_path / f"{index}.png")
        records.append(record(tmp_path / f"{index}.png", (1,)))
    for geometry in ("warp", "pad"):
        batches = list(classification.scores(Stub(), records, 33, geometry, CPU, batch_size=2))
        assert [len(batch) for batch in batches] == [2, 2, 1]
        singles = [next(classification.scores(Stub(), [one], 33, geometry, CPU)) for one in records]
        np.testing.assert_allclose(np.concatenate(batches), np.concatenate(singles), atol=1e-6)
        assert len(np.unique(np.concatenate(batches)[:, 0])) == 5
