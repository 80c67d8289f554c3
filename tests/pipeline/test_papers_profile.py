"""The papers' settings (profile papers), a few real steps each: VGG-16 and ResNet-101 at 321 px, on toy photos."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.profile_cases import ROOT, settings_of
from weakseg.files.archives import ArrayArchive, write_arrays
from weakseg.files.manifest import read_manifest
from weakseg.files.maps import cue_arrays, read_maps
from weakseg.files.tables import read_table
from weakseg.toy.drawn_set import write_toy

PRETRAINED = f"--pretrained {ROOT}/models/pretrained"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with tiny data, prepared, and the papers' settings cut down to two steps of two photos."""
    folder = tmp_path_factory.mktemp("papers")
    write_toy(folder / "toy", train_images=8, val_images=8, saliency_images=4, image_px=96, random_seed=0)
    params = settings_of("papers")
    params["data"] |= {"root": "toy/voc", "train_list": "train"}
    params["saliency"] |= {"root": "toy/saliency", "boxes": "UserData/boxes.txt"}
    assert params["train_segmenter"]["start_from"] == "pretrained/imagenet"  # not to be had offline
    params["train_segmenter"]["start_from"] = "pretrained/none"
    for network in [*params["train_classifier"].values(), params["train_saliency"]]:
        assert network["pretrained"] == "imagenet"
        network["pretrained"] = "none"
    for network in [*params["train_classifier"].values(), params["train_saliency"], params["train_segmenter"]]:
        network["training"] |= {"steps": 2, "batch_size": 2}
    assert params["losses"]["sec"]["crf_backend"] == "exact"
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    stage(folder, "prepare", "--lists toy --manifest manifest.csv --classes classes.txt --metrics prepare.json")
    stage(folder, "prepare_saliency", "--lists toy --manifest saliency.csv")
    return folder


def stage(folder: Path, name: str, arguments: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "WEAKSEG_WORKERS": "2", "WEAKSEG_DEVICE": "cpu"}
    command = [sys.executable, "-m", f"stages.{name}", *arguments.split()]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def losses(path: Path, columns: list[str]) -> list[float]:
    (row,) = read_table(path, ["step", *columns])
    assert row["step"] == "2"
    return [float(row[name]) for name in columns]


def test_gap_highres_trains_and_its_cams_are_41_by_41(folder: Path) -> None:
    """SEC's net sees photos as squares; read as GS's are, with their proportions, 41 is the longer side."""
    stage(
        folder,
        "train_classifier",
        f"--name foreground --manifest manifest.csv --classes classes.txt {PRETRAINED} --saliency {ROOT}/data/none --model {{name}} --log {{name}}.csv "
        "--metrics {name}.json --checkpoints checkpoints",
    )
    (loss,) = losses(folder / "foreground.csv", ["logistic"])
    assert loss == pytest.approx(8 * np.log(2), rel=0.2)  # eight classes, scores near 0
    for name in ("foreground", "seeder"):
        paths = "--manifest manifest.csv --model foreground --out {name}.npz --checkpoints checkpoints"
        stage(folder, "make_cams", f"--name {name} {paths}")
    records = read_manifest(folder / "manifest.csv", "train")
    for record in records:
        square, proportioned = (ArrayArchive(folder / f"{name}.npz") for name in ("foreground", "seeder"))
        labels, maps = read_maps(square, record.image_id)
        assert maps.shape == (len(labels), 41, 41)
        sides = read_maps(proportioned, record.image_id)[1].shape[1:]
        assert max(sides) == 41
        assert sides[0] / sides[1] == pytest.approx(record.height / record.width, abs=0.04)
    assert len({(record.height, record.width) for record in records}) > 1


def write_cues(folder: Path) -> None:
    rng = np.random.default_rng(0)
    ids = [line.split(",")[0] for line in (folder / "manifest.csv").read_text().splitlines() if ",train," in line]
    arrays = []
    for image_id in ids:
        cues = np.zeros((9, 41, 41), bool)
        cues[rng.integers(1, 9), :10, :10], cues[0, 30:, 30:] = True, True
        arrays += list(cue_arrays(image_id, cues))
    write_arrays(folder / "cues.npz", arrays)


@pytest.mark.parametrize("backend", ["exact", "lattice"])  # on a GPU, and as in the papers
def test_sec_trains_with_its_crf(backend: str, folder: Path) -> None:
    write_cues(folder)
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params["losses"]["sec"]["crf_backend"] = backend
    (folder / f"{backend}.yaml").write_text(yaml.safe_dump(params))
    stage(
        folder,
        "train_segmenter",
        f"--params {backend}.yaml --name sec --manifest manifest.csv --classes classes.txt --supervision {{supervision}} "
        f"--start-from {ROOT}/models/{{start_from}} --model {backend}/{{name}} --log {{name}}.csv --recipe {backend}/recipe.json "
        f"--progress {backend}/progress.zip --checkpoints checkpoints",
    )
    seed, expand, constrain = losses(folder / "sec.csv", ["seed", "expand", "constrain"])
    assert seed == pytest.approx(np.log(9), rel=0.3)
    assert expand > 0
    assert constrain >= 0
    stage(
        folder,
        "predict",
        f"--name sec --manifest manifest.csv --model {backend}/{{name}} --scores s.npz --masks m.zip --checkpoints checkpoints",
    )
    image_id = next(name for name in ArrayArchive(folder / "s.npz").names() if name.endswith("/maps"))
    assert ArrayArchive(folder / "s.npz")[image_id].shape == (9, 41, 41)


def test_the_saliency_network_trains(folder: Path) -> None:
    stage(folder, "make_grabcut_masks", "--manifest saliency.csv --out grabcut.zip --checkpoints checkpoints")
    stage(
        folder,
        "train_saliency",
        f"--manifest saliency.csv --masks grabcut.zip {PRETRAINED} --model saliency --log saliency_log.csv --checkpoints checkpoints",
    )
    terms = losses(folder / "saliency_log.csv", [f"cross_entropy{at}" for at in ("_at_0.5", "_at_0.75", "_at_1", "")])
    assert all(0 < loss < 100 for loss in terms) and len({*terms}) == 4  # two steps from random weights at full rate
