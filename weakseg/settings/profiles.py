"""Profiles: `profiles/papers.yaml` is complete; all others are overlays that say what they change and why.

An overlay has `like`, the profile it starts from; optionally `without`, keys that it drops; and `changes`, new values
by dotted key, where `*` is each entry of a section.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError

from weakseg.errors import UserError
from weakseg.files import write_text
from weakseg.settings.reading import validated

FOLDER = Path("profiles")
BASE = "papers:"  # what a comment in a profile says of the base's value
COMMENT_COLUMN = 30
OVERLAY_KEYS = {"like", "without", "changes"}


def write_profile(name: str, out: Path, folder: Path = FOLDER) -> None:
    """The complete params file of a profile, with the base's comments. Raises UserError for what does not fit."""
    write_text(out, profile_text(name, folder))


def profile_text(
    name: str, folder: Path = FOLDER, changes: Mapping[str, Any] | None = None, title: str | None = None
) -> str:
    """What `write_profile` writes; with further changes, by dotted key, and another first line."""
    content = composed(name, folder)
    for key, value in (changes or {}).items():
        for section, last in _places(content, key, folder / f"{name}.yaml"):
            _set(section, last, value, "")
    text = StringIO()
    _yaml().dump(content, text)
    validated(content, str(folder / f"{name}.yaml"))
    head = "".join(f"{line}\n" for line in header(folder / f"{name}.yaml"))
    title = title or f"Profile {name}, as `make profile NAME={name}` writes it."
    return f"# {title}\n{head}{_without_header(text.getvalue())}"


def profile_headline(name: str, folder: Path = FOLDER) -> str:
    """The first sentence of the comment at the profile's top."""
    text = " ".join(line.lstrip("# ") for line in header(folder / f"{name}.yaml"))
    return re.split(r"(?<=[.:]) ", text, maxsplit=1)[0].rstrip(".:")


def profile_names(folder: Path = FOLDER) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.yaml"))


def composed(name: str, folder: Path = FOLDER, seen: Sequence[str] = ()) -> CommentedMap:
    """A profile's settings, with what it is like underneath."""
    path = folder / f"{name}.yaml"
    if name in seen:
        raise UserError(f"{path}: profiles are like each other in a circle: {', '.join(seen)}")
    profile = _read(path)
    if "like" not in profile:
        return profile
    without, changes = _overlay(profile, path)
    content = composed(str(profile["like"]), folder, (*seen, name))
    for key in without:
        for section, last in _places(content, str(key), path):
            del section[last]
    for key, value in changes.items():
        for section, last in _places(content, str(key), path, may_be_new=isinstance(value, Mapping)):
            _set(section, last, value, _comment(changes, key))
    return content


def _overlay(profile: CommentedMap, path: Path) -> tuple[Sequence[Any], CommentedMap]:
    """What is left out, and what is changed."""
    unknown = sorted({str(key) for key in profile} - OVERLAY_KEYS)
    if unknown:
        raise UserError(
            f"{path}: has {', '.join(unknown)}; a profile that is like another has {', '.join(sorted(OVERLAY_KEYS))}"
        )
    without, changes = profile.get("without") or [], profile.get("changes") or CommentedMap()
    if not isinstance(without, list) or not isinstance(changes, CommentedMap):
        raise UserError(f"{path}: expected `without` to be a list of keys, and `changes` keys with their new values")
    return without, changes


def header(path: Path) -> list[str]:
    """The comment lines at the top of a file."""
    lines = path.read_text(encoding="utf-8").split("\n")
    return lines[: next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))]


def _read(path: Path) -> CommentedMap:
    try:
        content = _yaml().load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such profile; there are {', '.join(profile_names(path.parent)) or 'none'}"
        ) from None
    except (OSError, ValueError, YAMLError) as error:
        raise UserError(f"{path}: cannot be read as YAML: {error}") from None
    if not isinstance(content, CommentedMap):
        raise UserError(f"{path}: expected a mapping of settings")
    return content


def _places(
    content: CommentedMap, key: str, path: Path, may_be_new: bool = False
) -> Iterator[tuple[CommentedMap, str]]:
    """The sections that hold a dotted key, and its last part; a whole new entry may be added to a section."""
    *parts, last = key.split(".")
    sections = [content]
    for part in parts:
        inner = [section.get(name) for section in sections for name in (section if part == "*" else [part])]
        sections = [section for section in inner if isinstance(section, CommentedMap)]
    found = [section for section in sections if last in section or (may_be_new and section is not content)]
    if not found:
        raise UserError(f"{path}: {key} is not in the profile that it is like")
    yield from ((section, last) for section in found)


def _set(section: CommentedMap, key: str, value: Any, reason: str) -> None:
    """The new value, with the base's value and the reason for the change; a new entry goes before the section's
    last."""
    if key not in section:
        section.insert(max(len(section) - 1, 0), key, value)  # after the last one, a blank line would separate it
        return
    before, comment = section[key], _comment(section, key)
    section[key] = value
    if section.fa.flow_style() or isinstance(before, Mapping) or before == value:
        return
    base = comment if comment.startswith(BASE) else f"{BASE} {_shown(before)}" + (f", {comment}" if comment else "")
    blank_lines = _blank_lines(section, key)
    section.yaml_add_eol_comment(f"{reason}; {base}" if reason else base, key, column=COMMENT_COLUMN)
    section.ca.items[key][2].value += blank_lines


def _comment(section: CommentedMap, key: str) -> str:
    """The comment after a value; of a changed one, only the base's part."""
    token = (section.ca.items.get(key) or [None, None, None])[2]
    text = token.value.split("\n")[0].lstrip("# ").strip() if token else ""
    return text[text.index(BASE) :] if BASE in text else text


def _blank_lines(section: CommentedMap, key: str) -> str:
    token = (section.ca.items.get(key) or [None, None, None])[2]
    return "\n" + token.value.partition("\n")[2] if token and "\n" in token.value.rstrip(" ") else ""


def _shown(value: Any) -> str:
    text = StringIO()
    if isinstance(value, CommentedSeq):  # a list carries the comment after it
        value = CommentedSeq(value)
        value.fa.set_flow_style()
    _yaml().dump({"": value} if value is None else value, text)
    return text.getvalue().partition("\n...")[0].strip().removeprefix("'': ")


def _yaml() -> YAML:
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.representer.add_representer(
        type(None), lambda dumper, _: dumper.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    return yaml


def _without_header(text: str) -> str:
    lines = text.split("\n")
    start = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    return "\n".join(lines[start:])
