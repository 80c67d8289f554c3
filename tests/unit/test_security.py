"""Nobody is let in: no way to run code from data in the source, none through a shared cache, and pinned packages."""

import ast
import hashlib
import json
import os
import pickle
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib import metadata
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from weakseg.errors import UserError
from weakseg.files.archives import ArrayArchive, ImageArchive
from weakseg.files.class_names import write_class_names
from weakseg.files.manifest import Record, write_manifest
from weakseg.files.maps import read_maps
from weakseg.networks import saved
from weakseg.networks.weights import read_state_dict
from weakseg.training.checkpoints import Checkpoints

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(path for folder in ("weakseg", "stages", "benchmarks") for path in (ROOT / folder).rglob("*.py"))

# --- the source -----------------------------------------------------------------------------------------------------------------

FORBIDDEN_MODULES = {
    "pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "joblib",
    "shelve",
    "marshal",
    "code",
    "codeop",
    "runpy",
}
ALLOWED_IMPORTS = {
    ("weakseg/supervision/array_pickles.py", "pickle"),  # an Unpickler that can import nothing
    ("weakseg/networks/backbones/efficientnet.py", "pickle"),  # the name of an error
    ("weakseg/warm_start/server.py", "runpy"),  # the stage that this user's own `weakseg run` asks for
}
FORBIDDEN_FUNCTIONS = {"eval", "exec", "compile", "__import__"}  # methods of these names are torch's and re's
FORBIDDEN_METHODS = {
    "system", "popen", "getoutput", "getstatusoutput", "unsafe_load", "full_load", "load_all", "extract", "extractall",
    "unpack_archive", "mktemp",
}  # fmt: skip


def problems_of(source: str, name: str) -> Iterator[str]:
    """What in a module could run code from data, or hand text to a shell."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (
                f"{name}:{node.lineno}: imports {module}"
                for module in modules
                if module.split(".")[0] in FORBIDDEN_MODULES and (name, module) not in ALLOWED_IMPORTS
            )
        elif isinstance(node, ast.Call) and (problem := problem_of(node)):
            yield f"{name}:{node.lineno}: {problem}"


def problem_of(call: ast.Call) -> str | None:
    function = ast.unparse(call.func)
    last = function.rpartition(".")[2]
    given = {keyword.arg: keyword.value for keyword in call.keywords}

    def says(keyword: str, value: bool) -> bool:
        node = given.get(keyword)
        return isinstance(node, ast.Constant) and node.value is value

    if function.removeprefix("builtins.") in FORBIDDEN_FUNCTIONS or last in FORBIDDEN_METHODS:
        return f"calls {function}"
    if "shell" in given and not says("shell", False):
        return f"{function} with a shell"
    if function == "torch.load" and not says("weights_only", True):
        return "torch.load without weights_only=True"
    if last in ("read_array", "write_array") or function in ("np.load", "numpy.load"):
        return None if says("allow_pickle", False) else f"{function} without allow_pickle=False"
    if function == "yaml.load":
        return None if ast.unparse(call.args[1]) == "_UniqueKeyLoader" else "yaml.load with another loader"
    return None


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_nothing_in_the_source_runs_code_from_data(path: Path) -> None:
    assert list(problems_of(path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix())) == []


def test_the_loader_of_settings_is_a_safe_one() -> None:
    from weakseg.settings.reading import _UniqueKeyLoader

    assert issubclass(_UniqueKeyLoader, yaml.SafeLoader)


@pytest.mark.parametrize(
    "line",
    [
        "import pickle", "from pickle import loads", "import torch, joblib", "eval('1')", "builtins.eval(x)", "exec(x)",
        "os.system(x)", "os.popen(x)", "subprocess.run(x, shell=True)", "subprocess.Popen(x, shell=flag)",
        "torch.load(x)", "torch.load(x, weights_only=False)", "torch.load(x, weights_only=flag)", "np.load(x)",
        "np.load(x, allow_pickle=True)", "npy_format.read_array(x)", "yaml.load(x, yaml.Loader)", "yaml.unsafe_load(x)",
        "archive.extractall(x)", "compile(x, '', 'exec')", "__import__(x)", "tempfile.mktemp()",
    ],
)  # fmt: skip
def test_this_test_sees_each_of_these(line: str) -> None:
    assert list(problems_of(line, "weakseg/x.py"))


# --- a poisoned shared cache -------------------------------------------------------------------------------------------------------


class Proof:
    """Unpickled, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def saved_by_numpy(proof: Proof) -> bytes:
    buffer = BytesIO()
    np.savez(buffer, **{"a/labels": np.array([proof], object), "a/maps": np.array([proof], object)})
    return buffer.getvalue()


def saved_by_torch(content: Any) -> bytes:
    buffer = BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def zipped(**entries: bytes) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name.replace("__", "../"), content)
    return buffer.getvalue()


def lying_safetensors(header: dict[str, Any], length: int | None = None) -> bytes:
    text = json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + bytes(64)


ONE = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
LIES = {
    "a header of exabytes": lying_safetensors({"a": ONE}, (1 << 64) - 1),
    "a header of gigabytes": lying_safetensors({"a": ONE}, 1 << 33),
    "data behind the end": lying_safetensors({"a": ONE | {"data_offsets": [0, 1 << 40]}}),
    "data before the start": lying_safetensors({"a": ONE | {"data_offsets": [-16, 0]}}),
    "a shape of more than its data": lying_safetensors({"a": ONE | {"shape": [1 << 40]}}),
    "a shape that overflows": lying_safetensors({"a": ONE | {"shape": [1 << 33, 1 << 33]}}),
    "tensors that share data": lying_safetensors({"a": ONE, "b": ONE | {"data_offsets": [8, 24]}}),
    "a hole": lying_safetensors({"a": ONE, "b": ONE | {"data_offsets": [32, 48]}}),
    "an unknown type": lying_safetensors({"a": ONE | {"dtype": "O"}}),
    "no header": bytes(4),
    "a pickle": pickle.dumps({"a": 1}),
}


@pytest.mark.parametrize("lie", LIES)
def test_safetensors_with_a_lying_header_are_refused(tmp_path: Path, lie: str) -> None:
    (tmp_path / saved.WEIGHTS).write_bytes(LIES[lie])
    with pytest.raises(UserError, match=rf"{re.escape(saved.WEIGHTS)}: damaged weights file"):
        saved.read_weights(tmp_path, hashlib.sha256(LIES[lie]).hexdigest())


@pytest.mark.parametrize("kind", ["cams.npz", "grey.zip", "model", "weights.pth", "checkpoint.pt"])
def test_a_poisoned_artifact_is_refused_and_runs_nothing(tmp_path: Path, kind: str) -> None:
    ran, path = tmp_path / "ran", tmp_path / kind
    proof = Proof(ran)
    if kind == "cams.npz":
        path.write_bytes(saved_by_numpy(proof))
        with pytest.raises(UserError, match=r"cams\.npz"):
            read_maps(ArrayArchive(path), "a")
    elif kind == "grey.zip":
        path.write_bytes(zipped(**{"a.png": pickle.dumps(proof)}))
        with pytest.raises(UserError, match=r"grey\.zip"):
            ImageArchive(path)["a"]
    elif kind == "model":
        path.mkdir()
        (path / saved.WEIGHTS).write_bytes(content := saved_by_torch({"a": proof}))
        with pytest.raises(UserError, match="model"):
            saved.read_weights(path, hashlib.sha256(content).hexdigest())
    elif kind == "weights.pth":
        path.write_bytes(saved_by_torch({"a": proof}))
        with pytest.raises(UserError, match=r"weights\.pth"):
            read_state_dict("vgg16", path)
    else:
        checkpoints = Checkpoints(tmp_path, "run", "0" * 64)
        checkpoints.path(1).write_bytes(saved_by_torch({"network": proof}))
        with pytest.raises(UserError, match=r"run\..*damaged"):
            checkpoints.restore(lambda content: None)
    assert not ran.exists()
    pickle.loads(pickle.dumps(proof))
    assert ran.exists()  # the trap was armed


@pytest.mark.parametrize("poison", ["object arrays", "../ in a name", "no archive"])
def test_a_stage_refuses_what_a_poisoned_cache_gave_it(tmp_path: Path, poison: str) -> None:
    """`make_cues` as DVC runs it, after `dvc pull` brought heat maps that an attacker pushed."""
    ran, cams = tmp_path / "ran", tmp_path / "cams.npz"
    content = {
        "object arrays": lambda: saved_by_numpy(Proof(ran)),
        "../ in a name": lambda: zipped(**{"__evil.npy": b"x"}),
        "no archive": lambda: pickle.dumps(Proof(ran)),
    }[poison]()
    cams.write_bytes(content)
    record = Record("a", "train", "a.jpg", "", 9, 9, (1,), "")
    write_manifest(tmp_path / "manifest.csv", [record])
    write_class_names(tmp_path / "classes.txt", ["background", "cat"])
    command = [sys.executable, "-m", "stages.make_cues", "--params", str(ROOT / "params.yaml")]
    options = {
        "manifest": "manifest.csv",
        "classes": "classes.txt",
        "foreground": cams.name,
        "background": cams.name,
        "out": "cues.npz",
    }
    command += [part for name, value in options.items() for part in (f"--{name}", value)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("stages.make_cues: cams.npz: ") and "Traceback" not in done.stderr
    assert not ran.exists() and not (tmp_path / "cues.npz").exists()


# --- pinned packages -----------------------------------------------------------------------------------------------------------------


def pins() -> dict[str, Requirement]:
    files = sorted(ROOT.glob("requirements*.txt"))
    lines = (line.partition("#")[0].strip() for file in files for line in file.read_text(encoding="utf-8").splitlines())
    requirements = [Requirement(line) for line in lines if line and not line.startswith("-r ")]
    named = {canonicalize_name(requirement.name): requirement for requirement in requirements}
    assert len(named) == len(requirements)
    return named


def holds(requirement: Requirement, extras: frozenset[str] = frozenset()) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


def test_every_requirement_is_pinned_exactly() -> None:
    for name, requirement in pins().items():
        (specifier,) = requirement.specifier
        assert specifier.operator == "==" and "*" not in specifier.version and requirement.url is None, name


def test_the_pinned_versions_are_the_installed_ones() -> None:
    pinned = {name: next(iter(pin.specifier)).version for name, pin in pins().items() if holds(pin)}
    assert {name: metadata.version(name) for name in pinned} == pinned


def test_every_package_that_a_pinned_one_needs_is_pinned_too() -> None:
    pinned = pins()
    waiting = [(name, frozenset(pin.extras)) for name, pin in pinned.items() if holds(pin)]
    missing, seen = set(), set()
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        for text in metadata.requires(name) or []:
            needed = Requirement(text)
            if holds(needed, extras):
                other = canonicalize_name(needed.name)
                waiting.append((other, frozenset(needed.extras)))
                missing |= set() if other in pinned else {f"{other} (for {name})"}
    assert missing == set()
