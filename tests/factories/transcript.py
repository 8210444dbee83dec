"""A transcript that stands in the documentation, played again: its commands run one after the other in one shell, and
what it shows must come. `…` in what is shown is anything; what stands behind two spaces and a `#` is a remark."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.factories.deployment import clean_environment
from tests.leash import leashed

_SECONDS_MAX = 300
_REMARK = re.compile(r"\s{2,}# .*$")
_STEP = "---- step {} ----"


@dataclass(frozen=True)
class Step:
    """A command, and the lines that it is said to print, in order and among others."""

    command: str
    shown: list[str] = field(default_factory=list)


def transcript(text: str, name: str) -> list[Step]:
    """The one with the mark `<!-- transcript: name -->`."""
    (block,) = re.findall(rf"^<!-- transcript: {name} -->\n```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    steps: list[Step] = []
    for line in block.splitlines():
        said = _REMARK.sub("", line)
        if said.startswith("$ "):
            steps.append(Step(said.removeprefix("$ ")))
        else:
            steps[-1].shown.append(said)
    return steps


def play(steps: Sequence[Step], folder: Path, environment: Mapping[str, str]) -> None:
    """Fails at the first command that does, and at the first line that does not come."""
    script = "".join(f"echo; echo '{_STEP.format(number)}'\n{step.command}\n" for number, step in enumerate(steps))
    path = {"PATH": f"{Path(sys.executable).parent}:{clean_environment()['PATH']}"}
    shell = subprocess.Popen(
        leashed(["/bin/bash", "-euo", "pipefail", "-c", script]),
        cwd=folder, env=clean_environment() | path | dict(environment), stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        printed, _ = shell.communicate(timeout=_SECONDS_MAX)
    finally:
        with contextlib.suppress(ProcessLookupError):  # what it started in the background, if it failed
            os.killpg(shell.pid, signal.SIGKILL)
    assert shell.returncode == 0, printed
    for number, step in enumerate(steps):
        said = printed.partition(_STEP.format(number))[2].partition(_STEP.format(number + 1))[0]
        for line in step.shown:
            form = ".*".join(map(re.escape, line.split("…")))
            found = re.search(rf"^\s*{form}\s*$", said, re.MULTILINE)
            assert found is not None, f"$ {step.command}\nshows no line {line!r}, but\n{said}"
            said = said[found.end() :]
