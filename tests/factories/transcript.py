"""A transcript that stands in the documentation, played again: its commands run one after the other in one shell, and
what it shows must come. `…` in what is shown is anything; what stands behind two spaces and a `#` is a remark."""

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.factories.pages import in_one_shell

_SECONDS_MAX = 300
_REMARK = re.compile(r"\s{2,}# .*$")


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
    commands = [step.command for step in steps]
    printed = in_one_shell(commands, folder, environment, seconds_max=_SECONDS_MAX, errors=subprocess.STDOUT)
    for step, said in zip(steps, printed, strict=True):
        for line in step.shown:
            form = ".*".join(map(re.escape, line.split("…")))
            found = re.search(rf"^\s*{form}\s*$", said, re.MULTILINE)
            assert found is not None, f"$ {step.command}\nshows no line {line!r}, but\n{said}"
            said = said[found.end() :]
