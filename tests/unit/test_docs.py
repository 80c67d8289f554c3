"""The docs agree with the code: every setting, the drawn pipeline, the papers' sections."""

import ast
import importlib
import re
import shlex
import typing
from collections.abc import Iterator
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from docs import draw_pipeline
from weakseg.settings import profile_names
from weakseg.settings.params import Params
from weakseg.settings.types import backbones

ROOT = Path(__file__).resolve().parents[2]
PARAMETERS = ROOT / "docs" / "parameters.md"
DOCS = sorted(
    [*ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md"), *ROOT.glob("ablations/*.md"), *ROOT.glob("*.md")]
)
README_BYTES = 9000
HISTORY = ("CHANGELOG.md",)  # names what was
SECTIONS = {
    "SEC": {"1", "2", "3", "3.1", "3.2", "4", "4.1", "4.2", "4.3", "5", "6", "6.1", "6.2"},
    "GS": {"1", "2", "3", "4", "4.1", "4.2", "5", "5.1", "5.3", "6", "6.1", "6.2", "6.3", "7"}
    | {"A", "B", "B.1", "B.2", "B.3", "C", "C.1", "D", "E", "F", "G"},
}


def sections_in(annotation: Any) -> Iterator[tuple[str, type[BaseModel]]]:
    """Sections that a setting holds, with `.<name>` where they stand under names of the user's."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield "", annotation
    named = ".<name>" if typing.get_origin(annotation) is dict else ""
    for inner in typing.get_args(annotation):
        yield from ((named + path, section) for path, section in sections_in(inner))


def walk(section: type[BaseModel], place: str = "") -> Iterator[tuple[str, str, Any]]:
    """(place of the section, key, annotation) of every setting that holds no section itself."""
    for key, field in section.model_fields.items():
        inside = list(sections_in(field.annotation))
        for path, inner in inside:
            yield from walk(inner, f"{place}.{key}{path}".lstrip("."))
        if not inside:
            yield place or "(file)", field.alias or key, field.annotation


def choices(annotation: Any) -> set[str]:
    if typing.get_origin(annotation) is typing.Literal:
        return {str(value) for value in typing.get_args(annotation)}
    return {choice for inner in typing.get_args(annotation) for choice in choices(inner)}


def documented() -> dict[tuple[str, str], list[str]]:
    """Cells of each table row by place and key."""
    rows: dict[tuple[str, str], list[str]] = {}
    for part in PARAMETERS.read_text(encoding="utf-8").split("\n## ")[1:]:
        heading, _, content = part.partition("\n")
        for place in re.findall(r"`([^`]+)`", heading):
            for line in re.findall(r"^\| `.*$", content, re.MULTILINE):
                _, key, *cells, _ = (cell.strip() for cell in line.split("|"))
                rows[place, key.strip("`")] = cells
    return rows


def test_every_setting_is_documented_and_no_other() -> None:
    assert documented().keys() == {(place, key) for place, key, _ in walk(Params)}


def test_every_choice_of_a_setting_is_documented() -> None:
    rows = documented()
    for place, key, annotation in walk(Params):
        missing = [choice for choice in choices(annotation) if choice not in rows[place, key][0]]
        assert not missing, (place, key, missing)


def test_every_setting_has_values_and_a_paper_or_a_dash() -> None:
    for where, cells in documented().items():
        assert len(cells) == 3 and cells[0] and cells[2], where


def test_every_backbone_is_documented() -> None:
    _, _, section = PARAMETERS.read_text(encoding="utf-8").partition("\n## Backbones\n")
    assert set(re.findall(r"^\| `([^`]+)`", section, re.MULTILINE)) == set(backbones())


def test_cited_sections_exist_in_the_papers() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in DOCS)
    for paper, known in SECTIONS.items():
        places = re.findall(rf"\b{paper}((?:,? §[\w.]*\w)+)", text)
        cited = {section for place in places for section in re.findall(r"§([\w.]+)", place)}
        assert cited and cited <= known, (paper, cited - known)
    assert "SPEC" not in text


def test_every_environment_variable_is_documented() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "weakseg").rglob("*.py"))
    table = re.findall(r"^\| `(WEAKSEG_\w+)`", (ROOT / "docs" / "running.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(table) == set(re.findall(r"\bWEAKSEG_[A-Z_]+", code))


def test_files_that_the_docs_name_exist() -> None:
    """Those of the repository; what the pipeline writes is not there."""
    for page in DOCS:
        text = page.read_text(encoding="utf-8")
        named = re.findall(r"\b((?:tests|weakseg|stages|benchmarks|docs|profiles)/[\w/]+\.(?:pyi?|md|yaml))\b", text)
        missing = sorted({name for name in named if not (ROOT / name).is_file()})
        links = re.findall(r"\]\(([^)#]+)(?:#[\w-]+)?\)", text)
        missing += [link for link in links if "://" not in link and not (page.parent / link).exists()]
        assert not missing, (page.relative_to(ROOT).as_posix(), missing)


def test_the_drawn_pipeline_is_that_of_dvc_yaml() -> None:
    assert (ROOT / "docs" / "pipeline.md").read_text(encoding="utf-8") == draw_pipeline.page(ROOT / "dvc.yaml")


def test_the_readmes_drawing_holds_stages_and_all_that_train_a_network() -> None:
    drawing = (
        (ROOT / "README.md").read_text(encoding="utf-8").partition("## The pipeline\n\n```\n")[2].partition("```")[0]
    )
    drawn = set(re.findall(r"\b[a-z]+_[a-z_]+|(?<=─ )[a-z]+", drawing))
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"].keys()
    trainings = {name for name in stages if name.startswith("train_")} - {"train_repeat"}
    assert trainings | {"refine", "predict_boundaries"} <= drawn <= stages


def test_the_drawing_follows_deps() -> None:
    stages = {
        "a": {"outs": ["data/a.zip", {"data/b": {"cache": True}}]},
        "b": {"foreach": "${x}", "do": {"deps": ["data/a.zip", "raw", "weakseg/x.py"], "outs": ["data/m/${key}.npz"]}},
        "c": {"deps": ["data/m", "data/b/one.txt"], "metrics": ["metrics/c.json"]},
    }
    arrows = [("a", "b"), ("a", "c"), ("b", "c"), ("a", "d"), ("c", "d")]
    assert draw_pipeline.needed(arrows) == [("a", "b"), ("b", "c"), ("c", "d")]
    assert draw_pipeline.edges(stages) == [("a", "b", "data/a.zip"), ("b", "c", "data/m"), ("a", "c", "data/b/one.txt")]


def test_the_drawing_follows_deps_that_params_choose() -> None:
    stages = {
        "train_classifier": {"foreach": "${x}", "do": {"outs": ["models/classifier/${key}"]}},
        "make_cues": {"deps": ["models/classifier/${make_cues.net}"], "outs": ["data/cues.npz"]},
        "train": {"deps": ["data/${item.train.supervision}", "models/${train.start_from}"], "outs": ["models/s"]},
    }
    assert draw_pipeline.edges(stages) == [
        ("train_classifier", "make_cues", "models/classifier/${make_cues.net}"),
        ("make_cues", "train", "data/${item.train.supervision}"),
        ("train_classifier", "train", "models/${train.start_from}"),
    ]


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_bytes()) <= README_BYTES


def guides() -> Iterator[tuple[str, str]]:
    """Name and text of each page that says how things are now."""
    for path in DOCS:
        if path.name not in HISTORY:
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def commands(text: str) -> Iterator[list[str]]:
    """Words of the shell commands in a page's code blocks and code spans, options of the shell's own left out."""
    blocks = re.findall(r"^```(?:sh|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    outside = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    joined = "\n".join(blocks).replace("\\\n", " ")
    for line in [*joined.splitlines(), *re.findall(r"`([^`]+)`", outside.replace("\n", " "))]:
        try:
            words = shlex.split(line.removeprefix("$ "), comments=True)
        except ValueError:  # prose with an apostrophe, in an output or a here-document
            continue
        command: list[str] = []
        for word in [*words, "&&"]:
            if word in ("&&", "|", ";", "2>&1") or word.endswith(";"):
                command += [word[:-1]] if len(word) > 1 and word.endswith(";") else []
                while command and re.fullmatch(r"[A-Z_]+=.*", command[0]):
                    command.pop(0)
                if command:
                    yield command
                command = []
            else:
                command.append(word)


def test_make_targets_in_the_docs_exist() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {
        (page, word) for page, text in guides() for first, *words in commands(text) if first == "make" for word in words
    }
    assert len(named) > 5
    for page, word in named:
        if word.startswith("NAME="):
            assert word in ("NAME=…", "NAME=NAME") or word[5:] in profile_names(), (page, word)
        else:
            assert word in targets or "=" in word, (page, word)


def test_modules_in_the_docs_exist_with_the_options_that_they_are_given() -> None:
    found = 0
    for page, text in guides():
        for command in commands(text):
            if command[:2] != ["python", "-m"] or command[2] in ("pytest", "pip", "stages.…"):
                continue
            module, options = command[2], {word.partition("=")[0] for word in command[3:] if word.startswith("--")}
            spec = find_spec(module)
            assert spec and spec.origin, (page, module)
            file = Path(spec.origin)
            file = file.with_name("__main__.py") if file.name == "__init__.py" else file
            source = "".join(path.read_text(encoding="utf-8") for path in sources(file))
            missing = [
                name
                for name in options - {"--help"}
                if name not in source and f"{name[2:]}=".replace("-", "_") not in source
            ]
            assert not missing, (page, module, missing)
            found += 1
    assert found > 10


def sources(module: Path) -> list[Path]:
    """The module, and those of the library and the benchmarks that it takes its arguments from."""
    names = re.findall(r"^from (weakseg[.\w]*|benchmarks[.\w]*)", module.read_text(encoding="utf-8"), re.MULTILINE)
    specs = [find_spec(name) for name in names]
    folders = [Path(spec.origin).parent for spec in specs if spec and spec.origin]
    return [module, *(path for folder in folders for path in folder.glob("*.py"))]


def test_stages_in_the_docs_exist() -> None:
    """`dvc repro evaluate@sec` and its like, of the root and of ablations/."""
    stages: dict[str, Any] = {}
    for folder in ("", "ablations"):
        stages |= yaml.safe_load((ROOT / folder / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    named = 0
    for page, text in guides():
        for command in commands(text):
            if command[0] != "dvc" or command[1:2] not in (["repro"], ["pull"], ["push"], ["commit"]):
                continue
            for word in command[2:]:
                if re.fullmatch(r"[a-z_]\w*(@.*)?", word) and word not in ("team", "bucket"):
                    assert word.partition("@")[0] in stages, (page, command)
                    named += 1
    assert named > 10


def test_settings_in_the_docs_exist() -> None:
    """Dotted keys in code spans and in `-S key=value`, wherever their first part is a section of params.yaml."""
    keys = {f"{place}.{key}" if place != "(file)" else key for place, key, _ in walk(Params)}
    patterns = {re.sub(r"<name>", "*", key) for key in keys}
    patterns |= {pattern.rsplit(".", level)[0] for pattern in patterns for level in range(1, pattern.count(".") + 1)}
    named = 0
    for page, text in guides():
        spans = re.findall(r"`([a-z_0-9]+(?:\.[\w<>*…]+)+)`", text)
        given = re.findall(r"(?:-S|--set-param) ([\w.]+)=", text)
        for key in (key for key in spans + given if key.partition(".")[0] in Params.model_fields):
            if re.search(r"\.(zip|npz|csv|json|txt|png|yaml)$", key):
                continue
            known = re.sub(r"<\w+>|…", "*", key)
            assert any(fnmatchcase(known, pattern) for pattern in patterns), (page, key)
            named += 1
    assert named > 20


def test_names_of_the_library_in_the_docs_exist() -> None:
    named = {(page, name) for page, text in guides() for name in re.findall(r"(?:`|::: )(weakseg(?:\.\w+)+)", text)}
    assert len(named) > 30
    for page, name in named:
        module, attribute = name.rsplit(".", 1)
        try:
            holds = hasattr(importlib.import_module(module), attribute) or find_spec(name)
        except ModuleNotFoundError:  # a class's own
            module, owner = module.rsplit(".", 1)
            holds = hasattr(getattr(importlib.import_module(module), owner), attribute)
        assert holds, (page, name)


def test_python_in_the_docs_parses_and_imports_what_exists() -> None:
    blocks = [
        (page, code) for page, text in guides() for code in re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    ]
    assert blocks
    for page, code in blocks:
        for node in ast.walk(ast.parse(code, page)):
            if isinstance(node, ast.ImportFrom) and node.module:
                missing = [
                    item.name for item in node.names if not hasattr(importlib.import_module(node.module), item.name)
                ]
                assert not missing, (page, node.module, missing)


def test_how_things_were_is_gone_from_the_docs() -> None:
    """Commands and keys of 0.1.0, which the changelog alone names."""
    gone = re.compile(
        r"cp profiles/|crf\.<name>\.backend|checkpoint_every_|(?<!train_)\bsegmenter\.training\b|\bclassifiers\.<name>"
    )
    assert {(page, found) for page, text in guides() for found in gone.findall(text)} == set()
