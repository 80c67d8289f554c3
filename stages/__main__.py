"""`python -m stages make_cams@seeder`: run one stage's command as dvc.yaml has it, without DVC.

For job arrays, whose jobs would wait for DVC's lock: WEAKSEG_SHARD=2/8 makes a batch stage do the second of eight
parts, and `dvc repro` joins the parts when all are done. Nothing checks that the stage's inputs are up to date. Further
arguments are passed on to the stage.
"""

import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import yaml

from weakseg.errors import UserError
from weakseg.runtime import NAME

USAGE = "usage: python -m stages STAGE[@NAME] [ARGUMENT ...]"
COMMAND = re.compile(r"(?:cd \.\. && exec )?(python -m stages\.\w+(?: .*)?)", re.DOTALL)


def main() -> None:
    target, *arguments = sys.argv[1:] or ["--help"]
    stages = read_stages(Path("dvc.yaml"))
    if target in ("-h", "--help"):
        print(f"{USAGE}\n\n{__doc__}\nStages: {', '.join(stages)}")
        return
    stage, _, name = target.partition("@")
    if stage not in stages:
        raise UserError(f"dvc.yaml: has no stage {stage!r}; it has {', '.join(stages)}")
    if name and not re.fullmatch(NAME, name):
        raise UserError(f"{target}: {name!r} is not a name; use letters, digits, _ and -")
    command = command_of(stage, stages[stage])
    if command[1]:
        os.chdir("..")
    os.execv(sys.executable, [sys.executable, *command[0][1:], *(["--name", name] if name else []), *arguments])


def read_stages(path: Path) -> dict[str, Any]:
    """The stages by name. Raises UserError if the file is missing or is not a dvc.yaml."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return dict(content["stages"])
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: no stages can be read ({error}); run this where dvc.yaml is") from None


def command_of(name: str, stage: Any) -> tuple[list[str], bool]:
    """The words of the stage's command, and whether it runs in the folder above."""
    command = " ".join(str((stage.get("do") or stage)["cmd"]).split())
    found = COMMAND.fullmatch(command)
    if found is None or "${" in command:
        raise UserError(f"dvc.yaml: the command of {name} is none of ours: {command}")
    return shlex.split(found[1]), command.startswith("cd ..")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"python -m stages: {error}")
