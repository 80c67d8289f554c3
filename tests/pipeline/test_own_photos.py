"""A user's own folder: photos and tags, not one mask; everything runs, and nothing asks for masks."""

import csv
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipeline.tiny_repo import Repo, copy_repository, tiny_params, write_params
from tests.profile_cases import settings_of
from weakseg.datasets.label_files import read_annotation
from weakseg.toy.drawn_set import write_toy

NUM_TRAIN, NUM_VAL, NUM_TEST = 14, 2, 2


def write_photos(folder: Path, scratch: Path) -> None:
    """Drawn photos with `labels.csv`; the photos of the test split have no tags, and none has a mask."""
    count = NUM_TRAIN + NUM_VAL + NUM_TEST
    write_toy(scratch, train_images=count, val_images=0, saliency_images=0, image_px=64, random_seed=5)
    photos = sorted((scratch / "voc" / "JPEGImages").iterdir())
    folder.mkdir()
    with open(folder / "labels.csv", "w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image_id", "labels", "split"])
        for index, photo in enumerate(photos):
            shutil.copy(photo, folder / photo.name)
            split = "train" if index < NUM_TRAIN else "val" if index < NUM_TRAIN + NUM_VAL else "test"
            tags = read_annotation(scratch / "voc" / "Annotations" / f"{photo.stem}.xml")
            rows.writerow([photo.stem, "" if split == "test" else " ".join(tags), split])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repo]:
    base = tmp_path_factory.mktemp("own_photos")
    repo = Repo(base / "repo")
    copy_repository(repo.folder)
    (base / "home").mkdir()
    write_photos(base / "photos", base / "scratch")
    params = tiny_params()
    own = settings_of("own-photos")
    params["data"] = own["data"] | {"root": "../photos"}
    params["experiments"] = {name: params["experiments"][name] for name in ("sec", "guided")}
    params["self_training"], params["evaluate_supervision"]["self_trained"] = {}, []
    write_params(repo.folder, params)
    repo.run("git", "init", "--quiet")
    (base / "run.txt").write_text(repo.dvc("repro"), encoding="utf-8")
    yield repo
    shutil.rmtree(base)


def test_it_runs_to_the_end_without_a_mask(finished: Repo) -> None:
    output = (finished.folder.parent / "run.txt").read_text(encoding="utf-8")
    assert "Running stage 'report'" in output
    assert "no val photo has a mask" in output
    with zipfile.ZipFile(finished.folder / "data" / "ground_truth.zip") as masks:
        assert masks.namelist() == []
    assert {record.mask for split in ("train", "val", "test") for record in finished.records(split)} == {""}


@pytest.mark.parametrize("experiment", ["sec", "guided"])
def test_val_and_test_photos_are_segmented_and_nothing_is_measured(finished: Repo, experiment: str) -> None:
    with zipfile.ZipFile(finished.folder / "data" / "masks" / f"{experiment}.zip") as masks:
        held_out = [record.image_id for split in ("val", "test") for record in finished.records(split)]
        assert masks.namelist() == [f"{image_id}.png" for image_id in held_out]
        assert len(held_out) == NUM_VAL + NUM_TEST
    metrics = finished.json(f"metrics/{experiment}.json")
    assert metrics["images_with_ground_truth"] == 0
    assert metrics["miou"] is metrics["miou_crf"] is None
    row = finished.json("metrics/summary.json")[experiment]
    assert row.pop("beyond_tags") == ("" if experiment == "sec" else "saliency boxes")
    assert set(row.values()) == {None}
    page = (finished.folder / "metrics" / "report" / "index.html").read_text(encoding="utf-8")
    assert "there is no ground truth" in page


def test_a_photo_is_segmented_from_the_command_line(finished: Repo) -> None:
    photo = finished.folder.parent / "photos" / f"{finished.records('test')[0].image_id}.jpg"
    told = finished.run(
        "python", "-m", "weakseg.segment", str(photo), "--model", "models/segmenter/guided", "--out", "m"
    )
    assert told.startswith(f"m/{photo.stem}.png: ")
    with zipfile.ZipFile(finished.folder / "data" / "masks" / "guided.zip") as masks:
        assert (finished.folder / "m" / f"{photo.stem}.png").read_bytes() == masks.read(f"{photo.stem}.png")
