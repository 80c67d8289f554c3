"""Settings: the shipped files are sound, nothing has a default, and one message tells all that is wrong by dotted key."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from weakseg.errors import UserError
from weakseg.settings.data import Data
from weakseg.settings.losses import SecLoss
from weakseg.settings.params import Experiment, Params
from weakseg.settings.reading import read_keys, read_params
from weakseg.settings.supervision import CRF
from weakseg.settings.types import Section

ROOT = Path(__file__).resolve().parents[2]
PROFILES = sorted((ROOT / "profiles").glob("*.yaml"))
WITHOUT_MASKS = "own-photos"  # so without the experiments that learn from masks, or exist to be compared with them
TOY = ROOT / "profiles" / "toy.yaml"


def toy() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(TOY.read_text(encoding="utf-8"))
    return content


def put(content: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = key.split(".")
    for section in sections:
        content = content[section]
    content[last] = value


def drop(content: dict[str, Any], key: str) -> None:
    *sections, last = key.split(".")
    for section in sections:
        content = content[section]
    del content[last]


def written(folder: Path, content: Any) -> Path:
    path = folder / "params.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
    return path


def complaint(folder: Path, content: Any) -> str:
    path = written(folder, content)
    with pytest.raises(UserError) as caught:
        read_params([path])
    message = str(caught.value)
    assert message.startswith(f"{path}:")
    return message


def keys_of(message: str) -> list[str]:
    """The dotted keys that a message names, one a line after the file's name."""
    return [line.strip().split(": ")[0] for line in message.splitlines()[1:]]


# --- the shipped files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_every_profile_is_valid_and_says_how_to_use_it(path: Path) -> None:
    params = read_params([path])
    masks = {name for name, own in params.experiments.items() if own.supervision == "ground_truth.zip"}
    if path.stem == WITHOUT_MASKS:
        assert set(params.experiments) == {"sec", "guided"} and not masks
    else:
        assert set(params.experiments) >= {"sec", "guided", "seeds", "full"}
        assert params.report.bound in masks
    rules = {experiment.supervision for experiment in params.experiments.values() if "/" in experiment.supervision}
    assert rules <= {f"guides/{rule}.zip" for rule in params.make_guides.rules}
    assert f"cp profiles/{path.name} params.yaml" in path.read_text(encoding="utf-8")


def test_the_profiles_are_there() -> None:
    assert {path.stem for path in PROFILES} >= {"toy", "small-voc", "voc12", WITHOUT_MASKS}


def test_params_yaml_as_shipped_is_the_toy_profile() -> None:
    assert (ROOT / "params.yaml").read_bytes() == TOY.read_bytes()


def test_profiles_have_the_same_keys_so_that_dvc_can_compare_them() -> None:
    def keys(content: Any, prefix: str = "") -> Iterator[str]:
        for key, value in content.items() if isinstance(content, dict) else ():
            if prefix + key not in ("experiments.seeds", "experiments.full"):
                yield f"{prefix}{key}"
                yield from keys(value, f"{prefix}{key}.")

    expected = set(keys(toy()))
    for path in PROFILES:
        assert set(keys(yaml.safe_load(path.read_text(encoding="utf-8")))) == expected, path.name


GAP_NET = {"steps": 8000, "batch_size": 15, "learning_rate": 0.001, "momentum": 0.9, "weight_decay": 0.0005}
SEC_CRF = {"bilateral_weight": 10, "bilateral_sigma_xy": 80, "bilateral_sigma_rgb": 13, "gaussian_weight": 3}
PAPERS = {  # SPEC §2 to §5
    "classifiers.seeder": {"network": "gap_highres", "backbone": "vgg16", "input_px": 321, "dropout": 0.5},
    "classifiers.seeder.training": {"optimizer": "sgd", "new_layers_factor": 10, **GAP_NET},
    "classifiers.seeder.training.schedule": {"kind": "step", "step_every": 2000, "step_factor": 0.1},
    "classifiers.background": {"network": "classifier", "backbone": "vgg16", "dropout": 0.5},
    "classifiers.background.vgg16": {"fc_channels": 1024},
    "classifiers.background.training": {**GAP_NET, "steps": 30000, "batch_size": 40},
    "classifiers.background.training.schedule": {"kind": "step", "step_every": 5000, "step_factor": 0.1},
    "make_cues": {"background_fraction": 0.1, "median_size": 3, "grid": 41},
    "make_cues.foreground": {"threshold": 0.2},
    "segmenter": {"backbone": "vgg16", "input_px": 321, "dropout": 0.5},
    "segmenter.training": {"optimizer": "sgd", "new_layers_factor": 10, **GAP_NET},
    "segmenter.training.schedule": {"kind": "step", "step_every": 2000, "step_factor": 0.1},
    "losses.sec": {
        "seed_weight": 1, "expand_weight": 1, "constrain_weight": 1, "background_cues": True, "pooling_present": "gwrp",
        "decay_present": 0.996, "decay_background": 0.999, "crf_backend": "lattice", "crf_gradient": "none",
        "crf_image_px": 12 * 41,
    },
    "losses.sec.crf": {**SEC_CRF, "gaussian_sigma_xy": 3, "steps": 10},
    "crf.sec": {**SEC_CRF, "gaussian_sigma_xy": 3, "steps": 10},
    "crf.deeplab": {"bilateral_weight": 4, "bilateral_sigma_xy": 121, "bilateral_sigma_rgb": 5, "steps": 10},
    "experiments.sec": {"head": "largefov", "average_pool5a": True, "geometry": "warp", "flip": False, "test_input_px": 321},
}  # fmt: skip


@pytest.mark.parametrize("section", PAPERS)
def test_voc12_holds_the_papers_settings(section: str) -> None:
    read = dict(read_keys(section, files=[ROOT / "profiles" / "voc12.yaml"]))
    assert {name: read[name] for name in PAPERS[section]} == PAPERS[section]


# --- no defaults, no loose ends -------------------------------------------------------------------------------------------


def sections_below(model: type[Section]) -> Iterator[type[Section]]:
    for subclass in model.__subclasses__():
        yield subclass
        yield from sections_below(subclass)


SECTIONS = sorted(set(sections_below(Section)), key=lambda model: model.__name__)


def test_all_sections_were_found() -> None:
    assert len(SECTIONS) > 20 and {Params, CRF, SecLoss, Experiment} <= set(SECTIONS)


@pytest.mark.parametrize("model", SECTIONS, ids=lambda model: model.__name__)
def test_no_setting_has_a_default(model: type[Section]) -> None:
    assert [name for name, field in model.model_fields.items() if not field.is_required()] == []
    assert model.model_config == {"extra": "forbid", "frozen": True, "strict": True}


def test_settings_cannot_be_changed_after_reading() -> None:
    params = read_params([TOY])
    with pytest.raises(ValidationError, match="frozen"):
        params.segmenter.training.steps = 3


# --- what is refused -----------------------------------------------------------------------------------------------------


def test_one_message_lists_everything_by_dotted_key(tmp_path: Path) -> None:
    content = toy()
    wrong = {
        "segmenter.colour": "red",
        "segmenter.training.learning_rate": "1e-3",
        "losses.sec.seed_weight": -1.0,
        "losses.sec.crf.steps": 0,
        "losses.cross_entropy.weight": 1.0,
        "experiments.guided.geometry": "round",
        "classifiers.background.cam.scales": ["one"],
        "make_guides.rules": ["g9"],
        "crf.sec.steps": 2.5,
        "data.classes": "cat dog",
    }
    for key, value in wrong.items():
        put(content, key, value)
    for key in ("make_cues.grid", "classifiers.seeder.training.schedule", "report"):
        drop(content, key)
    message = complaint(tmp_path, content)
    told = {
        "make_cues.grid", "classifiers.seeder.training.schedule", "report", "make_guides.rules.0",
        "classifiers.background.cam.scales.0",
    } | (wrong.keys() - {"make_guides.rules", "classifiers.background.cam.scales"})  # fmt: skip
    assert sorted(keys_of(message)) == sorted(told)
    lines = {line.strip().split(": ")[0]: line for line in message.splitlines()[1:]}
    assert "(is -1.0)" in lines["losses.sec.seed_weight"] and "(is 'red')" in lines["segmenter.colour"]
    assert "required" in lines["make_cues.grid"].lower() and "(is" not in lines["make_cues.grid"]
    assert "'warp' or 'crop'" in lines["experiments.guided.geometry"]


def test_a_number_that_yaml_reads_as_text_gets_a_hint(tmp_path: Path) -> None:
    text = TOY.read_text(encoding="utf-8")
    old = "learning_rate: 0.0001"
    assert old in text
    message = complaint(tmp_path, text.replace(old, "learning_rate: 1e-4", 1))
    assert keys_of(message) == ["classifiers.seeder.training.learning_rate"]
    assert message.endswith("(is '1e-4'); YAML reads 1e-3 as text, write 0.001 or 1.0e-3")
    as_advised = read_params([written(tmp_path, text.replace(old, "learning_rate: 1.0e-4", 1))])
    assert as_advised == read_params([TOY])
    message = complaint(tmp_path, text.replace("steps: 10", "steps: 1e1", 1))
    assert message.endswith("write 0.001 or 1.0e-3")
    assert "YAML reads" not in complaint(tmp_path, text.replace(old, "learning_rate: -1.0", 1))


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("random_seed", -1), ("random_seed", "0"), ("random_seed", None), ("make_toy.image_px", 63), ("make_toy.train_images", 0),
        ("data.format", "coco"), ("data.root", None), ("saliency.boxes", 3), ("segmenter.input_px", 32),
        ("segmenter.input_px", 4098), ("segmenter.input_px", 224), ("train_saliency.input_px", 320), ("segmenter.backbone", "vgg"), ("segmenter.dropout", 1.0), ("segmenter.dropout", -0.1),
        ("segmenter.start_from_classifier", 1), ("segmenter.start_from_classifier", "yes"), ("segmenter.training.steps", 0),
        ("segmenter.training.steps", 2.0), ("segmenter.training.steps", True), ("segmenter.training.batch_size", 0),
        ("segmenter.training.learning_rate", 0.0), ("segmenter.training.learning_rate", INF),
        ("segmenter.training.learning_rate", NAN), ("segmenter.training.learning_rate", True),
        ("segmenter.training.momentum", 1.01), ("segmenter.training.momentum", NAN), ("segmenter.training.weight_decay", -1e-9),
        ("segmenter.training.schedule.kind", "cosine"), ("segmenter.training.schedule.step_factor", 1.0),
        ("segmenter.augmentation.scales", [1.0]), ("make_cues.background_fraction", 1.1), ("make_cues.grid", 1),
        ("make_guides.saliency_threshold", 0.0), ("make_guides.saliency_threshold", 1.0), ("make_guides.crf.steps", 0),
        ("make_guides.unresolved", "foreground"), ("losses.sec.present_share", 1.0), ("losses.sec.crf.bilateral_sigma_xy", 0.0),
        ("losses.sec.crf_gradient", "yes"), ("crf.deeplab.gaussian_weight", -1.0), ("experiments.sec.flip", "true"),
        ("experiments.sec.supervision", "../cues.npz"), ("experiments.sec.supervision", "guides/../cues.npz"),
        ("experiments.sec.supervision", "/cues.npz"), ("experiments.sec.supervision", "cues.pkl"),
        ("experiments.sec.loss", "../sec"), ("experiments.sec.test_input_px", 0), ("report.images", 0), ("losses.sec.kind", "focal"),
    ],
)  # fmt: skip
def test_values_of_the_wrong_type_or_out_of_range_are_refused(tmp_path: Path, key: str, value: Any) -> None:
    content = toy()
    put(content, key, value)
    expected = "losses.sec" if key == "losses.sec.kind" else key
    assert keys_of(complaint(tmp_path, content)) == [expected]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("segmenter.training.learning_rate", 1), ("segmenter.training.momentum", 0.0), ("segmenter.training.momentum", 1.0),
        ("segmenter.input_px", 33), ("segmenter.augmentation.scales", [0.5, 0.5]), ("make_cues.background_fraction", 1.0),
        ("experiments.guided.test_input_px", None), ("experiments.sec.supervision", "guides/g2.zip"), ("data.classes", ["a", "b"]),
        ("losses.sec.decay_present", 0.0), ("make_toy.random_seed", -5), ("segmenter.training.weight_decay", 0),
    ],
)  # fmt: skip
def test_values_at_the_edge_are_taken(tmp_path: Path, key: str, value: Any) -> None:
    content = toy()
    put(content, key, value)
    back = read_keys(key, files=[written(tmp_path, content)])
    assert back == value


@pytest.mark.parametrize("side_px", [None, 128])
def test_a_warped_experiment_needs_a_test_size_on_the_grid(tmp_path: Path, side_px: int | None) -> None:
    content = toy()
    put(content, "experiments.sec.test_input_px", side_px)
    assert keys_of(complaint(tmp_path, content)) == ["experiments.sec"]
    put(content, "experiments.sec.geometry", "crop")
    assert read_keys("experiments.sec.test_input_px", files=[written(tmp_path, content)]) == side_px


def test_scales_in_the_wrong_order_are_refused(tmp_path: Path) -> None:
    content = toy()
    put(content, "train_saliency.augmentation.scales", [1.5, 0.5])
    message = complaint(tmp_path, content)
    assert keys_of(message) == ["train_saliency.augmentation"]
    assert "[smallest, largest]" in message
    content = toy()
    put(content, "classifiers.seeder.augmentation.crop_area", [1.0, 0.5])
    assert keys_of(complaint(tmp_path, content)) == ["classifiers.seeder.augmentation"]


def test_finer_maps_need_class_maps(tmp_path: Path) -> None:
    content = toy()
    put(content, "classifiers.background.cam.gradient_scales", [1.0])
    assert keys_of(complaint(tmp_path, content)) == ["classifiers.background.cam"]


@pytest.mark.parametrize(("threshold", "coverage"), [(0.2, 0.1), (None, None)])
def test_a_threshold_and_a_coverage_exclude_each_other(
    tmp_path: Path, threshold: float | None, coverage: float | None
) -> None:
    content = toy()
    put(content, "make_cues.foreground", {"threshold": threshold, "coverage": coverage})
    message = complaint(tmp_path, content)
    assert keys_of(message) == ["make_cues.foreground"]
    assert "either threshold or coverage" in message


def test_experiments_must_name_losses_and_crfs_that_exist(tmp_path: Path) -> None:
    content = toy()
    put(content, "experiments.sec.loss", "secc")
    put(content, "experiments.full.test_crf", "deeplap")
    drop(content, "classifiers.background")
    message = complaint(tmp_path, content)
    for problem in (
        "experiments.sec.loss: there is no losses.secc", "experiments.full.test_crf: there is no crf.deeplap",
        "classifiers.background is missing",
    ):  # fmt: skip
        assert message.count(problem) == 1


@pytest.mark.parametrize("name", ["a b", "../a", "a.b", "-a", "", "a" * 65, "a@b", "ä"])
def test_names_that_could_not_be_stages_and_files_are_refused(tmp_path: Path, name: str) -> None:
    content = toy()
    content["experiments"][name] = dict(content["experiments"]["sec"])
    assert f"experiments.{name}" in complaint(tmp_path, content)


@pytest.mark.parametrize("name", ["cues", "seeds", "_cues", "A_cues", "a/b_cues", "published"])
def test_imported_cues_cannot_take_another_stages_file(tmp_path: Path, name: str) -> None:
    content = toy()
    content["import_cues"] = {"published_cues": {"cues": "a", "image_list": "b"}}
    assert read_keys("import_cues.published_cues.cues", files=[written(tmp_path, content)]) == "a"
    content["import_cues"] = {name: {"cues": "a", "image_list": "b"}}
    assert f"import_cues.{name}" in complaint(tmp_path, content)


def test_a_repeated_key_is_refused_with_its_line(tmp_path: Path) -> None:
    text = TOY.read_text(encoding="utf-8")
    line = text.splitlines().index("make_cues:") + 2  # counted from 1, the line after it
    repeated = text.replace("make_cues:\n", "make_cues:\n  grid: 7\n", 1)
    assert yaml.safe_load(repeated)["make_cues"]["grid"] == toy()["make_cues"]["grid"]  # YAML alone would take it
    message = complaint(tmp_path, repeated)
    assert "repeated key grid" in message and f"line {line}," in message
    assert "repeated key report" in complaint(tmp_path, f"{text}\nreport: 3\n")


@pytest.mark.parametrize("content", ["", "[1, 2]", "text", "- {a: 1}"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, content: str) -> None:
    assert "(file): " in complaint(tmp_path, content)


@pytest.mark.parametrize("content", ["a: [1", "a: *nowhere", "\t- a", "a: \x00", "? [1, 2]\n: 3"])
def test_what_is_no_yaml_is_refused(tmp_path: Path, content: str) -> None:
    assert "cannot be read as YAML" in complaint(tmp_path, content)


def test_yaml_tags_run_no_code(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    message = complaint(tmp_path, f"random_seed: !!python/object/apply:os.mkdir ['{marker}']\n")
    assert "cannot be read as YAML" in message
    assert not marker.exists()


def test_a_missing_or_unreadable_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nosuch\.yaml: no such file; copy one of profiles/"):
        read_params([tmp_path / "nosuch.yaml"])
    with pytest.raises(UserError, match="cannot be read as YAML"):
        read_params([tmp_path])
    (tmp_path / "latin.yaml").write_bytes("a: ñ".encode("latin-1"))
    with pytest.raises(UserError, match=r"latin\.yaml: cannot be read as YAML"):
        read_params([tmp_path / "latin.yaml"])


# --- reading single keys --------------------------------------------------------------------------------------------------


def test_read_keys_gives_the_values_in_the_order_asked() -> None:
    seed, crf, bound, loss = read_keys("random_seed", "crf.deeplab", "report.bound", "losses.sec", files=[TOY])
    content = toy()
    assert (seed, bound) == (content["random_seed"], content["report"]["bound"])
    assert isinstance(crf, CRF) and crf.model_dump() == content["crf"]["deeplab"]
    assert isinstance(loss, SecLoss) and loss.model_dump() == content["losses"]["sec"]
    reverse = read_keys("losses.sec", "report.bound", "crf.deeplab", "random_seed", files=[TOY])
    assert reverse == (loss, bound, crf, seed)


def test_read_keys_gives_one_value_bare_and_dictionaries_whole() -> None:
    assert read_keys("make_cues.grid", files=[TOY]) == toy()["make_cues"]["grid"]
    assert read_keys("classifiers.seeder.cam.scales", files=[TOY]) == toy()["classifiers"]["seeder"]["cam"]["scales"]
    assert isinstance(read_keys("data", files=[TOY]), Data)
    experiments = read_keys("experiments", files=[TOY])
    assert list(experiments) == list(toy()["experiments"])
    assert read_keys("data.labels_file", files=[TOY]) is None  # a null that is there


@pytest.mark.parametrize(
    "key",
    [
        "nosuch",
        "data.nosuch",
        "experiments.nosuch",
        "experiments.nosuch.loss",
        "report.bound.x",
        "data.model_dump",
        "crf.crf",
    ],
)
def test_read_keys_tells_a_key_that_is_not_there(key: str) -> None:
    with pytest.raises(UserError, match=rf"toy\.yaml: there is no {re.escape(key)}$"):
        read_keys(key, files=[TOY])


def test_read_keys_validates_the_whole_file(tmp_path: Path) -> None:
    content = toy()
    put(content, "crf.sec.steps", 0)
    path = written(tmp_path, content)
    with pytest.raises(UserError, match=r"crf\.sec\.steps"):
        read_keys("random_seed", files=[path])


# --- entries of another file that change settings --------------------------------------------------------------------------


def entry_file(folder: Path, content: Any) -> Path:
    path = folder / "rows.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def with_changes(folder: Path, *changes: dict[str, Any]) -> list[str]:
    """The toy profile, and one entry for each of the changes."""
    rows = entry_file(folder, {"rows": {f"row{number}": {"changes": each} for number, each in enumerate(changes)}})
    return [str(TOY), *(f"{rows}:rows.row{number}" for number in range(len(changes)))]


def test_an_entry_replaces_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    new_crf = toy()["losses"]["sec"]["crf"] | {"steps": 3}
    changes = {
        "losses.sec.seed_weight": 0.0, "experiments.sec.head": "smallfov", "losses.sec.crf": new_crf, "make_guides.rules": ["g0"],
        "random_seed": 7,
    }  # fmt: skip
    expected = toy()
    for key, value in changes.items():
        put(expected, key, value)
    assert read_params(with_changes(tmp_path, changes)) == Params.model_validate(expected)
    assert read_params(with_changes(tmp_path, {})) == read_params([TOY])


def test_of_several_entries_the_later_has_the_last_word(tmp_path: Path) -> None:
    files = with_changes(tmp_path, {"losses.sec.seed_weight": 2.0, "random_seed": 1}, {"losses.sec.seed_weight": 3.0})
    assert read_keys("losses.sec.seed_weight", "random_seed", files=files) == (3.0, 1)


def test_a_section_put_in_whole_can_be_changed_further_and_the_file_stays(tmp_path: Path) -> None:
    crf = toy()["crf"]["sec"]
    files = with_changes(tmp_path, {"crf.deeplab": crf, "crf.deeplab.steps": 3}, {"crf.sec.steps": 4})
    read = read_keys("crf", files=files)
    assert (read["deeplab"].steps, read["sec"].steps) == (3, 4)


@pytest.mark.parametrize(
    "key",
    [
        "losses.sec.sed_weight",
        "losses.no_seed",
        "lost",
        "random_seed.x",
        "losses..seed_weight",
        "data.root.x",
        "crf.sec.",
    ],
)
def test_a_change_of_what_is_not_there_is_refused(tmp_path: Path, key: str) -> None:
    """So that a slip is told, and no entry adds settings that another then reads."""
    files = with_changes(tmp_path, {key: 1.0})
    with pytest.raises(
        UserError, match=rf"rows\.yaml:rows\.row0: changes {re.escape(key)}, which .*toy\.yaml does not"
    ):
        read_params(files)


def test_changed_values_are_checked_like_all_others(tmp_path: Path) -> None:
    files = with_changes(tmp_path, {"losses.sec.seed_weight": -1.0, "experiments.sec.head": "wide"})
    with pytest.raises(UserError) as caught:
        read_params(files)
    assert str(caught.value).startswith(f"{TOY} with {files[1]}:\n")
    assert sorted(keys_of(str(caught.value))) == ["experiments.sec.head", "losses.sec.seed_weight"]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("", r"--params .*rows\.yaml: say which entry of it"),
        (":rows.other", r"rows\.yaml: there is no rows\.other"),
        (":rows.row0.x.y", r"rows\.yaml: there is no rows\.row0\.x\.y"),
        (":rows", r"rows\.yaml: rows has no `changes"),
        (":rows.list", r"rows\.yaml: rows\.list has no `changes"),
    ],
)
def test_an_entry_that_is_none_is_told(tmp_path: Path, entry: str, words: str) -> None:
    path = entry_file(tmp_path, {"rows": {"row0": {"changes": {}}, "list": {"changes": [1]}}})
    with pytest.raises(UserError, match=words):
        read_params([TOY, f"{path}{entry}"])


def test_a_missing_file_of_entries_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nosuch\.yaml: no such file"):
        read_params([TOY, f"{tmp_path / 'nosuch.yaml'}:rows.row0"])


def test_an_export_needs_its_experiment_and_test_photos(tmp_path: Path) -> None:
    content = toy()
    put(content, "export_voc.experiments", ["sec", "nosuch"])
    message = complaint(tmp_path, content)
    assert "export_voc.experiments: there is no experiments.nosuch" in message
    assert "data.test_list is null" in message
    put(content, "export_voc.experiments", ["sec"])
    put(content, "data.test_list", "test")
    assert read_params([written(tmp_path, content)]).export_voc.experiments == ["sec"]


@pytest.mark.parametrize(("name", "method"), [("seeder", "background_gradient"), ("background", "guided_backprop")])
def test_heat_maps_must_show_what_their_role_needs(tmp_path: Path, name: str, method: str) -> None:
    content = toy()
    put(content, f"classifiers.{name}.cam.method", method)
    assert f"classifiers.{name}.cam.method: {method} shows no" in complaint(tmp_path, content)
    put(content, "classifiers.seeder.cam.method", "excitation_backprop")
    put(content, "classifiers.background.cam.method", "background_gradient")
    assert read_params([written(tmp_path, content)]).classifiers["seeder"].cam.method == "excitation_backprop"
