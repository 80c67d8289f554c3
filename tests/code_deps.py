"""Which code can change a stage's bytes: its script, and the rooms (folders of weakseg/) that its imports lead to.

`python -m tests.code_deps` (`make deps`) writes these lists into both dvc.yaml; tests/unit/test_dvc_yaml.py compares.
Imports are followed module by module, through the names that a room offers in its `__init__.pyi`.
"""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
LINE_LENGTH = 120
PIPELINES = ("dvc.yaml", "ablations/dvc.yaml")
CANNOT_CHANGE_BYTES = {
    "weakseg/settings": "types of the settings and how they are read: DVC tracks their values, as params",
    "weakseg/runtime": "locks, launching, devices, memory and progress: which process computes, never what",
    "weakseg/warm_start": "how a stage's process comes about, never what it does",
    "weakseg/arrays.py": "names of types",
    "weakseg/errors.py": "the exception of a user's mistake: with it there is no output",
    "weakseg/__init__.py": "finds the rooms",
    "stages/__init__.py": "sets malloc before a stage starts",
}


def modules_named(node: ast.ImportFrom | ast.Import) -> Iterator[Path]:
    """The files that an import statement runs, but for the packages' `__init__`."""
    names = [alias.name for alias in node.names]
    if isinstance(node, ast.Import):
        yield from (file for name in names for file in _module(name))
    elif node.module and node.level == 0:
        own = list(_module(node.module))
        yield from own
        yield from (file for name in names if not own for file in _offered(node.module, name))


def _module(dotted: str) -> Iterator[Path]:
    path = ROOT.joinpath(*dotted.split(".")).with_suffix(".py")
    if path.is_file():
        yield path


def _offered(room: str, name: str) -> Iterator[Path]:
    """Where a name that a room offers is defined; the name may be a module's, or a room's."""
    folder = ROOT.joinpath(*room.split("."))
    if (folder / f"{name}.py").is_file():
        yield folder / f"{name}.py"
    elif (folder / name).is_dir():
        yield from sorted(file for file in (folder / name).glob("*.py"))
    elif (folder / "__init__.pyi").is_file():
        for node in ast.walk(_tree(folder / "__init__.pyi")):
            if isinstance(node, ast.ImportFrom) and node.module and name in [alias.name for alias in node.names]:
                assert node.level == 1, f"{folder}/__init__.pyi: {name} comes from elsewhere"
                yield folder / f"{node.module}.py"


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def imports_of(path: Path) -> tuple[Path, ...]:
    """Of a file, at the top, inside a function, and for types alone."""
    nodes = [node for node in ast.walk(_tree(path)) if isinstance(node, (ast.Import, ast.ImportFrom))]
    return tuple(file for node in nodes for file in modules_named(node))


def reached(script: Path) -> set[Path]:
    """The script and all files of this repository that its imports lead to."""
    waiting, seen = [script], set[Path]()
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            waiting += imports_of(path)
    return seen


def room_of(path: Path) -> str:
    """`weakseg/networks` for any file below it; a file that lies in no room stands for itself."""
    parts = path.relative_to(ROOT).parts
    return "/".join(parts[:2])


def code_deps(script: Path) -> list[str]:
    return sorted({room_of(path) for path in reached(script)} - CANNOT_CHANGE_BYTES.keys())


def script_of(command: str) -> Path:
    (module,) = re.findall(r"python -m (stages\.\w+)", command)
    return ROOT.joinpath(*module.split(".")).with_suffix(".py")


def rewritten(text: str) -> str:
    """A dvc.yaml with the code deps of every stage as they should be; all other lines stay."""
    stages = yaml.safe_load(text)["stages"]
    lines: list[str] = []
    stage, skipping = "", False
    for line in text.split("\n"):
        if found := re.fullmatch(r"  (\w+):", line):
            stage = found[1]
        if found := re.match(r"( +)deps: \[", line):
            body = stages[stage].get("do", stages[stage])
            lines += _deps(found[1], body["deps"], code_deps(script_of(body["cmd"])))
            skipping = True
        if not skipping:
            lines.append(line)
        skipping = skipping and not line.endswith("]")
    return "\n".join(lines)


def _deps(indent: str, listed: list[str], code: list[str]) -> list[str]:
    """The lines of `deps: […]`, data first, then the code."""
    data = [dep for dep in listed if not dep.startswith(("weakseg/", "stages/"))]
    lines = [f"{indent}deps: ["]
    for dep in [*data, *code]:
        shown = f'"{dep}"' if "${" in dep else dep
        if len(lines[-1]) + len(shown) + 1 > LINE_LENGTH:
            lines.append(f"{indent}       ")
        lines[-1] += f"{shown}, "
    lines[-1] = lines[-1].removesuffix(", ") + "]"
    return [line.rstrip() for line in lines]


def main() -> None:
    for name in PIPELINES:
        path = ROOT / name
        before = path.read_text(encoding="utf-8")
        path.write_text(rewritten(before), encoding="utf-8")
        print(f"{name}: {'as it was' if rewritten(before) == before else 'code deps written'}")


if __name__ == "__main__":
    main()
