"""Two processes at one stage do what one does: the same bytes, the same losses, and a clear end if one of them dies.

Run as a module, this file is what the processes run; torchrun starts them as it would a stage.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import nn

from stages import (
    evaluate,
    evaluate_repeat,
    label_training,
    make_cams,
    make_g1_guides,
    make_grabcut_masks,
    make_guides,
    make_oracle_guides,
    make_seeds,
    postprocess,
    predict,
    predict_repeat,
    predict_saliency,
    predict_training,
)
from tests.profile_cases import ROOT, settings_of
from weakseg.crf.params import CRFParams
from weakseg.errors import UserError
from weakseg.files.archives import write_images
from weakseg.files.class_names import write_class_names
from weakseg.files.label_masks import label_image
from weakseg.files.manifest import Record, SaliencyRecord, write_manifest, write_saliency_manifest
from weakseg.inference.test_time_rule import Rule, write_rule
from weakseg.networks.registry import build_classifier, build_segmenter
from weakseg.networks.saved import save_model
from weakseg.runtime import launch
from weakseg.runtime.devices import compiled
from weakseg.runtime.launch import is_first
from weakseg.runtime.stage import run
from weakseg.settings.networks import TrainClassifier
from weakseg.training.parallel import batch_shares

CLASSES = ["background", "cat", "dog"]
NUM_PHOTOS, SIDE_PX = 5, 65  # five: the shares differ in size


def start(folder: Path, *task: str, module: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A test module as a job of two processes, in `folder`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PET_", "WEAKSEG_"))}
    settings = {"PET_NPROC_PER_NODE": "2", "OMP_NUM_THREADS": "1", "WEAKSEG_DEVICE": "cpu", "WEAKSEG_WORKERS": "1"}
    return subprocess.run(
        [sys.executable, "-m", f"tests.unit.{module.rpartition('.')[2]}", *task],
        cwd=folder, env={**kept, **settings, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True, text=True, timeout=900,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("WEAKSEG_DEVICE", "cpu")
    monkeypatch.setenv("WEAKSEG_WORKERS", "1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# --- batch stages -----------------------------------------------------------------------------------------------------


def write_inputs(folder: Path) -> None:
    """Photos, manifests, seeds and random networks, for stages that run in `folder`."""
    rng, records, boxes = np.random.default_rng(0), [], []
    seeds = {}
    for index in range(NUM_PHOTOS):
        height, width = 60 + 3 * index, 80 - 2 * index
        image = rng.integers(0, 99, (height, width, 3), np.uint8)
        image[20:45, 25:60] += np.uint8(150)
        Image.fromarray(image).save(folder / f"{index}.png")
        record = Record(
            str(index), "train" if index % 2 else "val", f"{index}.png", "", width, height, (1, 2)[: index % 2 + 1], ""
        )
        records += [record, Record(f"t{index}", "train", f"{index}.png", "", width, height, (1,), "")]
        boxes.append(SaliencyRecord(str(index), f"{index}.png", "", width, height, 20.0, 15.0, 65.0, 50.0, ""))
        seeds |= {
            record.image_id: (image[..., 0] > 150).astype(np.uint8),
            f"t{index}": np.zeros((height, width), np.uint8),
        }
    write_manifest(folder / "manifest.csv", records)
    write_saliency_manifest(folder / "boxes.csv", boxes)
    write_class_names(folder / "classes.txt", CLASSES)
    write_images(folder / "seeds.zip", ((key, label_image(labels)) for key, labels in seeds.items()))
    write_models(folder)
    params = small_params()
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    save_rule(folder)
    params["postprocess"]["backend"] = "exact"
    (folder / "exact.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")


def save_rule(folder: Path) -> None:
    """As experiment sec's settings have it."""
    crf = small_params()["crf"]["sec"]
    write_rule(folder / "segmenter" / "test_rule.json", Rule("crop", SIDE_PX, CRFParams(**crf).scaled(4)))


def write_models(folder: Path) -> None:
    torch.manual_seed(0)
    classifier = build_classifier("gap_lowres", "efficientnet_lite0", 2, 0.0)
    common = {"backbone": "efficientnet_lite0", "input_px": SIDE_PX, "geometry": "crop"}
    settings = TrainClassifier.model_validate(small_params()["train_classifier"]["seeder"])
    description = settings.model_dump(include={"network", "backbone", "vgg16", "input_px", "geometry"})
    save_model(folder / "classifier", classifier, {**description, "class_names": CLASSES})
    for name, classes in (("segmenter", CLASSES), ("saliency", CLASSES[:2])):
        network = build_segmenter("largefov", "efficientnet_lite0", len(classes), 0.0, False)
        description = {**common, "head": "largefov", "average_pool5a": False, "class_names": classes}
        save_model(folder / name, network, description)


def small_params() -> dict[str, Any]:
    params = settings_of("toy")
    params["make_cams"]["seeder"] |= {"input_px": SIDE_PX, "scales": [1.0]}
    params["experiments"]["sec"]["test"]["input_px"] = SIDE_PX
    params["crf"]["sec"]["steps"] = params["crf"]["deeplab"]["steps"] = 2
    params["make_seeds"]["crf"] = "sec"
    params["random_seeds"], params["self_training"] = [1], {"sec": {"crf": "sec", "min_probability": 0.4}}
    params["evaluate_supervision"]["self_trained"] = ["sec"]
    guides = params["make_guides"]["g2"]
    params["make_guides"] = {"g0": guides | {"rule": "g0"}, "g2": guides}
    shared = {name: guides[name] for name in ("unresolved", "min_saliency_fraction", "saliency_threshold")}
    params["make_g1_guides"] = {"g1": {**shared, "classifier": "seeder", "require_positive": False}}
    return params


def command(module: Any, folder: str, /, **options: str) -> tuple[Callable[[], None], list[str]]:
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
    return module.main, [module.__name__, *(part.replace("OUT", folder) for part in arguments)]


def run_batch_stages(out: str) -> None:
    """All stages that are shared out, and the evaluation of what they made, which is not."""
    half_done = {"checkpoints": "OUT-checkpoints"}
    photos = {"manifest": "manifest.csv", **half_done}
    salient = {**photos, "saliency": "OUT/saliency.zip"}
    stages = [
        command(make_grabcut_masks, out, manifest="boxes.csv", **half_done, out="OUT/grabcut.zip"),
        command(make_cams, out, **photos, model="classifier", name="seeder", out="OUT/cams.npz"),
        command(make_seeds, out, **photos, cams="OUT/cams.npz", out="OUT/seeds.zip"),
        command(predict_saliency, out, **photos, model="saliency", out="OUT/saliency.zip"),
        *(command(make_guides, out, **salient, seeds="seeds.zip", name=name, out="OUT/{name}.zip") for name in ("g0", "g2")),
        command(make_g1_guides, out, **salient, classifier="classifier", name="g1", out="OUT/{name}.zip"),
        command(make_oracle_guides, out, **photos, seeds="seeds.zip", **{"ground-truth": "seeds.zip"}, out="OUT/oracle.zip"),
        command(predict, out, **photos, model="segmenter", name="sec", scores="OUT/scores.npz", masks="OUT/raw.zip"),
        command(postprocess, out, **photos, scores="OUT/scores.npz", name="sec", out="OUT/masks.zip"),
        command(postprocess, out, **photos, scores="OUT/scores.npz", name="full", params="exact.yaml", out="OUT/exact.zip"),
        command(predict_training, out, **photos, model="segmenter", name="sec", scores="OUT/own.npz"),
        command(label_training, out, **photos, scores="OUT/own.npz", name="sec", out="OUT/self.zip"),
        command(predict_repeat, out, **photos, model="segmenter", name="sec-1", scores="OUT/{experiment}{seed}.npz"),
        command(evaluate_repeat, out, **photos, classes="classes.txt", scores="OUT/sec1.npz", rule="segmenter/test_rule.json",
                name="sec-1", **{"ground-truth": "seeds.zip"}, out="OUT/1.npz"),
    ]  # fmt: skip
    if is_first():
        stages.append(command(evaluate, out, manifest="manifest.csv", classes="classes.txt", name="sec", raw="OUT/raw.zip",
                              crf="OUT/masks.zip", repeats="OUT", **{"ground-truth": "seeds.zip"}, out="OUT/evaluation.npz",
                              metrics="OUT/metrics.json"))  # fmt: skip
    for main, sys.argv in stages:
        main()


def test_two_processes_write_the_bytes_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_inputs(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [])
    left = tmp_path / "two-checkpoints" / f"two-cams.npz.{'0' * 16}.1-of-3.part"
    left.parent.mkdir()
    left.write_bytes(b"left by a job that was killed")
    job = start(tmp_path, module=__name__)
    assert job.returncode == 0, job.stderr
    run_batch_stages("one")
    written = {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    assert len(written) == 18
    assert {path.name: path.read_bytes() for path in (tmp_path / "two").iterdir()} == written
    assert job.stderr.count("peak memory") == 1
    assert f"{left.name} is not used; starting over" in job.stderr
    assert list(left.parent.iterdir()) == []


# --- parts ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def of_three(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes this process look like number `rank` of three."""

    def be(rank: int) -> None:
        names = {
            "TORCHELASTIC_RUN_ID": "none",
            "RANK": rank,
            "LOCAL_RANK": rank,
            "WORLD_SIZE": 3,
            "LOCAL_WORLD_SIZE": 3,
        }
        for name, value in names.items():
            monkeypatch.setenv(name, str(value))

    return be


def test_shares_of_batches_are_the_batches(of_three: Callable[[int], None]) -> None:
    assert batch_shares(6, 2, "x") == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]
    of_three(0)
    assert batch_shares(6, 2, "x") == [[0, 1], [6, 7]]
    of_three(2)
    assert batch_shares(6, 2, "x") == [[4, 5], [10, 11]]


def test_a_batch_that_does_not_divide_is_refused(of_three: Callable[[int], None]) -> None:
    of_three(1)
    message = "segmenter/sec: batch_size 10 cannot be shared evenly by 3 processes; run 1, 2, 5, 10 of them"
    with pytest.raises(UserError, match=message):
        batch_shares(10, 2, "segmenter/sec")


def test_a_job_is_wanted_only_where_asked_for_and_not_yet_there(
    of_three: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PET_NPROC_PER_NODE", "PET_NNODES", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    assert not launch.is_wanted()
    monkeypatch.setenv("PET_NNODES", "2")
    assert launch.is_wanted()
    of_three(1)
    assert not launch.is_wanted()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("PET_NPROC_PER_NODE", "many", "PET_.*many"),
        ("WEAKSEG_LAUNCH", "no-such-command -n 2", "WEAKSEG_LAUNCH: no-such-command: No such file"),
    ],
)
def test_variables_that_make_no_sense_are_told(
    name: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PET_STANDALONE", "1")
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=message):
        launch.start("stages.make_cams", [])


def test_compile_by_name_of_the_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    network = nn.Linear(2, 2)
    assert compiled(network) is network
    monkeypatch.setenv("WEAKSEG_COMPILE", "eager")
    torch.testing.assert_close(compiled(network)(torch.ones(1, 2)), network(torch.ones(1, 2)))
    assert compiled(network) is not network
    monkeypatch.setenv("WEAKSEG_COMPILE", "fast")
    with pytest.raises(UserError, match="WEAKSEG_COMPILE: 'fast' is no backend"):
        compiled(network)


if __name__ == "__main__":
    run(lambda: run_batch_stages("two"), distributed=True)
