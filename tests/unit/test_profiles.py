"""Profiles: overlays say what they change and why, and what is written is complete, valid and says where it differs."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ruamel.yaml import YAML

from tests.profile_cases import FOLDER, PROFILES, ROOT, settings_of, text_of
from weakseg.errors import UserError
from weakseg.settings import composed, profile_names, read_params, write_profile

OVERLAYS = sorted({*PROFILES} - {"papers"})


def overlay(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return content


# --- the shipped files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_composes_and_what_is_written_is_valid_and_the_same(profile: str, tmp_path: Path) -> None:
    write_profile(profile, tmp_path / "params.yaml", FOLDER)
    params = read_params([tmp_path / "params.yaml"])
    assert params.model_dump(by_alias=True) == params.model_validate(settings_of(profile)).model_dump(by_alias=True)
    assert yaml.safe_load((tmp_path / "params.yaml").read_text(encoding="utf-8")) == composed(profile, FOLDER)


def test_the_tracked_params_yaml_is_what_the_toy_profile_writes(tmp_path: Path) -> None:
    """By the command that `make profile` runs."""
    command = [sys.executable, "-m", "weakseg", "profile", "toy", "--out", str(tmp_path / "params.yaml")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'params.yaml'}: profile toy\n")
    assert (tmp_path / "params.yaml").read_bytes() == (ROOT / "params.yaml").read_bytes()


@pytest.mark.parametrize("profile", OVERLAYS)
def test_an_overlay_holds_only_what_it_changes(profile: str) -> None:
    """A value that is the base's already would be noise, and hide what differs. voc12 names the base's own folders."""
    own = overlay(profile)
    base = composed(own["like"], FOLDER)
    same = [key for key, value in own.get("changes", {}).items() if {*map(str, values(base, key))} == {str(value)}]
    assert same == (["data.root", "saliency.root"] if profile == "voc12" else [])


def values(content: Any, key: str) -> Iterator[Any]:
    """What stands at a dotted key, where `*` is each entry."""
    first, _, rest = key.partition(".")
    for name in content if first == "*" else [first]:
        if isinstance(content, dict) and name in content:
            yield from values(content[name], rest) if rest else [content[name]]


@pytest.mark.parametrize("profile", OVERLAYS)
def test_changes_reach_every_entry_that_they_name_and_nothing_else(profile: str) -> None:
    own = overlay(profile)
    base, result = settings_of(own["like"]), settings_of(profile)
    for key in own.get("without", []):
        assert list(values(base, key)) and not list(values(result, key)), key
    changes = own.get("changes", {})
    for key, value in changes.items():
        later = [other for other in list(changes)[list(changes).index(key) + 1 :] if overlaps(key, other)]
        assert later or (set(map(str, values(result, key))) == {str(value)}), key
    untouched = [
        key for key in leaves(base) if not any(overlaps(key, change) for change in [*changes, *own.get("without", [])])
    ]
    assert len(untouched) > 100
    for key in untouched:
        assert list(values(base, key)) == list(values(result, key)), key


def overlaps(key: str, pattern: str) -> bool:
    """Whether one is the other, or lies below it; `*` in the pattern is any entry."""
    pairs = list(zip(key.split("."), pattern.split("."), strict=False))
    return all("*" in pair or pair[0] == pair[1] for pair in pairs)


def leaves(content: Any, prefix: str = "") -> Iterator[str]:
    for key, value in content.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


@pytest.mark.parametrize("profile", OVERLAYS)
def test_every_change_stands_in_a_block_that_says_why(profile: str) -> None:
    """A comment at the end of a line, or a full line of comment above; blank lines part the blocks."""
    text = (FOLDER / f"{profile}.yaml").read_text(encoding="utf-8")
    blocks = re.split(r"\n[ ]*\n", text.partition("\nchanges:\n")[2])
    keys = [
        line.strip().partition(":")[0]
        for block in blocks
        for line in block.splitlines()
        if not line.strip().startswith("#")
    ]
    assert keys == list(overlay(profile)["changes"])
    assert [block for block in blocks if not re.search(r"(^|\s)# *\w", block)] == []


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_says_at_its_top_what_it_is_for_and_how_it_is_run(profile: str) -> None:
    top = "".join(f"{line}\n" for line in text_of(profile).splitlines() if line.startswith("#"))
    assert top.startswith(f"# Profile {profile}, as `make profile NAME={profile}` writes it.\n")
    own = (FOLDER / f"{profile}.yaml").read_text(encoding="utf-8")
    assert own.split("\nlike:")[0].split("\nrandom_seed:")[0].strip() in top
    assert f"make profile NAME={profile}" in own


# --- what is written ------------------------------------------------------------------------------------------------------


BASE = """\
# The base.
# Two lines.
random_seed: 0                # of new layers

nets:                         # all nets
  one:                        # the first
    steps: 8000               # of training
    rate: 0.1
    kind: {a: 1, b: 2}        # in one line
  two:
    steps: 900
    rate: 0.2
    scales: [1, 2]            # of photos

last:
  value: null                 # none yet
"""


def written(folder: Path, monkeypatch: pytest.MonkeyPatch, **overlays: str) -> str:
    """What the profile `own` becomes; these settings are none of weakseg's, so nothing checks them."""
    (folder / "base.yaml").write_text(BASE, encoding="utf-8")
    for name, text in overlays.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    monkeypatch.setattr("weakseg.settings.profiles.validated", lambda content, source: None)
    write_profile("own", folder / "out" / "params.yaml", folder)
    return (folder / "out" / "params.yaml").read_text(encoding="utf-8")


def test_a_changed_value_carries_its_reason_and_the_base_s_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = written(
        tmp_path, monkeypatch,
        own="# Mine.\nlike: base\nchanges:\n  nets.one.steps: 10  # quick\n  nets.two.rate: 0.5\n  nets.two.scales: [3]\n  last.value: 3\n",
    )  # fmt: skip
    expected = BASE.replace(
        "# The base.\n# Two lines.\n", "# Profile own, as `make profile NAME=own` writes it.\n# Mine.\n"
    )
    expected = expected.replace(
        "steps: 8000               # of training", "steps: 10                 # quick; papers: 8000, of training"
    )
    expected = expected.replace(
        "scales: [1, 2]            # of photos", "scales: [3]               # papers: [1, 2], of photos"
    )
    expected = expected.replace("rate: 0.2\n", "rate: 0.5                 # papers: 0.2\n")
    expected = expected.replace(
        "value: null                 # none yet", "value: 3                    # papers: null, none yet"
    )
    assert text == expected


def test_an_overlay_of_an_overlay_tells_the_first_base_s_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = written(
        tmp_path, monkeypatch, middle="like: base\nchanges:\n  nets.one.steps: 10  # quick\n",
        own="like: middle\nchanges:\n  nets.one.steps: 5  # quicker\n",
    )  # fmt: skip
    assert "steps: 5                  # quicker; papers: 8000, of training\n" in text
    assert "quick;" not in text


def test_a_star_is_each_entry_and_a_later_change_has_the_last_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = written(tmp_path, monkeypatch, own="like: base\nchanges:\n  nets.*.steps: 7\n  nets.two.steps: 8\n")
    content = yaml.safe_load(text)
    assert (content["nets"]["one"]["steps"], content["nets"]["two"]["steps"]) == (7, 8)
    assert content["nets"]["one"]["rate"] == 0.1 and content["random_seed"] == 0


def test_what_an_overlay_has_no_use_for_is_left_out_and_a_new_entry_comes_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = written(
        tmp_path, monkeypatch, own="like: base\nwithout: [nets.one]\nchanges:\n  nets.three: {steps: 1, rate: 0.3}\n"
    )
    assert yaml.safe_load(text)["nets"] == {
        "two": {"steps": 900, "rate": 0.2, "scales": [1, 2]},
        "three": {"steps": 1, "rate": 0.3},
    }


def test_an_overlay_without_changes_is_its_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = written(tmp_path, monkeypatch, own="like: base\n")
    assert yaml.safe_load(text) == yaml.safe_load(BASE)
    assert text.partition("random_seed")[2] == BASE.partition("random_seed")[2]


def test_the_names_are_those_of_the_files(tmp_path: Path) -> None:
    assert profile_names(FOLDER) == sorted(PROFILES)
    (tmp_path / "b.yaml").touch()
    (tmp_path / "a.yaml").touch()
    (tmp_path / "notes.md").touch()
    assert profile_names(tmp_path) == ["a", "b"]


def test_no_alias_and_no_tag_is_written(tmp_path: Path) -> None:
    """DVC and people read the file, so what a profile shares with another stands there in full."""
    for profile in PROFILES:
        tokens = list(YAML(typ="rt").scan(text_of(profile)))
        assert not {type(token).__name__ for token in tokens} & {"AliasToken", "AnchorToken", "TagToken"}


# --- what is refused -----------------------------------------------------------------------------------------------------


def complaint(folder: Path, name: str = "own", **overlays: str) -> str:
    (folder / "base.yaml").write_text(BASE, encoding="utf-8")
    for file, text in overlays.items():
        (folder / f"{file}.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        write_profile(name, folder / "params.yaml", folder)
    assert not (folder / "params.yaml").exists()
    return str(caught.value)


@pytest.mark.parametrize(
    "key",
    ["nets.one.stepz", "net.one.steps", "nets.three.steps", "nets.*.stepz", "steps", "random_seed.x", "nets.one.", ""],
)
def test_a_change_of_what_is_not_there_is_told(tmp_path: Path, key: str) -> None:
    message = complaint(tmp_path, own=f"like: base\nchanges:\n  '{key}': 3\n")
    assert message == f"{tmp_path / 'own.yaml'}: {key} is not in the profile that it is like"


@pytest.mark.parametrize("key", ["nets.three", "nets.one.steps.x", "other"])
def test_leaving_out_what_is_not_there_is_told(tmp_path: Path, key: str) -> None:
    message = complaint(tmp_path, own=f"like: base\nwithout: [{key}]\n")
    assert message == f"{tmp_path / 'own.yaml'}: {key} is not in the profile that it is like"


def test_a_new_section_is_told(tmp_path: Path) -> None:
    message = complaint(tmp_path, own="like: base\nchanges:\n  refinement: {steps: 3}\n")
    assert message == f"{tmp_path / 'own.yaml'}: refinement is not in the profile that it is like"


@pytest.mark.parametrize("likes", [{"own": "own"}, {"own": "a", "a": "own"}, {"own": "a", "a": "b", "b": "a"}])
def test_a_circle_is_told(tmp_path: Path, likes: dict[str, str]) -> None:
    message = complaint(tmp_path, **{name: f"like: {other}\n" for name, other in likes.items()})
    assert "profiles are like each other in a circle" in message and str(tmp_path) in message


def test_an_unknown_profile_is_told_with_those_that_are_there(tmp_path: Path) -> None:
    assert complaint(tmp_path, "nosuch") == f"{tmp_path / 'nosuch.yaml'}: no such profile; there are base"
    message = complaint(tmp_path, own="like: nosuch\n")
    assert message == f"{tmp_path / 'nosuch.yaml'}: no such profile; there are base, own"


@pytest.mark.parametrize(
    "text",
    ["like: base\nchanges:\n  random_seed: 1\n  random_seed: 2\n", "like: base\nlike: base\n"],
    ids=["change", "like"],
)
def test_a_key_that_is_given_twice_is_told(tmp_path: Path, text: str) -> None:
    message = complaint(tmp_path, own=text)
    assert message.startswith(f"{tmp_path / 'own.yaml'}: cannot be read as YAML: ") and "duplicate key" in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("like: base\nchange: {random_seed: 1}\n", "has change; a profile that is like another has changes, like, without"),
        ("like: base\nrandom_seed: 1\n", "has random_seed; a profile that is like another has"),
        ("like: base\nwithout: nets.one\n", "expected `without` to be a list"),
        ("like: base\nchanges: [random_seed]\n", "`changes` keys with their new values"),
        ("[1, 2]\n", "expected a mapping of settings"), ("", "expected a mapping of settings"),
        ("like: [base\n", "cannot be read as YAML"),
    ],
)  # fmt: skip
def test_what_is_no_overlay_is_told(tmp_path: Path, text: str, words: str) -> None:
    message = complaint(tmp_path, own=text)
    assert message.startswith(f"{tmp_path / 'own.yaml'}: ") and words in message


def test_settings_that_do_not_fit_are_told_and_nothing_is_written(tmp_path: Path) -> None:
    for name in PROFILES:
        (tmp_path / f"{name}.yaml").write_bytes((FOLDER / f"{name}.yaml").read_bytes())
    message = complaint(tmp_path, own="like: toy\nchanges:\n  random_seed: -1\n  make_seeds.net: nosuch\n")
    assert message.startswith(f"{tmp_path / 'own.yaml'}:\n  random_seed: ")
    message = complaint(tmp_path, own="like: toy\nchanges:\n  make_seeds.net: nosuch\n")
    assert message == f"{tmp_path / 'own.yaml'}:\n  make_seeds.net: there is no make_cams.nosuch"


def test_the_command_tells_a_mistake_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "weakseg.profile", "nosuch", "--out", str(tmp_path / "params.yaml")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and not (tmp_path / "params.yaml").exists()
    assert (
        done.stderr
        == f"weakseg profile: profiles/nosuch.yaml: no such profile; there are {', '.join(sorted(PROFILES))}\n"
    )
