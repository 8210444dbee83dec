"""The documentation as a site: it is built without a network, shows every page, loads nothing from elsewhere, and is
not built when a link or an anchor leads nowhere."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.factories.deployment import clean_environment
from tests.factories.pages import REPOSITORY

pytestmark = pytest.mark.processes

BUILD = REPOSITORY / "docs" / "site" / "build.py"
LOADS = dict.fromkeys(("script", "img", "iframe", "source", "audio", "video", "embed"), "src")
LOADS |= {"object": "data", "link": "href"}
"""What a browser fetches by itself, element and attribute. A link that somebody clicks on is none."""
_ELSEWHERE = re.compile(r"^(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)
_IN_STYLES = re.compile(r"url\(\s*['\"]?((?:https?:)?//[^)]*)|@import\s+['\"]((?:https?:)?//[^'\"]*)")
_NOT_SHOWN = {"docs/site"}


class Loaded(HTMLParser):
    """Addresses that a page has loaded, and text of scripts and styles within it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if address := given.get(LOADS.get(tag, "")):
            self.addresses.append(address)
        if given.get("id"):
            self.anchors.add(str(given["id"]))


def build(source: Path, site: Path, *before: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*before, sys.executable, BUILD, source, site],
        env=clean_environment(), capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built of this repository, in a network namespace with nothing in it."""
    folder = tmp_path_factory.mktemp("docs") / "site"
    alone = ("unshare", "--net") if os.geteuid() == 0 else ("unshare", "--map-root-user", "--net")
    done = build(REPOSITORY, folder, *alone)
    assert (done.returncode, "WARNING" in done.stderr) == (0, False), done.stderr
    return folder


def test_every_page_is_on_the_site(site: Path) -> None:
    written = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md"), *(REPOSITORY / "deploy").rglob("*.md")]
    names = {
        str(each.relative_to(REPOSITORY).with_suffix(".html")).replace("README.html", "index.html") for each in written
    }
    shown = {str(each.relative_to(site)) for each in site.rglob("*.html")}
    assert {name for name in names if str(Path(name).parent) not in _NOT_SHOWN} - shown == set()
    assert (site / "deploy/aws/beanstalk/s4-api/.ebextensions/scaling.config").exists()


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    loaded = {
        f"{page.relative_to(site)}: {address}"
        for page in site.rglob("*.html")
        for address in Loaded(page.read_text(encoding="utf-8")).addresses
        if _ELSEWHERE.match(address)
    }
    styles = {f"{each.relative_to(site)}" for each in site.rglob("*.css") if _IN_STYLES.search(each.read_text("utf-8"))}
    assert (loaded, styles) == (set(), set())
    assert Loaded('<script src="//cdn.example/x.js"></script>').addresses == ["//cdn.example/x.js"]


def test_anchors_are_those_of_the_repository(site: Path) -> None:
    anchors = Loaded((site / "docs" / "guide" / "store.html").read_text(encoding="utf-8")).anchors
    assert {"another-s4_secret_key", "what-it-must-be-allowed"} <= anchors


def test_lists_within_lists_and_code_are_shown_as_such(site: Path) -> None:
    page = (site / "ARCHITECTURE.html").read_text(encoding="utf-8")
    assert re.search(r"<li>[^<]*(?:<[^u][^<]*)*<ul>", page)
    handbook = (site / "docs" / "guide" / "handbook.html").read_text(encoding="utf-8")
    assert handbook.count("<pre><code") == 12
    assert "```" not in re.sub(r"<pre>.*?</pre>", "", handbook, flags=re.DOTALL)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# A page\n\n[there](CHANGELOG.md)\n", None),
        ("# A page\n\n[nowhere](docs/nothing.md)\n", "docs/nothing.md"),
        ("# A page\n\n[nowhere](CHANGELOG.md#nothing)\n", "#nothing"),
        ("# A page\n\n[a folder](docs)\n", "docs"),
        ("# A page\n\n1. A step:\n\n   ```bash\n   s4 serve\n   ```\n", "a block of code within a list"),
    ],
)
def test_a_link_that_leads_nowhere_ends_the_build(tmp_path: Path, text: str, said: str | None) -> None:
    (tmp_path / "README.md").write_text(text)
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n")
    (tmp_path / "docs").mkdir()
    done = build(tmp_path, tmp_path / "build" / "site")
    assert done.returncode == (0 if said is None else 1), done.stderr
    assert said is None or said in done.stderr
