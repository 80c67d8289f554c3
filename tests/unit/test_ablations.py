"""The papers' other rows: each works with every profile, changes what it says, and has the paper's number beside it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from weakseg.report.published import read_published
from weakseg.settings.params import Params
from weakseg.settings.reading import read_params
from weakseg.settings.supervision import CRF, InferenceCRF

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "ablations" / "params.yaml"
ENTRIES: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
PROFILES = ("toy", "small-voc", "voc12")  # those whose photos have masks to compare with
AUTHORS = "sec_authors"  # needs files that are not everybody's, so it waits behind a comment sign
POST_V1 = "seeds_post_v1"  # no training of its own, so two stages of ablations/dvc.yaml without foreach


def all_entries() -> Iterator[tuple[str, dict[str, Any]]]:
    for section, content in ENTRIES.items():
        if "changes" in content:
            yield section, content
        else:
            yield from ((f"{section}.{name}", entry) for name, entry in content.items())


def settings(profile: str, key: str) -> Params:
    return read_params([ROOT / "profiles" / f"{profile}.yaml", f"{FILE}:{key}"])


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(
    ("key", "entry"), list(all_entries()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_entry_fits_every_profile(profile: str, key: str, entry: dict[str, Any]) -> None:
    params = settings(profile, key)
    section, _, _ = key.partition(".")
    if section == "classifiers":
        assert entry["like"] in params.classifiers
    if section == "experiments":
        experiment = params.experiments[entry["like"]]
        assert experiment.loss == entry["loss"] and entry["test_crf"] in params.crf


READ_BY = {  # what the stages of a section read of params.yaml: a change of anything else would do nothing
    "classifiers": ("classifiers.{like}", "random_seed"),
    "seeds": ("make_seeds",),
    "guides": ("make_guides",),
    "guide_quality": ("make_guides",),
    "seeders": ("classifiers.seeder.cam", "evaluate_seeds"),
    "experiments": ("segmenter", "experiments.{like}", "losses.{loss}", "random_seed"),
}


@pytest.mark.parametrize(
    ("key", "entry"), list(all_entries()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_change_is_of_something_that_its_stages_read(key: str, entry: dict[str, Any]) -> None:
    section, _, _ = key.partition(".")
    read = tuple(pattern.format(**entry) for pattern in READ_BY[section])
    for changed in entry["changes"]:
        assert any(changed == known or changed.startswith(f"{known}.") for known in read), changed


def test_no_two_experiments_are_the_same() -> None:
    seen = [yaml.safe_dump(entry) for entry in ENTRIES["experiments"].values()]
    seen += [yaml.safe_dump(entry) for entry in ENTRIES["classifiers"].values()]
    assert len(seen) == len(set(seen))


# --- the rows, by what they set --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", PROFILES)
def test_figure_7_has_all_seven_combinations_of_the_terms(profile: str) -> None:
    names = [row.experiment for row in read_published(ROOT / "ablations" / "published.yaml").experiments]
    combinations = {}
    for name in {name for name in names if name.startswith("sec") and name != AUTHORS}:
        loss = settings(profile, f"experiments.{name}" if name != "sec" else "guide_quality").losses["sec"]
        assert loss.kind == "sec"
        if loss.pooling_present == "gwrp" and "fov" not in name:
            weights = (loss.seed_weight, loss.expand_weight, loss.constrain_weight)
            combinations[name] = "".join(letter for letter, weight in zip("sec", weights, strict=True) if weight)
    assert combinations == {
        "sec": "sec", "sec_seed": "s", "sec_expand": "e", "sec_constrain": "c", "sec_no_seed": "ec", "sec_no_expand": "sc",
        "sec_no_constrain": "se",
    }  # fmt: skip


def widths_of(crf: InferenceCRF) -> CRF:
    return CRF.model_validate(crf.model_dump(exclude={"backend"}))


@pytest.mark.parametrize("profile", ["small-voc", "voc12"])  # toy's pictures are so small that its CRFs differ
def test_the_crf_study_uses_both_papers_parameters(profile: str) -> None:
    """v1 is SEC's, v2 DeepLab's, as in the profile's own sets."""
    for seeder in ("seeds", "roi"):
        for version, name in (("v1", "sec"), ("v2", "deeplab")):
            key = f"experiments.{seeder}_loss_{version}"
            params = settings(profile, key)
            loss = params.losses["cross_entropy"]
            assert loss.constrain_weight == 1 and loss.crf == widths_of(params.crf[name])
            assert ENTRIES["experiments"][f"{seeder}_loss_{version}"]["test_crf"] == name
    params = settings(profile, "seeds.crf_v1")
    assert params.make_seeds.crf == widths_of(params.crf["sec"])
    assert read_params([ROOT / "profiles" / f"{profile}.yaml"]).losses["cross_entropy"].constrain_weight == 0


# --- published numbers -----------------------------------------------------------------------------------------------------


def test_every_published_row_has_an_experiment_and_every_experiment_a_row() -> None:
    published = read_published(ROOT / "ablations" / "published.yaml")
    names = {row.experiment for row in published.experiments}
    assert AUTHORS in FILE.read_text(encoding="utf-8") and AUTHORS not in ENTRIES["experiments"]
    assert names == ENTRIES["experiments"].keys() | {AUTHORS, POST_V1, "sec", "guided", "seeds", "full"}
    guides = {row.guide for row in published.guides}
    assert guides == {*ENTRIES["guide_quality"]["changes"]["make_guides.rules"], "seeds", "g2", "oracle"}
    assert {row.seeder for row in published.seeders} == ENTRIES["seeders"].keys() | {"seeder", "centre_mean"}


@pytest.mark.parametrize("profile", PROFILES)
def test_seeders_are_the_papers(profile: str) -> None:
    """GAP without a CRF on four networks, backprop with smoothing and DeepLab's CRF on the plain classifier."""
    for name, entry in ENTRIES["seeders"].items():
        params = settings(profile, f"seeders.{name}")
        cam, crf = params.classifiers["seeder"].cam, params.evaluate_seeds.crf
        assert (cam.scales, cam.gradient_scales, cam.flip) == (
            [2.0 if name == "own_twice_the_size" else 1.0],
            [],
            False,
        )
        if name.startswith("own_"):
            assert (cam.method, crf, entry["model"]) == ("gap", None, "models/classifier/seeder")
        elif name.startswith("gap_"):
            assert ENTRIES["classifiers"][name]["changes"] == {"classifiers.seeder.network": name}
            assert (cam.method, cam.smoothing_px, crf) == ("gap", 0, None)
            assert entry["model"] == f"ablations/models/classifier/{name}"
        else:
            assert (cam.method, cam.smoothing_px) == (f"{name}_backprop", 8)
            assert crf and (crf.bilateral_weight, crf.bilateral_sigma_xy, crf.bilateral_sigma_rgb) == (4, 121, 5)
            assert entry["model"] == "models/classifier/background"
        assert entry["map"] == f"{entry['model'].replace('models', 'metrics')}.json"
    assert (
        settings(profile, "seeders.gap_roi").make_seeds
        == read_params([ROOT / "profiles" / f"{profile}.yaml"]).make_seeds
    )


def test_published_numbers_are_the_papers() -> None:
    """SPEC §9, typed again."""
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
