"""Real control groups, for whoever is root: a machine of a given size within this one.

    with control_group(processors=1, memory_bytes=1 << 30) as group:
        Popen(group.entered(["s4", "serve"]))

puts this file in front of the program, as a script of its own, which enters the group and becomes the program: so what
the program allocates from its first byte on is the group's, and so are all its children. Version 1 and version 2.
"""

import contextlib
import os
import secrets
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_PERIOD_US = 100_000  # the kernel's own default: quotas are of every 100 ms
_EMPTY_SECONDS_MAX = 10.0  # a killed process leaves its group a moment later
_TOP = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class ControlGroup:
    """`folders`: one of version 2, or one for each controller of version 1."""

    folders: tuple[Path, ...]

    def entered(self, command: Sequence[str | Path]) -> list[str]:
        """`command`, which may not begin with a name to be looked for in the path, as a program in the group."""
        return [sys.executable, "-I", "-S", __file__, *map(str, self.folders), "--", *map(str, command)]

    @property
    def kills(self) -> int:
        """Processes that the kernel has ended because there was no memory left."""
        return int(self._figures("memory.events", "memory.oom_control")["oom_kill"])

    @property
    def memory_bytes_most(self) -> int:
        """Page cache included, which is given up before anybody is killed: at its limit a group that reads files is
        soon."""
        return int(self._first("memory.peak", "memory.max_usage_in_bytes").read_text())

    @property
    def memory_bytes(self) -> int:
        """Now, without page cache."""
        figures = self._figures("memory.stat")
        return int(figures.get("total_rss", figures.get("anon", "0")))

    def _figures(self, *names: str) -> dict[str, str]:
        lines = self._first(*names).read_text().splitlines()
        return {name: value for name, _, value in (line.partition(" ") for line in lines)}

    def _first(self, *names: str) -> Path:
        return next(folder / name for name in names for folder in self.folders if (folder / name).exists())


@contextlib.contextmanager
def control_group(*, processors: float, memory_bytes: int) -> Iterator[ControlGroup]:
    """A fresh one. Whoever is in it must have ended when the block ends."""
    group = ControlGroup(tuple(_made(f"s4-test-{secrets.token_hex(6)}", processors, memory_bytes)))
    try:
        yield group
    finally:
        for folder in group.folders:
            _remove(folder)


def _made(name: str, processors: float, memory_bytes: int) -> Iterator[Path]:
    quota = str(round(processors * _PERIOD_US))
    if (_TOP / "cgroup.controllers").exists():
        (_TOP / "cgroup.subtree_control").write_text("+cpu +memory")
        yield _folder(_TOP / name, {"cpu.max": f"{quota} {_PERIOD_US}", "memory.max": str(memory_bytes)})
        return
    yield _folder(_TOP / "cpu" / name, {"cpu.cfs_period_us": str(_PERIOD_US), "cpu.cfs_quota_us": quota})
    yield _folder(_TOP / "memory" / name, {"memory.limit_in_bytes": str(memory_bytes)})


def _folder(path: Path, files: dict[str, str]) -> Path:
    path.mkdir()
    for name, content in files.items():
        (path / name).write_text(content)
    return path


def _remove(folder: Path) -> None:
    give_up_at = time.monotonic() + _EMPTY_SECONDS_MAX
    while True:
        try:
            return folder.rmdir()
        except OSError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.05)


def main() -> None:
    end = sys.argv.index("--")
    for folder in sys.argv[1:end]:
        Path(folder, "cgroup.procs").write_text(str(os.getpid()))
    os.execv(sys.argv[end + 1], sys.argv[end + 1 :])


if __name__ == "__main__":
    main()
