"""The package: its wheel holds the library and nothing else, and its core requirements are all that the public names need."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from email.parser import Parser
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PUBLIC = {
    "weakseg": ["load_segmenter"],
    "weakseg.losses": ["seed_loss", "expand_loss", "constrain_loss", "floored_softmax"],
    "weakseg.pooling": ["global_weighted_rank_pool"],
    "weakseg.crf": ["CRFParams", "mean_field"],
    "weakseg.cues": ["foreground_cues", "background_cues", "resolve_conflicts"],
    "weakseg.guides": ["fuse_g0", "fuse_g1", "fuse_g2"],
    "weakseg.evaluation": ["confusion_matrix", "iou_per_class"],
}
OPTIONAL = {"dvc", "jinja2", "markupsafe", "matplotlib", "onnx", "playwright", "ruamel", "sklearn", "timm", "yaml"}
# What follows runs where only the packages of the core requirements can be imported.
USE = """
import importlib, json, sys
from importlib.machinery import PathFinder
hidden, public = set(json.loads(sys.argv[1])), json.loads(sys.argv[2])
asked = set()
class OnlyRequired(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        asked.add(name.partition(".")[0])
        return None if name in hidden else super().find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(PathFinder)] = OnlyRequired
import weakseg
after_weakseg = sorted(asked - {"weakseg"})
for module, names in public.items():
    module = importlib.import_module(module)
    for name in {*names, *dir(module)}:
        getattr(module, name)
"""
SEGMENT = """
from pathlib import Path
import numpy as np, torch
from weakseg.crf import SEC, mean_field
from weakseg.inference import Rule, write_rule
from weakseg.networks import build_segmenter, load_pretrained, save_model
photo = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
assert mean_field(torch.from_numpy(photo[None]), torch.zeros(1, 3, 40, 50), SEC, workers=1).shape == (1, 3, 40, 50)
for backbone, head in (("efficientnet_lite0", "largefov"), ("vgg16", "largefov"), ("resnet101", "aspp")):
    network = build_segmenter(head, backbone, 3, 0.1)
    load_pretrained(network, backbone, "none", False)
    for parameter in (parameter for layer in network.last_layers() for parameter in layer.parameters()):
        torch.nn.init.zeros_(parameter)  # random features of 101 layers are beyond float16
    folder, names = Path(backbone), ["background", "cat", "dog"]
    description = {"backbone": backbone, "head": head, "geometry": "crop", "input_px": 65, "average_pool5a": False}
    save_model(folder, network, {**description, "class_names": names})
    write_rule(folder / "test_rule.json", Rule("crop", None, SEC))
    mask = weakseg.load_segmenter(folder, device="cpu").segment(photo)
    assert mask.shape == (40, 50) and mask.dtype == np.uint8 and mask.max() < 3
"""


class Package(NamedTuple):
    wheel: Path
    folder: Path  # where it is installed, without its requirements

    @property
    def requirements(self) -> list[Requirement]:
        (path,) = self.folder.glob("weakseg-*.dist-info/METADATA")
        found = Parser().parsestr(path.read_text(encoding="utf-8")).get_all("Requires-Dist", [])
        return [Requirement(text) for text in found]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """Built from a copy, so that no build folder is left in the clone, and without looking for anything elsewhere."""
    base = tmp_path_factory.mktemp("package")
    source, target = base / "source", base / "installed"
    shutil.copytree(ROOT / "weakseg", source / "weakseg", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for folder in ("stages", "benchmarks"):  # packages of the clone that must stay out
        (source / folder).mkdir()
        (source / folder / "__init__.py").touch()
    pip("wheel", "--no-build-isolation", "--wheel-dir", str(base), str(source))
    (wheel,) = base.glob("*.whl")
    pip("install", "--target", str(target), str(wheel))
    return Package(wheel, target)


def pip(command: str, *arguments: str) -> None:
    offline = ["--no-deps", "--no-index", "--disable-pip-version-check", "--no-cache-dir"]
    done = subprocess.run([sys.executable, "-m", "pip", command, *offline, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def project() -> dict[str, Any]:
    content: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return content


def test_the_wheel_holds_the_whole_library_and_nothing_else(package: Package) -> None:
    with zipfile.ZipFile(package.wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    library = {path.relative_to(ROOT).as_posix() for path in (ROOT / "weakseg").rglob("*") if path.is_file()}
    assert found == {name for name in library if "__pycache__" not in name}
    assert "weakseg/py.typed" in found and "weakseg/losses/__init__.pyi" in found


def core(package: Package) -> set[str]:
    """Names of the packages that an installation without extras brings, with what those need."""
    waiting = [requirement for requirement in package.requirements if requirement.marker is None]
    found: set[str] = set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name not in found:
            found.add(name)
            waiting += needs(name)
    return found


def needs(name: str) -> Iterator[Requirement]:
    try:
        texts = metadata.requires(name) or []
    except metadata.PackageNotFoundError:  # for another platform
        return
    for requirement in map(Requirement, texts):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement


def used_without_extras(package: Package, folder: Path, script: str) -> dict[str, set[str]]:
    """Run a script outside the clone, with the core requirements alone; what it has asked for and imported."""
    installed = core(package)
    hidden = [
        module for module, owners in metadata.packages_distributions().items()
        if not {canonicalize_name(owner) for owner in owners} & {"weakseg", *installed}
    ]  # fmt: skip
    told = "\nprint(json.dumps([after_weakseg, sorted(asked), sorted(sys.modules), weakseg.__file__]))\n"
    done = subprocess.run(
        [sys.executable, "-c", USE + script + told, json.dumps(hidden), json.dumps(PUBLIC)],
        cwd=folder, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(package.folder)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, asked, modules, file = json.loads(done.stdout.splitlines()[-1])
    assert Path(file).is_relative_to(package.folder)
    return {"first": set(first), "asked": set(asked), "modules": {name.partition(".")[0] for name in modules}}


def test_public_names_need_the_core_requirements_alone(package: Package, tmp_path: Path) -> None:
    used = used_without_extras(package, tmp_path, "")
    assert not OPTIONAL & (used["asked"] | used["modules"])
    assert "torch" in used["modules"]
    assert not used["first"] & {"torch", "numpy", "cv2"}  # importing weakseg imports no room


def test_a_segmenter_is_used_with_the_core_requirements_alone(package: Package, tmp_path: Path) -> None:
    used = used_without_extras(package, tmp_path, SEGMENT)
    owners = metadata.packages_distributions()
    imported = {canonicalize_name(owner) for name in used["modules"] for owner in owners.get(name, [])}
    wanted = {canonicalize_name(item.name) for item in package.requirements if item.marker is None}
    assert wanted <= imported, "a core requirement that nothing needs"


def test_every_import_of_the_library_is_a_requirement_of_the_core_or_an_extra(package: Package) -> None:
    owners = metadata.packages_distributions()
    imported = set()
    for path in package.folder.glob("weakseg/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                imported.add(node.module.partition(".")[0])
    others = imported - {"weakseg"} - set(sys.stdlib_module_names)
    named = {canonicalize_name(requirement.name) for requirement in package.requirements}
    missing = {name for name in others if not {canonicalize_name(owner) for owner in owners.get(name, [name])} & named}
    assert others and missing == set()


def pinned(file: str) -> dict[str, Requirement]:
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    texts = [text for line in lines if (text := line.partition("#")[0].strip()) and not text.startswith("-r ")]
    return {canonicalize_name(pin.name): pin for pin in map(Requirement, texts)}


def test_each_requirements_file_holds_all_that_its_packages_need() -> None:
    """So `pip install --no-deps` does, as where the CUDA libraries are left out; and no package is pinned twice."""
    run, extras, test = (set(pinned(f"requirements{part}.txt")) for part in ("", "-extras", "-test"))
    cuda = set(pinned("requirements-cuda.txt"))
    assert not run & extras and not (run | extras) & test and not cuda & (run | extras | test)
    for name, there in [*((n, run | cuda) for n in run), *((n, run | extras) for n in extras)]:
        assert {canonicalize_name(need.name) for need in needs(name)} <= there, name


def test_a_run_needs_no_package_of_the_tests() -> None:
    assert not {"pytest", "hypothesis", "mypy", "ruff", "moto", "playwright", "onnx", "timm"} & set(
        pinned("requirements.txt")
    )


def test_the_pinned_versions_are_those_that_the_package_allows() -> None:
    pins = {name: pin for part in ("", "-extras", "-test") for name, pin in pinned(f"requirements{part}.txt").items()}
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]
    extras = [item for name, items in project()["optional-dependencies"].items() if name != "dev" for item in items]
    wrong = []
    for requirement in map(Requirement, [*build, *project()["dependencies"], *extras]):
        pin = pins.get(canonicalize_name(requirement.name))
        version = next(iter(pin.specifier)).version if pin else ""
        if requirement.name != "weakseg" and not (pin and requirement.specifier.contains(version)):
            wrong.append(str(requirement))
    assert wrong == []


def test_the_version_is_the_same_everywhere(package: Package) -> None:
    version = project()["version"]
    assert package.wheel.name.startswith(f"weakseg-{version}-")
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == version
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (\d\S*)", changes, re.MULTILINE)[0] == version
