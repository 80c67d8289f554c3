"""What the stages `refine`, `train_boundaries` and the imports do to a photo, on drawn cases."""

import json
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from PIL import Image
from pydantic import TypeAdapter
from torch import Tensor, nn

from weakseg.batch import write_archive
from weakseg.batch.tasks import NetworkTask
from weakseg.crf import CRFParams
from weakseg.errors import UserError
from weakseg.evaluation.pseudo_masks import best_threshold, pseudo_mask_metrics
from weakseg.files import ArrayArchive, ImageArchive, label_image, map_arrays, write_arrays, write_images
from weakseg.files.manifest import Record
from weakseg.files.maps import gradient_arrays, proposal_arrays, read_cams, read_proposals
from weakseg.networks.heads import WithBackground
from weakseg.networks.registry import build_boundaries, build_classifier
from weakseg.refinement import affinity_loss, confident_labels
from weakseg.refinement.boundaries import AffinityTerms
from weakseg.refinement.coco_masks import decoded, proposals_of
from weakseg.refinement.foreign_saliency import ForeignSaliency
from weakseg.refinement.methods import OnDevice, method_of
from weakseg.refinement.sources import Refined
from weakseg.settings.data import ImportSaliency
from weakseg.settings.losses import BalancedLoss
from weakseg.settings.networks import ClassifierAugmentation, EpsLoss
from weakseg.settings.supervision import Refine
from weakseg.training.classification import EpsTerms
from weakseg.training.objectives import BalancedTerms
from weakseg.training.samples import ClassificationSamples

HEIGHT, WIDTH = 33, 41
WALL = 5  # the column of the boundary, in cells of 4 px
CRF = CRFParams(10, 50, 5, 3, 3)
BASE = {"from": "cams/x.npz", "using": "none", "crf": "none"}
SETTINGS: dict[str, dict[str, Any]] = {
    "boundary_walk": {"radius": 3, "power": 10, "doublings": 8, "background": 0.25},
    "par": {"rounds": 10, "dilations": [1, 2], "scale": 1.0, "foreground": 0.7, "background": 0.25},
    "pamr": {"rounds": 10, "dilations": [1, 2], "scale": 0.5, "foreground": 0.7, "background": 0.25},
    "crf": {
        "certainty": 0.7,
        "foreground": {"threshold": 0.3, "coverage": None},
        "background": {"threshold": 0.05, "coverage": None},
    },
    "proposals": {"inside": 0.5, "covering": 0.85, "background": 0.3},
    "threshold": {"maximum": "own", "foreground": {"threshold": 0.5, "coverage": None}},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two photos, dark on the left of the wall; heat maps on the left, seeds, boundaries, a proposal that is the left."""
    colours = np.full((HEIGHT, WIDTH, 3), 230, np.uint8)
    colours[:, : 4 * WALL] = 40
    Image.fromarray(colours).save(tmp_path / "photo.png")
    edges = np.zeros((9, 11), np.float32)
    edges[:, WALL] = 1
    heat = np.zeros((1, 9, 11), np.float32)
    heat[0, 4, 1:3] = 3
    seeds = np.zeros((HEIGHT, WIDTH), np.uint8)
    seeds[12:20, 4:12] = 7
    seeds[:4] = 255
    left = (colours[..., 0] < 100)[None]
    records = records_of(tmp_path)
    maps = {"one": (np.array([7]), heat), "two": (np.array([3, 7]), np.concatenate([heat[:, :, ::-1], heat]))}
    write_arrays(tmp_path / "cams.npz", (item for name, found in maps.items() for item in map_arrays(name, *found)))
    write_arrays(tmp_path / "edges.npz", (item for r in records for item in gradient_arrays(r.image_id, edges)))
    write_arrays(tmp_path / "proposals.npz", (item for r in records for item in proposal_arrays(r.image_id, left)))
    write_images(tmp_path / "seeds.zip", ((r.image_id, label_image(seeds)) for r in records))
    return tmp_path


def records_of(folder: Path) -> list[Record]:
    photo = str(folder / "photo.png")
    return [
        Record("one", "train", photo, "", WIDTH, HEIGHT, (7,), ""),
        Record("two", "train", photo, "", WIDTH, HEIGHT, (3, 7), ""),
    ]


def method(folder: Path, by: str, source: str, **changes: Any) -> Any:
    settings: Any = TypeAdapter(Refine).validate_python({**BASE, "by": by, **SETTINGS[by], **changes})
    using = folder / {"boundary_walk": "edges.npz", "proposals": "proposals.npz"}.get(by, "none")
    return method_of(settings, CRF if by == "crf" else None, folder / source, using, records_of(folder))


def refined(folder: Path, by: str, source: str, **changes: Any) -> list[Refined]:
    one = method(folder, by, source, **changes)
    records = records_of(folder)
    if not isinstance(one, NetworkTask):
        return [one(record) for record in records]
    image = np.asarray(Image.open(folder / "photo.png"))
    assert isinstance(one, OnDevice)
    together = one.results(nn.Identity(), records, [image, image], torch.device("cpu"))
    alone = [one.results(nn.Identity(), [record], [image], torch.device("cpu"))[0] for record in records]
    for first, second in zip(together, alone, strict=True):  # a photo's result depends on that photo alone
        np.testing.assert_allclose(first.maps, second.maps, atol=1e-6)
        np.testing.assert_array_equal(first.labels, second.labels)
    return list(together)


CASES = [
    (by, source)
    for by in SETTINGS
    for source in ("cams.npz", "seeds.zip")
    if (by, source) != ("threshold", "seeds.zip")
]


@pytest.mark.parametrize(("by", "source"), CASES)
def test_every_method_gives_labels_of_the_photos_tags_and_a_map_of_each(folder: Path, by: str, source: str) -> None:
    for record, found in zip(records_of(folder), refined(folder, by, source), strict=True):
        assert found.labels.shape == (HEIGHT, WIDTH) and found.labels.dtype == np.uint8
        assert set(np.unique(found.labels)) <= {0, 255, *record.labels}
        assert found.classes.tolist() == list(record.labels)
        assert found.maps.ndim == 3 and len(found.maps) == len(record.labels)
        assert np.isfinite(found.maps).all() and 0 <= found.maps.min() <= found.maps.max() <= 1 + 1e-6


@pytest.mark.parametrize("source", ["cams.npz", "seeds.zip"])
def test_a_walk_fills_its_side_of_the_wall_and_no_more(folder: Path, source: str) -> None:
    one, _ = refined(folder, "boundary_walk", source)
    assert (one.labels[:, : 4 * (WALL - 1)] == 7).mean() > 0.95
    assert (one.labels[:, 4 * (WALL + 1) :] == 0).all()
    assert one.maps.max() == pytest.approx(1) and one.maps[0, :, WALL + 1 :].max() < 1e-6


def test_walls_everywhere_leave_no_heat_and_no_nan(folder: Path) -> None:
    records = records_of(folder)
    full = np.ones((9, 11), np.float32)
    write_arrays(folder / "edges.npz", (item for record in records for item in gradient_arrays(record.image_id, full)))
    for found in refined(folder, "boundary_walk", "cams.npz"):
        assert (found.labels == 0).all() and (found.maps == 0).all()


@pytest.mark.parametrize("by", ["par", "pamr"])
def test_pixel_adaptive_labels_follow_colours_and_know_every_pixel(folder: Path, by: str) -> None:
    one, _ = refined(folder, by, "seeds.zip", rounds=200)
    assert (one.labels[:, 4 * (WALL + 1) :] == 0).mean() > 0.95  # no seed of the other colour
    assert (one.labels != 255).all()


def test_the_crf_gives_confident_labels_of_maps_and_whole_ones_of_labels(folder: Path) -> None:
    assert (refined(folder, "crf", "seeds.zip")[0].labels != 255).all()
    of_maps = refined(folder, "crf", "cams.npz")[0].labels
    image, heat = np.asarray(Image.open(folder / "photo.png")), ArrayArchive(folder / "cams.npz")["one/maps"]
    expected = confident_labels(image, heat, [7], CRF, foreground=0.3, background=0.05, certainty=0.7)
    np.testing.assert_array_equal(of_maps, expected)
    assert (of_maps[:, 30:] == 0).all()


def test_confident_labels_may_be_chosen_by_what_they_cover(folder: Path) -> None:
    heat = np.linspace(0.01, 1, 99, dtype=np.float32).reshape(1, 9, 11)
    write_arrays(
        folder / "cams.npz", (item for name in ("one", "two") for item in map_arrays(name, np.array([7]), heat))
    )
    records = [replace(record, labels=(7,)) for record in records_of(folder)]
    covers = {key: {"threshold": None, "coverage": share} for key, share in (("foreground", 0.2), ("background", 0.45))}
    settings: Any = TypeAdapter(Refine).validate_python({**BASE, "by": "crf", **SETTINGS["crf"], **covers})
    sure, possible = method_of(settings, CRF, folder / "cams.npz", folder / "none", records).thresholds
    assert (heat > sure).mean() == pytest.approx(0.2, abs=0.02)
    assert (heat > possible).mean() == pytest.approx(0.45, abs=0.02)


def test_a_proposal_takes_the_place_of_the_labels_that_lie_in_it(folder: Path) -> None:
    (one, _) = refined(folder, "proposals", "seeds.zip", covering=0.5)
    assert (one.labels[4:, : 4 * WALL] == 7).all() and not (one.labels == 7)[:, 4 * WALL :].any()


def test_a_threshold_is_of_each_maximum_or_of_the_common_one_or_that_of_a_coverage(folder: Path) -> None:
    maps = np.zeros((2, 9, 11), np.float32)
    maps[0, :, :4], maps[1, :, 6:] = 4, 1  # the second reaches a quarter of the greatest
    write_arrays(
        folder / "cams.npz", [*map_arrays("one", np.array([7]), maps[:1]), *map_arrays("two", np.array([3, 7]), maps)]
    )
    assert set(np.unique(refined(folder, "threshold", "cams.npz")[1].labels)) == {0, 3, 7}
    assert set(np.unique(refined(folder, "threshold", "cams.npz", maximum="common")[1].labels)) == {0, 3}
    half = method(folder, "threshold", "cams.npz", foreground={"threshold": None, "coverage": 0.5})
    assert 0 <= half.threshold < 1


def test_both_archives_of_a_refinement_are_written_in_one_pass(folder: Path) -> None:
    made: list[str] = []

    def one(record: Record) -> Refined:
        made.append(record.image_id)
        return refined(folder, "boundary_walk", "cams.npz")[record.image_id == "two"]

    def write(labels: str, maps: str) -> tuple[bytes, bytes]:
        write_archive(
            folder / labels, records_of(folder), one, lambda _, found: label_image(found.labels), "test", depends_on=[], files={},
            checkpoints=folder / "checkpoints",
            also={folder / maps: lambda record, found: map_arrays(record.image_id, found.classes, found.maps)},
        )  # fmt: skip
        return (folder / labels).read_bytes(), (folder / maps).read_bytes()

    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("WEAKSEG_WORKERS", "1")
        assert write("a.zip", "a.npz") == write("b.zip", "b.npz")
    assert made == ["one", "two"] * 2
    record = records_of(folder)[1]
    assert read_cams(ArrayArchive(folder / "a.npz"), record)[0].tolist() == [3, 7]
    assert ImageArchive(folder / "a.zip")["two"].shape == (HEIGHT, WIDTH)


# --- boundaries -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backbone", ["efficientnet_lite0", "vgg16"])
def test_only_the_sides_of_a_boundary_network_learn(backbone: str) -> None:
    torch.manual_seed(0)
    network = build_boundaries(backbone).train()
    logits = network(torch.zeros(2, 3, 65, 81))
    assert logits.shape == (2, 17, 21)
    logits.sum().backward()
    learning = {name.partition(".")[0] for name, value in network.named_parameters() if value.grad is not None}
    assert learning == {"sides", "fuse"} and not network.backbone.training
    assert len(network.sides) == len(network.backbone.level_channels)


class Fixed(nn.Module):
    """Logits that are parameters."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, images: Tensor) -> Tensor:
        return self.logits


def test_the_terms_of_boundaries_add_up_to_the_affinity_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 9, 12, generator=generator)
    labels = torch.tensor([0, 3, 255, 5])[torch.randint(0, 4, (2, 9, 12), generator=generator)]
    terms = AffinityTerms(4)
    found = terms(Fixed(logits), {"images": torch.zeros(2), "targets": labels})
    total = sum(terms.weights[name] * float(value.detach()) for name, value in found.items())
    assert total == pytest.approx(float(affinity_loss(logits.sigmoid(), labels, 4)), rel=1e-6)
    nothing = terms(Fixed(logits), {"images": torch.zeros(2), "targets": torch.full_like(labels, 255)})
    assert all(float(value.detach()) == 0 for value in nothing.values())


# --- losses ---------------------------------------------------------------------------------------------------------------


def test_the_balanced_loss_is_finite_whatever_the_labels_are() -> None:
    settings = BalancedLoss(
        kind="balanced", label_smoothing=0.4, constrain_weight=0.0, crf_backend="exact", crf_gradient="none", crf_image_px=321
    )  # fmt: skip
    logits = torch.full((2, 4, 3, 3), 50.0)
    logits[:, 0] = -1e4
    for labels in ([255] * 9, [0] * 9, [3] * 9, [0, 3, 255] * 3):
        network = Fixed(logits.clone())
        targets = torch.tensor(labels, dtype=torch.uint8).view(1, 3, 3).expand(2, 3, 3)
        value = BalancedTerms(settings)(network, {"images": torch.zeros(2), "targets": targets})["balanced"]
        value.backward()
        assert torch.isfinite(value) and network.logits.grad is not None and torch.isfinite(network.logits.grad).all()


EPS = EpsLoss(kind="eps", saliency="saliency.zip", saliency_weight=1.0, threshold=0.4, foreground_weight=0.5)


def test_eps_terms_are_those_of_the_maps_and_never_nan() -> None:
    torch.manual_seed(0)
    network = WithBackground(build_classifier("gap_lowres", "efficientnet_lite0", 3, 0.0))
    images, saliency = torch.randint(0, 255, (2, 3, 65, 65)).float(), torch.zeros(2, 65, 65, dtype=torch.uint8)
    for tags in (torch.zeros(2, 3, dtype=torch.bool), torch.ones(2, 3, dtype=torch.bool)):
        found = EpsTerms(EPS)(network, {"images": images, "image_labels": tags, "saliency": saliency})
        assert found.keys() == EpsTerms(EPS).weights.keys() and all(torch.isfinite(value) for value in found.values())
    sum(found.values()).backward()  # type: ignore[union-attr]
    assert network.background.weight.grad is not None
    scores = network.classifier(images)
    torch.testing.assert_close(network(images)[:, 1:].mean((2, 3)), scores, rtol=1e-3, atol=1e-4)


def test_saliency_goes_where_the_photo_goes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 255, (50, 70), np.uint8)
    Image.fromarray(np.dstack([grey] * 3)).save(tmp_path / "photo.png")
    write_images(tmp_path / "saliency.zip", [("a", Image.fromarray(grey))])
    record = Record("a", "train", str(tmp_path / "photo.png"), "", 70, 50, (1,), "")
    augmentation = ClassifierAugmentation(crop_area=[0.3, 1.0], crop_borders_fraction=0.1, flip=True, colour_jitter=0.0)
    samples = ClassificationSamples([record], 3, 65, "pad", augmentation, ImageArchive(tmp_path / "saliency.zip"))
    for number in range(5):
        sample = samples.sample(0, np.random.default_rng(number))
        torch.testing.assert_close(sample["images"][0], sample["saliency"])


# --- what other tools made ------------------------------------------------------------------------------------------------


def encoded(mask: npt.NDArray[np.bool_]) -> list[int]:
    """Run lengths down the columns, zeros first, by hand."""
    pixels = [bool(value) for column in mask.T for value in column]
    runs = [(value, len(list(group))) for value, group in groupby(pixels)]
    return ([] if runs and not runs[0][0] else [0]) + [length for _, length in runs]


def packed(runs: list[int]) -> str:
    """COCO's text (maskApi.c, rleToString)."""
    text = ""
    for index, run in enumerate(runs):
        value, more = run - (runs[index - 2] if index > 2 else 0), True
        while more:
            piece, value = value & 31, value >> 5
            more = value != -1 if piece & 16 else value != 0
            text += chr((piece | 32 if more else piece) + 48)
    return text


def test_run_lengths_are_those_of_the_mask_as_numbers_and_as_text() -> None:
    rng = np.random.default_rng(0)
    for shape in ((1, 1), (7, 5), (40, 60)):
        for share in (0.0, 0.02, 0.5, 1.0):
            mask = rng.random(shape) < share
            np.testing.assert_array_equal(decoded(encoded(mask), *shape), mask)
            np.testing.assert_array_equal(decoded(packed(encoded(mask)), *shape), mask)


@pytest.mark.parametrize("counts", [[3], [1, -1, 4], "zz", [2, 2, 2], [True, 3]])
def test_run_lengths_that_do_not_fill_the_mask_are_refused(counts: Any) -> None:
    with pytest.raises(ValueError):
        decoded(counts, 2, 2)


def test_proposals_come_from_json_or_pictures_and_back_from_the_archive(tmp_path: Path) -> None:
    masks = np.random.default_rng(0).random((3, 10, 12)) < 0.5
    entries = [{"segmentation": {"size": [10, 12], "counts": packed(encoded(mask))}, "area": 1} for mask in masks]
    (tmp_path / "a.json").write_text(json.dumps(entries))
    (tmp_path / "b").mkdir()
    for number, mask in enumerate(masks):
        Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "b" / f"{number}.png")
    for name in ("a", "b"):
        record = Record(name, "train", "", "", 12, 10, (1,), "")
        np.testing.assert_array_equal(proposals_of(tmp_path, record), masks)
        write_arrays(tmp_path / "x.npz", proposal_arrays(name, masks))
        np.testing.assert_array_equal(read_proposals(ArrayArchive(tmp_path / "x.npz"), record), masks)


@pytest.mark.parametrize(
    "text", ["{", "[3]", '[{"size": [9, 12], "counts": [108]}]', '[{"size": [10, 12], "counts": [1]}]', "7"]
)
def test_wrong_proposals_are_named(tmp_path: Path, text: str) -> None:
    record = Record("a", "train", "", "", 12, 10, (1,), "")
    with pytest.raises(UserError, match="no such folder"):
        proposals_of(tmp_path, record)
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match=r"a\.json: not masks"):
        proposals_of(tmp_path, record)


def settings_of_import(**changes: Any) -> ImportSaliency:
    return ImportSaliency.model_validate(
        {"from": "x", "supervision": "masks", "input_px": 16, "mean": [0.5] * 3, "std": [1.0] * 3, **changes}
    )


def test_saliency_comes_from_a_folder_of_maps(folder: Path) -> None:
    record = records_of(folder)[0]
    with pytest.raises(UserError, match="has no map of one"):
        ForeignSaliency(folder, settings_of_import())(record)
    grey = np.arange(HEIGHT * WIDTH, dtype=np.uint32).reshape(HEIGHT, WIDTH).astype(np.uint8)
    Image.fromarray(grey).save(folder / "one.png")
    np.testing.assert_array_equal(ForeignSaliency(folder, settings_of_import())(record), grey)
    Image.fromarray(grey[:, :20]).save(folder / "one.png")
    with pytest.raises(UserError, match="not its map"):
        ForeignSaliency(folder, settings_of_import())(record)


def test_saliency_comes_from_a_network_in_onnx(folder: Path) -> None:
    """The network gives the mean of the channels: dark on the left, so 0 there and 255 on the right."""
    value = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node("ReduceMean", ["x"], ["y"], axes=[1], keepdims=1)
    ends = value("x", onnx.TensorProto.FLOAT, [1, 3, 16, 16]), value("y", onnx.TensorProto.FLOAT, [1, 1, 16, 16])
    graph = onnx.helper.make_graph([node], "mean", [ends[0]], [ends[1]])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    path = folder / "net.onnx"
    onnx.save(model, str(path))
    record = records_of(folder)[0]
    found = ForeignSaliency(path, settings_of_import())(record)
    assert found.shape == (HEIGHT, WIDTH) and (found[:, :15] == 0).all() and (found[:, 26:] == 255).all()
    with pytest.raises(UserError, match="1x3x24x24"):
        ForeignSaliency(path, settings_of_import(input_px=24))(record)
    (folder / "bad.onnx").write_bytes(b"no network")
    with pytest.raises(UserError, match="neither a folder of maps nor an ONNX network"):
        ForeignSaliency(folder / "bad.onnx", settings_of_import())(record)


# --- how good pseudo-masks are ----------------------------------------------------------------------------------------------


def test_every_pixel_of_a_pseudo_mask_counts_and_the_labelled_ones_alone(tmp_path: Path) -> None:
    """Of four pixels 0 0 1 1, labelled 0 255 1 255: background 2/3, class 1/2; of the two labelled ones all are right."""
    record = Record("a", "train", "", "m", 4, 1, (1,), "")
    write_images(tmp_path / "truth.zip", [("a", label_image(np.array([[0, 0, 1, 1]], np.uint8)))])
    write_images(tmp_path / "made.zip", [("a", label_image(np.array([[0, 255, 1, 255]], np.uint8)))])
    made, truth = ImageArchive(tmp_path / "made.zip"), ImageArchive(tmp_path / "truth.zip")
    found = pseudo_mask_metrics(made, [record], truth, ["background", "cat"], "made")
    assert found["miou"] == pytest.approx(100 * (2 / 3 + 1 / 2) / 2) and found["miou_labelled"] == 100
    write_images(tmp_path / "none.zip", [])
    nothing = pseudo_mask_metrics(made, [record], ImageArchive(tmp_path / "none.zip"), ["background", "cat"], "made")
    assert nothing["miou"] is None and nothing["images_with_ground_truth"] == 0


def test_the_best_threshold_is_that_of_a_search_by_hand(tmp_path: Path) -> None:
    record = Record("a", "train", "", "m", 5, 1, (1,), "")
    write_images(tmp_path / "truth.zip", [("a", label_image(np.array([[0, 0, 1, 1, 255]], np.uint8)))])
    truth = ImageArchive(tmp_path / "truth.zip")
    scores = np.array([[0.1, 0.4, 0.6, 0.9, 1.0]], np.float32)
    found = best_threshold(lambda _: (np.ones((1, 5), np.uint8), scores), [record], truth, 2, "maps")
    assert found is not None and found["miou"] == 100 and 0.4 < found["threshold"] <= 0.6
