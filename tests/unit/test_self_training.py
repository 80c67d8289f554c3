"""Masks of training photos for the next round, and the recipe by which an experiment is trained again."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.profile_cases import settings_of
from weakseg.arrays import LabelMap, Maps, Photo
from weakseg.errors import UserError
from weakseg.files.archives import ArrayArchive, write_arrays
from weakseg.files.manifest import Record
from weakseg.inference.grids import GridScores, OwnTagMasks, grid_arrays, own_classes, read_grid
from weakseg.settings.experiments import repeat_of
from weakseg.settings.params import Params
from weakseg.settings.profiles import validated
from weakseg.training.segmentation import Recipe, read_recipe, recipe_of, write_recipe

WIDTH = 6


def scores_of(folder: Path, probs: np.ndarray, labels: tuple[int, ...]) -> tuple[ArrayArchive, Record]:
    """An archive with one photo, one row high, whose grid is the photo: probs (C, W) of all classes."""
    record = Record("a", "train", "a.png", "", WIDTH, 1, labels, "")
    grid = GridScores(np.log(probs)[:, None].astype(np.float32), (1, WIDTH))
    write_arrays(folder / "scores.npz", grid_arrays("a", grid, own_classes(record)))
    return ArrayArchive(folder / "scores.npz"), record


def masks(archive: ArrayArchive, record: Record, min_probability: float = 0.0) -> list[int]:
    labels: list[int] = OwnTagMasks(archive, "crop", None, min_probability)(record)[0].tolist()
    return labels


#                 pixels of a photo of class 2: background, background, 2, 2, unsure, class 1, which the photo does not show
PROBS = np.array([
    [0.90, 0.80, 0.10, 0.05, 0.48, 0.04],
    [0.05, 0.10, 0.10, 0.05, 0.00, 0.90],
    [0.05, 0.10, 0.80, 0.90, 0.52, 0.06],
]) + 1e-6  # fmt: skip


def test_a_class_that_the_photo_does_not_show_gives_way_to_the_next_best_of_its_tags(tmp_path: Path) -> None:
    archive, record = scores_of(tmp_path, PROBS, (2,))
    assert read_grid(archive, record, [0, 2]).scores.shape == (2, 1, WIDTH)
    assert masks(archive, record) == [0, 0, 2, 2, 2, 2]
    with pytest.raises(UserError, match="do not fit its photo"):
        read_grid(archive, record, [0, 1])


def test_what_the_network_is_not_sure_of_among_the_tags_is_ignored(tmp_path: Path) -> None:
    archive, record = scores_of(tmp_path, PROBS, (2,))
    assert masks(archive, record, 0.55) == [0, 0, 2, 2, 255, 2]
    assert masks(archive, record, 0.7) == [0, 0, 2, 2, 255, 255]  # 0.06 of 0.10 is 60 %


def test_a_tag_that_got_no_pixel_leaves_doubt_where_it_is_likeliest(tmp_path: Path) -> None:
    faint = np.array([[0.9, 0.9, 0.9, 0.8, 0.7, 0.9], [0.1, 0.1, 0.1, 0.2, 0.3, 0.1]])
    archive, record = scores_of(tmp_path, faint, (1,))
    assert masks(archive, record) == [0, 0, 0, 255, 255, 0]


def test_without_tags_all_is_background(tmp_path: Path) -> None:
    archive, record = scores_of(tmp_path, PROBS, ())
    assert masks(archive, record, 0.9) == [0] * WIDTH


def test_labels_are_those_of_the_crf_and_doubt_is_the_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def background(image: Photo, log_probs: Maps) -> LabelMap:
        return np.zeros(log_probs.shape[1:], np.uint8)

    archive, record = scores_of(tmp_path, PROBS, (2,))
    monkeypatch.setattr("weakseg.inference.grids.read_record", lambda _: np.zeros((1, WIDTH, 3), np.uint8))
    found = OwnTagMasks(archive, "crop", background, 0.5)(record)[0].tolist()
    assert found == [0, 0, 255, 255, 255, 255]  # the network prefers class 2 where the CRF says background


# --- settings --------------------------------------------------------------------------------------------------------------


def test_mistakes_in_seeds_and_rounds_are_named() -> None:
    content = settings_of("toy")
    content["random_seeds"] = [1, 2, 1]
    content["self_training"] = {"nosuch": {"crf": "gone", "min_probability": 0.6}}
    with pytest.raises(UserError) as told:
        validated(content, "params.yaml")
    for words in (
        "self_training.nosuch: there is no experiments.nosuch",
        "self_training.nosuch.crf: there is no crf.gone",
    ):
        assert words in str(told.value)
    content["self_training"] = {}
    with pytest.raises(UserError, match=r"random_seeds: .* twice"):
        validated(content, "params.yaml")


def test_a_repeat_is_an_experiment_and_a_seed() -> None:
    assert (repeat_of("sec-gmp-12").experiment, repeat_of("sec-gmp-12").seed) == ("sec-gmp", "12")
    for name in ("sec", "-1", "sec-x", "sec-01", "sec-"):
        with pytest.raises(UserError, match="such as sec-1"):
            repeat_of(name)


# --- recipes ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    params = Params.model_validate(settings_of("toy"))
    for name in ("manifest", "classes", "supervision", "start"):
        (tmp_path / name).write_text(name)
    return recipe_of(
        params.train_segmenter, params.experiments["sec"].train, params.losses["sec"], params.crf["sec"],
        manifest=tmp_path / "manifest", classes=tmp_path / "classes", supervision=tmp_path / "supervision",
        start=tmp_path / "start",
    )  # fmt: skip


def test_a_recipe_comes_back_as_it_was_and_knows_no_seed(recipe: Recipe, tmp_path: Path) -> None:
    write_recipe(tmp_path / "recipe.json", recipe)
    assert read_recipe(tmp_path / "recipe.json") == recipe
    assert "random_seed" not in (tmp_path / "recipe.json").read_text()


def test_a_recipe_changes_with_every_input_and_refuses_others(recipe: Recipe, tmp_path: Path) -> None:
    recipe.check_inputs()
    (tmp_path / "supervision").write_text("other masks")
    with pytest.raises(UserError, match=r"supervision: has changed since the experiment's first training"):
        recipe.check_inputs()
    (tmp_path / "start").unlink()
    with pytest.raises(UserError):
        recipe.check_inputs()


def test_a_damaged_recipe_is_one_line(recipe: Recipe, tmp_path: Path) -> None:
    content = recipe.model_dump(mode="json") | {"loss": {"kind": "other"}}
    (tmp_path / "recipe.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"recipe\.json: damaged or of another version \(loss"):
        read_recipe(tmp_path / "recipe.json")
