"""The house: rooms in layers without a circle, each small enough to see whole, each with its offer written down."""

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.code_deps import ROOT

PACKAGE = ROOT / "weakseg"
LAYERS = (  # bottom first: a room imports only rooms below it
    "arrays", "errors", "files", "runtime", "warm_start", "settings", "images", "batch", "download", "datasets", "toy", "networks", "crf", "losses",
    "watching", "training", "cams", "refinement", "supervision", "evaluation", "zoo", "inference", "published", "report", "figures", "cli",
)  # fmt: skip
PLANNED = {"refinement"}
DOORS = {
    "cues",
    "guides",
    "pooling",
    "segment",
    "export_onnx",
    "profile",
    "__main__",
}  # modules beside the rooms, for users alone
MOST_MODULES, MOST_LINES, MOST_FUNCTION_LINES = 10, 250, 40
BY_NAME = {
    "networks/registry.py",
    "networks/backbones/efficientnet.py",
    "warm_start/server.py",
}  # what they import, files and settings name

ROOMS = sorted({path.parent for path in PACKAGE.rglob("*.py")} - {PACKAGE})  # rooms in rooms among them
MODULES = sorted(PACKAGE.rglob("*.py"))
SCRIPTS = sorted((ROOT / "stages").glob("*.py"))


def shown(path: Path) -> str:
    return path.relative_to(PACKAGE if path.is_relative_to(PACKAGE) else ROOT).as_posix()


each_room = pytest.mark.parametrize("room", ROOMS, ids=shown)
each_module = pytest.mark.parametrize("module", MODULES, ids=shown)
each_file = pytest.mark.parametrize("file", [*MODULES, *SCRIPTS], ids=shown)


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[tuple[str, ...]]:
    """Dotted names below weakseg that a file imports, at the top or inside a function, in parts: (room, module, …)."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{path}: a relative import"
            first, *rest = node.module.split(".")
            if first == "weakseg":
                yield from [tuple(rest)] if rest else [(alias.name,) for alias in node.names]
        elif isinstance(node, ast.Import):
            dotted = [alias.name.split(".") for alias in node.names]
            yield from (tuple(rest) for first, *rest in dotted if first == "weakseg")


def offered(room: Path) -> list[tuple[str, str]]:
    """(module it is in, name) of what a room offers in its `__init__.pyi`."""
    found = []
    for node in tree_of(room / "__init__.pyi").body:
        assert isinstance(node, ast.ImportFrom) and node.level == 1, f"{room}: {ast.unparse(node)}"
        for alias in node.names:
            assert alias.asname == alias.name, (
                f"{room}: {alias.name} is not offered again"
            )  # what type checkers ask for
            found.append((node.module or "", alias.name))
    return found


# --- layers ---------------------------------------------------------------------------------------------------------------


def test_every_room_has_its_layer() -> None:
    rooms = {room_of(path) for path in MODULES} - {"__init__"}
    assert rooms - DOORS == {*LAYERS} - PLANNED | (rooms & PLANNED)
    assert len(set(LAYERS)) == len(LAYERS)


@each_module
def test_a_room_imports_only_rooms_below_it(module: Path) -> None:
    own = room_of(module)
    if own in DOORS or module == PACKAGE / "__init__.py":
        return
    others = {parts[0] for parts in imports(module)} - {own}
    assert not others & DOORS
    assert [name for name in sorted(others) if LAYERS.index(name) > LAYERS.index(own)] == []


@each_file
def test_other_rooms_are_entered_through_their_door(file: Path) -> None:
    """And one's own module by module: a room that enters itself through its door would be a circle."""
    own = "" if file in SCRIPTS else room_of(file)
    if own in DOORS:  # which say where users' names come from
        return
    for node in ast.walk(tree_of(file)):
        if isinstance(node, ast.Import):
            assert not any(alias.name.startswith("weakseg") for alias in node.names), ast.unparse(node)
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "weakseg":
            named = ROOT.joinpath(*(node.module or "").split("."))
            if not is_below(named, own):
                assert is_door(named, [alias.name for alias in node.names]), ast.unparse(node)
            elif named == PACKAGE / own:
                assert all(
                    (named / f"{alias.name}.py").is_file() or (named / alias.name).is_dir() for alias in node.names
                )


def is_below(named: Path, own: str) -> bool:
    return bool(own) and (named == PACKAGE / own or PACKAGE / own in named.parents)


def is_door(named: Path, names: list[str]) -> bool:
    """A room of the package, `arrays` and `errors`, or `from weakseg import <rooms>`."""
    if named == PACKAGE:
        return all((PACKAGE / name / "__init__.pyi").is_file() for name in names)
    return named.parent == PACKAGE and (named in ROOMS or named.name in LAYERS[:2])


def test_no_two_modules_import_each_other_in_a_circle() -> None:
    """At the top of the file, where it would fail."""
    graph = {module: set(imported_at_the_top(module)) for module in MODULES}
    while graph:
        free = [module for module, others in graph.items() if not others & graph.keys() - {module}]
        assert free, sorted(map(shown, graph))
        for module in free:
            del graph[module]


def imported_at_the_top(module: Path) -> Iterator[Path]:
    for node in tree_of(module).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("weakseg."):
            path = ROOT.joinpath(*(node.module or "").split("."))
            yield from [path.with_suffix(".py")] if path.with_suffix(".py").is_file() else through_the_door(path, node)


def through_the_door(room: Path, node: ast.ImportFrom) -> Iterator[Path]:
    names = {alias.name for alias in node.names}
    if (room / "__init__.pyi").is_file():
        yield from (
            room.joinpath(*module.split(".")).with_suffix(".py")
            for module, name in offered(room)
            if module and name in names
        )


@pytest.mark.parametrize("script", SCRIPTS, ids=shown)
def test_a_stage_imports_no_other_and_stays_short(script: Path) -> None:
    named = [node.module for node in ast.walk(tree_of(script)) if isinstance(node, ast.ImportFrom)]
    assert not any(name.startswith("stages") for name in named if name)
    is_batch = "write_archive" in script.read_text(encoding="utf-8")
    assert not is_batch or len(script.read_text(encoding="utf-8").splitlines()) <= 45


# --- sizes ------------------------------------------------------------------------------------------------------------------


@each_room
def test_a_room_has_few_modules(room: Path) -> None:
    inside = {path.stem for path in room.glob("*.py")} | {path.name for path in ROOMS if path.parent == room}
    assert len(inside - {"__init__"}) <= MOST_MODULES


@each_file
def test_modules_and_functions_are_short(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= MOST_LINES
    for node in ast.walk(tree_of(file)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert (node.end_lineno or 0) - node.lineno + 1 <= MOST_FUNCTION_LINES, f"{file}: {node.name}"


@each_file
def test_names_say_what_is_inside(file: Path) -> None:
    assert not {*file.parts} & {
        f"{name}{end}" for name in ("utils", "util", "misc", "helpers", "common") for end in ("", ".py")
    }
    assert ast.get_docstring(tree_of(file)), file


# --- what a room offers -----------------------------------------------------------------------------------------------------


WITH_A_DOOR = [room for room in [PACKAGE, *ROOMS] if (room / "__init__.pyi").is_file()]


def test_every_room_of_the_package_has_a_door() -> None:
    assert {room for room in ROOMS if room.parent == PACKAGE} <= {*WITH_A_DOOR}


@pytest.mark.parametrize("room", WITH_A_DOOR, ids=lambda room: room.name)
def test_what_a_room_offers_is_there(room: Path) -> None:
    dotted = ".".join(room.relative_to(ROOT).parts)
    package, names = importlib.import_module(dotted), [name for _, name in offered(room)]
    assert len(names) == len(set(names)) and sorted(names) == sorted(package.__all__)
    for module, name in offered(room):
        if module:
            assert getattr(package, name) is getattr(importlib.import_module(f"{dotted}.{module}"), name), name
        else:
            assert getattr(package, name) is importlib.import_module(f"{dotted}.{name}"), name
    with pytest.raises(AttributeError):
        _ = package.nosuch


@pytest.mark.parametrize("room", WITH_A_DOOR, ids=lambda room: room.name)
def test_no_module_is_named_like_something_its_room_offers(room: Path) -> None:
    """Importing the module would put it in that thing's place."""
    modules = {path.stem for path in room.glob("*.py")} | {path.name for path in ROOMS if path.parent == room}
    assert {name for module, name in offered(room) if module} & modules == set()


@pytest.mark.parametrize("room", WITH_A_DOOR, ids=lambda room: room.name)
def test_a_door_does_nothing_but_open(room: Path) -> None:
    docstring, *rest = tree_of(room / "__init__.py").body
    assert isinstance(docstring, ast.Expr)
    assert [ast.unparse(node) for node in rest] == [
        "import lazy_loader", "__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)",
    ]  # fmt: skip


def test_a_room_loads_nothing_until_it_is_asked() -> None:
    """`import weakseg` is free of torch, and so are rooms that many short stages use."""
    code = "import sys, weakseg, {rooms}; print(*sorted(sys.modules))".format(
        rooms=", ".join(f"weakseg.{room.name}" for room in ROOMS if room.parent == PACKAGE)
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"torch", "numpy", "cv2", "yaml", "pydantic"}
    assert {name for name in loaded if name.count(".") > 1 and name.startswith("weakseg.")} == set()


@each_file
def test_modules_are_imported_by_name_only_where_names_come_from_outside(file: Path) -> None:
    text = file.read_text(encoding="utf-8").replace("from importlib.metadata import", "")
    assert shown(file) in BY_NAME or not any(word in text for word in ("importlib", "__import__", "import_module"))
