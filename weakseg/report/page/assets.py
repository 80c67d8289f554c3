"""Style and script of the page, from files beside this one; both stand in the page itself, which loads nothing."""

import base64
import hashlib
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

FOLDER = Path(__file__).parent


SCRIPTS = (
    "elements",
    "state",
    "pictures",
    "photos",
    "list",
    "enlarged",
    "compare",
    "confusion",
    "plot",
    "curves",
    "start",
)


@cache
def style() -> Markup:
    return Markup((FOLDER / "templates" / "style.css").read_text(encoding="utf-8"))


@cache
def script() -> Markup:
    """The files of `script/` in order, in one function of their own."""
    parts = [(FOLDER / "script" / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS]
    return Markup("'use strict';\n(() => {\n" + "\n".join(parts) + "})();\n")


def script_hash() -> str:
    """What the content security policy names the script by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script().encode()).digest()).decode("ascii")


def environment() -> Environment:
    """Everything that a template prints is escaped; a name that it does not know is an error."""
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.globals["zip"] = zip
    return made
