"""Writes `coverage.md` from `coverage.toml`: `make docs-reference`.

The data file says what the operations guide asks for, and where it is; this makes tables of it, by requirement, by the
guide's lines and by its code blocks. `tests/unit/test_coverage_page.py` holds data and page against the repository.
"""

import os
import tomllib
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
CHECKS = {
    "executed": "executed",
    "schema": "taken by a validator, or the vendor's own types",
    "parsed": "parsed only",
}

Table = dict[str, Any]


def coverage() -> Table:
    return tomllib.loads((HERE / "coverage.toml").read_text(encoding="utf-8"))


def coverage_page(said: Table) -> str:
    """The page as Markdown."""
    pages = {each["id"]: each["page"] for each in said["requirement"]}
    return "\n".join([*_head(said), *_requirements(said), *_sections(said, pages), *_blocks(said)]) + "\n"


def _head(said: Table) -> list[str]:
    return [
        "<!-- Written by docs/reference/coverage.py. Change coverage.toml, then run `make docs-reference`. -->",
        "",
        "# Coverage",
        "",
        f"S4 answers an operations guide. This is what it asks for, by {len(said['requirement'])} requirements, by its",
        f"lines and by its {len(said['block'])} code blocks: where each is, and what shows it. Tests are files below",
        "`tests`. `make test` runs those of `unit`, `api` and `contracts` and most others; `make test-processes` what",
        "starts and kills processes; `make test-ops` and `make test-kubernetes` those of `ops`; `make faults` and",
        "`make isolation` the rest. The guide's chapters with commands: [handbook](../guide/handbook.md).",
    ]


def _requirements(said: Table) -> Iterator[str]:
    yield from ("", "## By requirement")
    for chapter, rows in groupby(said["requirement"], key=lambda each: each["chapter"]):
        yield from (
            "",
            f"### {chapter}",
            "",
            "| | asked for | what does it | page | shown by |",
            "|---|---|---|---|---|",
        )
        for each in rows:
            link = _link(each["page"])
            yield f"| {each['id']} | {each['title']} | {each['feature']} | {link} | {_tests(each)} |"


def _sections(said: Table, pages: dict[str, str]) -> Iterator[str]:
    yield from ("", "## By the guide's lines", "", "| section | line | requirement | page |", "|---|---|---|---|")
    for section in said["section"]:
        for line in section["subjects"]:
            requirement = line["requirement"]
            yield f"| {section['title']} | {line['title']} | {requirement} | {_link(pages[requirement])} |"


def _blocks(said: Table) -> Iterator[str]:
    yield from ("", "## By the guide's code blocks", "")
    yield from (
        "| block | what was wrong with it | corrected | what was done with that | shown by |",
        "|---|---|---|---|---|",
    )
    for each in said["block"]:
        done = f"**{CHECKS[each['check']]}**: {each['how']}"
        name = f"{each['title']} ({each['requirement']})"
        yield f"| {name} | {each['wrong']} | {_link(each['page'])} | {done} | {_tests(each)} |"


def _tests(entry: Table) -> str:
    """Names of tests are sentences."""
    found = (each.partition("::") for each in entry["tests"])
    return "; ".join(f"`{file}`: {name.removeprefix('test_').replace('_', ' ')}" for file, _, name in found)


def _link(page: str) -> str:
    path, _, anchor = page.partition("#")
    target = os.path.relpath(REPOSITORY / path, HERE)
    folder = Path(path).parent.name
    name = folder if Path(path).stem == "README" else Path(path).stem
    return f"[{name}{': ' if anchor else ''}{anchor.replace('-', ' ')}]({target}{'#' if anchor else ''}{anchor})"


if __name__ == "__main__":
    (HERE / "coverage.md").write_text(coverage_page(coverage()), encoding="utf-8")
