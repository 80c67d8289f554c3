"""Settings that are sound one by one and cannot work together are refused before anything runs: every such pair."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.profile_cases import settings_of
from weakseg.errors import UserError
from weakseg.settings.reading import check_params

Change = Callable[[dict[str, Any]], object]


def at(key: str, **values: Any) -> Change:
    """Puts values into the section at a dotted key."""

    def change(params: dict[str, Any]) -> None:
        inner = params
        for part in key.split("."):
            inner = inner[part]
        inner.update(values)

    return change


def twin(section: str, name: str) -> Change:
    """A second entry, like the first one, whose name differs from it by a capital letter."""
    return lambda params: params[section].update({name.capitalize(): params[section][name]})


PAIRS: dict[str, tuple[list[Change], str]] = {
    "a gradient through the lattice": (
        [at("losses.sec", crf_gradient="exact", crf_backend="lattice")],
        "crf_gradient exact needs crf_backend exact",
    ),
    "a constrain term without CRF": ([at("experiments.sec.train", crf="none")], "experiments.sec.train.crf: losses.sec has"),
    "a loss without terms": (
        [at("losses.sec", seed_weight=0.0, expand_weight=0.0, constrain_weight=0.0)],
        "all three weights are 0",
    ),
    "a test without CRF": ([at("experiments.full.test", crf="none")], "experiments.full.test.crf: cannot be none"),
    "G2 without CRF": ([at("make_guides.g2", crf="none")], "make_guides.g2.crf: divides components"),
    "the oracle without CRF": ([at("make_oracle_guides", crf="none")], "make_oracle_guides.crf: divides components"),
    "warped photos of no size": ([at("experiments.sec.test", input_px=None)], "geometry warp needs a test.input_px"),
    "a threshold and a coverage": ([at("make_seeds.foreground", threshold=0.2)], "give either threshold or coverage"),
    "finer maps of a backprop seeder": (
        [at("make_cams.seeder", method="guided_backprop", gradient_scales=[1.0])],
        "gradient_scales needs method gap",
    ),
    "scales the wrong way round": ([at("train_segmenter.augmentation", scales=[2.0, 1.0])], "scales must be [smallest, largest]"),
    "a net read otherwise than it was trained": ([at("make_cams.seeder", geometry="warp")], "make_cams.seeder.geometry: warp, but"),
    "a segmenter of another backbone than its start": (
        [at("train_segmenter", backbone="resnet101")],
        "train_segmenter.start_from: classifier seeder is a efficientnet_lite0, the segmenter a resnet101",
    ),
    "SEC's pool outside VGG-16": ([at("experiments.sec.train", average_pool5a=True)], "VGG-16 has that pool alone"),
    "Caffe's mean outside VGG-16": ([at("train_segmenter", normalization="caffe_sec")], "caffe_sec is for VGG-16's Caffe weights"),
    "VOC's layout without a list": ([at("data", train_list=None)], "data.train_list: format voc needs a list"),
    "an export without test photos": ([at("export_voc", experiments=["sec"])], "data.test_list is null"),
    "guides to compare that nobody makes": (
        [at("evaluate_supervision", guides=["g7"])],
        "evaluate_supervision.guides: there is no make_guides.g7",
    ),
    "turns of classes where there are none": (
        [at("train_saliency.training", sampling="class_balanced")],
        "class_balanced needs tags, which saliency photos do not have",
    ),
    "pairs of cells farther apart than a crop is wide": (
        [at("train_boundaries.irn", input_px=65, radius=10)],
        "train_boundaries.irn: Value error, radius 10 needs 19 cells of 4 px, input_px gives 17",
    ),
    "a walk without boundaries": ([at("refine.walk", using="none")], "refine.walk.using: boundary_walk uses a file boundaries/"),
    "boundaries for what takes none": ([at("refine.par", using="boundaries/irn.npz")], "refine.par.using: par uses none"),
    "a refinement by CRF without one": ([at("refine.confident", crf="none")], "refine.confident.crf: name one"),
    "a CRF for what takes none": ([at("refine.par", crf="sec")], "refine.par.crf: name one where `by` is crf, and none elsewhere"),
    "a threshold of what are no heat maps": (
        [lambda params: params["refine"].update(par={
            "from": "seeds.zip", "using": "none", "crf": "none", "by": "threshold", "maximum": "own",
            "foreground": {"threshold": 0.3, "coverage": None},
        })],
        "refine.par.from: a threshold needs heat maps (.npz), not seeds.zip",
    ),
    "guides from themselves": (
        [at("make_guides.g2", seeds="guides/g2.zip")],
        "make_guides.g2: data/guides/g2.zip comes from itself, by way of guides/g2.zip",
    ),
    "more than tags, undeclared": (
        [at("experiments.seeds.train", supervision="ground_truth.zip")],
        "experiments.seeds.beyond_tags: ground_truth.zip owes something to masks: name it",
    ),
    "experiments that differ by a capital": ([twin("experiments", "sec")], "experiments.Sec: differs from sec by capital letters"),
    "guides that differ by a capital": ([twin("make_guides", "g2")], "make_guides.G2: differs from g2 by capital letters"),
    "a reserved name in capitals": (
        [lambda params: params["experiments"].update(Summary=params["experiments"]["full"])],
        "experiments.Summary: the name is reserved",
    ),
}  # fmt: skip


@pytest.mark.parametrize("pair", PAIRS)
def test_a_pair_that_cannot_work_is_refused(pair: str, tmp_path: Path) -> None:
    changes, words = PAIRS[pair]
    params = settings_of("toy")
    for change in changes:
        change(params)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        check_params(tmp_path / "params.yaml", tmp_path)
    assert words in str(caught.value)
    told = [line for line in str(caught.value).splitlines()[1:] if "no such file" not in line]
    assert len(told) == 1, told
