"""The real pipeline in a copy of this repository, on tiny drawn data: `dvc repro`, what it writes, and what it reruns."""

import csv
import hashlib
import json
import math
import shutil
import zipfile
from collections.abc import Callable, Sequence
from io import BytesIO
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.pipeline.tiny_repo import EXPERIMENTS, NUM_TRAIN, NUM_VAL, STEPS, Repo, stages_run, tiny_params
from weakseg import load_segmenter
from weakseg.evaluation.iou import metrics_of, read_confusions
from weakseg.files.archives import ArrayArchive, ImageArchive
from weakseg.files.class_names import read_class_names
from weakseg.files.label_masks import voc_palette
from weakseg.files.manifest import Record
from weakseg.files.maps import read_cues, read_maps
from weakseg.images.photos import read_photo


def of_experiments(names: Sequence[str], *stages: str) -> set[str]:
    return {f"{stage}@{name}" for stage in stages for name in names}


# --- what the first run writes ----------------------------------------------------------------------------------------------


def all_stages(folder: Path) -> set[str]:
    """Every stage of dvc.yaml but the check, its variants spelled out."""
    params = tiny_params()

    def variants(foreach: str) -> list[str]:
        value: Any = params
        for key in foreach.removeprefix("${").removesuffix("}").split("."):
            value = value[key]
        return list(value)

    stages = yaml.safe_load((folder / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    return {
        f"{name}@{variant}" if variant else name
        for name, stage in stages.items()
        if name != "check_params" and "matrix" not in stage  # the tiny settings have no further random seeds
        for variant in (variants(stage["foreach"]) if "foreach" in stage else [""])
    }


def test_the_first_run_runs_every_stage_and_ends_with_the_table(pristine: Repo) -> None:
    output = (pristine.folder.parent / "first_run.txt").read_text(encoding="utf-8")
    assert stages_run(output) == all_stages(pristine.folder)
    assert output.count("Running stage") == len(all_stages(pristine.folder)) + 1  # each once, and the check
    table = output[output.index("Running stage 'report'") :]
    assert all(name in table for name in (*EXPERIMENTS, "metrics/report/index.html"))


def is_percent(value: Any) -> bool:
    return isinstance(value, (int, float)) and 0 <= value <= 100


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_metrics_are_the_documented_ones_in_per_cent(pristine: Repo, experiment: str) -> None:
    metrics = pristine.json(f"metrics/{experiment}.json")
    assert metrics.pop("images_with_ground_truth") == NUM_VAL
    assert list(metrics) == ["miou", "miou_crf", "pixel_accuracy", "foreground_fraction", "iou", "iou_crf"]
    assert all(is_percent(metrics[key]) for key in ("miou", "miou_crf", "pixel_accuracy", "foreground_fraction"))
    class_names = read_class_names(pristine.folder / "data" / "classes.txt")
    for key, mean in (("iou", "miou"), ("iou_crf", "miou_crf")):
        assert list(metrics[key]) == class_names and len(class_names) >= 7
        known = [value for value in metrics[key].values() if value is not None]
        assert all(is_percent(value) for value in known)
        assert math.isclose(sum(known) / len(known), metrics[mean], abs_tol=1e-2)
    assert max(metrics["miou"], metrics["foreground_fraction"]) > 1  # fractions would be below


def unzipped(path: Path) -> dict[str, Image.Image]:
    with zipfile.ZipFile(path) as archive:
        pictures = {name.removesuffix(".png"): Image.open(BytesIO(archive.read(name))) for name in archive.namelist()}
    for picture in pictures.values():
        picture.load()
    return pictures


def confusion_of(targets: dict[str, Image.Image], predictions: dict[str, Image.Image], num_classes: int) -> np.ndarray:
    """(C, C) pixel counts, pixel by pixel from the pictures themselves."""
    confusion = np.zeros((num_classes, num_classes), int)
    for image_id, prediction in predictions.items():
        target = np.asarray(targets[image_id])
        known = target != 255
        np.add.at(confusion, (target[known], np.asarray(prediction)[known]), 1)
    return confusion


def iou_of(confusion: np.ndarray) -> np.ndarray:
    """IoU of the classes that are anywhere."""
    union = confusion.sum(0) + confusion.sum(1) - np.diag(confusion)
    return np.diag(confusion)[union > 0] / union[union > 0]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_metrics_are_those_of_the_masks(pristine: Repo, experiment: str) -> None:
    data, metrics = pristine.folder / "data", pristine.json(f"metrics/{experiment}.json")
    truth = unzipped(data / "ground_truth.zip")
    for folder, key in (("raw_masks", "miou"), ("masks", "miou_crf")):
        confusion = confusion_of(truth, unzipped(data / folder / f"{experiment}.zip"), len(metrics["iou"]))
        assert math.isclose(100 * iou_of(confusion).mean(), metrics[key], abs_tol=1e-2)
        if key == "miou":
            total = confusion.sum()
            assert math.isclose(100 * np.trace(confusion) / total, metrics["pixel_accuracy"], abs_tol=1e-2)
            assert math.isclose(100 * confusion[:, 1:].sum() / total, metrics["foreground_fraction"], abs_tol=1e-2)


def test_the_summary_compares_the_better_of_two_with_the_bounds_better_of_two(pristine: Repo) -> None:
    metrics = {name: pristine.json(f"metrics/{name}.json") for name in EXPERIMENTS}
    summary = pristine.json("metrics/summary.json")
    assert list(summary) == list(EXPERIMENTS)
    bound = max(metrics["full"]["miou"], metrics["full"]["miou_crf"])
    for name, row in summary.items():
        assert row.keys() == {"miou", "miou_crf", "percent_of_full", "bound_miou", "beyond_tags"}
        assert row["bound_miou"] == bound
        assert (row["miou"], row["miou_crf"]) == (metrics[name]["miou"], metrics[name]["miou_crf"])
        better = max(metrics[name]["miou"], metrics[name]["miou_crf"])
        assert math.isclose(row["percent_of_full"], 100 * better / bound, abs_tol=0.2)
    assert summary["full"]["percent_of_full"] == 100
    assert [summary[name]["beyond_tags"] for name in ("sec", "best", "full")] == ["", "saliency boxes", "masks"]


def test_quality_of_cues_and_guides_is_measured_in_per_cent(pristine: Repo) -> None:
    guides = pristine.json("metrics/guides.json")
    assert guides.keys() == {"seeds", "g2", "walked", "oracle"}
    for content in (pristine.json("metrics/cues.json"), *guides.values()):
        assert content["coverage"].keys() == {"foreground", "background", "unlabelled"}
        assert math.isclose(sum(content["coverage"].values()), 100, abs_tol=2e-2)
        measured = content["against_ground_truth"]
        expected = {f"{part}_{kind}" for part in ("foreground", "background") for kind in ("precision", "recall")}
        assert measured.keys() == expected
        assert all(value is None or is_percent(value) for value in measured.values())
        assert content["images_with_ground_truth"] == NUM_TRAIN


def test_masks_of_self_training_are_made_and_measured_where_the_settings_name_them(repo: Repo) -> None:
    def ask(params: dict[str, Any]) -> None:
        params["self_training"] = {"full": {"crf": "none", "min_probability": 0.0}}
        params["evaluate_supervision"]["self_trained"] = ["full"]

    repo.change(ask)
    ran = repo.repro("evaluate_supervision")
    assert ran - {"check_params"} == {"predict_training@full", "label_training@full", "evaluate_supervision"}
    measured = repo.json("metrics/supervision.json")["pseudo_masks"]["self/full"]
    assert measured["images_with_ground_truth"] == NUM_TRAIN
    data = repo.folder / "data"
    masks = unzipped(data / "self" / "full.zip")
    assert masks.keys() == {record.image_id for record in repo.records("train")}
    labelled = {
        name: Image.fromarray(np.asarray(mask) % 255) for name, mask in masks.items()
    }  # 255, unknown, counts as 0
    confusion = confusion_of(unzipped(data / "ground_truth.zip"), labelled, len(measured["iou"]))
    assert math.isclose(100 * iou_of(confusion).mean(), measured["miou"], abs_tol=1e-2)


def test_quality_of_seeders_and_saliency_is_measured_in_per_cent(pristine: Repo) -> None:
    for name in ("seeder", "centre_mean"):
        content = pristine.json(f"metrics/seeders/{name}.json")
        assert content["images"] == NUM_VAL
        measured = [content[key] for key in content if key != "images"]
        assert all(value is None or is_percent(value) for value in measured)
        with (pristine.folder / f"metrics/seeders/{name}.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert [row["threshold"] for row in rows[::500]] == ["0.000", "0.500", "1.000"]
        recall = [float(row["background_recall"]) for row in rows]
        assert recall == sorted(recall) and recall[-1] > 80
    assert pristine.json("metrics/seeders/seeder.json")["map"] == pristine.json("metrics/classifier/seeder.json")["map"]
    with Image.open(pristine.folder / "metrics/report/seeders.png") as chart:
        assert chart.size == (1100, 506)
    saliency = pristine.json("metrics/saliency.json")
    assert saliency["images"] == NUM_VAL and is_percent(saliency["foreground_iou"])


def test_coverage_of_the_cues_is_that_of_the_archive(pristine: Repo) -> None:
    archive = ArrayArchive(pristine.folder / "data" / "cues.npz")
    cues = [read_cues(archive, record.image_id) for record in pristine.records("train")]
    coverage = pristine.json("metrics/cues.json")["coverage"]
    assert math.isclose(coverage["foreground"], 100 * np.mean([cue[1:].any(0).mean() for cue in cues]), abs_tol=1e-2)
    assert math.isclose(coverage["background"], 100 * np.mean([cue[0].mean() for cue in cues]), abs_tol=1e-2)
    assert {cue.shape[1:] for cue in cues} == {(9, 9)}
    assert max(int(cue.sum(0).max()) for cue in cues) == 1
    for cue, record in zip(cues, pristine.records("train"), strict=True):
        assert set(np.flatnonzero(cue.any((1, 2)))) <= {0, *record.labels}


def check_label_pictures(path: Path, records: list[Record], allowed: Callable[[Record], set[int]]) -> None:
    pictures = unzipped(path)
    assert list(pictures) == [record.image_id for record in records]
    for record in records:
        picture = pictures[record.image_id]
        assert (picture.mode, picture.size) == ("P", (record.width, record.height))
        assert set(np.unique(np.asarray(picture)).tolist()) <= allowed(record)
        shown = np.asarray(picture.convert("RGB"))
        np.testing.assert_array_equal(shown, voc_palette()[np.asarray(picture)])


@pytest.mark.parametrize("folder", ["raw_masks", "masks"])
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_masks_have_the_photos_sizes_class_ids_and_vocs_colours(pristine: Repo, folder: str, experiment: str) -> None:
    data = pristine.folder / "data"
    num_classes = len(read_class_names(data / "classes.txt"))
    records = pristine.records("val")
    assert len(records) == NUM_VAL
    check_label_pictures(data / folder / f"{experiment}.zip", records, lambda _: set(range(num_classes)))


@pytest.mark.parametrize("experiment", ["sec", "guided"])
def test_a_models_folder_is_all_it_takes_to_get_the_same_masks(pristine: Repo, experiment: str, tmp_path: Path) -> None:
    shutil.copytree(pristine.folder / "models" / "segmenter" / experiment, tmp_path / "model")
    segmenter = load_segmenter(tmp_path / "model", "cpu")
    masks = ImageArchive(pristine.folder / "data" / "masks" / f"{experiment}.zip")
    for record in pristine.records("val"):
        mask = segmenter.segment(read_photo(pristine.folder / record.image))
        np.testing.assert_array_equal(mask, masks[record.image_id])


def test_seeds_and_guides_hold_only_the_photos_own_tags(pristine: Repo) -> None:
    data, records = pristine.folder / "data", pristine.records("train")
    assert len(records) == NUM_TRAIN
    check_label_pictures(data / "seeds.zip", records, lambda record: {0, *record.labels})
    check_label_pictures(data / "guides" / "g2.zip", records, lambda record: {0, 255, *record.labels})


def test_heat_maps_are_of_the_photos_own_tags(pristine: Repo) -> None:
    archive = ArrayArchive(pristine.folder / "data" / "cams" / "seeder.npz")
    for record in pristine.records("train"):
        labels, maps = read_maps(archive, record.image_id)
        assert tuple(labels.tolist()) == record.labels
        assert np.isfinite(maps).all() and maps.std() > 0


def test_saliency_is_grey_and_as_large_as_the_photos(pristine: Repo) -> None:
    records = pristine.records("train") + pristine.records("val")
    pictures = unzipped(pristine.folder / "data" / "saliency.zip")
    for record in records:
        assert (pictures[record.image_id].mode, pictures[record.image_id].size) == ("L", (record.width, record.height))
    assert len(pictures) == len(records)


def test_losses_were_logged_as_they_fell(pristine: Repo) -> None:
    curves = sorted((pristine.folder / "metrics" / "training").glob("*.csv"))
    names = {f"segmenter-{name}" for name in EXPERIMENTS} | {
        "classifier-seeder",
        "classifier-classifier",
        "boundaries-irn",
        "saliency",
    }
    assert {path.stem for path in curves} == names
    for path in curves:
        with open(path, encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert int(rows[-1]["step"]) == STEPS
        assert all(math.isfinite(float(value)) for row in rows for value in row.values())
        assert {"seed", "expand", "constrain"} <= rows[0].keys() or path.stem != "segmenter-sec"
    assert list((pristine.folder / "checkpoints").glob("*")) == []  # removed once a training is done


def test_the_report_has_the_table_the_curves_and_a_sheet_for_each_experiment(pristine: Repo) -> None:
    report, summary = pristine.folder / "metrics" / "report", pristine.json("metrics/summary.json")
    rows = {
        line.split()[0]: line.split()[1:]
        for line in (report / "table.txt").read_text(encoding="utf-8").splitlines()
        if line
    }
    for name in EXPERIMENTS:
        shown = [f"{summary[name][key]:.1f}" for key in ("miou", "miou_crf", "percent_of_full")]
        beyond = summary[name]["beyond_tags"] or "–"
        assert rows[name] == [*shown, *beyond.split()]
        with Image.open(report / f"contact_sheet_{name}.png") as sheet:
            assert min(sheet.size) > 200
    with Image.open(report / "loss_curves.png") as chart:
        assert np.asarray(chart.convert("L")).std() > 5
    page = (report / "index.html").read_text(encoding="utf-8")
    assert all(name in page for name in EXPERIMENTS)
    with open(report / "plots" / "validation.csv", encoding="utf-8") as file:
        looks = {(row["run"], int(row["step"])) for row in csv.DictReader(file)}
    assert looks == {(name, step) for name in EXPERIMENTS for step in range(1, STEPS + 1)}


def test_the_manifest_carries_each_photos_sha256(pristine: Repo) -> None:
    for record in pristine.records("train") + pristine.records("val"):
        assert record.sha256 == hashlib.sha256((pristine.folder / record.image).read_bytes()).hexdigest()


# --- what is rerun ----------------------------------------------------------------------------------------------------------


def test_a_second_run_reruns_nothing_and_says_so(repo: Repo) -> None:
    output = repo.dvc("repro")
    assert stages_run(output) == set()
    assert "Data and pipelines are up to date." in output
    assert repo.run("git", "status", "--porcelain") == ""


BLUNT = {
    "bilateral_weight": 0.0, "bilateral_sigma_xy": 121.0, "bilateral_sigma_rgb": 5.0, "gaussian_weight": 3.0,
    "gaussian_sigma_xy": 3.0, "steps": 1,
}  # fmt: skip


def test_another_crf_at_test_time_reruns_its_descendants_only_and_dvc_compares_the_numbers(repo: Repo) -> None:
    before = {name: repo.json(f"metrics/{name}.json") for name in EXPERIMENTS}
    masks = [repo.folder / "data" / "masks" / f"{name}.zip" for name in EXPERIMENTS]
    bytes_before = {path.stem: path.read_bytes() for path in masks}
    repo.change(lambda params: params["crf"].update(blunt=BLUNT))
    assert repo.repro() == set()  # nothing names it yet
    users = [name for name in EXPERIMENTS if name != "sec"]
    repo.change(lambda params: [params["experiments"][name]["test"].update(crf="blunt") for name in users])
    ran = repo.repro()
    # equal masks need no second evaluation, and a network of four steps may paint nothing that a CRF could change
    differ = [path.stem for path in masks if path.read_bytes() != bytes_before[path.stem]]
    assert differ and set(differ) <= set(users)
    expected = (
        of_experiments(users, "postprocess", "write_test_rule")
        | of_experiments(differ, "evaluate")
        | {"summarize", "report"}
    )
    assert ran == expected
    now = {name: repo.json(f"metrics/{name}.json") for name in EXPERIMENTS}
    assert all(now[name]["miou"] == before[name]["miou"] for name in EXPERIMENTS)
    moved = {name for name in EXPERIMENTS if now[name] != before[name]}
    assert moved and moved <= set(differ)

    difference = json.loads(repo.dvc("metrics", "diff", "--json"))
    changed = [name for name in moved if now[name]["miou_crf"] != before[name]["miou_crf"]]
    assert changed and difference.keys() == {"metrics/summary.json"}
    for name in changed:
        values = difference["metrics/summary.json"][f"{name}.miou_crf"]
        assert (values["old"], values["new"]) == (before[name]["miou_crf"], now[name]["miou_crf"])


def test_a_changed_crf_is_compared_by_dvc_and_trains_whoever_has_it_in_the_loss(repo: Repo) -> None:
    repo.change(lambda params: params["crf"]["sec"].update(steps=1, bilateral_weight=0.0))
    ran = repo.repro("train_segmenter", "write_test_rule", "postprocess")
    assert {"train_segmenter@sec", "write_test_rule@sec", "postprocess@sec"} <= ran
    assert ran <= of_experiments(["sec"], "train_segmenter", "predict", "postprocess", "write_test_rule")
    parameters = json.loads(repo.dvc("params", "diff", "--json"))["params.yaml"]
    steps = parameters["crf.sec.steps"]
    assert (steps["old"], steps["new"]) == (10, 1)
    assert parameters.keys() == {"crf.sec.steps", "crf.sec.bilateral_weight"}


def test_a_changed_guide_setting_reruns_only_what_learns_from_guides(repo: Repo) -> None:
    path = repo.folder / "data" / "guides" / "g2.zip"
    before = {image_id: np.asarray(picture) for image_id, picture in unzipped(path).items()}
    assert any((guide == 255).any() for guide in before.values())
    repo.change(lambda params: params["make_guides"]["g2"].update(unresolved="background"))
    files = [repo.folder / "data" / f"{folder}.zip" for folder in ("raw_masks/guided", "masks/guided")]
    masks_before = [file.read_bytes() for file in files]
    ran = repo.repro()
    of_guided = of_experiments(["guided"], "train_segmenter", "predict", "postprocess")
    of_guided |= {"evaluate@guided"}  # for what further trainings start from has changed
    if [file.read_bytes() for file in files] != masks_before:
        of_guided |= {"summarize"}
    assert ran == {"make_guides@g2", "evaluate_supervision", "report"} | of_guided
    for image_id, picture in unzipped(path).items():
        expected = np.where(before[image_id] == 255, 0, before[image_id])
        np.testing.assert_array_equal(np.asarray(picture), expected)


def test_an_experiment_runs_from_the_command_line(repo: Repo) -> None:
    output = repo.dvc("exp", "run", "--name", "blunt", "--set-param", "experiments.sec.test.crf=deeplab")
    assert stages_run(output) <= of_experiments(["sec"], "write_test_rule", "postprocess", "evaluate") | {
        "summarize",
        "report",
    }
    assert "postprocess@sec" in stages_run(output)
    assert repo.params()["experiments"]["sec"]["test"]["crf"] == "deeplab"
    rows = json.loads(repo.dvc("exp", "show", "--json"))
    assert "blunt" in json.dumps(rows)
    shown = json.loads(repo.dvc("metrics", "show", "--json"))
    (files,) = [entry["data"] for entry in shown.values()]
    told = {path: content["data"] for path, content in files.items()}
    assert told == {"metrics/summary.json": repo.json("metrics/summary.json")}


def test_results_do_not_depend_on_the_number_of_workers(repo: Repo) -> None:
    stages = ("make_seeds", "make_guides@g2", "train_segmenter@seeds")
    ran = repo.repro("--force", "--single-item", *stages, WEAKSEG_WORKERS="1")
    assert ran == set(stages)
    assert repo.run("git", "diff", "--", "dvc.lock") == ""


def test_each_further_random_seed_trains_by_itself_and_every_number_becomes_mean_and_spread(repo: Repo) -> None:
    repeats = ("train_repeat", "predict_repeat", "evaluate_repeat")
    first = repo.json("metrics/sec.json")
    repo.change(lambda params: params.update(random_seeds=[0, 1]))  # random_seed is 0
    ran = repo.repro("evaluate@sec")
    assert ran == of_experiments(["sec-0", "sec-1"], *repeats) | {"evaluate@sec"}
    models = [repo.folder / "models" / name / "weights.safetensors" for name in ("segmenter/sec", "repeats/sec/0", "repeats/sec/1")]  # fmt: skip
    same, copy, other = (model.read_bytes() for model in models)
    assert same == copy != other  # random_seed is not trained twice

    both = repo.json("metrics/sec.json")
    assert both["random_seeds"] == [0, 1] and both["sd"].keys() == first.keys() - {"images_with_ground_truth"}
    archive = ArrayArchive(repo.folder / "data" / "repeats" / "sec" / "1.npz")
    counts = sum(read_confusions(archive, record.image_id, (2, 9, 9)) for record in repo.records("val"))
    second = metrics_of(counts[0], counts[1], list(first["iou"]))  # type: ignore[index]
    for key in ("miou", "miou_crf", "pixel_accuracy"):
        assert math.isclose(both[key], (first[key] + second[key]) / 2, abs_tol=2e-2)
        assert math.isclose(both["sd"][key], abs(first[key] - second[key]) / math.sqrt(2), abs_tol=2e-2)

    repo.change(lambda params: params.update(random_seeds=[1, 2]))
    repo.change(lambda params: params["experiments"]["sec"]["test"].update(crf="deeplab"))
    ran = repo.repro("evaluate@sec")  # one more seed trains alone; another CRF at test time trains nothing
    assert {name for name in ran if "train" in name} == {"train_repeat@sec-2"}
    assert {"evaluate_repeat@sec-1", "evaluate_repeat@sec-2", "postprocess@sec", "evaluate@sec"} <= ran
    assert "predict_repeat@sec-1" not in ran
    assert repo.json("metrics/sec.json")["random_seeds"] == [0, 1, 2]


def test_the_report_names_the_pairs_that_noise_leaves_undecided(pristine: Repo) -> None:
    pairs = pristine.json("metrics/comparisons.json")["pairs"]
    assert [pair["experiments"] for pair in pairs] == [list(pair) for pair in combinations(EXPERIMENTS, 2)]
    assert all(pair["undecided"] == (pair["low"] <= 0 <= pair["high"]) for pair in pairs)
    undecided = [" and ".join(pair["experiments"]) for pair in pairs if pair["undecided"]]
    table = (pristine.folder / "metrics" / "report" / "table.txt").read_text(encoding="utf-8")
    assert table.splitlines()[-1].endswith(f": {'; '.join(undecided) or 'none'}.")
    assert "the choice of photos (" in table  # one training each: nothing is known of other seeds
