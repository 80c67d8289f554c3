"""Segmenting photos with a trained model: the pipeline's own masks, from Python and from the command line."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
import yaml
from PIL import Image

import weakseg
from stages import postprocess, predict
from tests.profile_cases import ROOT, settings_of
from weakseg.cli import main
from weakseg.crf.params import DEEPLAB, CRFParams
from weakseg.errors import UserError
from weakseg.files.archives import ImageArchive
from weakseg.files.label_masks import voc_palette
from weakseg.files.manifest import Record, write_manifest
from weakseg.inference import segment
from weakseg.inference.segmenter import load_segmenter, overlaid
from weakseg.inference.test_time_rule import TEST_RULE, Rule, read_rule, write_rule
from weakseg.networks.registry import build_segmenter, load_pretrained
from weakseg.networks.saved import save_model

CLASSES = ["background", "cat", "dog", "tree"]
RULES = {
    "warp": Rule("warp", 65, CRFParams(3, 20, 9, 1, 2, 4)),
    "crop": Rule("crop", None, CRFParams(2, 9, 30, 1, 1, 3)),
    "exact": Rule("crop", None, CRFParams(2, 9, 30, 1, 1, 3), "exact"),
}
SIZES = {"tall": (70, 41), "wide": (40, 90), "small": (33, 33), "again": (70, 41)}


def photo(height: int, width: int) -> npt.NDArray[np.uint8]:
    rng = np.random.default_rng(height * 1000 + width)
    coarse = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), np.uint8)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for name, size in SIZES.items():
        Image.fromarray(photo(*size)).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder for each geometry; untrained, but it sees every class somewhere."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(3)
    network = build_segmenter("largefov", "efficientnet_lite0", len(CLASSES), 0.0, False)
    load_pretrained(network, "efficientnet_lite0", "imagenet", False)
    torch.nn.init.normal_(network.fc8.weight, std=0.5)  # type: ignore[union-attr,arg-type]
    with torch.no_grad():
        scores = network.eval()(torch.from_numpy(photo(65, 65)).permute(2, 0, 1).unsqueeze(0))
        network.fc8.bias -= scores.mean((0, 2, 3))  # type: ignore[union-attr,operator]
    for name, rule in RULES.items():
        description = {"backbone": "efficientnet_lite0", "head": "largefov", "average_pool5a": False, "input_px": 65}
        save_model(folder / name, network, description | {"geometry": rule.geometry, "class_names": CLASSES})
        write_rule(folder / name / TEST_RULE, rule)
    return folder


def pipeline_masks(
    name: str, photos: Path, models: Path, folder: Path, patch: pytest.MonkeyPatch
) -> tuple[ImageArchive, ImageArchive]:
    """What the stages predict and postprocess make of the photos, without and with CRF."""
    params, rule = settings_of("toy"), RULES[name]
    params["experiments"]["sec"]["train"]["geometry"] = rule.geometry
    params["experiments"]["sec"]["test"]["input_px"] = rule.input_px
    params["crf"]["sec"] = dict(vars(rule.crf))
    params["postprocess"] = {"backend": rule.backend, "sigma_scale": 1.0}
    patch.chdir(folder)
    patch.setenv("WEAKSEG_WORKERS", "1")
    Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    records = [
        Record(key, "val", str(photos / f"{key}.png"), "", width, height, (1,), "")
        for key, (height, width) in SIZES.items()
    ]
    write_manifest(Path("manifest.csv"), records)
    arguments = [
        "--manifest",
        "manifest.csv",
        "--name",
        "sec",
        "--scores",
        "scores.npz",
        "--checkpoints",
        "checkpoints",
    ]
    patch.setattr(sys, "argv", ["predict", *arguments, "--model", str(models / name), "--masks", "raw.zip"])
    predict.main()
    patch.setattr(sys, "argv", ["postprocess", *arguments, "--out", "crf.zip"])
    postprocess.main()
    return ImageArchive("raw.zip"), ImageArchive("crf.zip")


@pytest.mark.parametrize("name", RULES)
def test_masks_are_those_of_the_pipeline(
    name: str, photos: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, crf = pipeline_masks(name, photos, models, tmp_path, monkeypatch)
    segmenter = weakseg.load_segmenter(models / name, device="cpu")
    assert segmenter.class_names == CLASSES
    for key, size in SIZES.items():
        image = photo(*size)
        mask = segmenter.segment(image)
        assert mask.dtype == np.uint8 and mask.shape == size
        np.testing.assert_array_equal(mask, crf[key])
        np.testing.assert_array_equal(segmenter.segment(image, crf=False), raw[key])
    assert any((crf[key] != raw[key]).any() for key in SIZES)
    assert len({label for key in SIZES for label in np.unique(raw[key])}) > 1

    segment_photos(photos, "--model", models / name, "--out", tmp_path / "masks", "--batch-size", 3, patch=monkeypatch)
    for key in SIZES:
        written = Image.open(tmp_path / "masks" / f"{key}.png")
        assert written.mode == "P"
        differing = np.asarray(written) != crf[key]
        assert differing.mean() < 0.01  # photos that go through the network together may differ in the last bit
        np.testing.assert_array_equal(np.asarray(written.convert("RGB")), voc_palette()[np.asarray(written)])


def segment_photos(*arguments: object, patch: pytest.MonkeyPatch) -> None:
    """By the command; a mistake ends it with status 1 and one message."""
    patch.setenv("WEAKSEG_DEVICE", "cpu")
    main(["segment", *map(str, arguments)])


def test_overlay_and_no_crf(photos: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                            capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    out = tmp_path / "masks"
    segment_photos(
        photos / "tall.png", "--model", models / "crop", "--out", out, "--overlay", "--no-crf", patch=monkeypatch
    )
    assert sorted(path.name for path in out.iterdir()) == ["classes.json", "tall.overlay.jpg", "tall.png"]
    image = photo(*SIZES["tall"])
    mask = np.asarray(Image.open(out / "tall.png"))
    np.testing.assert_array_equal(mask, load_segmenter(models / "crop").segment(image, crf=False))
    shown = np.asarray(Image.open(out / "tall.overlay.jpg")).astype(int)
    assert np.abs(shown - overlaid(image, mask)).mean() < 4
    largest = np.bincount(mask.ravel(), minlength=4)[1:].argmax() + 1
    share = f"{CLASSES[largest]} {100 * (mask == largest).mean():.0f} %"
    assert capsys.readouterr().out.startswith(f"{out / 'tall.png'}: {share}")


def test_an_overlay_leaves_the_background_and_mixes_in_the_class_colour() -> None:
    image = np.full((1, 2, 3), 100, np.uint8)
    shown = overlaid(image, np.array([[0, 2]], np.uint8))  # class 2 is (0, 128, 0)
    assert shown.tolist() == [[[100, 100, 100], [45, 115, 45]]]


# --- names -------------------------------------------------------------------------------------------------------------------


def made(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_folders_are_searched_and_repeated_below_out(tmp_path: Path) -> None:
    made(tmp_path, "in/b.jpg", "in/deep/a.PNG", "in/notes.txt", "in/.hidden/c.jpg", "in/masks/old.png", "one.jpeg")
    found = segment.find_photos(
        [tmp_path / "in", tmp_path / "one.jpeg", tmp_path / "in" / "b.jpg"], tmp_path / "in/masks"
    )
    jobs, notes = segment.name_outputs(found, tmp_path / "in" / "masks")
    assert [job.mask.relative_to(tmp_path / "in" / "masks").as_posix() for job in jobs] == [
        "b.png",
        "deep/a.png",
        "one.png",
    ]
    assert notes == []


def test_photos_of_one_name_get_masks_of_their_own(tmp_path: Path) -> None:
    made(tmp_path, "x/a.jpg", "x/a-2.jpg", "y/A.jpg", "y/a.png")
    found = segment.find_photos([tmp_path / "x", tmp_path / "y"], tmp_path / "out")
    jobs, notes = segment.name_outputs(found, tmp_path / "out", overlay=True)
    assert [job.mask.name for job in jobs] == ["a-2.png", "a.png", "A-3.png", "a-4.png"]
    assert len({job.overlay for job in jobs}) == 4
    assert [note.split(":")[0] for note in notes] == [str(tmp_path / "y" / name) for name in ("A.jpg", "a.png")]


def test_a_photo_is_never_replaced(tmp_path: Path) -> None:
    made(tmp_path, "a.png")
    with pytest.raises(UserError, match=r"a\.png would replace a photo"):
        segment.name_outputs(segment.find_photos([tmp_path / "a.png"], tmp_path), tmp_path)


# --- mistakes ----------------------------------------------------------------------------------------------------------------


def test_all_missing_paths_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError) as caught:
        segment.find_photos([tmp_path / "gone.jpg", tmp_path / "empty"], tmp_path / "out")
    assert "gone.jpg: no such file or folder" in str(caught.value)
    assert "empty: no photos in this folder" in str(caught.value)


def test_a_damaged_photo_does_not_stop_the_others(
    photos: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no photo")
    given = (tmp_path / "bad.jpg", photos / "small.png", "--model", models / "warp", "--out", tmp_path / "m")
    words = r"(?s)^weakseg segment: 1 of 2 photos could not be segmented:.*bad\.jpg: is no readable"
    with pytest.raises(SystemExit, match=words):
        segment_photos(*given, patch=monkeypatch)
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == ["classes.json", "small.png"]


# --- a folder that holds masks already -----------------------------------------------------------------------------------------


def test_nothing_is_replaced_without_force_and_nothing_stale_stays_with_it(
    photos: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "m"
    given = (photos / "small.png", "--model", models / "crop", "--out", out, "--no-crf")
    segment_photos(*given, "--overlay", "--json", patch=monkeypatch)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert sorted(before) == ["classes.json", "small.json", "small.overlay.jpg", "small.png"]
    with pytest.raises(SystemExit, match=r"(?s)3 files are there already; --force replaces them.*small\.overlay\.jpg"):
        segment_photos(*given, patch=monkeypatch)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    (out / "small.png").unlink()  # an overlay without its mask counts too
    with pytest.raises(SystemExit, match="2 files are there already"):
        segment_photos(*given, patch=monkeypatch)
    segment_photos(*given, "--force", patch=monkeypatch)
    assert sorted(path.name for path in out.iterdir()) == ["classes.json", "small.png"]
    assert (out / "small.png").read_bytes() == before["small.png"]


def test_json_tells_areas_and_boxes_and_classes_json_the_ids(
    photos: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "m"
    segment_photos(photos / "wide.png", "--model", models / "crop", "--out", out, "--json", patch=monkeypatch)
    mask = np.asarray(Image.open(out / "wide.png"))
    told = json.loads((out / "wide.json").read_text(encoding="utf-8"))
    assert (told["height"], told["width"]) == SIZES["wide"] and told["photo"].endswith("wide.png")
    assert {item["id"] for item in told["classes"]} == set(np.unique(mask).tolist()) - {0}
    areas = [item["area_px"] for item in told["classes"]]
    assert areas == sorted(areas, reverse=True) and areas
    for item in told["classes"]:
        here = mask == item["id"]
        left, top, right, bottom = item["box_xyxy"]
        assert here[top:bottom, left:right].sum() == here.sum() == item["area_px"]
        assert here[top].any() and here[bottom - 1].any() and here[:, left].any() and here[:, right - 1].any()
        assert item["area_fraction"] == pytest.approx(here.mean()) and item["name"] == CLASSES[item["id"]]
    listed = json.loads((out / "classes.json").read_text(encoding="utf-8"))
    assert [item["name"] for item in listed] == CLASSES
    assert listed[2] == {"id": 2, "name": "dog", "colour_rgb": voc_palette()[2].tolist()}


def test_arrays_paths_and_pil_images_give_one_mask(photos: Path, models: Path) -> None:
    segmenter, path = load_segmenter(models / "crop"), photos / "wide.png"
    expected = segmenter.segment(photo(*SIZES["wide"]))
    for given in (path, str(path), Image.open(path), Image.open(path).convert("RGBA")):
        np.testing.assert_array_equal(segmenter.segment(given), expected)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 3)),
        np.zeros((0, 4, 3), np.uint8),
        [[1]],
        np.zeros((4, 4, 4), np.uint8),
    ],
)
def test_other_arrays_are_refused(image: object, models: Path) -> None:
    segmenter = load_segmenter(models / "crop")
    with pytest.raises(ValueError, match="a photo"):
        segmenter.segment(image)  # type: ignore[arg-type]


WHOLE = {"geometry": "crop", "input_px": None, "crf": vars(DEEPLAB), "backend": "lattice"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "dvc repro write_test_rule"),
        ("{", "not valid JSON"),
        ('{"geometry": "crop"}', "damaged or from another version"),
        (
            json.dumps({"geometry": "warp", "input_px": None, "crf": vars(DEEPLAB), "backend": "exact"}),
            "geometry 'warp' with input_px None",
        ),
        (json.dumps({**WHOLE, "crf": vars(DEEPLAB) | {"steps": -1}}), "at least 0"),
        (json.dumps({**WHOLE, "backend": "gpu"}), "backend 'gpu'"),
        (
            json.dumps({key: value for key, value in WHOLE.items() if key != "backend"}),
            "damaged or from another version",
        ),
    ],
)
def test_a_missing_or_damaged_rule_is_told(content: str | None, words: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / TEST_RULE).write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=words):
        read_rule(tmp_path)


def test_a_model_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model\.json: no such file"):
        load_segmenter(tmp_path)


def test_importing_the_package_loads_neither_torch_nor_numpy() -> None:
    code = "import sys, weakseg; print({'torch', 'numpy'} & set(sys.modules), weakseg.load_segmenter.__name__, 'torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert shown.split() == ["set()", "load_segmenter", "True"]
    with pytest.raises(AttributeError, match="attribute nothing"):
        weakseg.nothing  # type: ignore[attr-defined]  # noqa: B018
