"""What the operations guide asks for has its page and its test, and nothing of it is left out; the handbook has the
guide's blocks of code, and each is what it says."""

import ast
import io
import json
import logging
import re
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from tests.factories.generators import program
from tests.factories.handbook import blocks, sections
from tests.factories.pages import REPOSITORY

GENERATOR: ModuleType = program("reference/coverage.py")
SAID: dict[str, Any] = GENERATOR.coverage()
ANCHOR = program("site/hooks.py").anchor
ENTRIES = [*SAID["requirement"], *SAID["block"]]
LINES = [line for section in SAID["section"] for line in section["subjects"]]
LINES_OF_THE_GUIDE, BLOCKS_OF_THE_GUIDE, SECTIONS_OF_THE_GUIDE = 78, 16, 21
"""Counted there. Two of its lines, to expose metrics and to scrape them, are one requirement."""
LANGUAGES = {"bash": 12, "yaml": 3, "python": 1}
SHIPPED = REPOSITORY / "deploy" / "aws" / "beanstalk" / "s4-api" / ".ebextensions" / "scaling.config"


def test_every_requirement_is_there_once_and_in_order() -> None:
    assert [each["id"] for each in SAID["requirement"]] == [f"R{number}" for number in range(1, 79)]


def test_every_line_of_the_guide_leads_to_a_requirement_and_every_requirement_is_asked_for() -> None:
    known = {each["id"] for each in SAID["requirement"]}
    asked = {line["requirement"] for line in LINES} | {each["requirement"] for each in SAID["block"]}
    not_in_the_guide = {"R20"}  # rules and alerts for Prometheus: the guide stops at scraping
    assert asked == known - not_in_the_guide
    assert (len(LINES), len(SAID["section"])) == (LINES_OF_THE_GUIDE, SECTIONS_OF_THE_GUIDE)
    names = [(section["title"], line["title"]) for section in SAID["section"] for line in section["subjects"]]
    assert len(set(names)) == len(names)


def test_every_block_of_the_guide_is_there_with_what_was_done_with_it() -> None:
    titles = [each["title"] for each in SAID["block"]]
    assert (len(titles), len(set(titles))) == (BLOCKS_OF_THE_GUIDE, BLOCKS_OF_THE_GUIDE)
    languages = [each["language"] for each in SAID["block"]]
    assert {name: languages.count(name) for name in languages} == LANGUAGES
    assert {each["check"] for each in SAID["block"]} <= set(GENERATOR.CHECKS)
    assert set(titles) <= set(sections()), "under the guide's names in the handbook"


def test_what_nothing_shows_is_not_there() -> None:
    assert [each for each in ENTRIES if not each["tests"] or not each["page"]] == []


@cache
def functions_of(file: str) -> frozenset[str]:
    path = REPOSITORY / "tests" / file
    tree = ast.parse(path.read_text(encoding="utf-8")) if path.is_file() else ast.Module([], [])
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_every_test_that_is_named_exists() -> None:
    named = {name for each in ENTRIES for name in each["tests"]}
    missing = [name for name in sorted(named) if name.partition("::")[2] not in functions_of(name.partition("::")[0])]
    assert missing == []
    assert "test_nothing" not in functions_of("unit/test_coverage_page.py")


@cache
def anchors(path: str) -> frozenset[str]:
    text = (REPOSITORY / path).read_text(encoding="utf-8")
    return frozenset(ANCHOR(heading, "-") for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE))


def test_every_page_and_anchor_exists() -> None:
    broken = []
    for page_ in {each["page"] for each in ENTRIES}:
        path, _, anchor = page_.partition("#")
        if not (REPOSITORY / path).is_file() or (anchor and anchor not in anchors(path)):
            broken.append(page_)
    assert broken == []


def test_the_page_says_what_the_data_says() -> None:
    committed = (REPOSITORY / "docs" / "reference" / "coverage.md").read_text(encoding="utf-8")
    assert committed == GENERATOR.coverage_page(SAID), (
        "docs/reference/coverage.md is out of date: `make docs-reference`"
    )


@pytest.mark.parametrize("name", sorted(blocks()))
def test_a_block_of_the_handbook_is_what_it_says(name: str) -> None:
    language, text = blocks()[name]
    (said,) = (each for each in SAID["block"] if each["title"] == name)
    assert said["language"] == language
    assert said["page"] == f"docs/guide/handbook.md#{ANCHOR(name, '-')}"
    if language == "bash":
        parsed = subprocess.run(["/bin/bash", "-n"], input=text, capture_output=True, text=True, check=False)
        assert (parsed.returncode, parsed.stderr) == (0, "")
    elif language == "yaml":
        assert isinstance(yaml.safe_load(text), dict)
    else:
        compile(text, name, "exec")


def test_a_block_that_stands_elsewhere_is_linked_from_its_name() -> None:
    for each in SAID["block"]:
        path, _, anchor = each["page"].partition("#")
        if not path.endswith("handbook.md"):
            link = f"({Path(path).name}#{anchor})"
            assert link in sections()[each["title"]], each["title"]


def test_the_logging_pattern_writes_one_line_with_an_aware_time(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    logger = logging.getLogger("s4")
    before = logger.handlers[:], logger.level
    try:
        names: dict[str, Any] = {}
        exec(compile(blocks()["Logging pattern"][1], "handbook", "exec"), names)
        names["log_event"]("document.seen", tenant_id="ten_1", details={"since": datetime(2026, 1, 2, tzinfo=UTC)})
    finally:
        logger.handlers[:] = before[0]
        logger.setLevel(before[1])
    (line,) = written.getvalue().splitlines()
    event = json.loads(line)
    assert set(event) == {"event_type", "timestamp", "tenant_id", "details"}
    assert datetime.fromisoformat(event["timestamp"]).utcoffset() is not None


def test_the_handbook_has_the_trigger_that_is_shipped() -> None:
    shown = yaml.safe_load(blocks()["Automatic scaling, Elastic Beanstalk"][1])["option_settings"]
    shipped = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))["option_settings"]
    assert shown == {name: shipped[name] for name in ("aws:autoscaling:asg", "aws:autoscaling:trigger")}


def test_the_shipped_policy_has_an_aligner() -> None:
    policy = yaml.safe_load((REPOSITORY / "deploy" / "google" / "monitoring" / "policy.yaml").read_text("utf-8"))
    for condition in policy["conditions"]:
        for aggregation in condition["conditionThreshold"]["aggregations"]:
            assert aggregation["perSeriesAligner"].startswith("ALIGN_")
