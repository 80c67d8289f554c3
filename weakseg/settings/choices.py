"""The names that the networks' registry knows, for checking settings without importing torch in every stage.

They are read from the source of `weakseg/networks`, where each file that brings backbones has its `NAMES`.
"""

import ast
import functools
from fnmatch import fnmatchcase
from pathlib import Path

NETWORKS = Path(__file__).resolve().parents[1] / "networks"


@functools.cache
def backbones() -> tuple[str, ...]:
    """Names or patterns such as `timm/*`."""
    files = sorted((NETWORKS / "backbones").glob("*.py"))
    return tuple(sorted(name for file in files for name in _constant(file, "NAMES")))


def check_backbone(name: str) -> str:
    if not any(fnmatchcase(name, known) for known in backbones()):
        raise ValueError(f"no such backbone; there are {', '.join(backbones())}")
    return name


def check_layout(name: str) -> str:
    return _one_of(name, "LAYOUTS", "network")


def check_head(name: str) -> str:
    return _one_of(name, "HEADS", "head")


def _one_of(name: str, constant: str, noun: str) -> str:
    known = _constant(NETWORKS / "heads.py", constant)
    if name not in known:
        raise ValueError(f"no such {noun}; there are {', '.join(known)}")
    return name


@functools.cache
def _constant(file: Path, name: str) -> tuple[str, ...]:
    """A module's tuple of strings; () where the file has none of that name."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and [getattr(target, "id", None) for target in node.targets] == [name]:
            return tuple(ast.literal_eval(node.value))
    return ()
