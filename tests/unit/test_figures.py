"""The papers' picture figures from synthetic artifacts and tiny networks: what is shown, and what says that it has not run."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from weakseg.crf import CRFParams
from weakseg.figures import FIGURES, Artifacts, make_figures
from weakseg.figures.__main__ import main
from weakseg.figures.drawing import GAP_PX, MARGIN_PX, TILE_PX, Figure, Row, draw
from weakseg.figures.live import coloured
from weakseg.figures.tiles import Wanted
from weakseg.files import (
    Record,
    SaliencyRecord,
    file_sha256,
    label_image,
    voc_palette,
    write_arrays,
    write_class_names,
    write_images,
    write_manifest,
    write_saliency_manifest,
)
from weakseg.inference import Rule, write_rule
from weakseg.networks import build_classifier, build_segmenter, load_pretrained, save_model

SEC = CRFParams(10, 80, 13, 3, 3)
NAMES = ["background", "cat", "dog"]
HEIGHT, WIDTH = 40, 60
MODEL = {"backbone": "efficientnet_lite0", "input_px": 65, "class_names": NAMES}
FROM_MASKS = {"sec_4", "sec_5", "sec_6", "sec_7", "sec_8", "sec_9", "headline"}
FROM_TRAINING = {"gs_6", "gs_7", "gs_11", "gs_12", "gs_13"}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of the pipeline on four photos a split: SEC, and one row; no other experiment."""
    monkeypatch.chdir(tmp_path)
    data, rows = tmp_path / "data", tmp_path / "ablations" / "data"
    records = [record(tmp_path, index) for index in range(8)]
    train, val = records[:4], records[4:]
    write_manifest(data / "manifest.csv", records)
    write_class_names(data / "classes.txt", NAMES)
    write_images(data / "ground_truth.zip", ((one.image_id, label_image(mask(one))) for one in records))
    write_images(data / "masks" / "sec.zip", ((one.image_id, label_image(mask(one) % 255)) for one in val))
    write_images(rows / "masks" / "sec_gmp.zip", ((one.image_id, label_image(0 * mask(one))) for one in val))
    write_images(rows / "guides" / "g0.zip", ((one.image_id, label_image(mask(one))) for one in train))
    write_images(data / "seeds.zip", ((one.image_id, label_image(mask(one))) for one in train))
    grey = Image.fromarray(np.full((HEIGHT, WIDTH), 200, np.uint8))
    write_images(data / "saliency.zip", ((one.image_id, grey) for one in records))
    confusion = np.array([[60, 0, 10], [10, 10, 0], [0, 0, 10]])
    ious = [(f"{one.image_id}/iou", np.float32([0.5, 0.1 * (index + 1)])) for index, one in enumerate(val)]
    write_arrays(data / "evaluation" / "sec.npz", [("raw/confusion", confusion), ("crf/confusion", confusion), *ious])
    boxed = [SaliencyRecord(one.image_id, one.image, "", WIDTH, HEIGHT, 10, 5, 40, 30, one.sha256) for one in train]
    write_saliency_manifest(data / "saliency_selection.csv", boxed)
    write_images(
        data / "grabcut.zip", ((one.image_id, label_image((mask(one) == 1).astype(np.uint8))) for one in train)
    )
    return tmp_path


def record(folder: Path, index: int) -> Record:
    image_id, split = f"photo_{index}", "train" if index < 4 else "val"
    path = folder / f"{image_id}.png"
    Image.fromarray(np.full((HEIGHT, WIDTH, 3), 20 * index + 40, np.uint8)).save(path)
    labels = (1, 2) if index % 4 == 1 else (1 + index % 2,)
    return Record(image_id, split, path.name, "", WIDTH, HEIGHT, labels, file_sha256(path))


def mask(one: Record) -> npt.NDArray[np.uint8]:
    values = np.zeros((HEIGHT, WIDTH), np.uint8)
    values[5:30, 10:40], values[-8:] = one.labels[0], 255
    return values


def figure(root: Path, name: str, *image_ids: str, count: int = 2) -> Figure:
    made = FIGURES[name](Artifacts(root, TILE_PX), Wanted(count, image_ids))
    assert made is not None
    return made


def test_there_is_a_figure_for_each_of_the_papers() -> None:
    assert {f"sec_{n}" for n in range(4, 10)} | {f"gs_{n}" for n in range(4, 14)} < {*FIGURES}


def test_what_has_run_is_drawn_and_the_rest_is_told(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--count", "2"]) == 0
    told = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    written = {path.stem for path in (root / "metrics" / "figures").glob("*.png")}
    assert written == FROM_MASKS | FROM_TRAINING | {"gs_4", "gs_10", "gs_5", "gs_9"}
    assert {name for name, words in told.items() if words == "nothing of it has run"} == {*FIGURES} - written
    first = (root / "metrics/figures/sec_6.png").read_bytes()
    assert main(["sec_6", "--count", "2"]) == 0
    assert (root / "metrics/figures/sec_6.png").read_bytes() == first


def test_best_and_worst_are_by_iou_with_crf(root: Path) -> None:
    best, worst = figure(root, "sec_4"), figure(root, "sec_5")
    assert [row.caption.split(": ")[1] for row in best.rows] == ["IoU 40 %", "IoU 30 %", "IoU 20 %", "IoU 10 %"]
    assert [row.caption for row in worst.rows] == [row.caption for row in best.rows[::-1]]
    assert best.fold == 3 and best.heads == ["photo", "prediction", "ground truth"]


def test_experiments_stand_side_by_side_with_their_numbers(root: Path) -> None:
    made = figure(root, "sec_6")
    assert made.heads == ["photo", "ground truth", "GMP", "GAP", "GWRP"]
    assert made.notes == [
        "",
        "fg 30.0 %",
        "not run",
        "not run",
        f"fg 30.0 %, mIoU {100 * (60 / 80 + 10 / 20 + 10 / 20) / 3:.1f}",
    ]
    for row in made.rows:
        truth, gmp, gap, gwrp = row.tiles
        assert gap is None and gmp is not None and not gmp.any() and gwrp is not None
        assert row.photo is not None and row.photo.shape[:2] == gwrp.shape == (round(TILE_PX * HEIGHT / WIDTH), TILE_PX)
        assert {*np.unique(gwrp)} < {*np.unique(truth)} and 255 in truth


def test_guides_take_photos_with_several_tags_first(root: Path) -> None:
    made = figure(root, "gs_6", count=3)
    assert [row.caption for row in made.rows] == ["cat, dog"]
    assert made.notes == ["", "", "", "", "", "not run", "not run"]
    assert len(figure(root, "gs_11", count=3).rows) == 3


def test_photos_can_be_named(root: Path) -> None:
    assert [row.caption for row in figure(root, "gs_11", "photo_0", "photo_1").rows] == ["cat", "cat, dog"]
    assert len(figure(root, "sec_7", "photo_5").rows) == 1


def test_the_same_photos_in_figures_4_and_10_every_time(root: Path) -> None:
    for name in ("gs_4", "gs_12"):
        assert [row.caption for row in figure(root, name).rows] == [row.caption for row in figure(root, name).rows]


def test_a_saliency_photo_has_its_box_and_grabcuts_mask(root: Path) -> None:
    made = figure(root, "gs_5")
    assert made.heads == ["box", "GrabCut", "saliency"] and made.notes[2] == "not run"
    photo, (grabcut, saliency) = made.rows[0].photo, made.rows[0].tiles
    assert photo is not None and grabcut is not None and saliency is None
    scale = TILE_PX / WIDTH
    assert photo[round(5 * scale), round(25 * scale)].tolist() == [230, 30, 30]
    assert grabcut.ndim == 3 and {*np.unique(grabcut)} <= {0, 255}


def test_networks_run_on_their_training_photos(root: Path) -> None:
    """The saliency network, the segmenter by its test rule, and a classifier's heat map of the first tag."""
    torch.manual_seed(0)
    for name, classes in (("saliency", 2), ("segmenter/guided", 3)):
        network = build_segmenter("largefov", "efficientnet_lite0", classes, 0.1)
        load_pretrained(network, "efficientnet_lite0", "none", False)
        description = {
            **MODEL,
            "head": "largefov",
            "geometry": "crop",
            "average_pool5a": False,
            "class_names": NAMES[:classes],
        }
        save_model(root / "models" / name, network, description)
    classifier = build_classifier("gap_lowres", "efficientnet_lite0", 2, 0.0)
    load_pretrained(classifier, "efficientnet_lite0", "none", False)
    folder = root / "ablations" / "models" / "classifier" / "gap_lowres"
    vgg16 = {"deeplab_pool5": False, "fc_channels": 1024, "relu_after_fc7": True}
    save_model(folder, classifier, {**MODEL, "network": "gap_lowres", "geometry": "pad", "vgg16": vgg16})
    assert figure(root, "gs_7", count=1).rows[0].tiles[3] is None  # trained, and without a test rule yet
    write_rule(root / "models" / "segmenter" / "guided" / "test_rule.json", Rule("crop", None, SEC))
    predicted = figure(root, "gs_7", count=1).rows[0].tiles[3]
    assert predicted is not None and predicted.ndim == 2 and predicted.max() < 3
    saliency = figure(root, "gs_5", count=1).rows[0].tiles[1]
    assert saliency is not None and saliency.ndim == 3
    made = figure(root, "gs_8", count=1)
    assert made.notes == ["", "", "not run", "not run", "not run", "not run"]
    heat = made.rows[0].tiles[0]
    assert heat is not None and heat.shape == made.rows[0].photo.shape  # type: ignore[union-attr]


def test_heat_runs_from_blue_to_red() -> None:
    photo = np.full((8, 8, 3), 100, np.uint8)
    heat = coloured(np.repeat(np.linspace(-1, 2, 8, dtype=np.float32)[None], 8, 0), photo)
    assert heat[0, -1, 0] > heat[0, -1, 2] and heat[0, 0, 2] > heat[0, 0, 0]  # turbo starts in dark blue
    assert (heat[:, 0] == heat[:, 1]).all()  # what speaks against the class is 0


def test_a_drawing_has_each_tile_in_its_place() -> None:
    labels = np.full((20, TILE_PX), 2, np.uint8)
    labels[:, TILE_PX // 2 :] = 255
    rows = [Row(f"row {number}", np.zeros((20, TILE_PX, 3), np.uint8), [labels, None]) for number in range(3)]
    sheet = np.asarray(draw(Figure("Title", ["a", "b", "c"], ["", "", "x"], rows, fold=2), NAMES))
    assert sheet.shape[1] == 2 * MARGIN_PX + 2 * (3 * (TILE_PX + GAP_PX) + 2 * GAP_PX)
    dog = voc_palette()[2]
    column = sheet[:, MARGIN_PX + TILE_PX + GAP_PX + 10]
    painted = [line for line in column if abs(line.astype(int) - (0.78 * dog + 0.22 * 64)).max() <= 1]
    assert len(painted) == 40  # two of the three rows are in the left block
    ignored = sheet[:, MARGIN_PX + TILE_PX + GAP_PX + TILE_PX - 10]
    assert ((ignored >= 200).all(1) & (ignored < 255).any(1)).sum() == 40  # lighter than any class


def test_mistakes_are_told(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sec_6", "sec_99"]) == 1
    assert "no such figure: sec_99" in capsys.readouterr().err
    (root / "data" / "manifest.csv").unlink()
    assert main([]) == 1 and "run the pipeline first" in capsys.readouterr().err
    assert not (root / "metrics").exists()
    with pytest.raises(Exception, match="manifest"):
        make_figures(root, root / "out")
