"""The generated pages say what the code says, and the pages written by hand keep up with them."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from s4.kernel.settings import secret_settings

REPOSITORY = Path(__file__).parents[2]
REFERENCE = REPOSITORY / "docs" / "reference"
PAGES = ("settings.md", "metrics.md", "events.md", "errors.md", "routes.md", "cli.md", "formats.md")
LINK = re.compile(r"\]\(([^)\s]+)\)")
SETTING = re.compile(r"\bS4_[A-Z][A-Z0-9_]*[A-Z0-9]\b")
METRIC = re.compile(r"`(s4_[a-z0-9_]+)")
OF_THE_CLIENT = {"S4_URL", "S4_DOCUMENT", "S4_TENANT_KEY", "S4_CA_FILE", "S4_CONFIG"} | {
    f"S4_SOURCE_{name}" for name in ("ENDPOINT", "REGION", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY")
}
"""Variables of the command line and of the examples, which are no settings."""


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    """`docs/reference/generate.py`, which belongs to no package."""
    spec = importlib.util.spec_from_file_location("generate_reference", REFERENCE / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def written_pages() -> list[Path]:
    """Every page of Markdown that the repository keeps for its readers."""
    return sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])


@pytest.mark.parametrize("name", PAGES)
def test_a_reference_page_says_what_the_code_says(generator: ModuleType, name: str) -> None:
    committed = (REFERENCE / name).read_text(encoding="utf-8")
    assert committed == generator.PAGES[name](), f"docs/reference/{name} is out of date: run `make docs-reference`"


def test_every_generated_page_is_compared(generator: ModuleType) -> None:
    assert set(generator.PAGES) == set(PAGES)


def test_the_guide_says_what_to_do_about_every_code_of_a_failed_document(generator: ModuleType) -> None:
    guide = (REPOSITORY / "docs" / "guide" / "documents.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"^\| `([a-z_]+)` \|", guide, re.MULTILINE))
    assert set(generator.document_codes()) <= explained


def test_the_guide_to_search_explains_every_filter_operator() -> None:
    from s4.domains.documents.queries import filters

    guide = (REPOSITORY / "docs" / "guide" / "search.md").read_text(encoding="utf-8")
    rows = guide.partition("| `op` |")[2].partition("\n\n")[0].splitlines()[1:]
    explained = {name for row in rows for name in re.findall(r"`([a-z]+)`", row.partition(" | ")[0])}
    assert explained == set(filters._OPERATORS)


def test_links_between_the_pages_lead_somewhere() -> None:
    broken = []
    for page in written_pages():
        for target in LINK.findall(page.read_text(encoding="utf-8")):
            path, _, anchor = target.partition("#")
            if "://" in target:
                continue
            found = page if not path else (page.parent / path).resolve()
            if not found.exists() or (anchor and anchor not in anchors(found)):
                broken.append(f"{page.relative_to(REPOSITORY)}: {target}")
    assert broken == []


def anchors(page: Path) -> set[str]:
    """As common renderers name headings: lower case, no punctuation, hyphens for spaces."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_pages_name_only_settings_that_exist(generator: ModuleType) -> None:
    known = {f"S4_{name.upper()}" for name in generator.Settings.model_fields} | OF_THE_CLIENT
    known |= {f"S4_{name.upper()}_FILE" for name in secret_settings()}
    unknown = {
        f"{page.relative_to(REPOSITORY)}: {name}"
        for page in written_pages()
        for name in SETTING.findall(page.read_text(encoding="utf-8"))
        if name not in known
    }
    assert unknown == set()


def test_pages_name_only_metrics_that_exist(generator: ModuleType) -> None:
    known = set(METRIC.findall(generator.metrics_page()))
    guide = (REPOSITORY / "docs" / "guide" / "operations.md").read_text(encoding="utf-8")
    assert set(METRIC.findall(guide)) <= known


def test_the_guide_says_of_every_format_what_is_taken_from_it() -> None:
    from s4.engine.extraction.sniff import CONTENT_TYPES
    from tests.factories.formats import samples

    guide = (REPOSITORY / "docs" / "guide" / "documents.md").read_text(encoding="utf-8")
    table = guide.partition("| format | content type |")[2].partition("\n\n")[0].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    said = {content_type: row[2:] for row in rows for content_type in re.findall(r"`([^`]+)`", row[1])}
    assert set(said) == CONTENT_TYPES
    for sample in samples():
        told_by, _, headings, pages = said[sample.content_type]
        assert (told_by == "content") == sample.told_by_bytes, sample.name
        assert not sample.headings or headings != "no", sample.name
        assert not sample.pages or pages != "no", sample.name
