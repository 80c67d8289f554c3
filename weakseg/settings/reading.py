"""Reading `params.yaml`, with all that is wrong in one message.

A named experiment is an entry of another file that says what it changes, by dotted key: `params.yaml
ablations/params.yaml:experiments.sec_gmp` are the settings with that entry's `changes` put in their place.
"""

import copy
import functools
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from reprlib import Repr
from typing import Any

import yaml
from pydantic import ValidationError

from weakseg.errors import UserError
from weakseg.runtime import filled
from weakseg.settings.params import Params
from weakseg.settings.references import (
    circles,
    missing_files,
    twins,
    undeclared,
    unknown_guides,
    unknown_names,
    wrong_roles,
)
from weakseg.settings.types import Section


class _UniqueKeyLoader(yaml.SafeLoader):
    """Refuses a key that is given twice, which YAML would silently overwrite."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        merge = "tag:yaml.org,2002:merge"
        keys = [self.construct_object(key, deep=True) for key, _ in node.value if key.tag != merge]  # type: ignore[no-untyped-call]
        repeated = sorted({str(key) for key in keys if keys.count(key) > 1})
        if repeated:
            raise yaml.constructor.ConstructorError(None, None, f"repeated key {', '.join(repeated)}", node.start_mark)
        return super().construct_mapping(node, deep)


def read_params(files: Sequence[str | Path]) -> Params:
    """The validated settings; one UserError lists everything that is wrong, by dotted key.

    files: the params file, then any number of `FILE:ENTRY`, whose `changes` replace settings that are there, in order.
    """
    first, *entries = map(str, files)
    content = _read_yaml(Path(first))
    for entry in entries:
        _apply(_entry(entry)["changes"], content, entry, first)
    return validated(content, f"{first} with {', '.join(entries)}" if entries else first)


def validated(content: Any, source: str) -> Params:
    """The settings; one UserError lists everything that is wrong, by dotted key."""
    problems = [f"  {problem}" for problem in unknown_names(content)]
    try:
        params = Params.model_validate(content)
    except ValidationError as error:
        problems = [*map(_explain, error.errors()), *problems]
    if problems:
        raise UserError(f"{source}:\n" + "\n".join(problems))
    return params


def check_params(path: Path, root: Path = Path()) -> None:
    """Everything that is wrong with a params file, in one UserError: keys, values, names, and files that are not there."""
    content = _read_yaml(path)
    found = (
        *wrong_roles(content), *unknown_guides(content), *twins(content), *missing_files(content, root),
        *circles(content), *undeclared(content),
    )  # fmt: skip
    problems = [f"  {problem}" for problem in found]
    try:
        validated(content, str(path))
    except UserError as error:
        raise UserError("\n".join([str(error), *problems])) from None
    if problems:
        raise UserError(f"{path}:\n" + "\n".join(problems))


@functools.lru_cache(maxsize=4)
def _parsed(text: str) -> Any:
    return yaml.load(text, _UniqueKeyLoader)


def _read_yaml(path: Path) -> Any:
    try:
        return copy.deepcopy(_parsed(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file; `make profile NAME=toy` writes it; or run in the repository's root"
        ) from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:  # ValueError: text, numbers, dates
        raise UserError(f"{path}: cannot be read as YAML: {error}") from None


def _entry(text: str) -> dict[str, Any]:
    """`FILE:ENTRY` → that entry, such as a row of ablations/params.yaml."""
    file, colon, key = text.rpartition(":")
    if not colon:
        raise UserError(f"--params {text}: say which entry of it: {text}:experiments.NAME")
    value = _read_yaml(Path(file))
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            raise UserError(f"{file}: there is no {key}")
        value = value[part]
    if not isinstance(value, dict) or not isinstance(value.get("changes"), dict):
        raise UserError(f"{file}: {key} has no `changes: {{...}}`; give an empty one for none")
    return value


def _apply(changes: dict[str, Any], content: Any, entry: str, file: str) -> None:
    """Put each value in the place of the one that is there; a key that is not there is a slip, unless
    it is a whole new entry of a section."""
    for key, new in changes.items():
        *sections, last = str(key).split(".")
        inner = content
        for section in sections:
            inner = inner.get(section) if isinstance(inner, dict) else None
        is_new_entry = bool(sections) and isinstance(new, dict)
        if not isinstance(inner, dict) or (last not in inner and not is_new_entry):
            raise UserError(f"{entry}: changes {key}, which {file} does not have")
        inner[last] = copy.deepcopy(new)


_SHORT = Repr()  # aliases can make a small file stand for gigabytes
_SHORT.maxstring = _SHORT.maxother = 80


def _explain(item: Any) -> str:
    parts = [str(part) for part in item["loc"]]
    if parts[:1] in (["losses"], ["refine"]):
        del parts[2:3]  # pydantic names the variant of the loss or refinement here
    if parts[:1] == ["train_classifier"] and parts[2:3] == ["loss"]:
        del parts[3:4]
    key = ".".join(parts)
    if not key and item["type"] == "value_error":
        return f"  {item['ctx']['error']}"
    key = key or "(file)"
    hint = ""
    if isinstance(item["input"], str) and item["type"] in ("float_type", "int_type"):
        hint = "; YAML reads 1e-3 as text, write 0.001 or 1.0e-3"
    value = "" if item["type"] in ("missing", "value_error") else f" (is {_SHORT.repr(item['input'])})"
    return f"  {key}: {item['msg']}{value}{hint}"


def read_keys(*keys: str, options: Namespace) -> Any:
    """The validated values of dotted `keys`: exactly those that the stage lists under `params` in dvc.yaml.

    options: a stage's, with `params` (see `read_params`) and perhaps `name`, which `{name}` in a key stands for. Where
    params ends with a row of ablations/params.yaml, that is the entry which the row is `like`, and the row's other
    fields fill in `{…}` in the options' paths.
    """
    files = [text.format(name=getattr(options, "name", "")) for text in options.params]
    row = _entry(files[-1]) if len(files) > 1 else {}
    name = row.get("like", getattr(options, "name", ""))
    filled(options, **{field: value for field, value in row.items() if isinstance(value, str)})
    params = read_params(files)
    values = tuple(_value(params, key.format(name=name), files[0]) for key in keys)
    return values[0] if len(values) == 1 else values


def _value(value: Any, key: str, file: str | Path) -> Any:
    for part in key.split("."):
        inside = value if isinstance(value, dict) else dict(value) if isinstance(value, Section) else {}
        if part not in inside:
            raise UserError(f"{file}: there is no {key}")
        value = inside[part]
    return value
