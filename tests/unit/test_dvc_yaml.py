"""dvc.yaml says what the code does: deps are the modules imported, params the keys read, paths the arguments given.

So does ablations/dvc.yaml, whose stages are variants: an entry of ablations/params.yaml changes some of the settings.
It is a DVC repository of its own; paths below are relative to the root of this one.
"""

import ast
import posixpath
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.report import sources
from weakseg.inference.test_time_rule import TEST_RULE
from weakseg.networks.saved import DESCRIPTION, WEIGHTS
from weakseg.settings.data import Report

ROOT = Path(__file__).resolve().parents[2]
OUTPUT_FOLDERS = ("data/", "models/", "metrics/")
RAW_DATA = {
    "prepare": {"${data.root}"},
    "pack_masks": {"${data.root}"},
    "prepare_saliency": {"${saliency.root}"},
    "import_cues": {"${item.cues}", "${item.image_list}"},
    "report": {"ablations/published.yaml"},  # the papers' numbers
}
WHOLE_FOLDERS = {  # they look at what is there; their deps say at what
    "report": ("--data", "--metrics"),
    "ablations/evaluate_supervision": ("--guides",),  # of the rows' guides, at those of table 2
}
MODEL_FOLDERS = {
    "train_segmenter",
    "predict",
}  # their --model stands for weights and description: not for the test rule
NOT_TRACKED = {"--checkpoints"}  # survive a stage that is stopped, so DVC must not own them


ABLATIONS = "ablations"


@dataclass(frozen=True)
class Stage:
    name: str
    body: dict[str, Any]
    entries: dict[str, Any] | None = None  # what foreach goes over, where the test knows it
    is_ablation: bool = False

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
        return posixpath.normpath(posixpath.join(ABLATIONS, path)) if self.is_ablation else path

    @property
    def code_deps(self) -> list[str]:
        return [dep for dep in self.deps if dep.endswith(".py")]

    @property
    def data_deps(self) -> list[str]:
        return [dep for dep in self.deps if not dep.endswith(".py")]

    @property
    def all_options(self) -> dict[str, list[str]]:
        """The command's options with their values; it holds nothing else."""
        options: dict[str, list[str]] = {}
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
    for name, body in read_yaml("dvc.yaml")["stages"].items():
        yield Stage(name, body["do"] if "foreach" in body else body)
    rows = read_yaml(f"{ABLATIONS}/params.yaml")
    for name, body in read_yaml(f"{ABLATIONS}/dvc.yaml")["stages"].items():
        entries = rows[body["foreach"].strip("${}")] if "foreach" in body else None
        yield Stage(name, body["do"] if "foreach" in body else body, entries, is_ablation=True)


ALL = list(read_stages())
STAGES = [stage for stage in ALL if not stage.is_ablation]
VARIANTS = [stage for stage in ALL if stage.is_ablation]


def identity(stage: Stage) -> str:
    return f"{ABLATIONS}/{stage.name}" if stage.is_ablation else stage.name


each_stage = pytest.mark.parametrize("stage", ALL, ids=identity)
each_variant = pytest.mark.parametrize("stage", VARIANTS, ids=identity)


def stage_named(name: str) -> Stage:
    (stage,) = (stage for stage in STAGES if stage.name == name)
    return stage


def filled_in(text: str, key: str, entry: dict[str, Any]) -> str:
    text = text.replace("${key}", key)
    return re.sub(r"\$\{item\.(\w+)\}", lambda match: str(entry[match[1]]), text)


def instances(stage: Stage) -> Iterator[tuple[str, list[str], list[str]]]:
    """(name, data deps, outputs) of every variant that a foreach makes of an ablation."""
    for key, entry in (stage.entries or {"": {}}).items():
        name = f"{stage.name}@{key}" if stage.entries else stage.name
        paths = ([filled_in(path, key, entry) for path in some] for some in (stage.data_deps, stage.outputs))
        yield (name, *paths)


# --- the code, read as syntax trees ---------------------------------------------------------------------------------------


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported_names(path: Path) -> Iterator[str]:
    """Dotted names of everything a file imports, at the top or inside a function, that might be a module."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{path}: a relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files_of(name: str) -> Iterator[Path]:
    """The files in this repository that importing a dotted name runs: its packages' __init__ and itself."""
    parts = name.split(".")
    for length in range(1, len(parts) + 1):
        path = ROOT.joinpath(*parts[:length])
        yield from (file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file())


def code_of(script: Path) -> set[str]:
    waiting, seen = [ROOT / "stages" / "__init__.py", script], set()
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            waiting += [file for name in imported_names(path) for file in files_of(name)]
    return {path.relative_to(ROOT).as_posix() for path in seen}


def called(tree: ast.AST, name: str) -> list[ast.Call]:
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [call for call in calls if name in (getattr(call.func, "id", None), getattr(call.func, "attr", None))]


def pattern_of(node: ast.expr) -> str:
    """A string, with `*` for what an f-string fills in."""
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    return "".join("*" if isinstance(part, ast.FormattedValue) else ast.literal_eval(part) for part in parts)


def without_variables(text: str) -> str:
    return re.sub(r"\$\{[^}]*\}", "*", text)


def script_options(stage: Stage) -> tuple[set[str], set[str]]:
    """The script's path options and its other ones."""
    tree = tree_of(stage.script)
    (call,) = called(tree, "arguments")
    names = {keyword.arg for keyword in call.keywords if keyword.arg} - {"reads_params"}
    paths = {f"--{name.replace('_', '-')}" for name in names}
    return paths, {pattern_of(call.args[0]) for call in called(tree, "add_argument")}


def folder_options(stage: Stage) -> tuple[str, ...]:
    """Options that name a folder of which dvc.yaml lists files."""
    return WHOLE_FOLDERS.get(identity(stage), ()) + (("--model",) if stage.name in MODEL_FOLDERS else ())


@pytest.mark.parametrize("name", sorted(MODEL_FOLDERS))
def test_another_test_rule_neither_trains_nor_predicts_again(name: str) -> None:
    stage = stage_named(name)
    listed = {path for path in (*stage.deps, *stage.outputs) if path.startswith("models/segmenter/")}
    assert listed == {f"models/segmenter/${{key}}/{file}" for file in (DESCRIPTION, WEIGHTS)}
    assert stage_named("write_test_rule").outputs == [f"models/segmenter/${{key}}/{TEST_RULE}"]


# --- (a) deps = modules imported --------------------------------------------------------------------------------------------


@each_stage
def test_deps_are_exactly_the_modules_imported(stage: Stage) -> None:
    assert sorted(stage.code_deps) == sorted(code_of(stage.script))


def test_imports_inside_functions_and_of_packages_count(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("def f():\n    import weakseg.errors\n\nfrom weakseg import seeds\nimport numpy\n")
    names = set(imported_names(script))
    assert {"weakseg.errors", "weakseg", "weakseg.seeds", "numpy"} <= names
    files = {file.relative_to(ROOT).as_posix() for name in names for file in files_of(name)}
    assert files == {"weakseg/__init__.py", "weakseg/errors.py", "weakseg/seeds.py"}


def test_no_module_is_imported_in_a_way_that_this_file_does_not_see() -> None:
    """But for weakseg/__init__.py, which imports the segmenter for users of the package, and for no stage."""
    files = [*(ROOT / "weakseg").glob("*.py"), *(ROOT / "stages").glob("*.py")]
    for path in (file for file in files if file != ROOT / "weakseg" / "__init__.py"):
        tree = tree_of(path)
        assert not {"weakseg.PhotoSegmenter", "weakseg.load_segmenter"} & set(imported_names(path)), path
        assert "weakseg" not in {
            alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
        }, path
        assert not called(tree, "import_module") and not called(tree, "__import__"), path


@pytest.mark.parametrize("name", ["train_classifier", "make_cams"])
def test_a_changed_segmentation_loss_retrains_no_classifier(name: str) -> None:
    losses = {f"weakseg/{module}.py" for module in ("losses", "crf", "lattice", "lattice_pool", "pooling")}
    assert losses & code_of(stage_named(name).script) == set()


# --- (b) params = keys read -------------------------------------------------------------------------------------------------


@each_stage
def test_params_are_exactly_the_keys_read(stage: Stage) -> None:
    read = [pattern_of(argument) for call in called(tree_of(stage.script), "read_keys") for argument in call.args]
    listed = sorted(map(without_variables, stage.params[0]))
    assert len(listed) == len(read)
    name = r"\*" if stage.entries is not None or not stage.is_ablation else "[a-z_]+"
    for key, pattern in zip(listed, sorted(read), strict=True):
        assert re.fullmatch(re.escape(pattern).replace(r"\*", name), key)


@each_stage
def test_the_changes_that_a_command_applies_are_params_too(stage: Stage) -> None:
    """And no other key of the file: an entry's other values stand in the command and the deps."""
    files, entries = stage.all_options.get("--params", ["params.yaml"]), []
    for file, _, entry in (text.partition(":") for text in files[1:]):
        assert file == f"{ABLATIONS}/params.yaml"
        entries.append(f"{entry}.changes")
    assert files[0] == "params.yaml" and stage.params[1] == entries
    assert stage.is_ablation or not entries
    if stage.entries is not None and stage.params[0]:
        assert len(entries) == 1  # a stage of an entry that reads settings reads that entry's


@each_stage
def test_every_key_is_read_from_the_files_that_the_command_names(stage: Stage) -> None:
    """And a script that reads none has no --params that would do nothing."""
    tree = tree_of(stage.script)
    files = [{word.arg: ast.unparse(word.value) for word in call.keywords} for call in called(tree, "read_keys")]
    assert all(words == {"files": "paths.params"} for words in files)
    (call,) = called(tree, "arguments")
    (reads_params,) = [word.value for word in call.keywords if word.arg == "reads_params"] or [ast.Constant(True)]
    assert ast.literal_eval(reads_params) == bool(files)


def test_only_the_stage_scripts_read_params() -> None:
    for path in (ROOT / "weakseg").glob("*.py"):
        if path.name != "params.py":
            assert not called(tree_of(path), "read_keys") and not called(tree_of(path), "read_params"), path
    for path in (ROOT / "stages").glob("*.py"):
        assert not called(tree_of(path), "read_params"), path


# --- (c) paths = arguments --------------------------------------------------------------------------------------------------


@each_stage
def test_the_command_gives_the_script_all_its_options_and_no_other(stage: Stage) -> None:
    paths, others = script_options(stage)
    assert stage.options.keys() == paths | others
    is_one_of_many = not stage.is_ablation or stage.entries is not None
    name = r"\$\{[a-z_.]+\}" if is_one_of_many else "[a-z_]+"
    assert all(re.fullmatch(name, stage.options[option]) for option in others)


@each_stage
def test_every_path_argument_is_a_dep_or_an_output(stage: Stage) -> None:
    paths, _ = script_options(stage)
    whole = folder_options(stage)
    arguments = {stage.options[option] for option in paths - NOT_TRACKED - set(whole)}
    assert arguments <= {*stage.deps, *stage.outputs}
    for option in whole:
        assert any(path.startswith(f"{stage.options[option]}/") for path in (*stage.deps, *stage.outputs))


@each_stage
def test_every_dep_and_output_is_an_argument(stage: Stage) -> None:
    folders = tuple(f"{stage.options[option]}/" for option in folder_options(stage))
    arguments = set(stage.options.values())
    missing = {
        path for path in (*stage.data_deps, *stage.outputs) if path not in arguments and not path.startswith(folders)
    }
    assert missing <= RAW_DATA.get(stage.name, set())


def test_the_report_depends_on_what_it_looks_at() -> None:
    deps = set(stage_named("report").data_deps)
    found = sources(Path("data"), Path("metrics"), Path("ablations/published.yaml"), {}, Report(images=8, bound="full"))
    looked_at = {field.name: getattr(found, field.name) for field in fields(found)}
    paths = {path.as_posix() for name, path in looked_at.items() if isinstance(path, Path) and name != "metrics"}
    assert paths <= deps
    assert deps - paths == {"metrics/summary.json", "metrics/cues.json", "metrics/guides.json"}


@each_stage
def test_scripts_write_no_paths_of_their_own(stage: Stage) -> None:
    if identity(stage) in WHOLE_FOLDERS:
        return
    strings = [node.value for node in ast.walk(tree_of(stage.script)) if isinstance(node, ast.Constant)]
    assert [text for text in strings if isinstance(text, str) and text.startswith(OUTPUT_FOLDERS)] == []


# --- (d) stages = scripts ---------------------------------------------------------------------------------------------------


def test_every_script_is_a_stage_and_every_stage_a_script() -> None:
    scripts = {path.stem for path in (ROOT / "stages").glob("*.py")} - {"__init__"}
    assert {stage.script.stem for stage in ALL} == scripts
    assert {stage.script.stem for stage in VARIANTS} - {stage.name for stage in STAGES} == {"compare_published"}


# --- (e) where things lie, and who may see the ground truth --------------------------------------------------------------------


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
    outputs = [output for stage in STAGES for output in stage.outputs]
    outputs += [output for stage in VARIANTS for _, _, made in instances(stage) for output in made]
    assert len(outputs) == len(set(outputs))


@each_variant
def test_every_dep_of_an_ablation_is_made_or_comes_with_the_repository(stage: Stage) -> None:
    made = [output for other in VARIANTS for _, _, outputs in instances(other) for output in outputs]
    patterns = [
        re.escape(without_variables(output)).replace(r"\*", "[^/]+") for main in STAGES for output in main.outputs
    ]
    for name, deps, _ in instances(stage):
        for dep in deps:
            mains = ("data/evaluation", "metrics/seeders")
            below = any(output.startswith(f"{dep}/") for output in made) or dep in mains
            known = dep in made or any(re.fullmatch(pattern, dep) for pattern in patterns)
            assert below or known or dep == f"{ABLATIONS}/published.yaml", (name, dep)


@pytest.mark.parametrize("stage", STAGES, ids=identity)
def test_every_dep_is_some_stages_output(stage: Stage) -> None:
    named = [other for other in STAGES if other.name != "import_cues"]  # whose names params choose
    made = {without_variables(output) for other in named for output in other.outputs}
    for dep in map(without_variables, set(stage.data_deps) - RAW_DATA.get(stage.name, set())):
        below = any(output.startswith(f"{dep}/") for output in made)
        by_pattern = any(re.fullmatch(re.escape(output).replace(r"\*", "[^/]+"), dep) for output in made)
        assert below or by_pattern or dep == "data/*", dep


def test_only_the_bound_and_the_evaluation_can_see_a_mask() -> None:
    masks = "data/ground_truth.zip"
    evaluation = {
        "evaluate",
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
    assert {stage.name for stage in STAGES if RAW_DATA["prepare"] & set(stage.deps)} == {"prepare", "pack_masks"}
    assert stage_named("pack_masks").outputs == [masks]
    uses_experiments = [stage.name for stage in STAGES if "data/${item.supervision}" in stage.deps]
    assert uses_experiments == ["train_segmenter"]  # whose params say which experiment learns from the masks
    users = {dep for stage in STAGES for dep in stage.deps if dep in ("metrics/cues.json", "metrics/guides.json")}
    assert users <= set(stage_named("report").deps)


def test_only_the_oracle_and_the_evaluation_of_ablations_can_see_a_mask() -> None:
    users: dict[str, set[str]] = {"data/ground_truth.zip": set(), "data/oracle_guides.zip": set()}
    for stage in VARIANTS:
        for name, deps, _ in instances(stage):
            for path in users.keys() & set(deps):
                users[path].add(name)
    measuring = [stage for stage in VARIANTS if stage.script.stem in ("evaluate", "evaluate_seeds")]
    evaluations = {name for stage in measuring for name, _, _ in instances(stage)}
    assert users["data/ground_truth.zip"] == evaluations | {"evaluate_supervision"}
    assert users["data/oracle_guides.zip"] == {"evaluate_supervision", "train_segmenter@oracle"}


def test_only_report_reads_what_the_quality_of_the_supervision_is() -> None:
    quality = set(stage_named("evaluate_supervision").outputs)
    assert [stage.name for stage in STAGES if quality & set(stage.deps)] == ["report"]
