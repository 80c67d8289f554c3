"""A row of the papers' tables in the finished repository: it runs alone, and the main pipeline does not see it."""

import math

import numpy as np
import yaml

from tests.pipeline.tiny_repo import EXPERIMENTS, STEPS, Repo, stages_run
from tests.profile_cases import ROOT
from weakseg.files.archives import ImageArchive

ROW = [f"{stage}@sec_gmp" for stage in ("train_segmenter", "predict", "postprocess", "evaluate")]


def test_one_row_of_the_papers_tables_runs_alone_and_stands_beside_the_published_numbers(repo: Repo) -> None:
    def repro(row: str) -> set[str]:
        return stages_run(repo.dvc("--cd", "ablations", "repro", row)) - {"check_rows"}  # asked each time

    assert repro(ROW[-1]) == set(ROW)
    rows = repo.folder / "ablations" / "params.yaml"
    content = yaml.safe_load(rows.read_text(encoding="utf-8"))
    content["experiments"]["sec_gap"]["changes"]["train_segmenter.training.steps"] = STEPS + 1
    rows.write_text(yaml.safe_dump(content), encoding="utf-8")
    assert repro(ROW[-1]) == set()  # another row's changes do not matter
    weights = [
        repo.folder / models / "weights.safetensors"
        for models in ("models/segmenter/sec", "ablations/models/segmenter/sec_gmp")
    ]
    assert weights[0].read_bytes() != weights[1].read_bytes()

    stages = yaml.safe_load((repo.folder / "ablations" / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    repo.run("sh", "-c", f"cd ablations && {stages['compare_published']['cmd']}")  # as `make compare` does
    table = {row["name"]: row for row in repo.json("ablations/metrics/table/table.json")["experiments"]}
    assert {name for name, row in table.items() if row["ours"]} == {*EXPERIMENTS, "sec_gmp"}
    metrics = repo.json("ablations/metrics/experiments/sec_gmp.json")
    assert math.isclose(table["sec_gmp"]["ours"]["miou_crf"], metrics["miou_crf"], abs_tol=1e-6)
    assert math.isclose(table["sec_gmp"]["ours"]["foreground"], metrics["foreground_fraction"], abs_tol=1e-6)
    assert table["sec"]["published"]["miou_crf"] == 50.7


def test_a_round_of_self_training_learns_from_the_roots_masks_of_the_training_photos(repo: Repo) -> None:
    ran = stages_run(repo.dvc("--cd", "ablations", "repro", "evaluate@guided_self1"))
    training = [f"{stage}@guided" for stage in ("predict_training", "label_training")]
    row = [f"{stage}@guided_self1" for stage in ("train_segmenter", "predict", "postprocess", "evaluate")]
    assert {*training, *row} <= ran <= {*training, *row, "check_rows"}
    masks = ImageArchive(repo.folder / "ablations" / "data" / "self" / "guided.zip")
    for record in repo.records("train"):
        labels = set(np.unique(masks[record.image_id]).tolist())
        assert labels <= {0, 255, *record.labels}
        for tag in set(record.labels) - labels:
            assert 255 in labels, (record.image_id, tag)  # a tag that got lost leaves a doubt
    assert math.isfinite(repo.json("ablations/metrics/experiments/guided_self1.json")["miou"])


def test_all_rows_have_their_stages_and_the_main_pipeline_does_not_see_them(pristine: Repo) -> None:
    listed = pristine.dvc("--cd", "ablations", "stage", "list", "--name-only").split()
    content = yaml.safe_load((ROOT / "ablations" / "params.yaml").read_text(encoding="utf-8"))
    assert {f"evaluate@{name}" for name in content["experiments"]} <= set(listed)
    assert "ablations" not in pristine.dvc("stage", "list", "--all") + pristine.dvc("status")
