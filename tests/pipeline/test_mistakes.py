"""A user's mistakes: one clear message, and nothing is lost."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.pipeline.tiny_repo import Repo


def spoil_data(voc: Path) -> list[str]:
    """Faults of several kinds; the words that the report of each must hold."""
    lists = voc / "ImageSets" / "Segmentation"
    photos = sorted((voc / "JPEGImages").iterdir())
    photos[0].write_bytes(photos[0].read_bytes()[:300])
    Image.new("P", (5, 6)).save(voc / "SegmentationClass" / f"{photos[1].stem}.png")
    mask = Image.open(voc / "SegmentationClass" / f"{photos[2].stem}.png")
    Image.fromarray(np.full(mask.size[::-1], 77, np.uint8)).save(voc / "SegmentationClass" / f"{photos[2].stem}.png")
    annotation = voc / "Annotations" / f"{photos[3].stem}.xml"
    annotation.write_text("<annotation></annotation>", encoding="utf-8")
    with open(lists / "train.txt", "a", encoding="utf-8") as file:
        file.write(f"../../outside\n..hidden\n{photos[4].stem}\nnosuchphoto\n")
    return [photos[0].name, f"{photos[1].stem}.png: has 5x6 px", f"{photos[2].stem}.png", photos[3].stem,
            "'../../outside'", "'..hidden'", f"'{photos[4].stem}' is already on line", "nosuchphoto"]  # fmt: skip


def prepare(repo: Repo) -> subprocess.CompletedProcess[str]:
    paths = (
        "--lists",
        "data/lists",
        "--manifest",
        "data/manifest.csv",
        "--classes",
        "data/classes.txt",
        "--metrics",
        "metrics/prepare.json",
    )
    return repo.call(sys.executable, "-m", "stages.prepare", *paths)


def files_below(*folders: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}


def test_prepare_reports_all_bad_input_at_once_and_writes_nothing(repo: Repo) -> None:
    expected = spoil_data(repo.folder / "data" / "toy" / "voc")
    before = files_below(repo.folder / "data", repo.folder / "metrics")
    done = prepare(repo)
    assert done.returncode == 1
    lines = done.stderr.strip().splitlines()
    header = next(index for index, line in enumerate(lines) if line.startswith("stages.prepare: "))
    assert re.search(rf"data/toy/voc: {len(expected)} problems; nothing was written", lines[header])
    told = lines[header + 1 :]
    assert len(told) == len(expected)
    for words in expected:
        assert sum(words in line for line in told) == 1, words
    assert "Traceback" not in done.stderr
    assert files_below(repo.folder / "data", repo.folder / "metrics") == before


@pytest.mark.parametrize(
    ("missing", "words"),
    [("JPEGImages", "JPEGImages: the folder cannot be read"), ("ImageSets", "train.txt: no such file")],
)
def test_prepare_tells_a_missing_folder_or_list(repo: Repo, missing: str, words: str) -> None:
    shutil.rmtree(repo.folder / "data" / "toy" / "voc" / missing)
    done = prepare(repo)
    assert done.returncode == 1 and words in done.stderr and "Traceback" not in done.stderr
    shutil.rmtree(repo.folder / "data" / "toy" / "voc")
    done = prepare(repo)
    assert done.returncode == 1 and "no such folder; set data.root" in done.stderr and "Traceback" not in done.stderr


def test_invalid_params_give_one_message_and_stop_before_anything_runs(repo: Repo) -> None:
    repo.change(lambda params: params["train_segmenter"].update(colour="red", input_px="large"))
    before = files_below(repo.folder / "data", repo.folder / "metrics")
    done = prepare(repo)
    assert done.returncode == 1
    told = [
        "stages.prepare: params.yaml:",
        "  train_segmenter.input_px: Input should be a valid integer (is 'large'); YAML reads 1e-3 as text, write 0.001 or 1.0e-3",
        "  train_segmenter.colour: Extra inputs are not permitted (is 'red')",
    ]
    assert done.stderr.splitlines() == told
    output = repo.call(sys.executable, "-m", "dvc", "repro", "train_segmenter@full")
    assert output.returncode != 0
    assert all(line in output.stdout + output.stderr for line in (told[1], told[2]))
    assert "Traceback" not in output.stdout + output.stderr
    after = files_below(repo.folder / "data", repo.folder / "metrics")
    assert after.items() <= before.items()


def test_a_stage_asked_for_an_experiment_that_is_not_there_says_so(pristine: Repo) -> None:
    paths = ("--manifest", "data/manifest.csv", "--model", "models/segmenter/sec", "--scores", "x", "--masks", "y")
    command = ("-m", "stages.predict", "--name", "nosuch", "--checkpoints", "checkpoints", *paths)
    done = pristine.call(sys.executable, *command)
    assert done.returncode == 1
    assert done.stderr.strip() == "stages.predict: params.yaml: there is no experiments.nosuch.test.input_px"
