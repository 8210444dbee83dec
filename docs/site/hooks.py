"""What the site is told beyond its configuration: its navigation, and how anchors are named."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

log = logging.getLogger("properdocs.hooks")  # a warning of it ends the build

GUIDE = "docs/guide"
STARTING = ("README.md", *(f"{GUIDE}/{name}.md" for name in ("install", "configuration", "documents", "search")))
CONCEPTS = ("ARCHITECTURE.md", f"{GUIDE}/guarantees.md", "docs/decisions/README.md", "SECURITY.md", "CONTRIBUTING.md")
PROOF = (f"{GUIDE}/handbook.md", "docs/reference/coverage.md", "benchmarks/RESULTS.md", "CHANGELOG.md")
_NOTE = re.compile(r"\A<!--.*?-->\s*", re.DOTALL)
_TO_A_FOLDER = re.compile(r"\]\(([\w./-]+)\)")


def on_config(config: Any) -> Any:
    """Names the sections. Pages of the guide that no other section has are how-tos, so that a new one is never left
    out; decisions and runbooks are entered by their indexes."""
    config.nav = navigation(Path(config.docs_dir))
    config.mdx_configs.setdefault("toc", {})["slugify"] = anchor
    return config


def navigation(source: Path) -> list[dict[str, list[str]]]:
    elsewhere = {*STARTING, *CONCEPTS, *PROOF}
    how_to = [*_pages(source, GUIDE), *_pages(source, "deploy", "**/README.md")]
    sections = {
        "Getting started": STARTING,
        "How to": [page for page in how_to if page not in elsewhere],
        "Concepts": CONCEPTS,
        "Reference": [page for page in _pages(source, "docs/reference") if page not in elsewhere],
        "Runbooks": ["docs/runbooks/README.md"],
        "Coverage": PROOF,
    }
    return [{name: [page for page in pages if (source / page).exists()]} for name, pages in sections.items()]


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """What readers of the repository take and this one does not: a link to a folder leads to its page; what belongs to
    an item of a list is indented by four; a page is named by its heading though a note stands before it."""
    here = Path(config.docs_dir) / page.file.src_uri

    def lead(match: re.Match[str]) -> str:
        is_folder = (here.parent / match[1]).is_dir()
        return f"]({match[1].rstrip('/')}/README.md)" if is_folder else match[0]

    if re.search(r"^ +```", markdown, re.MULTILINE):
        log.warning("%s has a block of code within a list, which this reader does not know", page.file.src_uri)
    return _TO_A_FOLDER.sub(lead, "\n".join(_indented(_NOTE.sub("", markdown))))


def _indented(markdown: str) -> Iterator[str]:
    is_code = False
    for line in markdown.split("\n"):
        is_code ^= line.startswith("```")
        yield line if is_code else re.sub(r"^ {2,3}(?=\S)", "    ", line)


def anchor(heading: str, separator: str) -> str:
    """As where the repository is read, so that one link fits both: lower case, no punctuation, a hyphen a space."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", separator)


def _pages(source: Path, folder: str, pattern: str = "*.md") -> list[str]:
    return sorted(str(each.relative_to(source)) for each in (source / folder).glob(pattern))
