"""Someone else's params.yaml: whatever it names, no command runs, and nothing outside the outputs is touched.

That each name is refused in each place is tests/unit/test_hostile_params.py's to see, and that no value of params.yaml
stands in a command's text is tests/unit/test_dvc_yaml.py's.
"""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.pipeline.tiny_repo import Repo, stages_run, write_params
from tests.unit.test_hostile_params import LISTS, NAMES, leaves, name_entries, put

COMMANDS = {
    "repro": ["repro"],
    "repro -s": ["repro", "--single-item", "write_test_rule@guided", "train_segmenter@guided", "prepare"],
    "exp run": ["exp", "run"],
}  # fmt: skip
IDENTITY = {  # dvc exp run wants one
    "GIT_AUTHOR_NAME": "T", "GIT_AUTHOR_EMAIL": "t@t", "GIT_COMMITTER_NAME": "T", "GIT_COMMITTER_EMAIL": "t@t",
}  # fmt: skip


@pytest.fixture(scope="module")
def clone(ours: Repo) -> Repo:
    """A clone that has run once, to which somebody's params.yaml comes."""
    (ours.folder.parent / "pwned").mkdir()  # what ../../pwned could reach
    return ours


@pytest.fixture
def params(clone: Repo) -> Iterator[dict[str, Any]]:
    """The clone's own settings, to be spoilt; they are put back."""
    before = (clone.folder / "params.yaml").read_bytes()
    yield clone.params()
    (clone.folder / "params.yaml").write_bytes(before)


def nothing_happened(repo: Repo) -> None:
    base = repo.folder.parent
    found = [path for path in base.rglob("*pwned*") if path != base / "pwned"]
    assert not found and not os.path.lexists("/tmp/pwned")
    assert (base / "pwned").is_dir()
    for path in ("data/cues.npz", "models/segmenter/guided/model.json", "metrics/summary.json"):
        assert (repo.folder / path).is_file(), path


@pytest.mark.parametrize("command", COMMANDS)
def test_no_name_of_an_entry_and_no_text_runs_as_a_command(clone: Repo, params: dict[str, Any], command: str) -> None:
    """Entries of all names in all sections, and in each place another name, with each command another one."""
    turn = 8 * list(COMMANDS).index(command)
    for number, (key, value) in enumerate(leaves(params)):
        if isinstance(value, str):
            put(params, key, NAMES[(number + turn) % len(NAMES)])
    for key in LISTS:
        put(params, key, list(NAMES))
    name_entries(params, *NAMES)
    write_params(clone.folder, params)
    done = clone.call("dvc", *COMMANDS[command], **IDENTITY)
    assert done.returncode != 0 and "Traceback" not in done.stdout + done.stderr
    assert stages_run(done.stdout) <= {
        "write_test_rule@guided"
    }  # asked for alone, it is not checked before, and refuses
    nothing_happened(clone)


def test_a_stage_asked_for_by_a_hostile_name_refuses_it(clone: Repo, params: dict[str, Any]) -> None:
    """The only way to get at a stage past check_params is to type its name."""
    name = "a'; touch pwned; $(touch pwned)\ntouch pwned\n"
    params["experiments"][name] = params["experiments"]["guided"]
    write_params(clone.folder, params)
    done = clone.call("dvc", "repro", "--single-item", f"write_test_rule@{name}")
    assert done.returncode != 0
    assert f"--name: {name!r} is no name" in done.stderr and stages_run(done.stdout)
    nothing_happened(clone)
