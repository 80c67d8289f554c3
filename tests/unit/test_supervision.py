"""Training samples: photos and targets stay aligned. A photo's colours tell its classes, so a shift shows."""

import hashlib
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from weakseg.errors import UserError
from weakseg.files.archives import ArrayArchive, ImageArchive, write_arrays, write_images
from weakseg.files.label_masks import IGNORE_INDEX, label_image
from weakseg.files.manifest import Record, SaliencyRecord
from weakseg.files.maps import check_complete, cue_arrays, open_archive, read_target
from weakseg.images.transforms import classifier_input
from weakseg.settings.networks import ClassifierAugmentation, SaliencyAugmentation, SegmenterAugmentation
from weakseg.training.samples import ClassificationSamples, SaliencySamples, SegmentationSamples, multi_hot

Labels = npt.NDArray[np.uint8]
COLOURS = np.array([[20, 20, 20], [220, 30, 30], [30, 220, 30], [30, 30, 220], [220, 220, 30]], np.uint8)  # by class
NUM_CLASSES = len(COLOURS)
SIZES = {"wide": (96, 160), "tall": (141, 67), "small": (50, 40)}  # height, width


def class_map(height: int, width: int) -> Labels:
    """Blocks of 17 × 21 px, each of a class, with no symmetry."""
    rows, columns = np.mgrid[:height, :width]
    return ((rows // 17 + 2 * (columns // 21) + (columns // 21) ** 2) % NUM_CLASSES).astype(np.uint8)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    folder, found = tmp_path_factory.mktemp("photos"), []
    for name, (height, width) in SIZES.items():
        labels = class_map(height, width)
        Image.fromarray(COLOURS[labels]).save(folder / f"{name}.png")
        present = tuple(int(label) for label in np.unique(labels) if label)
        found.append(Record(name, "train", str(folder / f"{name}.png"), "", width, height, present, ""))
    return found


@pytest.fixture(scope="module")
def masks(records: list[Record], tmp_path_factory: pytest.TempPathFactory) -> ImageArchive:
    path = tmp_path_factory.mktemp("masks") / "masks.zip"
    write_images(path, ((r.image_id, label_image(class_map(r.height, r.width))) for r in records))
    return ImageArchive(path)


@pytest.fixture(scope="module")
def cues(records: list[Record], tmp_path_factory: pytest.TempPathFactory) -> ArrayArchive:
    """Cues on 25 × 25 cells that lie from corner to corner; the first columns know nothing."""
    path = tmp_path_factory.mktemp("cues") / "cues.npz"

    def entries() -> Iterator[tuple[str, npt.NDArray[Any]]]:
        for record in records:
            rows, columns = (np.rint(np.linspace(0, s - 1, 25)).astype(int) for s in (record.height, record.width))
            grid = class_map(record.height, record.width)[rows[:, None], columns]
            found = grid == np.arange(NUM_CLASSES)[:, None, None]
            found[:, :, :3] = False
            yield from cue_arrays(record.image_id, found)

    write_arrays(path, entries())
    return ArrayArchive(path)


def at_grid(sample: dict[str, Any], stride: int = 8) -> tuple[npt.NDArray[np.intp], Labels]:
    """The class that the photo shows at each grid point (-1 where colours mix), and the target there."""
    pixels = sample["images"][:, ::stride, ::stride].permute(1, 2, 0).numpy().astype(int)
    apart = np.abs(pixels[:, :, None] - COLOURS).max(3)
    return np.where(apart.min(2) <= 1, apart.argmin(2), -1), sample["targets"].numpy()


def assert_aligned(sample: dict[str, Any], least_known: float) -> None:
    """Wherever a grid point shows one class and the target is known, they agree, and there are enough of these."""
    shown, target = at_grid(sample)
    assert target.shape == shown.shape
    compared = (shown >= 0) & (target != IGNORE_INDEX)
    np.testing.assert_array_equal(shown[compared], target[compared])
    assert compared.mean() >= least_known
    assert len(np.unique(target[compared])) >= 3


# --- targets ---------------------------------------------------------------------------------------------------


def test_read_target_of_cues(tmp_path: Path) -> None:
    found = np.zeros((4, 2, 3), bool)
    found[0, 0, 0] = found[2, 0, 1] = found[3, 1, 2] = True
    found[1, 1, 0] = found[3, 1, 0] = True  # a conflict, which cues made here do not have
    write_arrays(tmp_path / "cues.npz", cue_arrays("a", found))
    archive = open_archive(tmp_path / "cues.npz")
    assert isinstance(archive, ArrayArchive)
    target = read_target(archive, Record("a", "train", "", "", 3, 2, (), ""), 4)
    assert target.dtype == np.uint8
    assert target.tolist() == [[0, 2, 255], [1, 255, 3]]


def test_read_target_of_label_maps(tmp_path: Path) -> None:
    labels = np.array([[0, 20, 255], [1, 2, 3]], np.uint8)
    write_images(tmp_path / "masks.zip", [("a", label_image(labels)), ("b", Image.fromarray(labels))])
    archive = open_archive(tmp_path / "masks.zip")
    assert isinstance(archive, ImageArchive)
    for image_id in ("a", "b"):
        record = Record(image_id, "train", "", "", 3, 2, (), "")
        np.testing.assert_array_equal(read_target(archive, record, 21), labels)


def test_check_complete_lists_what_is_missing(records: list[Record], masks: ImageArchive, cues: ArrayArchive) -> None:
    for archive in (masks, cues):
        check_complete(archive, records)
        check_complete(archive, [])
    lost = [Record(f"lost{i}", "train", "", "", 1, 1, (), "") for i in range(12)]
    for archive in (masks, cues):
        with pytest.raises(UserError, match=rf"{archive.path.name}: nothing for 2 .*\(lost0, lost1\)"):
            check_complete(archive, [*records, *lost[:2]])
        with pytest.raises(UserError, match=r"nothing for 12 .*lost9, …\)"):
            check_complete(archive, lost)


def test_multi_hot() -> None:
    assert multi_hot((1, 3), 5).tolist() == [True, False, True, False]
    assert multi_hot((), 3).tolist() == [False, False]
    assert multi_hot((4,), 5).dtype == bool


# --- classification ----------------------------------------------------------------------------------------------


def classification(records: list[Record], geometry: str = "pad", **changes: object) -> ClassificationSamples:
    values = {"crop_area": None, "crop_borders_fraction": 0.0, "flip": False, "colour_jitter": 0.0, **changes}
    return ClassificationSamples(records, NUM_CLASSES, 65, geometry, ClassifierAugmentation.model_validate(values))


@pytest.mark.parametrize("geometry", ["pad", "warp"])
def test_classification_samples(records: list[Record], geometry: str) -> None:
    samples = classification(records, geometry)
    assert len(samples) == 3
    for index, record in enumerate(records):
        sample = samples.sample(index, np.random.default_rng(0))
        assert sample["images"].shape == (3, 65, 65)
        assert sample["images"].dtype == torch.uint8
        assert sample["image_labels"].tolist() == [label in record.labels for label in range(1, NUM_CLASSES)]
        assert sample["image_labels"].dtype == torch.bool
        assert sample["image_id"] == record.image_id
        expected = classifier_input(COLOURS[class_map(record.height, record.width)], 65, geometry)
        np.testing.assert_array_equal(sample["images"].permute(1, 2, 0), expected)


def test_warp_takes_the_whole_photo_and_pad_keeps_proportions(records: list[Record]) -> None:
    photo = np.zeros((30, 60, 3), np.uint8)
    photo[:, 40:] = 255
    warped, padded = (classifier_input(photo, 60, geometry) for geometry in ("warp", "pad"))
    assert warped.shape == padded.shape == (60, 60, 3)
    np.testing.assert_array_equal(padded[:30], photo)
    np.testing.assert_array_equal(padded[30:59], photo[28::-1])
    np.testing.assert_array_equal(warped[:, :40], 0)
    np.testing.assert_array_equal(warped[:, 40:], 255)


def test_classification_flips_half_of_the_time(records: list[Record]) -> None:
    plain = classification(records).sample(0, np.random.default_rng(0))["images"]
    flipping = classification(records, flip=True)
    flipped = [flipping.sample(0, np.random.default_rng(seed))["images"] for seed in range(40)]
    mirrored = sum(torch.equal(image, plain.flip(2)) for image in flipped)
    assert 10 < mirrored < 30
    assert mirrored + sum(torch.equal(image, plain) for image in flipped) == 40


@pytest.mark.parametrize(
    "change",
    [{"crop_borders_fraction": 0.2}, {"crop_area": [0.3, 0.9]}, {"colour_jitter": 0.3}, {"flip": True}],
)
def test_classification_augmentations_follow_the_generator(records: list[Record], change: dict[str, object]) -> None:
    samples = classification(records, **change)
    drawn = {samples.sample(0, np.random.default_rng(seed))["images"].numpy().tobytes() for seed in range(8)}
    assert len(drawn) == (2 if "flip" in change else 8)
    again = {samples.sample(0, np.random.default_rng(seed))["images"].numpy().tobytes() for seed in range(8)}
    assert again == drawn
    plain = classification(records).sample(0, np.random.default_rng(0))["images"].numpy().tobytes()
    assert (plain in drawn) == ("flip" in change)


# --- segmentation ------------------------------------------------------------------------------------------------


def segmentation(
    records: list[Record], archive: ArrayArchive | ImageArchive, geometry: str, flip: bool = False,
    input_px: int = 97, **changes: object,
) -> SegmentationSamples:  # fmt: skip
    augmentation = SegmenterAugmentation.model_validate({"scales": [1.0, 1.0], "colour_jitter": 0.0, **changes})
    return SegmentationSamples(records, archive, NUM_CLASSES, input_px, geometry, flip, augmentation, 8)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("geometry", ["warp", "crop"])
@pytest.mark.parametrize("scales", [[1.0, 1.0], [0.6, 1.7]])
def test_label_maps_lie_on_the_photo(
    records: list[Record], masks: ImageArchive, geometry: str, flip: bool, scales: list[float]
) -> None:
    samples = segmentation(records, masks, geometry, flip, scales=scales)
    for index, record in enumerate(records):
        for seed in range(6):
            sample = samples.sample(index, np.random.default_rng(seed))
            assert_aligned(sample, 0.1 if geometry == "crop" and record.image_id == "small" else 0.3)


@pytest.mark.parametrize("geometry", ["warp", "crop"])
def test_cues_lie_on_the_photo(records: list[Record], cues: ArrayArchive, geometry: str) -> None:
    """Cells of the cues' own grid and of the network's are up to half a cell apart: blocks' edges are left out."""
    samples = segmentation(records, cues, geometry, flip=True)
    for index, record in enumerate(records[:2]):
        for seed in range(6):
            shown, target = at_grid(samples.sample(index, np.random.default_rng(seed)))
            compared = (shown >= 0) & (target != IGNORE_INDEX)
            assert compared.mean() > 0.3
            wrong = (shown != target)[compared].mean()
            assert wrong < 0.25, (record.image_id, seed)


def test_cues_on_the_networks_own_grid_are_taken_as_they_are(records: list[Record], cues: ArrayArchive) -> None:
    plain = segmentation(records, cues, "warp", input_px=193).sample(0, np.random.default_rng(0))
    target = read_target(cues, records[0], 5)
    np.testing.assert_array_equal(plain["targets"], target)
    assert (target[:, :3] == IGNORE_INDEX).all()
    assert (target[:, 3:] != IGNORE_INDEX).all()
    assert_aligned(plain, 0.6)
    seeds = range(20)
    flipped = [segmentation(records, cues, "warp", True, 193).sample(0, np.random.default_rng(s)) for s in seeds]
    mirrored = [s for s in flipped if torch.equal(s["images"], plain["images"].flip(2))]
    assert 3 < len(mirrored) < 17
    for sample in mirrored:
        np.testing.assert_array_equal(sample["targets"], target[:, ::-1])
        assert_aligned(sample, 0.6)


def test_unscaled_crops_agree_at_every_point(records: list[Record], masks: ImageArchive) -> None:
    samples = segmentation(records, masks, "crop", flip=True)
    for index, record in enumerate(records):
        for seed in range(8):
            shown, target = at_grid(samples.sample(index, np.random.default_rng(seed)))
            known = target != IGNORE_INDEX
            np.testing.assert_array_equal(shown[known], target[known])
            ends = [min(side, 97) for side in (record.height, record.width)]
            assert known.sum() >= np.prod([end // 8 for end in ends])
            assert known.all() == (min(ends) == 97)


def test_segmentation_sample_contents(records: list[Record], masks: ImageArchive, cues: ArrayArchive) -> None:
    for archive in (masks, cues):
        for geometry in ("warp", "crop"):
            samples = segmentation(records, archive, geometry, input_px=65)
            sample = samples.sample(1, np.random.default_rng(0))
            assert len(samples) == 3
            assert set(sample) == {"images", "targets", "image_labels", "image_id"}
            assert sample["images"].shape == (3, 65, 65)
            assert sample["targets"].shape == (9, 9)
            assert (sample["images"].dtype, sample["targets"].dtype) == (torch.uint8, torch.uint8)
            assert sample["image_labels"].tolist() == [label in records[1].labels for label in range(1, NUM_CLASSES)]
            assert sample["image_id"] == "tall"


def test_scales_are_drawn_from_the_whole_range(records: list[Record], masks: ImageArchive) -> None:
    """The share of a 97 px window that a 50 × 40 px photo fills tells by how much it was scaled."""
    samples = segmentation(records, masks, "crop", scales=[0.5, 1.5], input_px=97)
    shares = []
    for seed in range(60):
        target = samples.sample(2, np.random.default_rng(seed))["targets"]
        shares.append(int((target != IGNORE_INDEX).any(1).sum()))  # rows of 8 px
    assert min(shares) <= 5
    assert max(shares) >= 9
    assert set(shares) <= set(range(4, 11))


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(torch.equal(v, other[k]) if isinstance(v, torch.Tensor) else v == other[k] for k, v in one.items())


@pytest.mark.parametrize("geometry", ["warp", "crop"])
def test_segmentation_samples_follow_the_generator(records: list[Record], masks: ImageArchive, geometry: str) -> None:
    samples = segmentation(records, masks, geometry, flip=True, scales=[0.7, 1.3], colour_jitter=0.2)
    first, again, other = (samples.sample(0, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert same(first, again)
    assert not same(first, other)
    copied = pickle.loads(pickle.dumps(samples))  # as a loader's worker gets it
    assert same(first, copied.sample(0, np.random.default_rng(1)))


def test_colour_jitter_leaves_the_target_alone(records: list[Record], masks: ImageArchive) -> None:
    plain, jittered = (
        segmentation(records, masks, "warp", colour_jitter=strength).sample(0, np.random.default_rng(3))
        for strength in (0.0, 0.3)
    )
    assert torch.equal(plain["targets"], jittered["targets"])
    assert not torch.equal(plain["images"], jittered["images"])


# --- saliency ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def salient(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[SaliencyRecord], ImageArchive]:
    """Photos of class 3's colour on class 0's, and masks of 0 and 1."""
    folder, records, masks = tmp_path_factory.mktemp("salient"), [], []
    for image_id, (height, width) in SIZES.items():
        mask = (class_map(height, width) >= 3).astype(np.uint8)
        Image.fromarray(COLOURS[mask * 3]).save(folder / f"{image_id}.png")
        path = folder / f"{image_id}.png"
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        records.append(SaliencyRecord(image_id, str(path), "", width, height, 0, 0, width, height, sha256))
        masks.append((image_id, Image.fromarray(mask)))
    write_images(folder / "masks.zip", masks)
    return records, ImageArchive(folder / "masks.zip")


def saliency(salient: tuple[list[SaliencyRecord], ImageArchive], **changes: object) -> SaliencySamples:
    values = {"scales": [0.7, 1.4], "colour_jitter": 0.0, "flip": True, **changes}
    return SaliencySamples(*salient, 97, SaliencyAugmentation.model_validate(values), 8)


def test_grabcut_masks_lie_on_the_photo(salient: tuple[list[SaliencyRecord], ImageArchive]) -> None:
    samples = saliency(salient)
    assert len(samples) == 3
    for index, image_id in enumerate(SIZES):
        for seed in range(8):
            sample = samples.sample(index, np.random.default_rng(seed))
            assert sample["image_id"] == image_id
            assert sample["images"].shape == (3, 97, 97)
            assert sample["targets"].shape == (13, 13)
            assert (sample["images"].dtype, sample["targets"].dtype) == (torch.uint8, torch.uint8)
            shown, target = at_grid(sample)
            compared = (shown >= 0) & (target != IGNORE_INDEX)
            np.testing.assert_array_equal(shown[compared], target[compared] * 3)
            assert compared.mean() > 0.1
            assert set(target[compared]) == {0, 1}


def test_the_longest_side_comes_to_the_input_times_the_scale(
    salient: tuple[list[SaliencyRecord], ImageArchive],
) -> None:
    sample = saliency(salient, scales=[1.0, 1.0], flip=False).sample(0, np.random.default_rng(0))
    known = sample["targets"] != IGNORE_INDEX  # 96 × 160 px become 58 × 97
    assert known[:8].all()
    assert not known[8:].any()


def test_saliency_samples_follow_the_generator(salient: tuple[list[SaliencyRecord], ImageArchive]) -> None:
    samples = saliency(salient, colour_jitter=0.2)
    first, again, other = (samples.sample(0, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert same(first, again)
    assert not same(first, other)
    plain = saliency(salient, flip=False, scales=[1.0, 1.0]).sample(0, np.random.default_rng(0))
    flipping = saliency(salient, scales=[1.0, 1.0])
    images = [flipping.sample(0, np.random.default_rng(seed)) for seed in range(30)]
    mirrored = [s for s in images if torch.equal(s["images"], plain["images"].flip(2))]
    assert 5 < len(mirrored) < 25
    assert all(torch.equal(s["targets"], plain["targets"].flip(1)) for s in mirrored)
