"""The guide's table of what was tried of which file names every file of `deploy/`, and none that is not there."""

import re
import subprocess

from tests.factories.pages import REPOSITORY, page

_ROW = re.compile(r"^\| (`[^|]*) \|[^|]*\|[^|]*\|[^|]*\|$", re.MULTILINE)
BESIDE = (".py", "README.md")
"""What nobody deploys: programs that write such files, and pages."""


def named() -> list[str]:
    """Files, and folders with a slash."""
    _, _, table = page("docs/guide/deploying.md").partition("## What was tried of which file")
    table, _, _ = table.partition("\n## ")
    return [name for row in _ROW.findall(table) for name in re.findall(r"`([^`]+)`", row)]


def shipped() -> list[str]:
    done = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "deploy"],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    )  # fmt: skip
    files = (line.removeprefix("deploy/") for line in done.stdout.splitlines())
    return [file for file in files if not file.endswith(BESIDE)]


def test_every_file_is_in_a_row_and_every_row_has_files() -> None:
    files, names = shipped(), named()
    assert len(files) > 100
    assert [file for file in files if not any(file.startswith(name) for name in names)] == []
    assert [name for name in names if not any(file.startswith(name) for file in files)] == []
