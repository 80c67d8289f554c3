"""Settings: the shipped files are sound, nothing has a default, and one message tells all that is wrong by dotted key."""

import re
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from tests.profile_cases import PROFILES, ROOT, WITHOUT_MASKS, file_of, settings_of
from weakseg.errors import UserError
from weakseg.runtime import NAME
from weakseg.settings import reading
from weakseg.settings.data import Data
from weakseg.settings.losses import SecLoss
from weakseg.settings.params import Experiment, Params
from weakseg.settings.reading import check_params, read_params
from weakseg.settings.supervision import CRF
from weakseg.settings.types import Section

TOY = ROOT / "params.yaml"


def toy() -> dict[str, Any]:
    return settings_of("toy")


def read_keys(*keys: str, files: Sequence[str | Path], name: str = "") -> Any:
    """As a stage does."""
    return reading.read_keys(*keys, options=Namespace(params=[str(file) for file in files], name=name))


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


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_is_valid_and_says_how_to_use_it(profile: str, tmp_path: Path) -> None:
    params = read_params([file_of(profile, tmp_path)])
    masks = {name for name, own in params.experiments.items() if own.train.supervision == "ground_truth.zip"}
    if profile == WITHOUT_MASKS:
        assert set(params.experiments) == {"sec", "guided", "best"} and not masks
    else:
        assert set(params.experiments) >= {"sec", "guided", "seeds", "tags_only", "best", "full"}
        assert params.report.bound in masks
    guides = {own.train.supervision for own in params.experiments.values() if "/" in own.train.supervision}
    made = {f"guides/{name}.zip" for name in (*params.make_guides, *params.make_g1_guides)}
    made |= {f"refined/{name}.zip" for name in params.refine} | {f"self/{name}.zip" for name in params.self_training}
    assert guides <= made
    assert f"make profile NAME={profile}" in (ROOT / "profiles" / f"{profile}.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("profile", PROFILES)
def test_what_is_compared_and_supervised_is_made(profile: str) -> None:
    """By name, which no type can check: data/guides/<name>.zip has a stage."""
    content = settings_of(profile)
    assert {*content["evaluate_supervision"]["guides"]} <= {*content["make_guides"], *content["make_g1_guides"]}
    files = {"cues.npz", "seeds.zip", "ground_truth.zip", "oracle_guides.zip"}
    files |= {f"guides/{name}.zip" for name in (*content["make_guides"], *content["make_g1_guides"])}
    files |= {f"refined/{name}.zip" for name in content["refine"]}
    files |= {f"self/{name}.zip" for name in content["self_training"]}
    assert {own["train"]["supervision"] for own in content["experiments"].values()} <= files


def test_the_profiles_are_there() -> None:
    assert {path.stem for path in (ROOT / "profiles").glob("*.yaml")} == set(PROFILES)


def test_profiles_have_the_same_keys_so_that_dvc_can_compare_them() -> None:
    """But for classifiers that smaller profiles share, experiments that need masks, and who trains itself."""

    def keys(content: Any, prefix: str = "") -> Iterator[str]:
        for key, value in content.items() if isinstance(content, dict) else ():
            if not re.fullmatch(
                r"self_training\..*|experiments\.(seeds|tags_only|full)|(train_classifier|make_cams)\.(foreground|background|classifier)",
                prefix + key,
            ):
                yield f"{prefix}{key}"
                yield from keys(value, f"{prefix}{key}.")

    expected = set(keys(toy()))
    for profile in PROFILES:
        assert set(keys(settings_of(profile))) == expected, profile


# --- no defaults, no loose ends -------------------------------------------------------------------------------------------


def sections_below(model: type[Section]) -> Iterator[type[Section]]:
    for subclass in model.__subclasses__():
        yield subclass
        yield from sections_below(subclass)


SECTIONS = sorted(
    (model for model in set(sections_below(Section)) if model.__module__.startswith("weakseg.settings.")),
    key=lambda model: model.__name__,
)  # not those that other files are read with


def test_all_sections_were_found() -> None:
    assert len(SECTIONS) > 20 and {Params, CRF, SecLoss, Experiment} <= set(SECTIONS)


@pytest.mark.parametrize("model", SECTIONS, ids=lambda model: model.__name__)
def test_no_setting_has_a_default(model: type[Section]) -> None:
    assert [name for name, field in model.model_fields.items() if not field.is_required()] == []
    assert model.model_config == {"extra": "forbid", "frozen": True, "strict": True}


def test_settings_cannot_be_changed_after_reading() -> None:
    params = read_params([TOY])
    with pytest.raises(ValidationError, match="frozen"):
        params.train_segmenter.training.steps = 3


# --- what is refused -----------------------------------------------------------------------------------------------------


def test_one_message_lists_everything_by_dotted_key(tmp_path: Path) -> None:
    content = toy()
    wrong = {
        "train_segmenter.colour": "red",
        "train_segmenter.training.learning_rate": "1e-3",
        "losses.sec.seed_weight": -1.0,
        "losses.cross_entropy.weight": 1.0,
        "experiments.guided.train.geometry": "round",
        "make_cams.classifier.scales": ["one"],
        "make_guides.g2.rule": "g9",
        "crf.deeplab.steps": 0,
        "crf.sec.steps": 2.5,
        "data.classes": "cat dog",
    }
    for key, value in wrong.items():
        put(content, key, value)
    for key in ("make_cues.grid", "train_classifier.seeder.training.schedule", "report"):
        drop(content, key)
    message = complaint(tmp_path, content)
    told = {
        "make_cues.grid", "train_classifier.seeder.training.schedule", "report", "make_cams.classifier.scales.0",
    } | (wrong.keys() - {"make_cams.classifier.scales"})  # fmt: skip
    assert sorted(keys_of(message)) == sorted(told)
    lines = {line.strip().split(": ")[0]: line for line in message.splitlines()[1:]}
    assert "(is -1.0)" in lines["losses.sec.seed_weight"] and "(is 'red')" in lines["train_segmenter.colour"]
    assert "required" in lines["make_cues.grid"].lower() and "(is" not in lines["make_cues.grid"]
    assert "'warp' or 'crop'" in lines["experiments.guided.train.geometry"]


def test_a_number_that_yaml_reads_as_text_gets_a_hint(tmp_path: Path) -> None:
    text = TOY.read_text(encoding="utf-8")
    old = "learning_rate: 0.0001"
    assert old in text
    message = complaint(tmp_path, text.replace(old, "learning_rate: 1e-4", 1))
    assert keys_of(message) == ["train_classifier.seeder.training.learning_rate"]
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
        ("random_seed", -1), ("random_seed", 2**31), ("make_toy.random_seed", -1), ("random_seed", "0"), ("random_seed", None), ("make_toy.image_px", 63), ("make_toy.train_images", 0),
        ("data.format", "imagenet"), ("data.root", None), ("saliency.boxes", 3), ("train_segmenter.input_px", 32),
        ("train_segmenter.input_px", 4098), ("train_segmenter.input_px", 224), ("train_saliency.input_px", 320), ("train_segmenter.backbone", "vgg"), ("train_segmenter.dropout", 1.0), ("train_segmenter.dropout", -0.1),
        ("train_segmenter.start_from", 1), ("train_segmenter.start_from", "classifier"), ("train_segmenter.training.steps", 0),
        ("train_segmenter.training.steps", 2.0), ("train_segmenter.training.steps", True), ("train_segmenter.training.batch_size", 0),
        ("train_segmenter.training.learning_rate", 0.0), ("train_segmenter.training.learning_rate", INF),
        ("train_segmenter.training.learning_rate", NAN), ("train_segmenter.training.learning_rate", True),
        ("train_segmenter.training.momentum", 1.01), ("train_segmenter.training.momentum", NAN), ("train_segmenter.training.weight_decay", -1e-9),
        ("train_segmenter.training.schedule.kind", "cosine"), ("train_segmenter.training.schedule.step_factor", 1.0),
        ("train_segmenter.augmentation.scales", [1.0]), ("make_cues.background_fraction", 1.1), ("make_cues.grid", 1),
        ("make_guides.g2.saliency_threshold", 0.0), ("make_guides.g2.saliency_threshold", 1.0), ("make_guides.g2.crf", 0),
        ("make_guides.g2.unresolved", "foreground"), ("losses.sec.present_share", 1.0), ("crf.sec.bilateral_sigma_xy", 0.0),
        ("losses.sec.crf_gradient", "yes"), ("crf.deeplab.gaussian_weight", -1.0), ("experiments.sec.train.flip", "true"),
        ("experiments.sec.train.supervision", "../cues.npz"), ("experiments.sec.train.supervision", "guides/../cues.npz"),
        ("experiments.sec.train.supervision", "/cues.npz"), ("experiments.sec.train.supervision", "cues.pkl"),
        ("experiments.sec.train.loss", "../sec"), ("experiments.sec.test.input_px", 0), ("report.images", 0), ("losses.sec.kind", "focal"),
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
        ("train_segmenter.training.learning_rate", 1), ("train_segmenter.training.momentum", 0.0), ("train_segmenter.training.momentum", 1.0),
        ("train_segmenter.input_px", 33), ("train_segmenter.augmentation.scales", [0.5, 0.5]), ("make_cues.background_fraction", 1.0),
        ("experiments.guided.test.input_px", None), ("experiments.sec.train.supervision", "guides/g2.zip"), ("data.classes", ["a", "b"]),
        ("losses.sec.decay_present", 0.0), ("make_toy.random_seed", 0), ("train_segmenter.training.weight_decay", 0),
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
    put(content, "experiments.sec.test.input_px", side_px)
    assert keys_of(complaint(tmp_path, content)) == ["experiments.sec"]
    put(content, "experiments.sec.train.geometry", "crop")
    assert read_keys("experiments.sec.test.input_px", files=[written(tmp_path, content)]) == side_px


def test_scales_in_the_wrong_order_are_refused(tmp_path: Path) -> None:
    content = toy()
    put(content, "train_saliency.augmentation.scales", [1.5, 0.5])
    message = complaint(tmp_path, content)
    assert keys_of(message) == ["train_saliency.augmentation"]
    assert "[smallest, largest]" in message
    content = toy()
    put(content, "train_classifier.seeder.augmentation.crop_area", [1.0, 0.5])
    assert keys_of(complaint(tmp_path, content)) == ["train_classifier.seeder.augmentation"]


def test_finer_maps_need_class_maps(tmp_path: Path) -> None:
    content = toy()
    put(content, "make_cams.classifier.gradient_scales", [1.0])
    assert keys_of(complaint(tmp_path, content)) == ["make_cams.classifier"]


@pytest.mark.parametrize(("threshold", "coverage"), [(0.2, 0.1), (None, None)])
def test_a_threshold_and_a_coverage_exclude_each_other(
    tmp_path: Path, threshold: float | None, coverage: float | None
) -> None:
    content = toy()
    put(content, "make_cues.foreground", {"threshold": threshold, "coverage": coverage})
    message = complaint(tmp_path, content)
    assert keys_of(message) == ["make_cues.foreground"]
    assert "either threshold or coverage" in message


def g1_guides(classifier: str) -> dict[str, Any]:
    return {
        "unresolved": "ignore", "min_saliency_fraction": 0.01, "saliency_threshold": 0.5, "classifier": classifier, "require_positive": True,
    }  # fmt: skip


NAMED = {  # key: the section that it names an entry of
    "make_cues.foreground_net": "make_cams", "make_cues.background_net": "make_cams", "make_seeds.net": "make_cams",
    "make_seeds.crf": "crf", "evaluate_seeds.net": "make_cams", "evaluate_seeds.crf": "crf",
    "select_saliency_photos.classifier": "train_classifier", "make_guides.g2.crf": "crf", "make_oracle_guides.crf": "crf",
    "make_g1_guides.g1.classifier": "train_classifier", "experiments.sec.train.loss": "losses", "experiments.sec.train.crf": "crf",
    "experiments.full.test.crf": "crf",
}  # fmt: skip


@pytest.mark.parametrize(("key", "section"), NAMED.items())
def test_a_name_of_another_section_must_be_there(tmp_path: Path, key: str, section: str) -> None:
    content = toy()
    content["make_g1_guides"] = {"g1": g1_guides("seeder")}
    put(content, key, "nosuch")
    assert complaint(tmp_path, content).splitlines()[1:] == [f"  {key}: there is no {section}.nosuch"]


def test_all_names_that_are_not_there_are_told_at_once(tmp_path: Path) -> None:
    content = toy()
    put(content, "experiments.sec.train.loss", "secc")
    put(content, "experiments.full.test.crf", "deeplap")
    put(content, "train_segmenter.start_from", "classifier/seder")
    drop(content, "train_classifier.classifier")
    message = complaint(tmp_path, content)
    for problem in (
        "experiments.sec.train.loss: there is no losses.secc", "experiments.full.test.crf: there is no crf.deeplap",
        "train_segmenter.start_from: there is no train_classifier.seder", "make_cams.classifier: there is no train_classifier.classifier",
        "select_saliency_photos.classifier: there is no train_classifier.classifier",
    ):  # fmt: skip
        assert message.count(problem) == 1
    assert len(message.splitlines()) == 6


@pytest.mark.parametrize("key", ["make_guides.g2.crf", "make_oracle_guides.crf", "experiments.full.test.crf", "experiments.sec.train.crf"])  # fmt: skip
def test_no_crf_where_one_is_needed_is_refused(tmp_path: Path, key: str) -> None:
    content = toy()
    put(content, key, "none")
    assert keys_of(complaint(tmp_path, content)) == [key]


def test_an_experiment_without_a_crf_in_its_loss_needs_none(tmp_path: Path) -> None:
    content = toy()
    put(content, "experiments.sec.train.crf", "none")
    put(content, "losses.sec.constrain_weight", 0.0)
    assert read_keys("experiments.sec.train.crf", "crf.none", files=[written(tmp_path, content)]) == ("none", None)
    put(content, "losses.cross_entropy.constrain_weight", 0.5)
    message = complaint(tmp_path, content)
    by_masks = ("best", "full", "guided", "seeds", "tags_only")
    assert sorted(keys_of(message)) == [f"experiments.{name}.train.crf" for name in by_masks]
    assert "losses.cross_entropy has a constrain term" in message


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("crf.none", {"steps": 1}, "crf.none"), ("crf.none", "drop", "crf.none: stands for no CRF; it must be there and null"),
        ("crf.sec", None, "crf.sec: is null; only crf.none may be"),
    ],
)  # fmt: skip
def test_only_crf_none_is_no_crf(tmp_path: Path, key: str, value: Any, words: str) -> None:
    content = toy()
    drop(content, key) if value == "drop" else put(content, key, value)
    assert words in complaint(tmp_path, content)
    whole = toy()
    whole["crf"]["none"] = whole["crf"]["sec"]
    assert "crf.none: stands for no CRF" in complaint(tmp_path, whole)


def test_guides_of_two_rules_cannot_share_a_name(tmp_path: Path) -> None:
    content = toy()
    content["make_g1_guides"] = {"g2": g1_guides("seeder"), "g1": g1_guides("seeder")}
    message = complaint(tmp_path, content)
    assert message.splitlines()[1:] == ["  make_g1_guides.g2: make_guides has that name too"]


def test_a_segmenter_goes_on_from_a_classifier_of_its_own_backbone(tmp_path: Path) -> None:
    content = toy()
    put(content, "train_segmenter.backbone", "vgg16")
    message = complaint(tmp_path, content)
    assert keys_of(message) == ["train_segmenter.start_from"] and "efficientnet_lite0" in message and "vgg16" in message
    put(content, "train_segmenter.start_from", "pretrained/none")
    assert read_params([written(tmp_path, content)]).train_segmenter.backbone == "vgg16"


def test_a_gradient_through_the_lattice_is_refused(tmp_path: Path) -> None:
    content = toy()
    content["losses"]["sec"] |= {"crf_backend": "lattice", "crf_gradient": "exact"}
    message = complaint(tmp_path, content)
    assert keys_of(message) == ["losses.sec"] and "crf_gradient exact needs crf_backend exact" in message
    put(content, "losses.sec.crf_backend", "exact")
    assert read_keys("losses.sec.crf_gradient", files=[written(tmp_path, content)]) == "exact"


def test_a_loss_of_no_term_is_refused(tmp_path: Path) -> None:
    content = toy()
    content["losses"]["sec"] |= {"seed_weight": 0.0, "expand_weight": 0.0, "constrain_weight": 0.0}
    message = complaint(tmp_path, content)
    assert keys_of(message) == ["losses.sec"] and "all three weights are 0" in message


@pytest.mark.parametrize(
    ("key", "known"),
    [
        ("train_saliency.backbone", "resnet101"), ("train_segmenter.backbone", "vgg16"), ("train_classifier.seeder.backbone", "efficientnet_lite0"),
        ("train_classifier.seeder.network", "gap_highres"), ("experiments.sec.train.head", "smallfov"), ("train_saliency.head", "aspp"),
    ],
)  # fmt: skip
def test_networks_that_are_not_there_are_told_with_those_that_are(tmp_path: Path, key: str, known: str) -> None:
    content = toy()
    put(content, key, "nosuch")
    message = complaint(tmp_path, content)
    assert key in keys_of(message)
    (line,) = [line for line in message.splitlines() if line.startswith(f"  {key}: ") and "no such" in line]
    assert known in line


@pytest.mark.parametrize(
    "key", ["train_classifier.seeder.pretrained", "train_saliency.pretrained", "data.train_list", "saliency.boxes"]
)
@pytest.mark.parametrize(
    "value", ["../x", "/x", "a/../x", "a//x", "", ".x", "a/.x", "~x", "a\nb", "$(x)", "a;b", "a'b"]
)
def test_files_below_a_folder_stay_there_and_are_no_commands(tmp_path: Path, key: str, value: str) -> None:
    content = toy()
    put(content, key, value)
    assert keys_of(complaint(tmp_path, content)) == [key]
    put(content, key, "a folder/b-1,c (2).x")
    assert read_keys(key, files=[written(tmp_path, content)]) == "a folder/b-1,c (2).x"


@pytest.mark.parametrize(
    "value", ["imagenet", "../models/pretrained/x", "other/x", "pretrained", "pretrained/../x", "classifier/"]
)
def test_segmenters_start_from_a_file_or_a_classifier_of_the_models(tmp_path: Path, value: str) -> None:
    content = toy()
    put(content, "train_segmenter.start_from", value)
    assert keys_of(complaint(tmp_path, content)) == ["train_segmenter.start_from"]


def test_what_a_name_is_stands_in_one_place() -> None:
    """Settings accept the names that stages and their `--name` do."""
    files = [*(ROOT / "weakseg").rglob("*.py"), *(ROOT / "stages").glob("*.py")]
    assert [path.name for path in files if NAME in path.read_text(encoding="utf-8")] == ["stage.py"]


@pytest.mark.parametrize("name", ["a b", "../a", "a.b", "-a", "", "a" * 65, "a@b", "ä"])
def test_names_that_could_not_be_stages_and_files_are_refused(tmp_path: Path, name: str) -> None:
    content = toy()
    content["experiments"][name] = dict(content["experiments"]["sec"])
    assert f"experiments.{name}" in complaint(tmp_path, content)


@pytest.mark.parametrize("name", ["a b", "../cues", "a/b", "-a", ""])
def test_imported_cues_have_names_that_can_be_files(tmp_path: Path, name: str) -> None:
    content = toy()
    content["import_cues"] = {"sec_authors": {"cues": "a", "image_list": "b"}}
    assert read_params([written(tmp_path, content)]).import_cues["sec_authors"].cues == "a"
    content["import_cues"] = {name: {"cues": "a", "image_list": "b"}}
    assert f"import_cues.{name}" in complaint(tmp_path, content)


def test_a_repeated_key_is_refused_with_its_line(tmp_path: Path) -> None:
    text = TOY.read_text(encoding="utf-8")
    first = next(number for number, line in enumerate(text.splitlines()) if line.startswith("make_cues:"))
    lines = text.splitlines(keepends=True)
    repeated = "".join([*lines[: first + 1], "  grid: 7\n", *lines[first + 1 :]])
    line = first + 2  # counted from 1, the line after it
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
    with pytest.raises(UserError, match=r"nosuch\.yaml: no such file; `make profile NAME=toy` writes it"):
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
    assert read_keys("make_cams.seeder.scales", files=[TOY]) == toy()["make_cams"]["seeder"]["scales"]
    assert isinstance(read_keys("data", files=[TOY]), Data)
    experiments = read_keys("experiments", files=[TOY])
    assert list(experiments) == list(toy()["experiments"])
    assert read_keys("data.labels_file", files=[TOY]) is None  # a null that is there


def test_read_keys_puts_the_stage_s_name_in_the_key() -> None:
    assert read_keys("experiments.{name}.train.loss", files=[TOY], name="guided") == "cross_entropy"
    grid, loss = read_keys("make_cues.grid", "experiments.{name}.train.loss", files=[TOY], name="sec")
    assert (grid, loss) == (toy()["make_cues"]["grid"], "sec")
    with pytest.raises(UserError, match=r"params\.yaml: there is no experiments\.nosuch\.train\.loss$"):
        read_keys("experiments.{name}.train.loss", files=[TOY], name="nosuch")


@pytest.mark.parametrize(
    "key",
    [
        "nosuch",
        "data.nosuch",
        "experiments.nosuch",
        "experiments.nosuch.train.loss",
        "crf.none.steps",
        "report.bound.x",
        "data.model_dump",
        "crf.crf",
    ],
)
def test_read_keys_tells_a_key_that_is_not_there(key: str) -> None:
    with pytest.raises(UserError, match=rf"params\.yaml: there is no {re.escape(key)}$"):
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
    new_crf = toy()["crf"]["sec"] | {"steps": 3}
    changes = {
        "losses.sec.seed_weight": 0.0, "experiments.sec.train.head": "smallfov", "crf.sec": new_crf, "make_guides.g2.rule": "g0",
        "data.classes": ["cat"], "random_seed": 7,
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
        UserError, match=rf"rows\.yaml:rows\.row0: changes {re.escape(key)}, which .*params\.yaml does not"
    ):
        read_params(files)


def test_changed_values_are_checked_like_all_others(tmp_path: Path) -> None:
    files = with_changes(tmp_path, {"losses.sec.seed_weight": -1.0, "experiments.sec.train.head": "wide"})
    with pytest.raises(UserError) as caught:
        read_params(files)
    assert str(caught.value).startswith(f"{TOY} with {files[1]}:\n")
    assert sorted(keys_of(str(caught.value))) == ["experiments.sec.train.head", "losses.sec.seed_weight"]


def test_a_whole_new_entry_may_be_added_and_is_checked(tmp_path: Path) -> None:
    files = with_changes(tmp_path, {"make_g1_guides.g1": g1_guides("seeder"), "crf.wide": toy()["crf"]["sec"]})
    assert read_keys("make_g1_guides.g1.classifier", files=files) == "seeder"
    assert read_keys("crf.wide", files=files) == read_keys("crf.sec", files=files)
    with pytest.raises(UserError, match=r"make_g1_guides\.g1\.classifier: there is no train_classifier\.nosuch"):
        read_params(with_changes(tmp_path, {"make_g1_guides.g1": g1_guides("nosuch")}))
    with pytest.raises(UserError, match=r"changes refinement, which .*params\.yaml does not have"):
        read_params(with_changes(tmp_path, {"refinement": {"steps": 3}}))  # no entry of a section


def test_a_row_is_like_an_entry_and_its_fields_fill_in_the_paths(tmp_path: Path) -> None:
    """`{name}` in a path is the row's own name, in a key that of the entry which the row is like."""
    row = {
        "like": "seeds",
        "supervision": "a b/x.zip",
        "loss": "sec",
        "changes": {"experiments.seeds.train.head": "aspp"},
    }
    rows = entry_file(tmp_path, {"rows": {"wide": row}})
    options = Namespace(
        params=[str(TOY), f"{rows}:rows.{{name}}"], name="wide", supervision=Path("{supervision}"), model=Path("models/{name}"),
        scores=Path("data/{unknown}.npz"),
    )  # fmt: skip
    head, supervision = reading.read_keys(
        "experiments.{name}.train.head", "experiments.{name}.train.supervision", options=options
    )
    assert (head, supervision) == ("aspp", toy()["experiments"]["seeds"]["train"]["supervision"])
    assert (options.supervision, options.model) == (
        Path("a b/x.zip"),
        Path("models/{name}"),
    )  # which arguments() has filled
    assert options.scores == Path("data/{unknown}.npz")


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


@pytest.mark.parametrize(("name", "method"), [("seeder", "background_gradient"), ("classifier", "guided_backprop")])
def test_heat_maps_must_show_what_their_role_needs(tmp_path: Path, name: str, method: str) -> None:
    content = toy()
    put(content, f"make_cams.{name}.method", method)
    with pytest.raises(UserError) as caught:
        check_params(written(tmp_path, content), ROOT)
    assert keys_of(str(caught.value)) == [f"make_cams.{name}.method"]
    assert f"make_cams.{name}.method: {method} shows no" in str(caught.value)
    put(content, "make_cams.seeder.method", "excitation_backprop")
    put(content, "make_cams.classifier.method", "background_gradient")
    check_params(written(tmp_path, content), ROOT)
    assert read_params([written(tmp_path, content)]).make_cams["seeder"].method == "excitation_backprop"


@pytest.mark.parametrize("scales", [[0.5, 0.75], [1.0, 1.0], []])
def test_multi_scale_inputs_hold_the_photo_s_own_size(tmp_path: Path, scales: list[float]) -> None:
    content = toy()
    put(content, "train_saliency.input_scales", scales)
    assert keys_of(complaint(tmp_path, content))[0].startswith("train_saliency")
    put(content, "train_saliency.input_scales", [0.75, 1.0])
    assert read_params([written(tmp_path, content)]).train_saliency.input_scales == [0.75, 1.0]


def test_saliency_photos_have_no_tags_to_balance(tmp_path: Path) -> None:
    content = toy()
    for section in ("train_classifier.seeder", "train_segmenter"):
        put(content, f"{section}.training.sampling", "class_balanced")
    read_params([written(tmp_path, content)])
    put(content, "train_saliency.training.sampling", "class_balanced")
    assert keys_of(complaint(tmp_path, content)) == ["train_saliency"]


@pytest.mark.parametrize(
    ("profile", "net", "geometry", "trained"),
    [("papers", "foreground", "pad", "warp"), ("papers", "background", "fit", "warp"), ("papers", "seeder", "warp", "pad"), ("toy", "seeder", "warp", "pad")],
)  # fmt: skip
def test_heat_maps_are_read_the_way_their_net_was_trained(
    tmp_path: Path, profile: str, net: str, geometry: str, trained: str
) -> None:
    content = settings_of(profile)
    put(content, f"make_cams.{net}.geometry", geometry)
    message = complaint(tmp_path, content)
    assert keys_of(message) == [f"make_cams.{net}.geometry"]
    assert f"{geometry}, but the net is trained with {trained}" in message
    put(content, f"train_classifier.{net}.geometry", "warp" if geometry == "warp" else "pad")
    read_params([written(tmp_path, content)])
