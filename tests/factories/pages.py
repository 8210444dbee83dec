"""Pages of the documentation whose marked blocks are executed as they stand there."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.factories.deployment import clean_environment
from tests.leash import leashed

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
    commands = [block.replace(ADDRESS, url) for block in blocks]
    return in_one_shell(commands, folder, environment or {}, seconds_max=_RUN_SECONDS_MAX)


def in_one_shell(
    commands: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    *,
    seconds_max: float,
    errors: int = subprocess.PIPE,
) -> list[str]:
    """What each command printed, in one shell that stops at the first failure, and with which ends whatever it began.
    `errors` is where stderr goes, as `subprocess` has it: `STDOUT` shows it among the rest."""
    script = "".join(f"{command}\necho; echo '{_END.format(number)}'\n" for number, command in enumerate(commands))
    paths = {"PATH": f"{Path(sys.executable).parent}:{clean_environment()['PATH']}"}
    shell = subprocess.Popen(
        leashed(["/bin/bash", "-euo", "pipefail", "-c", script]),
        cwd=folder,
        env=clean_environment() | paths | dict(environment),
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        start_new_session=True,
    )
    try:
        rest, complaints = shell.communicate(timeout=seconds_max)
    finally:
        with contextlib.suppress(ProcessLookupError):  # what it left in the background
            os.killpg(shell.pid, signal.SIGKILL)
    said = rest + (complaints or "")
    assert shell.returncode == 0, said
    printed = []
    for number in range(len(commands)):
        block, mark, rest = rest.partition(_END.format(number))
        assert mark, said
        printed.append(block)
    return printed
