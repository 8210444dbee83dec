"""Pages of the documentation whose marked blocks are executed as they stand there."""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.factories.deployment import clean_environment

REPOSITORY = Path(__file__).parents[2]
ADDRESS = "http://127.0.0.1:8000"
MARK = "<!-- executed -->"
_BLOCK = re.compile(rf"^{MARK}\n```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_END = "---- end of block {} ----"
_RUN_SECONDS_MAX = 150


def page(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def executed_blocks(text: str, language: str) -> list[str]:
    """The blocks that are marked, which must all be of one language."""
    found: list[tuple[str, str]] = _BLOCK.findall(text)
    assert len(found) == text.count(MARK)
    assert {tag for tag, _ in found} == {language}
    return [block for _, block in found]


def run_blocks(blocks: list[str], folder: Path, url: str, environment: Mapping[str, str] | None = None) -> list[str]:
    """Runs all blocks in one shell that stops at the first failure. Answers with what each printed."""
    marked = [
        f"{block.replace(ADDRESS, url)}\necho; echo '{_END.format(number)}'\n" for number, block in enumerate(blocks)
    ]
    paths = {"PATH": f"{Path(sys.executable).parent}:{clean_environment()['PATH']}"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "".join(marked)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=_RUN_SECONDS_MAX,
        check=False,
        env=clean_environment() | paths | dict(environment or {}),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    printed = []
    rest = done.stdout
    for number in range(len(blocks)):
        block, mark, rest = rest.partition(_END.format(number))
        assert mark, done.stdout
        printed.append(block)
    return printed
