"""The README's session, executed as it stands there: whoever copies and pastes it sees what it promises."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.factories.deployment import Deployment
from tests.factories.pages import ADDRESS, REPOSITORY, executed_blocks, page, run_blocks

README = page("README.md")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A place to stand in as a reader does in the repository: with `samples/`, and data in `s4-data`."""
    (tmp_path / "samples").symlink_to(REPOSITORY / "samples")
    return tmp_path


@pytest.fixture
def deployment(folder: Path) -> Iterator[Deployment]:
    """`s4 serve` with nothing configured but a free port."""
    started = Deployment(folder / "s4-data", {}).start()
    yield started
    started.stop()


def documents_of(printed: str) -> list[dict[str, Any]]:
    """The JSON documents that were printed one after the other."""
    found, rest = [], printed.strip()
    while rest:
        document, end = json.JSONDecoder().raw_decode(rest)
        found.append(document)
        rest = rest[end:].strip()
    return found


def one_line(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.processes
def test_the_readmes_session_does_what_it_says(deployment: Deployment, folder: Path) -> None:
    blocks = executed_blocks(README, "bash")
    assert len(blocks) == 4
    assert any(ADDRESS in block for block in blocks)

    printed = run_blocks(blocks, folder, deployment.url)

    uploaded, waited = documents_of(printed[1])
    assert uploaded["status"] == "processing"
    assert (waited["status"], waited["metadata"]) == ("ready", {"category": "policy", "year": 2026})
    (answer,) = documents_of(printed[2])
    (found,) = answer["results"]
    assert found["key"] == "policies/travel.docx"
    quoted = re.search(r'The passage that is found says "([^"]+)"', README)
    assert quoted is not None
    assert one_line(quoted[1]) in one_line(found["chunks"][0]["text"])
    assert printed[3].strip() == ""
    assert not (folder / "travel-policy-copy.docx").exists()


def test_the_readme_starts_the_server_and_the_menu_by_commands_that_exist() -> None:
    menu = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make ([a-z-]+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", menu, re.MULTILINE), target
    assert "\n.venv/bin/s4 serve\n" in README
