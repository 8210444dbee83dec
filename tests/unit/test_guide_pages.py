"""What the guides show works: the configuration file, paths of the API, commands and targets that they name."""

import re
from pathlib import Path

import pytest

from s4.entrypoints.cli.app import run
from s4.entrypoints.configuration import read_configuration
from s4.entrypoints.fitting import CHILD_ADDRESSES_BYTES, IDLE_BYTES, TASK_BYTES, fit
from s4.kernel.settings import Settings
from s4.kernel.units import GIB, human_size
from s4.platform.database import migrate
from s4.platform.http.proxies import TrustedProxies
from s4.platform.machine import Machine
from s4.platform.outbound.addresses import parse_networks

REPOSITORY = Path(__file__).parents[2]
GUIDE = REPOSITORY / "docs" / "guide"
PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md"), *(REPOSITORY / "samples").glob("*.md"),
                *(REPOSITORY / "packaging").rglob("*.md"), *(REPOSITORY / "deploy").rglob("*.md")])  # fmt: skip
SHOWN = re.compile(r"<!-- configuration -->\n```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CALLED = re.compile(r"(?<!\.com)/api/(?!v1/|v1\b)[a-z{]")  # clouds name their own so
CODE = re.compile(r"^```.*?^```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)


def test_the_configuration_file_of_the_guide_works(tmp_path: Path) -> None:
    (shown,) = SHOWN.findall((GUIDE / "configuration.md").read_text(encoding="utf-8"))
    for name, content in {
        "s4-admin-key": "0123456789abcdef-0123456789abcdef",
        "s4-secret-key": "fedcba9876543210-fedcba9876543210",
        "s4-database-url": "postgresql://s4:secret@db.internal/s4",
        "openai-key": "sk-secret",
    }.items():
        (tmp_path / name).write_text(content + "\n")
    file = tmp_path / "s4.toml"
    file.write_text(shown.replace("/run/secrets/", f"{tmp_path}/"))
    settings = read_configuration(file=file).settings
    assert (settings.store_url, settings.upload_bytes_max, settings.database_pool_size) == (
        "s3://my-bucket/s4",
        1 << 30,
        10,
    )
    assert run(["config", "check", "--config", str(file)]) == 0


def test_the_proxies_of_the_guide_are_believed(tmp_path: Path) -> None:
    (shown,) = SHOWN.findall((GUIDE / "operations.md").read_text(encoding="utf-8"))
    (tmp_path / "s4.toml").write_text(shown)
    settings = read_configuration(file=tmp_path / "s4.toml").settings
    scope = {"type": "http", "client": ("10.1.0.2", 1), "headers": [(b"x-forwarded-for", b"198.51.100.7, 10.1.0.9")]}
    TrustedProxies(parse_networks(settings.trusted_proxies), settings.forwarded_header.value).see_through(scope)
    assert scope["client"] == ("198.51.100.7", 0)


def test_the_guides_say_what_follows_from_a_machine_of_4_gib() -> None:
    settings = Settings()
    found = fit(settings, Machine(2.0, "", 4 * GIB, ""), given=()).changes
    said = (GUIDE / "limits.md").read_text(encoding="utf-8")
    assert human_size(found["extraction_memory_bytes"]) in said
    assert f"{found['extraction_text_chars_max'] // 10**6} million characters" in said
    operations = (GUIDE / "operations.md").read_text(encoding="utf-8")
    for figure in (human_size(IDLE_BYTES), human_size(CHILD_ADDRESSES_BYTES), human_size(TASK_BYTES)):
        assert figure.replace(".0 ", " ") in operations
    assert "From 8 GiB on, all are at their defaults." in operations
    at_home = fit(settings, Machine(2.0, "", 8 * GIB, ""), given=()).changes.keys()
    assert at_home == {"processors", "embedding_threads", "memory_bytes"}


def test_every_path_of_the_api_in_the_documents_has_its_version() -> None:
    """`/api` alone is for people at a prompt; what is copied into programs names `/api/v1`."""
    found = {
        f"{page.relative_to(REPOSITORY)}: {code}"
        for page in PAGES
        for code in CODE.findall(page.read_text(encoding="utf-8"))
        if CALLED.search(code)
    }
    assert found == set()


@pytest.mark.parametrize("path", ["/api/documents", "curl $URL/api/search", "/api/{tenant}"])
def test_a_path_without_its_version_would_be_noticed(path: str) -> None:
    assert CALLED.search(path)
    assert not CALLED.search(path.replace("/api/", "/api/v1/"))


def test_the_guides_name_only_targets_of_the_menu() -> None:
    menu = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {
        (page.name, target)
        for page in GUIDE.glob("*.md")
        for target in re.findall(r"`make ([a-z-]+)", page.read_text(encoding="utf-8"))
    }
    assert named
    assert {(page, target) for page, target in named if target not in menu | {"test-ops"}} == set()


def test_the_guides_say_which_postgresql_is_the_oldest() -> None:
    for page in ("configuration.md", "operations.md"):
        said = re.findall(r"PostgreSQL\*{0,2} (?:\| )?(\d+)", (GUIDE / page).read_text(encoding="utf-8"))
        assert int(said[0]) == migrate.POSTGRESQL_OLDEST, page
