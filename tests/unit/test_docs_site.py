"""The docs as a site: every page is there, links lead somewhere, and nothing is loaded from the network."""

import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from docs.site_pages import PAGES

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The docs as a site, built as `make docs` builds it, with any warning an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    offline = {"NO_MKDOCS_2_WARNING": "1", "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(command, cwd=ROOT, env=os.environ | offline, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_is_on_the_site(site: Path) -> None:
    pages = {path.name for path in ROOT.glob("docs/*.md")} - {"README.md"} | set(PAGES) | {"index.md"}
    assert {f"{name.removesuffix('.md')}.html" for name in pages} <= {path.name for path in site.iterdir()}


def test_the_site_loads_nothing_from_the_network(site: Path) -> None:
    for page in site.glob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe)[^>]* src=\"?(?:https?:)?//[^>]*>", text)
        loaded += re.findall(r"<link(?![^>]*canonical)[^>]* href=\"?(?:https?:)?//[^>]*>", text)
        assert not loaded and 'class="mermaid"' not in text, (page.name, loaded)


def test_every_function_on_the_library_page_has_an_example() -> None:
    rooms = ("losses", "pooling", "crf", "cues", "guides", "refinement", "evaluation")
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    names = re.findall(rf"^::: (weakseg\.(?:{'|'.join(rooms)}))\.(\w+)$", page, re.MULTILINE)
    assert {module.removeprefix("weakseg.") for module, _ in names} == set(rooms)
    documented = {name: getattr(import_module(module), name).__doc__ for module, name in names}
    assert [
        name for name, text in documented.items() if not re.search(r"^ *Example:\n +>>> ", text, re.MULTILINE)
    ] == []


def test_the_library_page_shows_signatures_and_examples(site: Path) -> None:
    text = re.sub(r"<[^>]+>", "", (site / "api.html").read_text(encoding="utf-8"))
    for expected in ("seed_loss(", "probs: Tensor", "&gt;&gt;&gt;", "bilateral_sigma_xy"):
        assert expected in text, expected
