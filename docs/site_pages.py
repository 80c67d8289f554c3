"""mkdocs hook: the site also has the repository's pages outside docs/, and links between pages work in both places.

In the repository a link is relative to the file that it stands in. On the site, links to one of `PAGES` lead to its page;
links to any other file outside docs/ become plain text, because the site does not have that file.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PAGES = {  # of the site, and where they are in the repository
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "ablations.md": "ablations/README.md",
    "benchmarks.md": "benchmarks/README.md",
    "faults.md": "benchmarks/faults.md",
}
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for page, source in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    del config, files
    here = page.file.src_uri
    return with_links_of_the_site(markdown, PAGES.get(here, f"docs/{here}"))


def with_links_of_the_site(markdown: str, source: str) -> str:
    """The text of a repository's file `source`, its links as the site needs them.

    >>> with_links_of_the_site("[a](../docs/faq.md#top) [b](dvc.yaml) [c](https://dvc.org)", "ablations/README.md")
    '[a](faq.md#top) b [c](https://dvc.org)'
    """
    pages = {target: page for page, target in PAGES.items()}

    def on_the_site(found: re.Match[str]) -> str:
        mark, text, link = found.groups()
        path, _, anchor = link.partition("#")
        if not path or "://" in path:
            return found[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        page = pages.get(target) or (target.removeprefix("docs/") if target.startswith("docs/") else None)
        return f"{mark}[{text}]({page}{'#' * bool(anchor)}{anchor})" if page else text

    return LINK.sub(on_the_site, markdown)
