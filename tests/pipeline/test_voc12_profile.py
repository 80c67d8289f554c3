"""The papers' settings (profile voc12), a few real steps each: VGG-16 and ResNet-101 at 321 px, on toy photos."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from weakseg.files.archives import ArrayArchive, write_arrays
from weakseg.files.maps import cue_arrays, read_maps
from weakseg.files.tables import read_table
from weakseg.toy.drawn_set import write_toy

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with tiny data, prepared, and voc12's settings cut down to two steps of two photos."""
    folder = tmp_path_factory.mktemp("voc12")
    write_toy(folder / "toy", train_images=8, val_images=8, saliency_images=4, image_px=96, random_seed=0)
    params: dict[str, Any] = yaml.safe_load((ROOT / "profiles/voc12.yaml").read_text())
    params["data"] |= {"root": "toy/voc", "train_list": "train"}
    params["saliency"] |= {"root": "toy/saliency", "boxes": "UserData/boxes.txt"}
    networks = [*params["classifiers"].values(), params["train_saliency"], params["segmenter"]]
    for network in networks:
        assert network["pretrained"] == "imagenet"  # not to be had offline
        network["pretrained"] = "none"
        network["training"] |= {"steps": 2, "batch_size": 2}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    stage(folder, "prepare", "--manifest manifest.csv --classes classes.txt --metrics prepare.json")
    stage(folder, "prepare_saliency", "--manifest saliency.csv")
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
    stage(
        folder,
        "train_classifier",
        "--name seeder --manifest manifest.csv --classes classes.txt --model seeder --log seeder.csv "
        "--metrics seeder.json --checkpoints checkpoints",
    )
    (loss,) = losses(folder / "seeder.csv", ["logistic"])
    assert loss == pytest.approx(8 * np.log(2), rel=0.2)  # eight classes, scores near 0
    stage(
        folder,
        "make_cams",
        "--name seeder --manifest manifest.csv --model seeder --out cams.npz --checkpoints checkpoints",
    )
    labels, maps = read_maps(ArrayArchive(folder / "cams.npz"), "train_0000")
    assert maps.shape == (len(labels), 41, 41)


def test_sec_trains_with_the_lattice_crf(folder: Path) -> None:
    rng = np.random.default_rng(0)
    ids = [line.split(",")[0] for line in (folder / "manifest.csv").read_text().splitlines() if ",train," in line]
    arrays = []
    for image_id in ids:
        cues = np.zeros((9, 41, 41), bool)
        cues[rng.integers(1, 9), :10, :10], cues[0, 30:, 30:] = True, True
        arrays += list(cue_arrays(image_id, cues))
    write_arrays(folder / "cues.npz", arrays)
    stage(
        folder,
        "train_segmenter",
        "--experiment sec --loss sec --manifest manifest.csv --classes classes.txt --supervision cues.npz "
        "--classifier seeder --model sec --log sec.csv --checkpoints checkpoints",
    )
    seed, expand, constrain = losses(folder / "sec.csv", ["seed", "expand", "constrain"])
    assert seed == pytest.approx(np.log(9), rel=0.3)
    assert expand > 0
    assert constrain >= 0
    stage(
        folder,
        "predict",
        "--experiment sec --manifest manifest.csv --model sec --scores s.npz --masks m.zip --checkpoints checkpoints",
    )
    image_id = next(name for name in ArrayArchive(folder / "s.npz").names() if name.endswith("/maps"))
    assert ArrayArchive(folder / "s.npz")[image_id].shape == (9, 41, 41)


def test_the_saliency_network_trains(folder: Path) -> None:
    stage(folder, "make_grabcut_masks", "--manifest saliency.csv --out grabcut.zip --checkpoints checkpoints")
    stage(
        folder,
        "train_saliency",
        "--manifest saliency.csv --masks grabcut.zip --model saliency --log saliency_log.csv --checkpoints checkpoints",
    )
    (loss,) = losses(folder / "saliency_log.csv", ["cross_entropy"])
    assert 0 < loss < 100  # two steps from random weights at full rate
