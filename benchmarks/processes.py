"""Processes of a running S4, seen from outside through /proc: who is who, and what each holds."""

import os
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

KIB = 1024
_GONE = (FileNotFoundError, ProcessLookupError, PermissionError)  # it ended while we looked; a zombie denies


def family(pid: int) -> Iterator[int]:
    """`pid` and all its descendants."""
    yield pid
    children: list[int] = []
    with suppress(*_GONE):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(*_GONE):
                children += map(int, (task / "children").read_text().split())
    for child in children:
        yield from family(child)


def thread_seconds(pid: int) -> dict[str, float]:
    """Of processors, by a process's threads so far, by their names without numbers; `main` is the first."""
    taken: dict[str, float] = defaultdict(float)
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(*_GONE):
            name = (task / "comm").read_text().strip()
            nanoseconds = int((task / "schedstat").read_text().split()[0])
            taken["main" if int(task.name) == pid else re.sub(r"[-_ ]?\d+$", "", name)] += nanoseconds / 1e9
    return taken


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes. `anonymous`: the process's own, with no file behind; `resident`: with the files that it has mapped, above
    all its libraries. Neither holds page cache of what is read and written."""

    anonymous: int
    resident: int
    resident_most: int
    """Since the start, or since `forget_most`."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process. Raises `ProcessLookupError` or `FileNotFoundError` once it is gone."""

    pid: int

    @property
    def role(self) -> str:
        """`api`, `worker`, `extraction`, or `other`."""
        command = Path(f"/proc/{self.pid}/cmdline").read_bytes().split(b"\0")
        if b"s4.engine.extraction.child" in command:
            return "extraction"
        if b"s4.entrypoints.cli" in command:
            return "worker" if b"worker" in command else "api"
        return "other"

    @property
    def memory(self) -> Memory:
        found = self._fields("status")
        return Memory(found["RssAnon"], found["VmRSS"], found["VmHWM"])

    @property
    def proportional_bytes(self) -> int:
        """Resident, what is shared being divided among those who share it."""
        return self._fields("smaps_rollup")["Pss"]

    def forget_most(self) -> None:
        """From now on `resident_most` counts anew."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    @property
    def cpu_seconds(self) -> float:
        """Of processors, by all its threads, since its start."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def threads(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/task").iterdir()))

    @property
    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def _fields(self, name: str) -> dict[str, int]:
        text = Path(f"/proc/{self.pid}/{name}").read_text()
        return {found[1]: int(found[2]) * KIB for found in re.finditer(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE)}
