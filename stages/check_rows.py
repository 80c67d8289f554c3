"""Check the rows of ablations/params.yaml, and that the main pipeline's results they start from are up to date."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from weakseg.errors import UserError
from weakseg.files import read_text, write_text
from weakseg.runtime import NAME, arguments, run
from weakseg.settings import read_params

EVERY_ROWS = ("data/manifest.csv", "data/classes.txt", "data/ground_truth.zip")
OWN_VARIABLES = ("DVC_STAGE", "DVC_ROOT")  # which DVC gives to this stage; another DVC must not take them for its own


def main() -> None:
    paths = arguments(
        __doc__, rows="params.yaml of the rows", out="file to write, which says nothing but that all is well"
    ).parse_args()
    rows = read_rows(paths.rows)
    problems = [*wrong_rows(rows, paths.params[0], paths.rows)]
    if problems:
        raise UserError(f"{paths.rows}:\n  " + "\n  ".join(problems))
    used = {*used_paths(rows, read_yaml(paths.rows.with_name("dvc.yaml"))["stages"])}
    stale = [*stale_inputs(used, read_locked(Path("dvc.lock")), dvc_status())]
    if stale:
        raise UserError(
            "rows start from results of the main pipeline, and these are not up to date with its params.yaml and code; "
            "run `dvc repro` in the repository's root first:\n  " + "\n  ".join(stale)
        )
    write_text(paths.out, "checked\n")


def read_rows(path: Path) -> dict[str, dict[str, Any]]:
    """The entries of each section. Raises UserError for a file of another shape."""
    rows = read_yaml(path)
    if not isinstance(rows, dict) or not all(isinstance(entries, dict) for entries in rows.values()):
        raise UserError(f"{path}: must hold sections of rows, each with its `changes`")
    return rows


def read_yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        raise UserError(f"{path}: cannot be read as YAML: {error}") from None


def wrong_rows(rows: Any, params: str, file: Path) -> Iterator[str]:
    """Names that are none, and rows whose changes params.yaml does not take."""
    for section, entries in rows.items():
        named = (
            {section: entries} if "changes" in entries else {f"{section}.{name}": row for name, row in entries.items()}
        )
        for key in named:
            name = key.partition(".")[2] or key
            if not re.fullmatch(NAME, name):
                yield f"{key}: not a name; use letters, digits, _ and -"
                continue
            try:
                read_params([params, f"{file}:{key}"])
            except UserError as error:
                yield f"{key}: {error}"


def used_paths(rows: Any, stages: Any) -> Iterator[str]:
    """The main pipeline's files and folders that the rows' stages depend on; of files named after rows, the folder."""
    for stage in stages.values():
        entries = rows.get(str(stage.get("foreach", "")).strip("${}"), {"": {}})
        for dep in stage.get("do", stage)["deps"]:
            for row in entries.values():
                path = with_fields(dep, row)
                if path.startswith("../"):
                    yield path.removeprefix("../").partition("/${key}")[0]


def with_fields(path: str, row: dict[str, Any]) -> str:
    """As DVC fills in `${item.…}`."""
    return re.sub(r"\$\{item\.(\w+)\}", lambda found: str(row.get(found[1], "")), path)


def read_locked(path: Path) -> dict[str, list[str]]:
    """The outputs of each stage that has run, by the stage's name."""
    stages = yaml.safe_load(read_text(path))["stages"] if path.is_file() else {}
    return {name: [out["path"] for out in stage.get("outs", [])] for name, stage in stages.items()}


def dvc_status() -> dict[str, Any]:
    """Stages of the main pipeline that are not up to date, by name, with DVC's reasons."""
    environment = {name: value for name, value in os.environ.items() if name not in OWN_VARIABLES}
    command = [sys.executable, "-m", "dvc", "status", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise UserError(f"the main pipeline's state is unknown: {done.stderr.strip()}")
    return dict(json.loads(done.stdout or "{}"))


def stale_inputs(used: set[str], locked: dict[str, list[str]], status: dict[str, Any]) -> Iterator[str]:
    """DVC reports missing files, except those that every row starts from."""
    made_by = {out: stage for stage, outs in locked.items() for out in outs}
    yield from (f"{path}: was not made yet" for path in EVERY_ROWS if path not in made_by)
    for path, stage in sorted(made_by.items()):
        if stage in status and any(path == one or path.startswith(f"{one}/") for one in used):
            yield f"{path}: stage {stage} has changed"


if __name__ == "__main__":
    run(main)
