"""What results depend on besides params.yaml is seen when it changes; the number of processes changes nothing."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from tests.pipeline.tiny_repo import Repo

# --- several processes ------------------------------------------------------------------------------------------------------


def test_two_processes_make_the_bytes_of_one_and_lose_what_one_does(ours: Repo) -> None:
    """By the command that a user types, beside the first run, which one process made. Other stages, and trainings of
    more steps: tests/unit/test_distributed.py and test_distributed_training.py."""
    stages = ("make_cues", "make_guides@g2")
    log = ours.folder / "metrics/training/boundaries-irn.csv"  # no dropout, which each process draws for itself
    losses_alone, alone = losses(log), hashes(ours, stages)
    ran = ours.repro("--force", "--single-item", *stages, "train_boundaries@irn", PET_NPROC_PER_NODE="2")
    assert ran == {*stages, "train_boundaries@irn"}
    assert hashes(ours, stages) == alone
    together = losses(log)
    assert together.keys() == losses_alone.keys()
    for name, values in losses_alone.items():
        np.testing.assert_allclose(together[name], values, rtol=1e-5, err_msg=name)


def hashes(repo: Repo, stages: Sequence[str]) -> dict[str, str]:
    """Of what these stages made, as dvc.lock has them."""
    lock = yaml.safe_load((repo.folder / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    return {out["path"]: out["md5"] for stage in stages for out in lock[stage]["outs"]}


def losses(path: Path) -> dict[str, list[float]]:
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows] for name in rows[0]}


# --- lists, labels, boxes, photos -----------------------------------------------------------------------------------------


def test_edited_lists_of_labels_boxes_and_photos_to_leave_out_change_what_is_prepared(
    ours: Repo, tmp_path: Path
) -> None:
    records = {record.image_id: record for record in ours.records("train")}
    names = (ours.folder / "data/classes.txt").read_text(encoding="utf-8").splitlines()
    tags = {one: " ".join(names[label] for label in record.labels) for one, record in records.items()}
    photos = salient(ours)
    settings, lists = ours.params()["saliency"], ours.folder / "data" / "lists"
    boxes = (ours.folder / settings["root"] / settings["boxes"]).read_bytes()
    (lists / "labels.csv").symlink_to(tmp_path / "labels.csv")  # as docs/data.md has it for folders that are read-only

    def write(rows: dict[str, str], boxes: bytes, excluded: str) -> None:
        text = "image_id,labels\n" + "".join(f"{one},{text}\n" for one, text in rows.items())
        (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
        (lists / "boxes.txt").write_bytes(boxes)
        (lists / "exclude.txt").write_text(excluded, encoding="utf-8")

    write(tags, boxes, "")
    ours.change(lambda params: params["data"].update(labels_file="labels.csv"))
    ours.change(lambda params: params["saliency"].update(boxes="boxes.txt", exclude="exclude.txt"))
    ours.repro("--single-item", "prepare", "prepare_saliency")
    first, had = next((one, record.labels) for one, record in records.items() if len(record.labels) == 1)
    other = next(label for label in range(1, len(names)) if label not in had)
    write({**tags, first: names[other]}, move_a_box(boxes), f"{photos[-1].split(',')[0]}\n")
    assert ours.repro("--single-item", "prepare", "prepare_saliency") == {"prepare", "prepare_saliency"}
    found = next(record for record in ours.records("train") if record.image_id == first)
    assert found.labels == (other,)
    now = salient(ours)
    assert len(now) == len(photos) - 1 and now[1:] == photos[1:-1]  # the last is left out
    assert now[0] != photos[0] and now[0].split(",")[0] == photos[0].split(",")[0]  # the first has another box


def salient(repo: Repo) -> list[str]:
    """Rows of the manifest, without the checksum of all rows so far that ends each."""
    lines = (repo.folder / "data/saliency_manifest.csv").read_text(encoding="utf-8").splitlines()[1:]
    return [line.rpartition(",")[0] for line in lines]


def move_a_box(boxes: bytes) -> bytes:
    """The file with the first number of the first box one less, or one more where that is 0."""
    lines = boxes.decode().splitlines()
    at = next(index for index, line in enumerate(lines) if ";" in line)
    first, rest = lines[at].split(maxsplit=1)
    lines[at] = f"{int(first) - 1 if int(first) else 1} {rest}"
    return "\n".join(lines).encode()


def test_a_photo_that_changed_after_the_manifest_is_named_by_the_stage_that_reads_it(ours: Repo) -> None:
    photo = ours.folder / ours.records("train")[0].image
    before = photo.read_bytes()
    with Image.open(photo) as image:
        image.convert("L").convert("RGB").save(photo)
    done = ours.call("python", "-m", "stages", "make_guides@g2")
    photo.write_bytes(before)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert f"{photo.relative_to(ours.folder)}: changed since the manifest was written; run `dvc repro`" in done.stderr
