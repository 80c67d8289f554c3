"""The papers' other rows: each works with every profile, changes what it says, and has the paper's number beside it."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml

from stages.check_rows import EVERY_ROWS, stale_inputs, used_paths
from tests.profile_cases import ROOT, file_of
from weakseg.published import read_published
from weakseg.settings.params import Params
from weakseg.settings.reading import read_params

FILE = ROOT / "ablations" / "params.yaml"
ENTRIES: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
PROFILES = ("toy", "small-voc", "voc12", "papers")  # those whose photos have masks to compare with
AUTHORS = "sec_authors"  # needs files that are not everybody's: a row as soon as the root's import_cues names them


def all_entries() -> Iterator[tuple[str, dict[str, Any]]]:
    for section, content in ENTRIES.items():
        if "changes" in content:
            yield section, content
        else:
            yield from ((f"{section}.{name}", entry) for name, entry in content.items())


@cache
def settings(profile: str, key: str = "") -> Params:
    with TemporaryDirectory() as folder:
        return read_params([file_of(profile, Path(folder)), *([f"{FILE}:{key}"] if key else [])])


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(
    ("key", "entry"), list(all_entries()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_entry_fits_every_profile_and_says_what_its_settings_then_are(
    profile: str, key: str, entry: dict[str, Any]
) -> None:
    """An entry's fields beside `changes` are what ablations/dvc.yaml looks at; the settings are what runs."""
    params = settings(profile, key)
    section = key.partition(".")[0]
    if section == "train_classifier":
        assert params.train_classifier[entry["like"]].pretrained == entry["pretrained"]
    if section == "make_cams":
        made = {f"ablations/models/classifier/{name}" for name in ENTRIES["train_classifier"]}
        own = {f"models/classifier/{name}" for name in params.train_classifier}
        assert entry["like"] in params.make_cams and entry["model"] in made | own
    if section == "make_cues":
        made = {f"ablations/data/cams/{name}.npz" for name in ENTRIES["make_cams"]}
        assert {entry["foreground"], entry["background"]} <= made | {
            *(f"data/cams/{name}.npz" for name in params.make_cams),
            *(f"data/refined/{name}.npz" for name in params.refine),
        }
    if section == "make_seeds":
        assert params.make_seeds.crf == entry["crf"]
    if section == "make_guides":
        assert params.make_guides[entry["like"]].crf == entry["crf"]
    if section == "make_g1_guides":
        assert params.make_g1_guides[entry["like"]].classifier == entry["classifier"]
    if section == "evaluate_seeds":
        assert (params.evaluate_seeds.net, params.evaluate_seeds.crf) == ("seeder", entry["crf"])
    if section in ("experiments", "postprocess", "imported_cues"):
        assert params.experiments[entry["like"]].test.crf == entry["test_crf"]
    if section in ("experiments", "imported_cues"):
        train = params.experiments[entry["like"]].train
        assert (train.loss, train.crf) == (entry["loss"], entry["crf"])


READ_BY = {  # what the stages of a section read of params.yaml: a change of anything else would do nothing
    "train_classifier": ("train_classifier.{like}", "random_seed"),
    "make_cams": ("make_cams.{like}",),
    "make_cues": ("make_cues",),
    "make_seeds": ("make_seeds",),
    "make_guides": ("make_guides.{like}",),
    "make_g1_guides": ("make_g1_guides.{like}",),
    "evaluate_supervision": ("evaluate_supervision",),
    "evaluate": ("random_seed", "random_seeds"),
    "self_training": ("self_training.{like}",),
    "imported_cues": ("train_segmenter", "experiments.{like}", "losses.{loss}", "random_seed"),
    "evaluate_seeds": ("make_cams.seeder", "evaluate_seeds"),
    "experiments": ("train_segmenter", "experiments.{like}", "losses.{loss}", "random_seed"),
    "postprocess": ("experiments.{like}.test", "postprocess"),
}


@pytest.mark.parametrize(
    ("key", "entry"), list(all_entries()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_change_is_of_something_that_its_stages_read(key: str, entry: dict[str, Any]) -> None:
    """But for the CRFs of the experiments that share a loss which takes a constrain term."""
    section, _, _ = key.partition(".")
    read = tuple(pattern.format(**entry) for pattern in READ_BY[section])
    if entry["changes"].get("losses.cross_entropy.constrain_weight"):
        others = {"seeds", "guided", "full", "tags_only", "best"} - {entry["like"]}
        read += tuple(f"experiments.{name}.train.crf" for name in others)
    for changed in entry["changes"]:
        assert any(changed == known or changed.startswith(f"{known}.") for known in read), changed


def test_rows_start_from_nothing_stale() -> None:
    """Of the main pipeline, all that ablations/dvc.yaml names: imported cues are a row's without being named in the file."""
    stages = yaml.safe_load((ROOT / "ablations" / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    used = {*used_paths(ENTRIES, stages)}
    assert {"data/cues.npz", "data/seeds.zip", "data/cams/seeder.npz", "models/classifier/classifier"} <= used
    assert "data/imported_cues" in used and not [path for path in used if "$" in path]
    locked = {"import_cues@sec_authors": ["data/imported_cues/sec_authors.npz"], "prepare": [*EVERY_ROWS]}
    assert [*stale_inputs(used, locked, {})] == []
    (told,) = stale_inputs(used, locked, {"import_cues@sec_authors": {}})
    assert told == "data/imported_cues/sec_authors.npz: stage import_cues@sec_authors has changed"


def test_no_two_experiments_are_the_same() -> None:
    seen = [yaml.safe_dump(entry) for entry in ENTRIES["experiments"].values()]
    seen += [yaml.safe_dump(entry) for entry in ENTRIES["train_classifier"].values()]
    assert len(seen) == len(set(seen))


# --- the rows, by what they set --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", PROFILES)
def test_figure_7_has_all_seven_combinations_of_the_terms(profile: str) -> None:
    published = read_published(ROOT / "ablations" / "published.yaml").experiments
    combinations = {}
    for name in {row.experiment for row in published if row.paper == "SEC figure 7"}:
        loss = settings(profile, f"experiments.{name}" if name != "sec" else "").losses["sec"]
        assert loss.kind == "sec" and loss.pooling_present == "gwrp"
        weights = (loss.seed_weight, loss.expand_weight, loss.constrain_weight)
        combinations[name] = "".join(letter for letter, weight in zip("sec", weights, strict=True) if weight)
    assert combinations == {
        "sec": "sec", "sec_seed": "s", "sec_expand": "e", "sec_constrain": "c", "sec_no_seed": "ec", "sec_no_expand": "sc",
        "sec_no_constrain": "se",
    }  # fmt: skip


def test_figure_6_and_8_change_what_they_are_named_for() -> None:
    for pooling in ("gmp", "gap"):
        loss = settings("toy", f"experiments.sec_{pooling}").losses["sec"]
        assert loss.kind == "sec" and loss.pooling_present == pooling
    assert settings("toy", "experiments.sec_small_fov").experiments["sec"].train.head == "smallfov"


@pytest.mark.parametrize("profile", PROFILES)
def test_what_the_papers_print_and_their_code_does_otherwise_has_rows(profile: str) -> None:
    plain = settings(profile)
    changed = {
        name: settings(profile, f"experiments.{name}").losses["sec"].model_dump()
        for name in ("sec_equation_2", "sec_gradient_exact", "sec_gradient_2016")
    }
    own = plain.losses["sec"].model_dump()
    assert (own["background_cues"], own["crf_gradient"]) == (True, "none")
    assert changed["sec_equation_2"] == {**own, "background_cues": False}
    assert changed["sec_gradient_exact"] == {**own, "crf_backend": "exact", "crf_gradient": "exact"}
    assert changed["sec_gradient_2016"] == {**own, "crf_gradient": "release2016"}
    guides = {
        name: settings(profile, f"make_guides.{name}").make_guides["g2"].model_dump(exclude_defaults=False)
        for name in ("g0_all_sizes", "g2_seeds_1_percent", "g2_background")
    }
    g2 = plain.make_guides["g2"].model_dump()
    assert guides["g0_all_sizes"] == {**g2, "rule": "g0", "min_saliency_fraction": 0}
    assert guides["g2_seeds_1_percent"] == {**g2, "min_seed_fraction": 0.01}
    assert guides["g2_background"] == {**g2, "unresolved": "background"}
    strict, loose = (settings(profile, f"make_g1_guides.{name}").make_g1_guides[name] for name in ("g1_strict", "g1"))
    assert strict == loose.model_copy(update={"require_positive": True}) and not loose.require_positive
    for version, crf in (("v1", "sec"), ("v2", "deeplab")):
        params = settings(profile, f"experiments.guided_loss_{version}")
        assert params.losses["cross_entropy"].constrain_weight == 1
        assert (params.experiments["guided"].train.crf, params.experiments["guided"].test.crf) == (crf, crf)
        assert params.experiments["guided"].train.supervision == "guides/g2.zip"


def test_experiments_on_guides_and_cues_of_rows_learn_from_them() -> None:
    named = {
        name: entry["supervision"]
        for name, entry in ENTRIES["experiments"].items()
        if "ablations" in entry["supervision"]
    }
    made = {f"ablations/data/guides/{name}.zip" for part in ("make_guides", "make_g1_guides") for name in ENTRIES[part]}
    made |= {f"ablations/data/cues/{name}.npz" for name in ENTRIES["make_cues"]}
    made |= {f"ablations/data/seeds/{name}.zip" for name in ENTRIES["make_seeds"]}
    made |= {f"ablations/data/self/{name}.zip" for name in ENTRIES["self_training"]}
    assert set(named.values()) == made


@pytest.mark.parametrize("profile", PROFILES)
def test_cues_of_other_nets_are_made_of_heat_maps_that_show_their_role(profile: str) -> None:
    gradient = settings(profile, "make_cams.classifier_gradient").make_cams["seeder"]
    assert (gradient.method, gradient.gradient_scales) == ("background_gradient", [])
    assert settings(profile, "make_cams.gap_roi").make_cams["seeder"].method == "gap"
    for entry in ENTRIES["make_cues"].values():
        assert entry["background"].endswith("/classifier_gradient.npz") and "gradient" not in entry["foreground"]


@pytest.mark.parametrize("profile", PROFILES)
def test_the_crf_study_uses_both_papers_parameters(profile: str) -> None:
    """v1 is SEC's, v2 DeepLab's, of the profile's own."""
    plain = settings(profile)
    for seeder, seeds in (("seeds", "data/seeds.zip"), ("roi", "ablations/data/seeds/roi.zip")):
        for version, name in (("v1", "sec"), ("v2", "deeplab")):
            key = f"{seeder}_loss_{version}"
            params, entry = settings(profile, f"experiments.{key}"), ENTRIES["experiments"][key]
            assert params.losses["cross_entropy"].constrain_weight == 1
            assert (params.experiments["seeds"].train.crf, params.experiments["seeds"].test.crf) == (name, name)
            assert params.crf == plain.crf and entry["supervision"] == seeds
    assert settings(profile, "make_seeds.crf_v1").make_seeds.crf == "sec"
    assert settings(profile, "postprocess.seeds_post_v1").experiments["seeds"].test.crf == "sec"
    assert (plain.experiments["seeds"].train.crf, plain.experiments["seeds"].test.crf) == ("none", "deeplab")
    assert plain.losses["cross_entropy"].constrain_weight == 0


# --- published numbers -----------------------------------------------------------------------------------------------------


def test_every_published_row_has_an_experiment_and_every_experiment_a_row() -> None:
    published = read_published(ROOT / "ablations" / "published.yaml")
    names = {row.experiment for row in published.experiments}
    assert AUTHORS not in ENTRIES["experiments"]
    assert names == ENTRIES["experiments"].keys() | ENTRIES["postprocess"].keys() | {
        AUTHORS, "sec", "guided", "seeds", "full", "tags_only", "best",
    }  # fmt: skip
    guides = {row.guide for row in published.guides}
    assert guides == {
        *ENTRIES["evaluate_supervision"]["changes"]["evaluate_supervision.guides"],
        "seeds",
        "g2",
        "oracle",
    }
    assert {row.seeder for row in published.seeders} == ENTRIES["evaluate_seeds"].keys() | {"seeder", "centre_mean"}


@pytest.mark.parametrize("profile", PROFILES)
def test_seeders_are_the_papers(profile: str) -> None:
    """GAP without a CRF on four networks, backprop with smoothing and DeepLab's CRF on the plain classifier."""
    for name, entry in ENTRIES["evaluate_seeds"].items():
        params = settings(profile, f"evaluate_seeds.{name}")
        cam, crf = params.make_cams["seeder"], params.crf[params.evaluate_seeds.crf]
        assert (cam.scales, cam.gradient_scales, cam.flip) == (
            [2.0 if name == "own_twice_the_size" else 1.0],
            [],
            False,
        )
        if name.startswith("own_"):
            assert (cam.method, crf, entry["model"]) == ("gap", None, "models/classifier/seeder")
        elif name.startswith("gap_"):
            assert ENTRIES["train_classifier"][name]["changes"] == {"train_classifier.seeder.network": name}
            assert (cam.method, cam.smoothing_px, crf) == ("gap", 0, None)
            assert entry["model"] == f"ablations/models/classifier/{name}"
        else:
            method, _, own = name.partition("_")
            assert (cam.method, cam.smoothing_px) == (f"{method}_backprop", 8)
            assert cam.excitation_at == ("stride8" if own else "image")
            assert crf and (crf.bilateral_weight, crf.bilateral_sigma_xy, crf.bilateral_sigma_rgb) == (4, 121, 5)
            assert entry["model"] == "models/classifier/classifier"
        assert entry["map"] == f"{entry['model'].replace('models', 'metrics')}.json"
    assert settings(profile, "evaluate_seeds.gap_roi").make_seeds == settings(profile).make_seeds


@pytest.mark.parametrize("profile", PROFILES)
def test_guides_are_the_papers(profile: str) -> None:
    """G0, G1 and G2 of the profile's own saliency; ROI: other seeds."""
    plain, g0, roi = (settings(profile, key) for key in ("", "make_guides.g0", "make_guides.roi_g2"))
    assert (g0.make_guides["g2"].rule, plain.make_guides["g2"].rule) == ("g0", "g2")
    assert g0.make_guides["g2"] == plain.make_guides["g2"].model_copy(update={"rule": "g0"})
    assert roi == plain and ENTRIES["make_guides"]["roi_g2"]["seeds"] == "ablations/data/seeds/roi.zip"
    g1 = settings(profile, "make_g1_guides.g1").make_g1_guides["g1"]
    assert (g1.saliency_threshold, g1.min_saliency_fraction, g1.unresolved) == (0.5, 0.01, "ignore")
    assert plain.make_guides["g2"].saliency_threshold == g1.saliency_threshold


def test_published_numbers_are_the_papers() -> None:
    """SEC table 1; GS tables 1 to 5; typed again."""
    published = read_published(ROOT / "ablations" / "published.yaml")
    numbers = {(row.paper, row.row): (row.experiment, row.miou, row.miou_crf) for row in published.experiments}
    study = {row: values[1:] for (paper, row), values in numbers.items() if paper == "GS table 5"}
    assert study == {
        "HighRes; post v1": (37.5, 45.5), "HighRes, loss v1; post v1": (46.4, 50.4), "HighRes, loss v2; post v2": (None, 45.2),
        "HighRes, seeds v1": (33.0, None), "HighRes, G2": (None, 55.2), "ROI": (37.6, None), "ROI, loss v1; post v1": (None, 45.0),
        "ROI, loss v2; post v2": (None, 44.2), "ROI, G2": (None, 54.6),
    }  # fmt: skip
    guides = {
        values[0]: values[1:]
        for (paper, _), values in numbers.items()
        if paper.startswith("GS table") and "5" not in paper
    }
    assert guides == {
        "seeds": (38.7, 39.8), "g0": (45.8, 48.8), "g1": (46.2, None), "guided": (51.2, 55.7), "oracle": (56.9, None),
        "full": (None, 67.6),
    }  # fmt: skip
    seeders = {row.seeder: (row.mean_precision, row.map) for row in published.seeders if row.mean_precision}
    assert seeders == {
        "gap_lowres": (76.5, 88.0), "gap_highres": (80.7, 87.0), "gap_roi": (80.8, 87.2), "gap_deeplab": (57.7, 92.7),
    }  # fmt: skip
    figures = {
        values[1:] for (paper, _), values in numbers.items() if paper.startswith("SEC figure") and values[0] != "sec"
    }
    assert figures == {(None, None)}  # pictures only
    assert {values[1:] for values in numbers.values() if values[0] in ("sec", AUTHORS)} == {(None, 50.7)}
