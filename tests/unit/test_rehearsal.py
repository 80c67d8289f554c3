"""The dress rehearsal: what it runs, how it carries costs on to the full run, and a small one for real."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from torch import nn

from benchmarks import full_run, rehearsal, workspace
from benchmarks.full_run import H100, VOC, Machine, Photos, estimate, flops, forward_flops, table, units
from benchmarks.workspace import Cost
from weakseg.settings.params import Params

ROOT = Path(__file__).resolve().parents[2]
NETWORK_STAGES = {
    "train_classifier", "train_segmenter", "train_saliency", "make_cams", "evaluate_seeds", "make_g1_guides",
    "select_saliency_photos", "predict", "predict_saliency", "train_boundaries", "predict_boundaries", "train_repeat",
    "predict_repeat", "predict_training",
}  # fmt: skip


@pytest.fixture(scope="module")
def papers() -> Params:
    return workspace.profile_params("papers")


def stages_of_both() -> Iterator[str]:
    for file in ("dvc.yaml", "ablations/dvc.yaml"):
        yield from yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))["stages"]


def test_what_is_known_of_stages_is_of_stages_that_there_are() -> None:
    """And of all of them but for those that are new: these are told as they were until full_run.py has a line."""
    scripts = {full_run.script_of(stage) for stage in stages_of_both()}
    assert {*full_run.PHOTOS_OF, *full_run.ONCE, *full_run.TRAININGS} <= scripts
    assert full_run.not_carried_on(["predict@sec", "train_segmenter_imported@x", "surprise@x"]) == ["surprise@x"]
    assert full_run.not_carried_on(scripts) == []


def test_units_of_the_papers_full_run(papers: Params) -> None:
    assert units("train_classifier@classifier", papers, VOC) == 30_000 * 40  # GS §F
    assert units("train_classifier@gap_roi", papers, VOC) == 8000 * 15  # a row like the first
    assert units("train_segmenter@sec_gmp", papers, VOC) == 8000 * 15
    assert units("train_saliency", papers, VOC) == 20_000 * 10
    assert (units("predict@sec", papers, VOC), units("postprocess_again@seeds_post_v1", papers, VOC)) == (1449, 1449)
    assert (units("make_cams@seeder", papers, VOC), units("make_grabcut_masks", papers, VOC)) == (10_582, 11_041)
    assert units("prepare", papers, Photos(3, 2, 9, 9)) == 5
    assert (units("train_boundaries@irn", papers, VOC), units("refine@irn", papers, VOC)) == (992 * 32, 10_582)
    assert (units("train_repeat@sec-1", papers, VOC), units("predict_repeat@sec-1", papers, VOC)) == (8000 * 15, 1449)
    assert units("predict_training@sec", papers, VOC) == units("label_training@sec", papers, VOC) == 10_582
    assert units("report", papers, VOC) is None


def test_flops_are_two_for_a_product_and_its_sum() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1, stride=2))
    assert forward_flops(network, 10, 8) == 2 * (10 * 8 * 4 * 27 + 5 * 4 * 2 * 4)


def test_flops_of_the_papers_networks(papers: Params) -> None:
    """VGG-16's convolutions up to conv3 by hand, which all its layouts share; test inputs of 531 px as their area."""
    layers = [
        (321, 3, 64),
        (321, 64, 64),
        (161, 64, 128),
        (161, 128, 128),
        (81, 128, 256),
        (81, 256, 256),
        (81, 256, 256),
    ]
    shared = 2 * sum(side * side * 9 * before * after for side, before, after in layers)
    sec, guided = (flops(f"predict@{name}", papers, 21) for name in ("sec", "guided"))
    trained = flops("train_segmenter@sec", papers, 21)
    assert sec is not None and guided is not None and trained == 3 * sec
    assert 2 * shared < sec < 3 * shared
    assert guided / sec == pytest.approx((531 / 321) ** 2, rel=0.05)
    assert flops("evaluate_seeds@excitation", papers, 21) == 3 * (flops("evaluate_seeds@gap_highres", papers, 21) or 0)
    assert flops("postprocess@sec", papers, 21) is None
    assert (flops("train_repeat@sec-1", papers, 21), flops("predict_repeat@guided-12", papers, 21)) == (trained, guided)
    assert flops("predict_training@sec", papers, 21) == sec
    assert flops("predict_boundaries@irn", papers, 21) == 2 * (
        flops("train_boundaries@irn", papers, 21) or 0
    )  # mirrored
    scales = papers.train_saliency.input_scales
    one = papers.model_copy(update={"train_saliency": papers.train_saliency.model_copy(update={"input_scales": [1.0]})})
    by_scales, by_one = flops("train_saliency", papers, 21), flops("train_saliency", one, 21)
    assert by_scales is not None and by_one is not None
    assert by_scales / by_one == pytest.approx(sum(scale**2 for scale in scales), rel=0.05)


def test_only_stages_with_a_network_have_flops(papers: Params) -> None:
    small = papers.model_copy(update={"train_classifier": {}})
    for stage in stages_of_both():
        if full_run.script_of(stage) not in NETWORK_STAGES:
            assert flops(stage, small, 21) is None


def test_a_stage_is_carried_on_by_units_here_and_by_flops_there() -> None:
    cost = Cost(seconds=30.0, cpu_seconds=24.0, peak_mib=500.0)
    machine = Machine("a GPU", peak_flops=1e12, efficiency=0.5, cores=10)
    network = estimate(
        "train", cost, rehearsed=4, full=3600, per_unit_flops=10**9, start_seconds=4.0, cores=2, machine=machine
    )
    assert network.per_unit == 5.0  # (24 - 4) / 4
    assert network.hours_here == pytest.approx((4 + 5 * 3600 / 2) / 3600)
    assert network.hours_there == pytest.approx((4 + 1e9 * 3600 / 0.5e12) / 3600)
    cores = estimate("postprocess", cost, 4, 3600, None, 4.0, 2, machine)
    assert cores.hours_there == pytest.approx((4 + 5 * 3600 / 10) / 3600)
    once = estimate("report", cost, None, None, None, 4.0, 2, machine)
    assert once.hours_here == once.hours_there == 30 / 3600 and once.per_unit is None
    assert estimate("quick", Cost(1, 1, 1), 4, 8, None, 4.0, 2, machine).per_unit == 0  # never below the start
    text = table([network, cores, once], machine)
    assert "| `train` | 500 MiB | 5 | 3,600 | 3 h | 1 | 11 s |" in text
    assert text.splitlines()[-1].startswith("| **all** | **500 MiB** |")


def test_the_rehearsal_keeps_networks_and_input_sizes(papers: Params) -> None:
    content = rehearsal.few(workspace.read_profile("papers"))
    for name, settings in papers.train_classifier.items():
        few = content["train_classifier"][name]
        assert (few["network"], few["input_px"], few["backbone"]) == (
            settings.network,
            settings.input_px,
            settings.backbone,
        )
        assert few["training"]["steps"] * few["training"]["batch_size"] == 4 and few["pretrained"] == "none"
    assert content["train_boundaries"]["irn"]["training"]["steps"] == 2
    assert content["experiments"] == workspace.read_profile("papers")["experiments"]
    assert content["data"]["root"] == "data/toy/voc"


def test_there_is_a_row_of_each_kind(tmp_path: Path) -> None:
    (tmp_path / "ablations").mkdir()
    commands = dict(rehearsal.row_commands(tmp_path))
    kinds = {stage.partition("@")[0] for stage in commands}
    assert {"train_classifier", "make_cams", "make_seeds", "make_guides", "make_g1_guides", "train_segmenter", "predict",
            "postprocess", "evaluate", "postprocess_again", "evaluate_again", "evaluate_seeds"} < kinds  # fmt: skip
    assert list(commands)[-1] == "compare_published"
    for stage, command in commands.items():
        assert command[1] == "-m" and command[2] == f"stages.{full_run.script_of(stage)}"
        assert "cd" not in command
    assert rehearsal.chosen_rows("make_seeds", {"other": {}, "more": {}}) == ["other"]


def test_a_small_rehearsal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The toy profile, from the drawings to a classifier's heat maps, and a row's classifier."""
    monkeypatch.setattr(rehearsal, "PHOTO_PX", 64)
    params = rehearsal.few(workspace.read_profile("toy"))
    only = [
        "check_params",
        "make_toy",
        "prepare",
        "train_classifier@seeder",
        "make_cams@seeder",
        "train_classifier@gap_roi",
    ]
    costs = rehearsal.rehearse(tmp_path, params, only)
    assert list(costs) == only
    assert all(cost.cpu_seconds > 0.1 and cost.peak_mib > 20 for cost in costs.values())
    assert (tmp_path / "ablations" / "models" / "classifier" / "gap_roi" / "model.json").is_file()
    text = rehearsal.report("toy", tmp_path, costs, 100.0, H100)
    assert "`make_toy`" not in text and "| `train_classifier@gap_roi` |" in text and "25 % of 989 TFLOP/s" in text
    assert "[6/6] train_classifier@gap_roi: " in capsys.readouterr().out
